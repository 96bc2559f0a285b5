"""Continuous latents with a point mass in a branch: `latent b[n] ~ Normal(m, s) if on[n] else Delta(0)`.

    f(b)  =  [on] f(u) + [not on] f(0),      u ~ Normal(m, s) if on, else from a density that holds nothing

Where b is read, its branch is taken: no u stands in a branch that has a point. There u has a density of its own that
holds no parameter and integrates to 1, so that nothing of it is left in any likelihood or statistic. What is told of b
are moments of the right-hand side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.factors import LogJoint
from emdsl.errors import ModelError, Problem, Span
from emdsl.language import model as m
from emdsl.language.transform import names_in

POINTS_OUT = (
    "write out what it stands for where it is read (`l0 + sum(b[s] for s in T if s < t)` for a running sum), "
    "or give it a small noise: `Normal(value, sd)`"
)
ELEMENTS_OUT = (
    "give each of the elements a latent of its own: the least or the largest of `a[n]` and `b[n]`, "
    "`Delta(min(a[n], b[n]))`, is exact"
)
LOOP_OUT = "give each element of a vector a place in a loop: `for j in J: latent a[n, j] ~ ...`, of its own arguments"
LIMIT_OUT = (
    "where it is known which of them it was, or none, see each up to a limit of its own: `Delta(min(a[n], limit[n]))`, "
    "its limit what was seen of the others"
)
LEFT_OUT = "its posterior is exact: leave it out"
Conditions = tuple[tuple[m.Expr, bool], ...]


def leaves(d: m.Dist | None, conds: Conditions = ()) -> Iterator[tuple[Conditions, m.FamilyCall]]:
    """The families of a distribution, each with the conditions that lead to it."""
    if isinstance(d, m.FamilyCall):
        yield conds, d
    elif d is not None:
        yield from leaves(d.then, (*conds, (d.cond, True)))
        yield from leaves(d.other, (*conds, (d.cond, False)))


def refuse_switches(model: m.ModelText, spikes: Collection[str], drawn: set[str], place: Span) -> None:
    """Raises ModelError where latents that are drawn say where another is a point: given that, they never move."""
    for spike in sorted(spikes):
        if told := sorted(drawn & conditions_read(model, spike)):
            text = f"{told[0]} says where {spike} is a point, and given that {spike} is one it never moves"
            raise ModelError([Problem("E120", text, place, LEFT_OUT)], model.source)


def conditions_read(model: m.ModelText, name: str) -> set[str]:
    """The variables that decide between the branches of a variable, through lets."""
    lets = {let.name: names_in(let.body) for let in model.lets}
    found = {
        n for conditions, _ in leaves(model.variable(name).distribution) for c, _ in conditions for n in names_in(c)
    }
    while more := {n for let in found & lets.keys() for n in lets[let]} - found:
        found |= more
    return found


def is_point_mass(family: m.Family) -> bool:
    """A family whose log density is `log(x == value)`."""
    d = family.signatures[0].log_density
    return isinstance(d, m.Call) and d.fn == "log" and isinstance(d.args[0], m.Call) and d.args[0].fn == "eq"


def has_points(v: m.Variable) -> bool:
    """Whether a variable is a point mass in some branch."""
    return any(is_point_mass(call.family) for _, call in leaves(v.distribution))


def with_spikes(model: m.ModelText, discrete: Collection[str]) -> frozenset[str]:
    """The continuous latents that are a point in some branches and have a density in others."""
    out = set()
    for v in model.of_kind("latent"):
        free = v.domain.interval and v.domain.lower is None and v.domain.upper is None
        found = list(leaves(v.distribution))
        points = [(conds, call.args[0][1]) for conds, call in found if is_point_mass(call.family)]
        read = {e.name for conds, _ in points for c, _ in conds for e in m.walk(c) if isinstance(e, m.Var)}
        itself = any(isinstance(e, m.Var) and e.name == v.name for _, value in points for e in m.walk(value))
        if free and not v.array and 0 < len(points) < len(found) and (read & set(discrete) or not itself):
            out.add(v.name)
    return frozenset(out)


def reading(d: m.Dist, density: Callable[[], Expr], value: Callable[[m.Expr], Expr], less: Expr = x.ZERO) -> Expr:
    """What a latent is in each branch, `less` than that: itself where it has a density, else the point."""
    if isinstance(d, m.FamilyCall):
        return x.add(value(d.args[0][1]) if is_point_mass(d.family) else density(), x.neg(less))
    then, other = (lambda branch=b: reading(branch, density, value, less) for b in (d.then, d.other))
    return x.where(value(d.cond), then, other)


def refuse_points(joint: LogJoint, names: Collection[str]) -> None:
    """No kernel moves a continuous latent whose values an equality holds, nor counts that one holds together. Raises
    `ModelError` with its place."""
    real = {v.name for v in joint.model.variables if v.name in names and v.domain.interval}
    for f in joint.factors:
        compared = {n for e in x.walk(f.body) if isinstance(e, x.Fn) and e.name == "eq" for n in _compared(e)}
        held = compared & (real if len(compared & set(names)) < 2 else set(names))
        if held:
            text = f"the posterior of {min(held)} is not tractable: a point mass sets it equal to a number, "
            text += "which no exact method takes here and no draw hits"
            latents = {v.name for v in joint.model.of_kind("latent")}
            whole = any(joint.model.variable(n).domain.dims for n in held)
            way_out = LOOP_OUT if whole else _way_out(f.body, latents)
            raise ModelError(Problem("E112", text, f.span, way_out), joint.model.source)


def _way_out(body: Expr, latents: Collection[str]) -> str:
    """What else to write: of a least or largest, what is exact."""
    chosen = [e for e in x.walk(body) if isinstance(e, x.Fn) and e.name in ("min", "max")]
    found = {e for c in chosen for e in x.walk(c) if isinstance(e, El) and e.var in latents}
    if len(found) > len({e.var for e in found}):
        return ELEMENTS_OUT
    limited = any(not x.variables(a) & set(latents) for c in chosen for a in c.args)
    return LIMIT_OUT if limited and len(found) > 1 else POINTS_OUT


def refuse_apart(joint: LogJoint, groups: Sequence[Collection[str]]) -> None:
    """Nothing moves latents one by one, of which an equality tells each given the others. Raises `ModelError`.

    `groups` are what is drawn together, and alone what is drawn beside it; conditions compare latents as well, but what
    they compare may differ.
    """
    for f in joint.factors:
        points = (e.args[0] for e in x.walk(f.body) if isinstance(e, x.Fn) and e.name == "log")
        held = {n for e in points if isinstance(e, x.Fn) and e.name == "eq" for n in x.variables(e)}
        held |= {n for g in f.gates for n in x.variables(g)} if held else set()
        apart = [min(held & set(g)) for g in groups if held & set(g)]
        if len(apart) > 1:
            text = f"the posterior of {apart[0]} is not tractable: a point mass tells it from {apart[1]}, and each is "
            text += "drawn given the other, so that neither moves"
            hint = "leave it out of `infer`, draw both together, `infer (a, b) by mcmc`, or give it a small noise"
            raise ModelError(Problem("E112", text, f.span, hint), joint.model.source)


def _compared(e: Expr) -> Iterator[str]:
    """Variables whose values are compared as numbers; whether one is above another is no number."""
    for side in e.args if isinstance(e, x.Fn) else ():
        if isinstance(side, El):
            yield side.var
        elif not (isinstance(side, x.Fn) and side.name in x.COMPARISONS):
            yield from x.variables(side)


def of_its_own(v: m.Variable, value: Expr) -> Expr:
    """A log density that holds no parameter, over the domain of a latent."""
    if v.domain.kind == "unit":
        return x.ZERO
    if v.domain.kind == "positive":
        return x.neg(value)
    two_pi = x.add(x.fn("log", x.num(2)), x.fn("log", x.Fn("pi", ())))
    return x.mul(x.Num(Fraction(-1, 2)), x.add(x.power(value, x.num(2)), two_pi))
