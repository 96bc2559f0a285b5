"""Posterior families, found by their statistics: a block's record is whatever holds all its T_j."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from emdsl.derive import expr as x
from emdsl.derive.expr import El, Expr, Ix
from emdsl.derive.terms import Term
from emdsl.language import model as m


@dataclass(frozen=True)
class Posterior:
    """A family that a block's posterior can be.

    `statistics` are functions of the latent, in the order in which `kernel` (a function of
    `emdsl.runtime.posteriors`) takes their natural parameters. `moments` are all functions of the
    latent whose expectation the kernel gives. `fields` are the family's arguments in `posterior_`.
    """

    name: str
    statistics: tuple[str, ...]
    moments: tuple[str, ...]
    kernel: str
    support: frozenset[str]
    fields: tuple[str, ...] = ()
    rank: int = 0
    plan: str = "exact:conjugate"


REAL, POSITIVE = frozenset({"real"}), frozenset({"positive"})
UNIT, SIMPLEX = frozenset({"unit"}), frozenset({"simplex"})

POSTERIORS = (
    Posterior("Gamma", ("log", "id"), ("log", "id", "recip", "square"), "gamma_posterior", POSITIVE,
              ("shape", "rate")),
    Posterior("InverseGamma", ("log", "recip"), ("log", "id", "recip"), "inverse_gamma_posterior", POSITIVE,
              ("shape", "scale")),
    Posterior("Beta", ("log", "log1m"), ("log", "log1m", "id", "square"), "beta_posterior", UNIT, ("a", "b")),
    Posterior("Normal", ("id", "square"), ("id", "square", "exp"), "normal_posterior", REAL, (), 0, "exact:gaussian"),
    Posterior("LogNormal", ("log", "log^2"), ("log", "log^2", "id", "recip", "square"), "log_normal_posterior",
              POSITIVE, ("mean", "var")),
    Posterior("VonMises", ("cos", "sin"), ("cos", "sin"), "von_mises_posterior", REAL,
              ("mean", "concentration")),
    Posterior("InverseGaussian", ("log", "id", "recip"), ("log", "id", "recip"),
              "generalised_inverse_gaussian_posterior", POSITIVE, ("p", "a", "b")),
    Posterior("Dirichlet", ("log",), ("log", "id"), "dirichlet_posterior", SIMPLEX, ("concentration",), 1),
)  # fmt: skip


@dataclass(frozen=True)
class Role:
    """A term of a continuous block: the statistic it multiplies ("" for none) and what is left of it."""

    name: str
    rest: Term


def function_of(e: Expr, leaf: El) -> str | None:
    """The name of an expression as a function of one element: id, square, log, recip, log1m, cos, sin, exp, log^2."""
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
    return None


def statistic_of(t: Term, name: str, home: tuple[Ix, ...], own: tuple[Ix, ...]) -> Role | str:
    """Which statistic of the latent a placed term multiplies; a text that says why not."""
    mine = [f for f in t.factors if name in x.variables(f)]
    rest = tuple(f for f in t.factors if name not in x.variables(f))
    if not mine:
        return Role("", t)
    leaves = [e for f in mine for e in x.walk(f) if isinstance(e, El) and e.var == name]
    if len(set(leaves)) != 1:
        return f"one term holds two elements of {name}"
    leaf = leaves[0]
    whole = x.mul(*mine)
    if any(isinstance(i, Ix) and i not in x.free(whole) for i in leaf.idx):
        return f"{show(whole)} holds all elements of {name} together"
    found = function_of(whole, leaf)
    if found is None:
        return f"{show(whole)} is not a statistic of a family in the table"
    slots = leaf.idx[len(home) :]
    ixs, factors = list(t.ixs), list(rest)
    for slot, axis in zip(slots, own, strict=True):
        if isinstance(slot, Ix) and slot in ixs:
            factors = [x.substitute(f, {slot: axis}) for f in factors]
            ixs = [axis if i == slot else i for i in ixs]
        else:
            selector = x.sel(slot.value, axis) if isinstance(slot, x.DataIx) else x.delta(slot, axis)
            factors.append(selector)
            ixs.append(axis)
    return Role(found, Term(t.coef, (), tuple(factors), tuple(dict.fromkeys(ixs))))


def recognise(statistics: frozenset[str], rank: int, v: m.Variable) -> Posterior | str:
    """The first record that holds all these statistics on this support."""
    kind = _support(v.domain)
    for p in POSTERIORS:
        if statistics <= set(p.statistics) and p.rank == rank and kind in p.support:
            return p
    return f"no family on {v.domain.kind} has the statistics " + ", ".join(sorted(statistics))


def _support(d: m.Domain) -> str:
    """The kind of a domain, bounds counted: `real(min = 0, max = 1)` is the unit interval."""
    low = d.lower.value if isinstance(d.lower, m.Num) else None
    high = d.upper.value if isinstance(d.upper, m.Num) else None
    if d.kind in ("real", "positive") and low in (0, None) and high == 1 and (low == 0 or d.kind == "positive"):
        return "unit"
    return "positive" if d.kind == "real" and low == 0 and d.upper is None else d.kind


def show(e: Expr) -> str:
    """A short text of an expression, in the user's names, for messages."""
    match e:
        case x.Num(v):
            return str(v) if isinstance(v, Fraction) else f"{v:g}"
        case El():
            inner = ", ".join(_index(i) for i in e.idx)
            return f"{e.var}[{inner}]" if inner else e.var
        case x.Val():
            return _index(e.ix)
        case x.SizeN():
            return e.dim
        case x.Sel() | x.Delta():
            return (
                "["
                + (f"{show(e.of)} = {_index(e.at)}" if isinstance(e, x.Sel) else f"{_index(e.a)} = {_index(e.b)}")
                + "]"
            )
        case x.Fn("pi", ()):
            return "pi"
        case x.Fn():
            return f"{e.name}({', '.join(map(show, e.args))})"
        case x.Add():
            return "(" + " + ".join(map(show, e.terms)).replace("+ -", "- ") + ")"
        case x.Mul():
            return " ".join(map(show, e.factors))
        case x.Pow():
            return f"{show(e.base)}^{show(e.exponent)}"
        case x.Sum():
            return f"sum({show(e.body)} for {_index(e.ix)})"
        case x.MatInv():
            return f"inv({show(e.body)})[{_index(e.at[0])}, {_index(e.at[1])}]"
        case x.LogDet():
            return f"logdet({show(e.body)})"
        case x.Where():
            return f"({show(e.then)} if {show(e.cond)} else {show(e.other)})"
        case x.Choose():
            return f"[{', '.join(map(show, e.options))}][{_index(e.at)}]"


def _index(i: x.Idx) -> str:
    if isinstance(i, Ix):
        return i.dim.lower()[0] if i.name.startswith("_") else i.name
    return str(i) if isinstance(i, int) else show(i.value)
