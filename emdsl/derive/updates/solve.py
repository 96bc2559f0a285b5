"""Q -> how each parameter is updated: seven rules tried in order, then a schedule.

1 simplex, 2 quadratic, 3 covariance, 4 one scalar, 5 (a canonical family is 4 per element),
6 an order that closes, else ECM over a strongly connected component, 7 numeric. Eligibility is
decided on the whole of Q, never on one factor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.scalars import NoValue, derivatives, direction, solve_score
from emdsl.derive.algebra.show import briefly, show
from emdsl.derive.joint.coefficients import (
    Scalar,
    about,
    axes_of,
    matrix_term,
    meet_above_two,
    per_element,
    powers,
    scalar_term,
    total_of,
)  # fmt: skip
from emdsl.derive.joint.plates import in_plates
from emdsl.derive.joint.terms import Term
from emdsl.derive.updates.components import components
from emdsl.derive.updates.curvature import curvature
from emdsl.derive.updates.likelihood import bent, climbs_likelihood, of_likelihood, sized
from emdsl.derive.updates.medians import distances
from emdsl.derive.updates.newton import Newton, alone, together
from emdsl.derive.updates.quadratic import Linear, quadratic
from emdsl.derive.updates.rules import Closed, Numeric, Simplex, Spread, Update, need_each_other, tied
from emdsl.derive.updates.statistics import Expected
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m


def solve(
    model: m.ModelText, q: Expected, certain: Collection[str] = (), followed: Collection[str] = ()
) -> tuple[Update, ...]:
    """Updates in the order in which the M-step makes them. The complete data say what is `certain` without error;
    `followed` are latents at points that lie between the kinks of their densities."""
    params = {v.name: v for v in model.variables if v.kind == "param"}
    every = q.terms + q.prior
    holding: dict[str, list[Term]] = {n: [] for n in params}  # found once: a parameter is asked of its own terms alone
    for t in every:
        for n in {n for f in t.factors for n in x.variables(f)} & params.keys():
            holding[n].append(t)
    used = {n for n, own in holding.items() if own}
    mixed = {n for mx in q.mixed for f in mx.term.factors for n in x.variables(f) if n in params}
    by_likelihood = tuple(n for n in params if n in certain and n in used)
    used -= set(by_likelihood)
    mixed -= set(by_likelihood)
    groups = [_real(params[n], q, holding[n], model) for n in params if n in used and n not in mixed]
    while joined := {n for u in groups if _climbs_with(u, mixed, every) for n in u.params}:
        mixed |= joined
        groups = [u for u in groups if not joined & set(u.params)]
    groups = _joined(groups, q, every, params)
    ordered = _schedule(groups, q, every, params)
    beside, moved = tuple(n for u in ordered for n in u.params), bent(q, params, followed)
    for names in _meeting([n for n in params if n in mixed], q, every):
        if set(names).isdisjoint(moved):
            ordered += _by_data(names, q, every, model)
        else:
            by_likelihood += names
    if by_likelihood:
        ordered.append(of_likelihood(by_likelihood, beside, every, [mx.term for mx in q.mixed], moved))
    return _in_turn(ordered)


def _climbs_with(u: Update, mixed: Collection[str], every: Sequence[Term]) -> bool:
    """Whether an update meets parameters that data are passed over for, and is numeric or a root that reads them.

    One after the other they would crawl along ridges.
    """
    crawls = u.kind in ("newton", "gradient") or (isinstance(u.rule, Closed) and set(mixed) & u.depends)
    held = _held(u.params, every) if crawls else ()
    return any(set(mixed) & x.variables(f) for t in held for f in t.factors)


def _components(updates: Sequence[Update]) -> list[list[Update]]:
    """Updates that need one another together, dependencies first."""
    owner = {n: k for k, u in enumerate(updates) for n in u.params}
    needs = [sorted({owner[n] for n in u.depends if n in owner and owner[n] != k}) for k, u in enumerate(updates)]
    return [[updates[k] for k in members] for members in components(needs)]


def _in_turn(updates: Sequence[Update]) -> tuple[Update, ...]:
    """The same; where several read one another, in whatever way they are updated, each is given the others (ECM)."""
    held: dict[tuple[str, ...], tuple[str, ...]] = {}
    for component in _components(updates):
        names = {n for u in component for n in u.params}
        free = (u for u in component if not climbs_likelihood(u))
        held |= {u.params: tuple(sorted(u.depends & (names - set(u.params)))) for u in free}
    return tuple(
        replace(u, conditional_on=given, reason=f"{u.reason}; given {', '.join(given)} (ECM)")
        if (given := held.get(u.params, ())) else u for u in updates
    )  # fmt: skip


def _real(v: m.Variable, q: Expected, every: Sequence[Term], model: m.ModelText) -> Update:
    """The update of one parameter. Raises ModelError where the log joint has no value at any of its values."""
    try:
        return _alone(v, q, every)
    except NoValue as why:
        text = f"as a function of `{v.name}` the log joint has no value: it holds {why}"
        raise ModelError(Problem("E106", text, v.span), model.source) from None


def _meeting(names: Sequence[str], q: Expected, every: Sequence[Term]) -> list[tuple[str, ...]]:
    """Parameters that meet in a term of Q, together; those that do not are problems of their own."""
    groups = [{n} for n in names]
    for t in (*every, *(mx.term for mx in q.mixed)):
        held = {n for f in t.factors for n in x.variables(f)}
        met = [g for g in groups if g & held]
        if len(met) > 1:
            groups = [g for g in groups if g not in met] + [set().union(*met)]
    return sorted((tuple(n for n in names if n in g) for g in groups), key=lambda g: names.index(g[0]))


def _by_data(names: tuple[str, ...], q: Expected, every: Sequence[Term], model: m.ModelText) -> list[Update]:
    """Parameters that data are passed over for: those that are weighted medians first, then the others together."""
    params = {v.name: v for v in model.variables if v.kind == "param"}
    never_negative = [v.name for v in model.variables if v.domain.ends[0] >= 0]
    every_mixed, out = [mx.term for mx in q.mixed], list[Update]()
    for n in names:
        found = distances(params[n], _held((n,), every), _held((n,), every_mixed), params, never_negative)
        if found is not None:
            reason = "Q is a sum of distances from data: a weighted median, for which data are sorted"
            out.append(Update((n,), "closed form", Numeric((), True, tuple(map(sized, found[0])), found[1]), reason))
    rest = tuple(n for n in names if not any(n in u.params for u in out))
    return [*out, _climbed(rest, q, every, model)] if rest else out


def _climbed(names: tuple[str, ...], q: Expected, every: Sequence[Term], model: m.ModelText) -> Update:
    params = {v.name: v for v in model.variables if v.kind == "param"}
    held = _held(names, every)
    mixed = tuple(sized(t) for t in _held(names, [mx.term for mx in q.mixed]))
    every_factor = [f for t in mixed for f in t.factors]
    both = [f for f in every_factor if x.variables(f) & set(params) and x.variables(f) - set(params)]
    ties = max(both or every_factor[:1], key=lambda f: len(set(names) & x.variables(f)))  # the first with most of them
    rule, how = _numeric(Numeric(held, data=True, mixed=mixed), [params[n] for n in names])
    tie = briefly(in_plates(x.rebuild(ties, _where_seen), model))
    reason = f"{tie} ties {', '.join(names)} to the data: no finite statistics; {how}, by passes over the data"
    return Update(names, "gradient" if rule.hessian is None else "newton", rule, f"{reason}, to convergence")


def _where_seen(e: Expr) -> Expr | None:
    """A value that stands for data where there are none, as the data that it stands for."""
    return x.rebuild(e.then, _where_seen) if isinstance(e, x.Where) and isinstance(e.other, x.Num) else None


def _held(names: Sequence[str], terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(t for t in terms if any(set(names) & x.variables(f) for f in t.factors))


def _numeric(rule: Numeric, variables: Sequence[m.Variable]) -> tuple[Numeric, str]:
    """The rule with its Hessian where there is one, and how that climbs in words."""
    found = curvature(rule.whole, variables)
    if found is None:
        return rule, "quasi-Newton"
    how = "Newton, its Hessian a diagonal plus rank one" if found.low else "Newton, its Hessian"
    if found.batch:
        apart = ", ".join(i.dim for i in found.batch)
        how += f" in blocks, one for each element of {apart}" if not found.low else f" for each element of {apart}"
    elif not found.low:
        how += " added up" if rule.data else " symbolic"
    return replace(rule, hessian=found), how


def _alone(v: m.Variable, q: Expected, every: Sequence[Term]) -> Update:
    """The first rule that applies to one parameter, all others held."""
    mine = about(every, frozenset((v.name,)), q.symmetry)
    for rule in (_simplex, _quadratic, _spread, _scalar):
        found = rule(v, mine, q)
        if found is not None:
            return found
    numeric, how = _numeric(Numeric(_held((v.name,), every)), [v])
    kind = "gradient" if numeric.hessian is None else "newton"
    return Update((v.name,), kind, numeric, f"{_why(v, mine)}; {how}, on Q, to convergence")


def _why(v: m.Variable, mine: Sequence[Term]) -> str:
    for t in mine:
        for f in t.factors:
            square = isinstance(f, x.Pow) and isinstance(f.base, El) and f.exponent == x.num(2)
            if v.name in x.variables(f) and not isinstance(f, El) and not (square and v.domain.linear):
                return f"{show(f)} leaves no closed form for {v.name} ({v.domain.kind})"
    return f"no closed form on the domain {v.domain.kind}"


def _simplex(v: m.Variable, mine: Sequence[Term], q: Expected) -> Update | None:
    if v.domain.kind != "simplex":
        return None
    axes = axes_of(v)
    leaf = El(v.name, axes, "positive")
    counts: list[Expr] = []
    for t in mine:
        s = scalar_term(t, v, axes)
        if s is None or s.function != x.Fn("log", (leaf,)):
            return None
        counts.append(s.coefficient)
    reason = "sum of c log p on a simplex: Lagrange multiplier, normalise; Q is concave where all c >= 0"
    return Update((v.name,), "closed form", Simplex(total_of(counts), axes), reason)


def _quadratic(v: m.Variable, mine: Sequence[Term], q: Expected) -> Update | None:
    if not v.domain.linear:
        return None
    found = quadratic(mine, (v,))
    highest = found and (found.second or not x.positive(x.neg(found.left[0, 0])))
    return _linear_update(found, (v,)) if found and highest else None


def _linear_update(found: Linear, group: Sequence[m.Variable]) -> Update:
    scalar = len(group) == 1 and not found.second
    kind = "closed form" if scalar else "linear solve"
    reason = "Q is quadratic: normal equations; concave where their matrix is positive definite"
    if scalar:
        reason = "Q is quadratic: one equation for each element; concave where its coefficient is positive"
    if found.centred:
        zero = ", ".join(v.name for v in group if v.domain.centred)
        reason = (
            f"Q is quadratic: normal equations on vectors that sum to 0 ({zero}), a Lagrange multiplier for each sum; "
            "concave where their matrix is positive definite there"
        )
    return Update(tuple(v.name for v in group), kind, found, reason)


def _spread(v: m.Variable, mine: Sequence[Term], q: Expected) -> Update | None:
    if v.domain.kind != "spd":
        return None
    axes = axes_of(v)
    parts: dict[str, list[Expr]] = {"logdet": [], "inverse": [], "matrix": []}
    for t in mine:
        found = matrix_term(t, v, axes)
        if found is None:
            return None
        parts[found[0]].append(found[1])
    if not parts["logdet"] or bool(parts["inverse"]) == bool(parts["matrix"]):
        return None
    precision = bool(parts["matrix"])
    scatter = total_of(parts["matrix"] if precision else parts["inverse"])
    reason = "in the precision P, Q = a logdet(P) - tr(C P), concave: the maximum has inv(P) = C / a"
    return Update((v.name,), "closed form", Spread(total_of(parts["logdet"]), scatter, axes, precision), reason)


def _scalar(v: m.Variable, mine: Sequence[Term], q: Expected) -> Update | None:
    if not v.domain.interval:
        return None
    axes = axes_of(v)
    terms: dict[Expr, list[Expr]] = {}
    for t in mine:
        s = scalar_term(t, v, axes)
        if s is None:
            return None
        terms.setdefault(s.function, []).append(s.coefficient)
    found = {function: x.add(*parts) for function, parts in terms.items()}
    functions, coefficients = tuple(found), tuple(found.values())
    leaf = next(e for f in functions for e in x.walk(f) if isinstance(e, El) and e.var == v.name)
    root = solve_score(leaf, functions, coefficients)
    ends = v.domain.kind == "real" and not v.domain.unbounded  # they are asked beside the root
    root = None if (least := bool(root and root.curvature and x.positive(root.curvature) and not ends)) else root
    root = root or (direction(leaf, functions, coefficients) if v.domain.unbounded else None)
    if root is not None:
        closed = Closed(root, axes, tuple(Scalar(f, c) for f, c in found.items()))
        return Update((v.name,), "closed form", closed, root.evidence)
    rule = alone(leaf, axes, x.add(*(x.mul(c, f) for f, c in found.items())))
    plain: dict[Ix, Idx] = {i: Ix("_", i.dim) for i in axes}  # axes have no names of the user's
    why = f"no closed root where Q holds {', '.join(show(x.substitute(f, plain)) for f in functions)}"
    why = "the only root of the score is where Q is least" if least else why
    why += "; Newton with step-halving, to convergence"
    return None if rule is None else Update((v.name,), "newton", rule, why)


def _joined(groups: list[Update], q: Expected, every: Sequence[Term], params: Mapping[str, m.Variable]) -> list[Update]:
    """Quadratic groups that need each other become one system: slope and intercept are one quadratic.

    All that are tied to one another at once, and pair by pair where all together are not quadratic.
    """

    def together(members: Sequence[Update]) -> bool:
        nonlocal groups
        group = tuple(params[n] for u in members for n in u.params)
        found = quadratic(about(every, frozenset(v.name for v in group), q.symmetry), group)
        if found is not None:
            groups = [g for g in groups if not any(g is u for u in members)] + [_linear_update(found, group)]
        return found is not None

    for members in tied([g for g in groups if isinstance(g.rule, Linear)]):
        if not together(members):
            opened = powers(about(every, frozenset(n for u in members for n in u.params), q.symmetry))
            while any(
                together(pair)
                for pair in combinations(members, 2)
                if not meet_above_two(opened, *(u.params for u in pair)) and need_each_other(*pair)
            ):
                names = {n for u in members for n in u.params}
                members = [g for g in groups if set(g.params) <= names]
    return groups


def _schedule(
    groups: list[Update], q: Expected, every: Sequence[Term], params: Mapping[str, m.Variable]
) -> list[Update]:
    """Strongly connected components in topological order; a larger one is profiled, solved jointly, or ECM."""
    out: list[Update] = []
    for component in _components(groups):
        if len(component) == 1:
            out.append(component[0])
        elif (joint := _inside_one_function(component, q, every, params)) is not None:
            out.append(joint)
        elif all(u.kind in ("closed form", "linear solve") for u in component):
            out += component
        else:
            hard = next(u.reason for u in component if u.kind not in ("closed form", "linear solve"))
            out += _profiled(component, q, every) or [_together(component, hard.split(";")[0], q, every, params)]
    return out


def _inside_one_function(
    component: Sequence[Update], q: Expected, every: Sequence[Term], params: Mapping[str, m.Variable]
) -> Update | None:
    """Roots, each given the others, of numbers that meet inside one function: `log(1 + exp(a) + exp(b))`.

    One after the other they are a coordinate ascent of a function that no order separates, as products are by
    theirs; together Newton climbs it in a few steps, none of which passes over the data.
    """
    names = {n for u in component for n in u.params}
    met = [f for t in every for f in t.factors if len(names & x.variables(f)) > 1]
    if not met or not all(isinstance(u.rule, Closed) for u in component):
        return None
    found = _together(component, f"{show(met[0])} ties {', '.join(sorted(names))}", q, every, params)
    return found if found.kind == "newton" else None


def _together(
    component: Sequence[Update], why: str, q: Expected, every: Sequence[Term], params: Mapping[str, m.Variable]
) -> Update:
    """The members of a component together; `why` they are not found one after the other."""
    names = tuple(n for u in component for n in u.params)
    joint = together([params[n] for n in names], q, every)
    if joint is not None:
        reason = f"{why}; {', '.join(names)} together by Newton with step-halving, to convergence"
        return Update(names, "newton", joint, reason)
    rule, how = _numeric(Numeric(_held(names, every)), [params[n] for n in names])
    kind = "gradient" if rule.hessian is None else "newton"
    return Update(names, kind, rule, f"{why}; {', '.join(names)} jointly by {how}, to convergence")


def _profiled(component: Sequence[Update], q: Expected, every: Sequence[Term]) -> list[Update]:
    """One Newton scalar whose partners are closed forms in it: they are substituted into Q and its score.

    By the envelope theorem the score of the profile is dQ/dv at the partners' optimum.
    """
    hard = [u for u in component if isinstance(u.rule, Newton)]
    easy = [u for u in component if isinstance(u.rule, Closed) and len(u.rule.root.candidates) == 1]
    if len(hard) != 1 or len(easy) + 1 != len(component):
        return []
    newton = hard[0].rule
    assert isinstance(newton, Newton)
    inside = tuple(n for u in easy for n in u.params)
    names = frozenset((newton.leaf.var, *inside))
    value = per_element(about(every, names, q.symmetry), names, newton.axes)
    roots = _roots(easy, newton)
    if value is None or roots is None:
        return []

    def put(e: Expr) -> Expr | None:
        return roots.get(e.var) if isinstance(e, El) and e.idx == newton.axes else None

    value, score = x.rebuild(value, put), x.rebuild(newton.score, put)
    found = derivatives(newton.leaf, score, order=1)
    if found is None or set(inside) & (x.variables(score) | x.variables(value)):
        return []
    rule = replace(newton, value=value, score=score, curvature=found[1], inside=inside)
    reason = f"{hard[0].reason} on the profile over {', '.join(inside)}"
    return [replace(hard[0], rule=rule, reason=reason), *easy]


def _roots(easy: Sequence[Update], newton: Newton) -> dict[str, Expr] | None:
    """The closed forms on the axes of another parameter; None where they need each other, or other axes."""
    out: dict[str, Expr] = {}
    for u in easy:
        assert isinstance(u.rule, Closed)
        if [a.dim for a in u.rule.axes] != [a.dim for a in newton.axes]:
            return None
        to: dict[Ix, Idx] = dict(zip(u.rule.axes, newton.axes, strict=True))
        out[u.params[0]] = x.substitute(u.rule.root.value, to)
    return None if any(out.keys() & x.variables(e) for e in out.values()) else out
