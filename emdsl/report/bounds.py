"""What several conditions on one number come to: `[y >= 1] [y >= 2]` is `[y >= 2]`, of a whole y `[y >= 2] [y < 3]`
is `[y = 2]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import POSITION

Whole = Mapping[str, int | None]  # data that are whole numbers from 0 on, with how many there are where that is known
Said = tuple[str, Expr, Fraction]
OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


def place(e: Expr) -> bool:
    """Whether a number is where an element stands: it is not below 0."""
    return isinstance(e, x.Val) or (isinstance(e, El) and e.var in POSITION)


def bounded(factors: Sequence[Expr], whole: Whole) -> list[Expr]:
    """The factors, with one condition for all that bound a number from one side; in the order of the first of each."""
    groups: dict[Expr, list[Expr]] = {}
    for p in factors:
        if (said := _said(p)) is not None:
            groups.setdefault(said[1], []).append(p)
    out = _of_two(factors)
    for a, own in groups.items():
        if len(own) < 2:
            continue
        at = out.index(own[0])
        out = [p for p in out if p not in own]
        out[at:at] = _together(a, own, whole)
    return out


SIGNS = {"lt": {-1}, "le": {-1, 0}, "eq": {0}, "ne": {-1, 1}, "ge": {0, 1}, "gt": {1}}  # of what a difference has


def _of_two(factors: Sequence[Expr]) -> list[Expr]:
    """Conditions on the same two numbers as one: `[t >= s] [t != s]` is `[t > s]`."""
    out: list[Expr] = []
    found: dict[tuple[Expr, Expr], tuple[int, set[int]]] = {}
    for p in factors:
        inner, turned = (p.args[0], True) if isinstance(p, x.Fn) and p.name == "not" else (p, False)
        match inner:
            case x.Fn(name, (a, b)) if name in SIGNS and not isinstance(b, x.Num):
                signs = {-1, 0, 1} - SIGNS[name] if turned else SIGNS[name]
                at, before = found.get((a, b), (len(out), {-1, 0, 1}))
                both = signs & before
                named = next((op for op, own in SIGNS.items() if own == both), None)
                if named is not None and (a, b) in found:
                    out[at] = x.fn("not", x.fn("eq", a, b)) if named == "ne" else x.fn(named, a, b)
                    found[a, b] = at, both
                    continue
                if (a, b) not in found:
                    found[a, b] = at, both
        out.append(p)
    return out


def only(e: Expr, whole: Whole) -> Expr:
    """`[y < 1]` of a whole number from 0 on as `[y = 0]`."""
    said = _said(e)
    if said is None or not isinstance(said[1], El):
        return e
    found = _together(said[1], [e], whole)
    return found[0] if len(found) == 1 and isinstance(p := found[0], x.Fn) and p.name == "eq" else e


def _together(a: Expr, own: list[Expr], whole: Whole) -> list[Expr]:
    said = [s for p in own if (s := _said(p)) is not None]
    counted = place(a) or (isinstance(a, El) and a.var in whole)
    if counted and all(v.denominator == 1 for _, _, v in said):
        most = whole.get(a.var) if isinstance(a, El) else None
        return _whole(a, [(op, int(v)) for op, _, v in said], most) or own
    return [p for n, p in enumerate(own) if not any(_implies(o, said[n], k < n) for k, o in enumerate(said) if k != n)]


def _said(p: Expr) -> Said | None:
    """A comparison with a number: what it says of which expression."""
    match p:
        case x.Fn("not", (x.Fn(name, (a, x.Num(Fraction() as v))),)) if name in OPPOSITE:
            return OPPOSITE[name], a, v
        case x.Fn(name, (a, x.Num(Fraction() as v))) if name in OPPOSITE:
            return name, a, v
    return None


def _implies(one: Said, other: Said, first: bool) -> bool:
    """Whether the one makes the other needless; of two that say the same, the `first`."""
    (p, _, v), (q, _, w) = one, other
    if (p, v) == (q, w):
        return first
    match q:
        case "ne":
            return (p == "eq" and v != w) or (p in ("gt", "lt") and v == w) or _beyond(p, v, w)
        case "ge" | "gt":
            return p in ("ge", "gt", "eq") and (v > w or (v == w and (q == "ge" or p == "gt")))
        case "le" | "lt":
            return p in ("le", "lt", "eq") and (v < w or (v == w and (q == "le" or p == "lt")))
    return False


def _beyond(p: str, v: Fraction, w: Fraction) -> bool:
    """Whether w is no value that the bound lets pass."""
    return (p in ("ge", "gt") and w < v) or (p in ("le", "lt") and w > v)


def _whole(a: Expr, said: list[tuple[str, int]], levels: int | None) -> list[Expr]:
    """Conditions on a whole number from 0 on; nothing where none is left that can hold."""
    low, high = 0, levels - 1 if levels is not None else None
    last = high
    for op, v in said:
        if op in ("eq", "ge", "gt"):
            low = max(low, v + (op == "gt"))
        if op in ("eq", "le", "lt"):
            high = v - (op == "lt") if high is None else min(high, v - (op == "lt"))
    gone = {v for op, v in said if op == "ne"}
    while low in gone:
        low += 1
    while high is not None and high in gone:
        high -= 1
    if high is not None and low > high:
        return []
    if low == high:
        return [x.fn("eq", a, x.num(low))]
    first = x.fn("not", x.fn("eq", a, x.num(0))) if place(a) and low == 1 else x.fn("ge", a, x.num(low))
    return [
        *([first] if low > 0 else []),
        *([x.fn("lt", a, x.num(high + 1))] if high is not None and high != last else []),
        *(x.fn("not", x.fn("eq", a, x.num(v))) for v in sorted(gone) if v > low and (high is None or v < high)),
    ]
