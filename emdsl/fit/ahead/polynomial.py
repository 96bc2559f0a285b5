"""Which numbers have moments that recur: their densities' arguments are polynomials in the numbers that they read."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.families.table import form, record
from emdsl.fit.ahead.future import Future, distance, reads_of
from emdsl.fit.branches import leaves
from emdsl.fit.interpret import read_names
from emdsl.language.model import (
    Branch,
    Call,
    Dist,
    Each,
    Expr,
    FamilyCall,
    If,
    Index,
    Loop,
    ModelText,
    Num,
    Pi,
    SizeOf,
    Stack,
    SumOver,
    Var,
    Variable,
)
from emdsl.language.transform import expressions_of

SUMS = frozenset(
    {"add", "sub", "neg", "mul", "matmul", "transpose", "sum", "cumsum", "outer", "diag", "trace", "quad", "concat"}
)


def is_state(v: Variable) -> bool:
    """Whether one element has few values, which are enumerated."""
    return v.domain.kind in ("category", "bool") and not v.array and not v.domain.dims


def recurring(future: Future, without: frozenset[str] = frozenset()) -> list[Variable]:
    """The variables of the rows ahead whose moments recur, in the order of one row: each after what it reads there.

    States may not read numbers; numbers read states in any way, and numbers as polynomials of degree that is found
    when they are tried. What reads a variable that does not recur does not either.
    """
    model = future.model
    left = {v.name: v for v in future.on_plate(model) if v.name not in without}
    lead = [p.size for p in next(iter(left.values())).plates[: _at(future, next(iter(left.values())))]] if left else []
    held = {v.name for v in model.variables if v.kind in ("latent", "observed")}
    numbers = {v.name for v in future.on_plate(model) if not is_state(v)}
    numbers |= {v.name for v in model.of_kind("latent") if not is_state(v)}
    while True:
        gone = [n for n, v in left.items() if not _recurs(future, v, lead, numbers, held, set(left))]
        if not gone:
            return _in_order(list(left.values()), model)
        for n in gone:
            del left[n]


def _at(future: Future, v: Variable) -> int:
    return next(i for i, p in enumerate(v.plates) if future.goes_on(p))


def _recurs(
    future: Future, v: Variable, lead: Sequence[object], numbers: set[str], held: set[str], left: set[str]
) -> bool:
    at, model = _at(future, v), future.model
    if v.distribution is None or [p.size for p in v.plates[:at]] != lead or any(p.condition for p in v.plates):
        return False
    if is_state(v) and len(v.plates) > at + 1:
        return False
    for name, args, more in reads_of(v, model):
        if name not in held:
            continue
        u = model.variable(name)
        ahead = any(future.goes_on(p) for p in u.plates)
        if more is None or (ahead and name not in left):
            return False
        if ahead and (len(args) <= _at(future, u) or distance(args[_at(future, u)]) is None):
            return False
        if not ahead and u.kind == "latent" and not is_state(u):
            return False
    if is_state(v):
        return not any(_holds(e, numbers, model) for e in expressions_of(v.distribution))
    return all(_known(v, c) for c in leaves(v.distribution)) and _moves(v.distribution, numbers, model)


def _known(v: Variable, call: FamilyCall) -> bool:
    """Whether the moments of a family are known, on the whole of its support."""
    by, known, own = form(call.family, call.signature), record(call.family), len(call.family.x.domain.dims)
    if by is None or known is None or by.given is not None or by.event or own > 1:
        return False
    if v.domain.lower is not None or v.domain.upper is not None or len(v.array) + len(v.domain.dims) > 1:
        return False
    return known.atom or v.domain.kind in ("real", call.family.x.domain.kind)


def _moves(dist: Dist, numbers: set[str], model: ModelText) -> bool:
    if isinstance(dist, Branch):
        return not _holds(dist.cond, numbers, model) and all(_moves(d, numbers, model) for d in (dist.then, dist.other))
    return all(is_polynomial(e, numbers, model) for _, e in dist.args)


def _holds(e: Expr, numbers: set[str], model: ModelText) -> bool:
    return bool(read_names(e, model) & numbers)


def is_polynomial(e: Expr, numbers: set[str], model: ModelText) -> bool:
    """Whether an expression is a polynomial in these variables, by its form."""
    if not _holds(e, numbers, model):
        return True

    def all_of(parts: Sequence[Expr]) -> bool:
        return all(is_polynomial(a, numbers, model) for a in parts)

    match e:
        case Var(name):
            let = next((let for let in model.lets if let.name == name), None)
            return let is None or is_polynomial(let.body, numbers, model)
        case Index(base, args):
            return not any(_holds(a, numbers, model) for a in args) and is_polynomial(base, numbers, model)
        case Call("div", (top, bottom)):
            return not _holds(bottom, numbers, model) and is_polynomial(top, numbers, model)
        case Call("pow", (base, Num(k))):
            return isinstance(k, int) and k >= 0 and is_polynomial(base, numbers, model)
        case Call(fn, args):
            return fn in SUMS and all_of(args)
        case If(cond, then, other):
            return not _holds(cond, numbers, model) and all_of((then, other))
        case Stack(items):
            return all_of(items)
        case Each():
            return is_polynomial(e.body, numbers, model)
        case SumOver():
            return (e.cond is None or not _holds(e.cond, numbers, model)) and is_polynomial(e.body, numbers, model)
        case Num() | Pi() | Loop() | SizeOf():
            return True


def _in_order(variables: Sequence[Variable], model: ModelText) -> list[Variable]:
    """Each after the variables that it reads of its own row; a row reads itself without circles."""
    names = {v.name for v in variables}
    needs = {
        v.name: {
            n for n, args, more in reads_of(v, model) if n in names and n != v.name and more == 0 and _here(args)
        }
        for v in variables
    }  # fmt: skip
    out: list[Variable] = []
    while len(out) < len(variables):
        done = {v.name for v in out}
        ready = [v for v in variables if v.name not in done and needs[v.name] <= done]
        if not ready:
            return []
        out += ready
    return out


def _here(args: Sequence[Expr]) -> bool:
    return all(distance(a) == 0 for a in args if isinstance(a, Loop | Call)) or not args
