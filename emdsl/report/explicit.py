"""An update in terms of data and posteriors, squares left closed: what a textbook prints.

The rule of the plan is applied again to the terms of the joint opened about one parameter alone:
`cov = sum_n q (x - mean)(x - mean)' / sum_n q`. The statistics of the code are the same sums, opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import COV, Q
from emdsl.derive.algebra.scalars import direction, solve_score
from emdsl.derive.joint.coefficients import axes_of, matrix_term, scalar_term, total_of
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import ASKED, REST, classes
from emdsl.derive.joint.terms import Term, merge, opened, settle
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.averages import expectation, in_turn
from emdsl.derive.posteriors.blocks import Part
from emdsl.derive.updates.quadratic import Linear, quadratic
from emdsl.derive.updates.rules import Closed, Simplex, Spread, Update
from emdsl.derive.updates.statistics import selectors
from emdsl.report.equations import left_side
from emdsl.report.flat import flatten
from emdsl.report.gathered import divides
from emdsl.report.known import SHORT
from emdsl.report.sums import taken_out
from emdsl.report.tidy import NO_MASS, states_as_places

MARK = "mean of:"
READ_TOGETHER = 8  # parameters of one system that are shown one by one

Found = tuple[Expr, Expr] | None  # left-hand and right-hand side


def closed_terms(plan: Plan, names: frozenset[str]) -> list[Term] | None:
    """The expected terms of the joint that hold these parameters, opened about them and nothing else.

    None where an expectation of a closed term is not a moment: then only the opened form is known.
    """
    kinds, out = classes(plan.joint), list[Term]()
    held = (whole for whole in plan.joint.factors if names & x.variables(whole.body))
    for factor in (one for whole in held for one in state_by_state(whole)):
        if names & x.variables(factor.body):
            found = averaged_terms(factor, plan, names, lambda n: ASKED if n in names else REST)
            if found is None:
                return None
            out += [selectors(part, plan.joint, kinds) for part in found]
    return merge(out, plan.expected.symmetry)


def state_by_state(factor: Factor) -> list[Factor]:
    """`[z = k] log(k p)` of two states as `[z = 0] log 0` and `[z = 1] log p`: where a state stands as a number."""
    body = x.rebuild(factor.body, lambda n: at if (at := states_as_places(n)) is not n else None)
    numbers = {n.ix for n in x.walk(body) if isinstance(n, x.Val)}
    own = (g.at for g in factor.gates if isinstance(g.at, Ix) and g.at in numbers and g.at in factor.plates)
    ix = next((i for i in own if i.dim.isdigit() and int(i.dim) <= SHORT), None)
    if ix is None:
        return [factor]
    plates, out = tuple(i for i in factor.plates if i != ix), list[Factor]()
    for k in range(int(ix.dim)):
        at: dict[Ix, Idx] = {ix: k}
        gates = tuple(g for g in (x.substitute(g, at) for g in factor.gates) if isinstance(g, x.Sel))
        masks, body = tuple(x.substitute(e, at) for e in factor.masks), without_mass(x.substitute(factor.body, at))
        body = x.ZERO if NO_MASS in x.terms_of(body) else body
        out += state_by_state(replace(factor, plates=plates, gates=gates, masks=masks, body=body))
    return out


def without_mass(e: Expr) -> Expr:
    """The expression without products that hold log 0, beside which stands the probability of what has no mass."""

    def step(n: Expr) -> Expr | None:
        held = [t for p in (n.factors if isinstance(n, x.Mul) else ()) for t in x.terms_of(p)]
        return x.ZERO if NO_MASS in held else None

    return x.rebuild(e, step)


def averaged_terms(factor: Factor, plan: Plan, names: frozenset[str], side: Callable[[str], str]) -> list[Term] | None:
    """The expected terms of a factor that hold these parameters, opened as the sides of its names say; None where an
    expectation is no moment."""
    same, out = twins(plan), list[Term]()
    for c, factors, sums in opened(factor.body, side):
        if not any(names & x.variables(f) for f in factors):
            continue
        number, rest = x.split_number(x.mul(*factors))
        kept = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        term = settle(Term(c * number, factor.gates, factor.masks + kept, factor.plates + sums))
        averaged = expectation(term, plan.elimination, plan.joint)
        if isinstance(averaged, str) or any(is_covariance(e) for part in averaged for e in part.factors):
            kept_whole = mean_of(term, plan, plan.elimination.parts)
            if kept_whole:
                out += kept_whole
                continue
            if isinstance(averaged, str):
                return None
        assert not isinstance(averaged, str)
        out += averaged
    return [replace(t, factors=tuple(x.rebuild(e, lambda n: _twin(n, same)) for e in t.factors)) for t in out]


def twins(plan: Plan) -> dict[str, tuple[El, tuple[Ix, ...]]]:
    """The probability of the state that a block is given is that of the state's own block, at the places that the
    block's own indices say: `q:b[k, n]` -> `q:z[k, g[n]]`."""
    blocks = {b.name: b for b in plan.elimination.blocks}
    found: dict[str, tuple[El, tuple[Ix, ...]]] = {}
    for b in blocks.values():
        of = b.neighbours[0].of if len(b.neighbours) == 1 == len(b.gates) and not b.states and not b.field else None
        other = blocks.get(of.var) if isinstance(of, El) else None
        if isinstance(of, El) and other is not None and other.latents == (other.name,) and not other.gates:
            own = (*b.gates, *b.home)
            found[Q.of(b.name)] = El(Q.of(other.name), (*b.gates, *of.idx)), own
    return found


def _twin(e: Expr, same: Mapping[str, tuple[El, tuple[Ix, ...]]]) -> Expr | None:
    if not isinstance(e, El) or e.var not in same:
        return None
    twin, own = same[e.var]
    return x.substitute(replace(e, var=twin.var, idx=twin.idx), dict(zip(own, e.idx, strict=True)))


def is_covariance(e: Expr) -> bool:
    """`E[a] E[b] + cov(a, b)` is `E[a b]`."""
    return isinstance(e, El) and e.var in COV


def mean_of(t: Term, plan: Plan, over: Sequence[Part]) -> list[Term]:
    """The term with the mean under q of what holds a latent, unopened: `E[(y - b)^2]`; of several factors of q, over
    these.

    `[z = k] f` has the mean `q(z = k) E[f | z = k]`; the condition is left out where z has a factor of q of its own.
    Nothing where the mean is no moment of continuous latents.
    """
    every = [part.blocks for part in over] or [plan.elimination.blocks]
    latents = {n: b for blocks in every for b in blocks for n in b.latents}
    held = {n for f in t.factors for n in x.variables(f)} & set(latents)
    if not held or any(latents[n].states for n in held):
        return []
    inside = [f for f in t.factors if x.variables(f) & held]
    rest = [f for f in t.factors if f not in inside]
    if any(i in t.ixs and not any(i in x.free(f) for f in (*t.gates, *inside, *rest)) for i in t.ixs):
        return []
    apart = [{*part.latents} for part in plan.elimination.parts]
    each = [(part, [e for e in inside if x.variables(e) & part]) for part in apart]
    if not each or sum(len(own) for _, own in each) > len(inside):  # else a product over factors of q
        each = [({n for part in apart if held & part for n in part} or {*latents}, inside)]
    kept = [_hidden(x.Fn("E", (x.mul(*own), *_given(t, part, plan)))) for part, own in each if own]
    # the discrete latents are averaged with what the mean holds out of their sight, then it is named again
    found = [replace(t, factors=(*rest, *kept))]
    averaged = in_turn(found[0], [[b for b in blocks if b.states] for blocks in every], plan.joint)
    if isinstance(averaged, str) or any(x.variables(g.of) & {*latents} for one in averaged for g in one.gates):
        return []
    return [replace(one, factors=tuple(_shown(f) for f in one.factors)) for one in averaged]


def _given(t: Term, part: Set[str], plan: Plan) -> Iterator[Expr]:
    """The states in which a term stands, of latents that the factor of q has, too, or that none has for itself."""
    others = {n for one in plan.elimination.parts for n in one.latents if n not in part}
    return (g for g in t.gates if not x.variables(g.of) & others)


def _hidden(e: Expr) -> Expr:
    """All names behind a mark, so that nothing is averaged in it."""
    return x.rebuild(e, lambda n: replace(n, var=f"{MARK}{n.var}") if isinstance(n, El) and MARK not in n.var else None)


def _shown(e: Expr) -> Expr:
    return x.rebuild(e, lambda n: replace(n, var=n.var.removeprefix(MARK)) if isinstance(n, El) else None)


def explicit(plan: Plan, update: Update) -> list[tuple[Expr, Expr]]:
    """The update as equations in the model's own variables; none where it is not of a closed kind.

    Of a linear system one for each of its tensors, the others held: `M v = r` where it is no ratio; none for those
    that sum to 0, which it has up to a number.
    """
    if not isinstance(update.rule, Simplex | Spread | Closed | Linear) or len(update.params) > READ_TOGETHER:
        return []
    out = []
    for name in in_data(plan, update):
        terms = closed_terms(plan, frozenset((name,)))
        found = None if terms is None else _by_rule(name, plan, terms, update.rule)
        if found is None:
            return []
        out.append(found)
    return out


def in_data(plan: Plan, update: Update) -> list[str]:
    """The parameters of an update of which such equations tell."""
    centred = {v.name for v in plan.joint.model.variables if v.domain.centred}
    return [n for n in update.params if n not in centred]


def _by_rule(name: str, plan: Plan, terms: Sequence[Term], rule: Simplex | Spread | Closed | Linear) -> Found:
    match rule:
        case Simplex():
            return _simplex(name, plan, terms)
        case Spread():
            return _spread(name, plan, terms, rule)
        case Closed():
            return _closed(name, plan, terms)
        case Linear():
            return _linear(name, plan, terms)


def _functions(name: str, plan: Plan, terms: Sequence[Term]) -> dict[Expr, Expr] | None:
    """Functions of one element with their coefficients."""
    v = plan.joint.model.variable(name)
    found: dict[Expr, Expr] = {}
    for t in terms:
        s = scalar_term(t, v, axes_of(v))
        if s is None:
            return None
        found[s.function] = x.add(found.get(s.function, x.ZERO), s.coefficient)
    return found


def _simplex(name: str, plan: Plan, terms: Sequence[Term]) -> Found:
    found = _functions(name, plan, terms)
    axes = axes_of(plan.joint.model.variable(name))
    if found is None or len(found) != 1:
        return None
    (counts,) = found.values()
    return normalised(name, axes, counts)


def normalised(name: str, axes: tuple[x.Ix, ...], counts: Expr) -> tuple[Expr, Expr]:
    """p = c / sum c."""
    other = x.fresh(axes[-1].dim)
    whole = x.total(other, x.substitute(counts, {axes[-1]: other}))
    return El(name, axes, "positive"), x.mul(counts, x.power(whole, x.num(-1)))


def _spread(name: str, plan: Plan, terms: Sequence[Term], rule: Spread) -> Found:
    v = plan.joint.model.variable(name)
    axes = axes_of(v)
    weight: list[Expr] = []
    scatter: list[Expr] = []
    for t in terms:
        found = matrix_term(t, v, axes)
        if found is None:
            return None
        (weight if found[0] == "logdet" else scatter).append(found[1])
    i, j = axes[-2:]
    turned: dict[Ix, Idx] = {i: j, j: i}
    half = x.mul(x.HALF, x.add(total_of(scatter), x.substitute(total_of(scatter), turned)))
    value = x.mul(half, x.power(total_of(weight), x.num(-1)))
    if rule.precision:
        return x.MatInv(axes[-2], axes[-1], El(name, axes), (axes[-2], axes[-1])), x.neg(value)
    return El(name, axes), value


def _closed(name: str, plan: Plan, terms: Sequence[Term]) -> Found:
    found = _functions(name, plan, terms)
    if not found:
        return None
    leaf = next(e for g in found for e in x.walk(g) if isinstance(e, El) and e.var == name)
    root = solve_score(leaf, tuple(found), tuple(found.values()))
    root = root or direction(leaf, tuple(found), tuple(found.values()))
    if root is None or len(root.candidates) != 1:
        return None
    return leaf, root.value


def _linear(name: str, plan: Plan, terms: Sequence[Term]) -> Found:
    rule = quadratic(terms, (plan.joint.model.variable(name),))
    if rule is None:
        return None
    if rule.second:
        return left_side(rule, 0), rule.right[0]
    slots = rule.columns[0].slots
    return El(name, slots), x.mul(joined(rule.right[0]), x.power(rule.left[0, 0], x.num(-1)))


def joined(e: Expr) -> Expr:
    """`sum_n a[n] b - c sum_n b[n]` as one sum over n, what all its parts hold taken out of them."""
    products = [flatten(term) for term in e.terms] if isinstance(e, x.Add) else []
    lengths = [{i.dim for i in p.sums} if p is not None else set() for p in products]
    shared = set.intersection(*lengths) if lengths else set()
    if not shared:
        return e
    leads = {dim: x.fresh(dim) for dim in sorted(shared)}
    bodies = []
    for p in products:
        assert p is not None
        own = {i.dim: i for i in p.sums}
        if len(own) < len(p.sums):
            return e
        factors = [x.substitute(q, {own[dim]: lead for dim, lead in leads.items()}) for q in p.factors]
        rest = [i for i in p.sums if i.dim not in leads]
        inside = [q for q in factors if set(rest) & set(x.free(q))]
        outside = [q for q in factors if q not in inside]
        bodies.append(x.mul(x.Num(p.number), *outside, x.totals(rest, x.mul(*inside))))
    return x.totals(list(leads.values()), taken_out(bodies))


def with_own(e: Expr, own: Sequence[Ix]) -> Expr:
    """`sum_n y[n] z[n] - sum_n a[n] z[n]` of a vector as `sum_n (y[n] - a[n]) z[n]`: terms that share what holds its
    own index."""
    terms = list(e.terms) if isinstance(e, x.Add) else []
    for k, other in enumerate(terms):
        for n, one in enumerate(terms[:k]):
            both = _sharing(one, other, own)
            if both is not None:
                return with_own(x.add(*terms[:n], both, *terms[n + 1 : k], *terms[k + 1 :]), own)
    return e


def _sharing(one: Expr, other: Expr, own: Sequence[Ix]) -> Expr | None:
    both = x.Add((one, other))
    found = joined(both)
    if found is both:
        found = taken_out([_before_sums(one), _before_sums(other)])
    body, outside = found, list[Expr]()
    while isinstance(body, x.Mul | x.Sum):
        inside = [body.body] if isinstance(body, x.Sum) else [p for p in body.factors if isinstance(p, x.Sum | x.Add)]
        outside += [p for p in x.factors_of(body) if not isinstance(p, x.Sum | x.Add)]
        if len(inside) != 1:
            return None
        body = inside[0]
    ratios = isinstance(body, x.Add) and any(divides(p) for t in body.terms for p in x.factors_of(t))
    shared = any({*own} & {*x.free(p)} for p in outside)
    return found if isinstance(body, x.Add) and shared and not ratios else None


def _before_sums(e: Expr) -> Expr:
    """`sum_p x[p] b[p] z` as `(sum_p x[p] b[p]) z`."""
    flat = flatten(e)
    if flat is None or not flat.sums:
        return e
    inside = [p for p in flat.factors if {*flat.sums} & {*x.free(p)}]
    return x.mul(
        x.Num(flat.number), *(p for p in flat.factors if p not in inside), x.totals(list(flat.sums), x.mul(*inside))
    )
