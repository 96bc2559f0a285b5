"""Posterior families, found by their statistics: a block's record is whatever holds all its T_j.

Which statistics a family has is read off its declaration in the prelude, as for a user's family.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import ROW
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.exponential import exponential, functions_in, only
from emdsl.derive.joint.ranges import Range, domain_range
from emdsl.derive.joint.terms import Term
from emdsl.errors import InternalError
from emdsl.families import PRELUDE
from emdsl.language import model as m

FACTORIAL = "log factorial"  # of counts: the base measure of a Multinomial


@dataclass(frozen=True)
class Posterior:
    """A family of the prelude that a block's posterior can be, and what its declaration cannot say.

    `kernel` is a function of `emdsl.runtime.numeric.posteriors`, or of `cut_normals` beside it, from natural
    parameters to log-normaliser and moments; `moments` are all functions of the latent whose expectation it gives.
    `fields` are the family's arguments in `posterior_`. `arguments` are those that are linear in a natural parameter:
    argument, statistic, factor, constant. `neutral` are natural parameters of some proper member, for elements that
    are not there. The statistics, the rank and the support are those of the declaration.
    """

    name: str
    kernel: str
    moments: tuple[str, ...]
    neutral: tuple[float, ...]
    fields: tuple[str, ...] = ()
    plan: str = "exact:conjugate"
    arguments: tuple[tuple[str, str, int, int], ...] = ()
    told: tuple[str, ...] = ()  # the statistics, where the declaration has functions of the whole element besides

    @property
    def gaussian(self) -> bool:
        """Whether the log density is a quadratic: its posteriors may have ends, and a scale that is another latent."""
        return self.plan == "exact:gaussian"

    @property
    def statistics(self) -> tuple[str, ...]:
        """Functions of the latent, in the order in which the kernel takes their natural parameters."""
        return self.told or statistics_of(self.name)

    @property
    def rank(self) -> int:
        return len(PRELUDE()[self.name].x.domain.dims)

    @property
    def ends(self) -> Range:
        found = domain_range(PRELUDE()[self.name].x.domain)
        assert found is not None
        return found

    @property
    def support(self) -> str:
        return _support(PRELUDE()[self.name].x.domain)


POSTERIORS = (
    Posterior(
        "Gamma", "gamma_posterior", ("log", "id", "recip", "square"), (0.0, -1.0), ("shape", "rate"),
        arguments=(("shape", "log", 1, 1), ("rate", "id", -1, 0)),
    ),
    Posterior(
        "InverseGamma", "inverse_gamma_posterior", ("log", "id", "recip"), (-2.0, -1.0), ("shape", "scale"),
        arguments=(("shape", "log", -1, -1), ("scale", "recip", -1, 0)),
    ),
    Posterior(
        "Beta", "beta_posterior", ("log", "log1m", "id", "square"), (0.0, 0.0), ("a", "b"),
        arguments=(("a", "log", 1, 1), ("b", "log1m", 1, 1)),
    ),
    Posterior(
        "Normal", "normal_posterior", ("id", "square", "exp", "var"), (0.0, -1.0), plan="exact:gaussian",
        arguments=(("precision", "square", -2, 0),),
    ),
    Posterior(
        "LogNormal", "log_normal_posterior", ("log", "log^2", "id", "recip", "square"), (0.0, -1.0), ("mean", "var")
    ),
    Posterior("VonMises", "von_mises_posterior", ("cos", "sin"), (0.0, 0.0), ("mean", "concentration")),
    Posterior(
        "InverseGaussian",
        "generalised_inverse_gaussian_posterior",
        ("log", "id", "recip"),
        (0.0, -1.0, -1.0),
        ("p", "a", "b"),
    ),
    Posterior(
        "Dirichlet", "dirichlet_posterior", ("log", "id"), (0.0,), ("concentration",),
        arguments=(("concentration", "log", 1, 1),),
    ),
    Posterior("Wishart", "wishart_posterior", ("logdet", "id", "inv"), (1.0, -0.5), ("df", "scale")),
    Posterior("InverseWishart", "inverse_wishart_posterior", ("logdet", "inv", "id"), (-3.0, -0.5), ("df", "scale")),
)  # fmt: skip
HELD = (  # what is left of a vector's family where some of its cells were seen
    Posterior("Dirichlet", "held_dirichlet_posterior", ("log", "id", "square"), (0.0,), plan="exact:incomplete"),
    Posterior(
        "Multinomial", "held_multinomial_posterior", ("id", "square"), (0.0, -1.0), plan="exact:incomplete",
        told=("id", FACTORIAL),
    ),
)  # fmt: skip
WHOLE = ("logdet", "df")  # of a matrix: one number, without its own axes

# in which order kernels take statistics
ORDER = ("logdet", "log", "log1m", "log^2", "cos", "sin", "id", "square", "recip", "exp", "inv")


@cache
def statistics_of(name: str) -> tuple[str, ...]:
    """The functions of x in a declared density, statistics and base measure: a posterior may have any multiple."""
    family = PRELUDE()[name]
    found = set()
    for e in functions_in(only(exponential(family, 0))):
        leaf = next(n for n in x.walk(e) if isinstance(n, El) and n.var == family.x.name)
        found.add(function_of(e, leaf))
    if not found <= set(ORDER):
        raise InternalError("records", f"a statistic of {name} has no name")
    return tuple(n for n in ORDER if n in found)


@dataclass(frozen=True)
class Multiple:
    """A term of a continuous block: the statistic that it is a multiple of ("" for none), and what is left of it."""

    name: str
    rest: Term


def function_of(e: Expr, leaf: El) -> str | None:
    """The name of an expression as a function of one element: id, square, log, recip, log1m, cos, sin, exp, log^2.

    Of a matrix: id (an entry of it), inv (of its inverse), logdet.
    """
    match e:
        case El() if e == leaf:
            return "id"
        case x.Pow(b, x.Num(v)) if b == leaf and v == 2:
            return "square"
        case x.Pow(b, x.Num(v)) if b == leaf and v == -1:
            return "recip"
        case x.Pow(x.Fn("log", (b,)), x.Num(v)) if b == leaf and v == 2:
            return "log^2"
        case x.Fn("log" | "cos" | "sin" | "exp" as name, (b,)) if b == leaf:
            return name
        case x.Fn("log", (x.Add(ts),)) if len(ts) == 2 and x.neg(leaf) in ts and x.ONE in ts:
            return "log1m"
        case x.Fn("lgamma", (x.Add(ts),)) if len(ts) == 2 and leaf in ts and x.ONE in ts:
            return FACTORIAL
        case x.LogDet(body=b) if b == leaf:
            return "logdet"
        case x.MatInv(body=b) if b == leaf:
            return "inv"
    return None


def slots_of(e: Expr, leaf: El, home: int) -> tuple[Idx, ...]:
    """Where in an element, whose plates are the first `home` indices, a function of it stands."""
    match e:
        case x.LogDet():
            return ()
        case x.MatInv():
            return e.at
    return leaf.idx[home:]


def _of_row(i: Idx) -> bool:
    """Whether an index is that of the outer plate of a ragged one's row, which only the algebra writes so."""
    return isinstance(i, x.DataIx) and isinstance(i.value, El) and i.value.var in ROW


def statistic_of(t: Term, name: str, home: tuple[Ix, ...], own: tuple[Ix, ...]) -> Multiple | str:
    """Which statistic of the latent a placed term multiplies; a text that says why not."""
    mine = [f for f in t.factors if name in x.variables(f)]
    rest = tuple(f for f in t.factors if name not in x.variables(f))
    if not mine:
        return Multiple("", t)
    leaves = [e for f in mine for e in x.walk(f) if isinstance(e, El) and e.var == name]
    if len(set(leaves)) != 1:
        return f"one term holds two elements of {name}"
    leaf = leaves[0]
    whole = x.mul(*mine)
    found = function_of(whole, leaf)
    if found not in ("logdet", "inv") and any(isinstance(i, Ix) and i not in x.free(whole) for i in leaf.idx):
        return f"{show(whole)} holds several elements of {name} together, as no family does"
    if found is None:
        at = (h if _of_row(i) else i for i, h in zip(leaf.idx, (*home, *leaf.idx[len(home) :]), strict=True))
        placed = El(leaf.var, tuple(at), leaf.sort)
        written = x.rebuild(whole, lambda n: placed if n == leaf else None)
        return f"{show(written)} is not a statistic of a family in the table"
    slots = list(slots_of(whole, leaf, len(home)))
    ixs, factors = list(t.ixs), list(rest)
    for n, axis in enumerate(own[: len(slots)]):
        slot = slots[n]
        if isinstance(slot, Ix) and slot in ixs and slot not in own:
            factors = [x.substitute(f, {slot: axis}) for f in factors]
            ixs = [axis if i == slot else i for i in ixs]
            slots = [axis if s == slot else s for s in slots]
        else:
            selector = x.sel(slot.value, axis) if isinstance(slot, x.DataIx) else x.delta(slot, axis)
            factors.append(selector)
            ixs.append(axis)
    return Multiple(found, Term(t.coef, (), tuple(factors), tuple(dict.fromkeys(ixs))))


def recognise(statistics: frozenset[str], rank: int, v: m.Variable, held: bool = False) -> Posterior | str:
    """The first record that holds all these statistics on this support; `held`: where some cells were seen."""
    kind = _support(v.domain)
    for p in HELD if held else POSTERIORS:
        if p.rank == rank and p.support == kind and statistics <= set(p.statistics):
            return p
    named = [spelt(n, v.name) for n in sorted(statistics)]
    several = f"s {', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else f" {named[0]}"
    return f"no family on {v.domain.kind} has the statistic{several}"


def spelt(statistic: str, name: str) -> str:
    """A statistic of a latent in words: `log u`, `u^2`."""
    words = {"id": name, "": name, "square": f"{name}^2", "recip": f"1/{name}", "log": f"log {name}"}
    words |= {"log1m": f"log(1 - {name})", "log^2": f"(log {name})^2"}
    return words.get(statistic, f"{statistic}({name})")


def _support(d: m.Domain) -> str:
    """The kind of a domain, bounds counted: `real(min = 0, max = 1)` is the unit interval."""
    low = d.lower.value if isinstance(d.lower, m.Num) else None
    high = d.upper.value if isinstance(d.upper, m.Num) else None
    if d.kind in ("real", "positive") and low in (0, None) and high == 1 and (low == 0 or d.kind == "positive"):
        return "unit"
    return "positive" if d.kind == "real" and low == 0 and d.upper is None else d.kind
