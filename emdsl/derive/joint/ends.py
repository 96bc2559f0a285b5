"""Where a density ends: supports narrower than a variable's domain, atoms, and the ends that a density reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.scope import Scope
from emdsl.derive.joint.spikes import is_point_mass
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

SIDES = (("lower", "gt"), ("upper", "lt"))
NOTHING = x.fn("log", x.ZERO)  # a density of 0
ENTIRE = frozenset(("exp", "abs", "sin", "cos", "tanh", "softplus", "logistic", "Phi", "log_Phi", "log_bessel_i0"))


def ends_of(d: m.Domain) -> dict[str, Expr]:
    """The finite ends of a kind of domain, "lower" before "upper"."""
    return {side: x.num(int(end)) for (side, _), end in zip(SIDES, d.ends, strict=True) if isfinite(end)}


def ends_reached(body: Expr, v: m.Variable) -> frozenset[str]:
    """The ends of an observed variable's domain at which a log density is finite whatever its arguments are.

    There the density is continued to the end, as in Stan: an Exponential at 0, a Gamma whose shape is the number 1.
    The variate may stand there in no function but those that are finite everywhere, or have a positive argument.
    """
    ends = ends_of(v.domain) if v.domain.interval else {}
    return frozenset(end for end, value in ends.items() if _finite_at(body, v.name, value))


def short_of_ends(
    v: m.Variable, cases: Sequence[tuple[Factor, Expr | None]]
) -> tuple[frozenset[str], list[tuple[Factor, Expr | None]]]:
    """The ends at which the density of some case is finite, and the cases: the others have no mass there.

    So an Exponential beside a LogNormal may have an exact 0, which the LogNormal has not: log 0, as in Stan. Each case
    comes with its value, None for a vector's.
    """
    found = [ends_reached(f.body, v) for f, _ in cases]
    reached = frozenset[str]().union(*found)
    if any(value is None for _, value in cases):
        return (reached.intersection(*found) if found else reached), list(cases)
    out: list[tuple[Factor, Expr | None]] = []
    for (f, value), own in zip(cases, found, strict=True):
        assert value is not None
        ends = ends_of(v.domain)
        short = [x.fn("log", x.fn(op, value, ends[end])) for end, op in SIDES if end in reached - own]
        out.append((replace(f, body=x.add(f.body, *short)), value))
    return reached, out


def _finite_at(body: Expr, name: str, value: Expr) -> bool:
    there = partial(_there, name=name, value=value)
    for e in x.walk(body):
        if name not in x.variables(e):
            continue
        if isinstance(e, x.Pow):
            known = _partial(e) is None or x.positive(there(e.base))
        elif isinstance(e, x.Fn):
            known = e.name in ENTIRE or (_partial(e) is not None and x.positive(there(e.args[0])))
        else:
            known = isinstance(e, El | x.Add | x.Mul | x.Sum)
        if not known:
            return False
    return True


def limits_of(
    v: m.Variable, home: tuple[Idx, ...], event: tuple[Ix, ...], call: m.FamilyCall,
    atoms: tuple[m.Expr, ...], tensors: Tensors, scope: Scope,
) -> list[Expr]:  # fmt: skip
    """`log(1 or 0)` terms of observed data: support narrower than the variable's, and atoms beside a density."""
    if v.kind != "observed" or is_point_mass(call.family) or call.family.x.domain.dims:
        return []
    value = tensors.variate(v, home, event)
    own, declared = call.family.x.domain, v.domain
    out: list[Expr] = []
    if own.kind != declared.kind:
        ends = ends_of(own) if own.interval else {}
        out += [x.fn("log", x.fn(op, value, ends[end])) for end, op in SIDES if end in ends]
        if own.kind == "count":
            out.append(x.fn("log", x.fn("ge", value, x.ZERO)))
    inner = tensors.family_scope(v, home, event, call, scope)
    for bound, op in ((own.lower, "ge"), (own.upper, "le")):
        if bound is not None:
            limit = tensors.element(bound, (), inner)
            names = sorted(n for n in x.variables(limit) if tensors.is_parameter(n))
            if names:
                raise _moving_support(call, names[0], "least" if op == "ge" else "largest")
            out.append(x.fn("log", x.fn(op, value, limit)))
    out += [x.fn("log", x.fn("ne", value, tensors.element(a, event if a.shape else (), scope))) for a in atoms]
    return [t for t in out if t != x.ZERO]


def refuse_moving_support(body: Expr, v: m.Variable, call: m.FamilyCall, tensors: Tensors) -> None:
    """A density that its own formula ends at a parameter, as a bound of its variate would: `log(x > xm)`."""
    for e in x.walk(body) if v.kind == "observed" and not is_point_mass(call.family) else ():
        if isinstance(e, x.Where) and NOTHING in (*x.terms_of(e.then), *x.terms_of(e.other)):
            ends = e.cond
        elif isinstance(e, x.Fn) and e.name == "log" and all(map(x.is_indicator, x.factors_of(e.args[0]))):
            ends = e.args[0]
        else:
            continue
        if names := sorted(n for n in x.variables(ends) if tensors.is_parameter(n)):
            raise _moving_support(call, names[0], "least or the largest")


def _moving_support(call: m.FamilyCall, name: str, end: str) -> ModelError:
    given = f"write `given {name} : real` and hand it over"
    hint = f"the likelihood is highest where the end is the {end} value of the data, without EM: {given}"
    return ModelError(Problem("E101", "the support of this family depends on a parameter", call.span, hint))


def within_support(f: Factor, tensors: Tensors, mixed: bool) -> tuple[Factor, ...]:
    """A branch's factor beside the `log(1 or 0)` terms of its support, which stand alone in a factor of their own.

    In a mixture of families the density is masked by the support: outside, its formula may be any number, or none, and
    no statistic counts it. Where the branch is the only one, data outside have no density whatever the formula says.
    """
    terms = x.terms_of(f.body)
    limits = [t for t in terms if isinstance(t, x.Fn) and t.name == "log" and x.is_indicator(t.args[0])]
    inside = [t.args[0] for t in limits if _of_data(t, tensors) and f.about in x.variables(t)]
    if not mixed or not inside or len(limits) == len(terms):
        return (f,)
    rest = x.add(*(t for t in terms if t not in limits))
    return replace(f, body=rest, masks=(*f.masks, *inside)), replace(f, body=x.add(*limits))


def guarded(f: Factor, tensors: Tensors, v: m.Variable | None = None, reached: frozenset[str] = frozenset()) -> Factor:
    """Functions of data that need not exist where a condition on data fails are 0 there: branches not taken are not.

    reached : the ends of its domain at which the variable v may be seen, so that it need not be positive.
    """
    conditions = [c for c in f.masks if _of_data(c, tensors)]
    ends = [ends_of(v.domain)[end] for end in sorted(reached)] if v is not None else []
    at_ends = [partial(_there, name=v.name, value=value) for value in ends] if v is not None else []
    return replace(f, body=_zero_elsewhere(f.body, conditions, f.plates, tensors, at_ends)) if conditions else f


def _of_data(e: Expr, tensors: Tensors) -> bool:
    names = x.variables(e)
    return bool(names) and all(map(tensors.is_data, names))


def _zero_elsewhere(
    body: Expr, conditions: Sequence[Expr], plates: Sequence[Ix], tensors: Tensors,
    at_ends: Sequence[Callable[[Expr], Expr]],
) -> Expr:  # fmt: skip
    """The expression, with 0 for its partial functions of data where the conditions fail."""
    here = x.mul(*conditions)

    def guard(e: Expr) -> Expr | None:
        argument = _partial(e)
        if argument is None or isinstance(argument, x.Where) or not _of_data(e, tensors):
            return None  # what is chosen by a condition has a value on either side already
        if x.positive(argument) and all(x.positive(there(argument)) for there in at_ends):
            return None
        return x.Where(here, e, x.ZERO) if set(x.free(e)) <= set(plates) else None

    return x.rebuild(body, guard)


def _there(e: Expr, name: str, value: Expr) -> Expr:
    """An expression where a variable has a value."""
    return x.rebuild(e, lambda n: value if isinstance(n, El) and n.var == name else None)


def _partial(e: Expr) -> Expr | None:
    """The argument of a function that need not exist at every number."""
    match e:
        case x.Fn("log" | "log1p" | "logit" | "lgamma" | "digamma", (a,)):
            return a
        case x.Pow(a, x.Num(v)) if v > 0 and v == int(v):
            return None
        case x.Pow(a, _):
            return a
    return None
