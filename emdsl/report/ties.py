"""Entries of a field's precision between elements that densities tie, and the sums along a chain of them.

Two entries that say the same of other elements (`J(f[t - 1], f[t - 2])` is `J(f[t], f[t - 1])` a step before) are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.chains import distance
from emdsl.derive.posteriors.fields import Field, Tie
from emdsl.derive.posteriors.roles import Across, Role
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show
from emdsl.report.typeset import Typeset
from emdsl.report.vectors import T

HALF, ONE = f.Over(f.Number("1"), f.Number("2")), f.Number("1")


@dataclass(frozen=True)
class Entry:
    """Two elements' places in the tie's own indices, and what the log joint holds of their product."""

    latents: tuple[str, str]
    places: tuple[tuple[Idx, ...], tuple[Idx, ...]]
    parts: tuple[Expr, ...]


def tied(field: Field, found: Mapping[Role, Sequence[Expr]]) -> list[Entry]:
    """The ties' entries: along an ordered plate the later element at its own index, through data summed over rows."""
    out: dict[object, Entry] = {}
    for k, tie in enumerate(field.ties):
        parts = tuple(found.get(Across(k), ()))
        if not parts:
            continue
        key, entry = _later_first(tie, parts) or _through_data(field, tie, parts) or (k, _as_it_is(tie, parts))
        old = out.get(key)
        if old is None:
            out[key] = entry
            continue
        same = dict(zip(_plain(entry.places), _plain(old.places), strict=True))
        out[key] = replace(old, parts=(*old.parts, *(x.substitute(p, same) for p in entry.parts)))
    return list(out.values())


def _as_it_is(tie: Tie, parts: tuple[Expr, ...]) -> Entry:
    return Entry(tie.latents, tie.places, parts)


def among_all(entry: Entry) -> dict[Ix, Idx]:
    """How two elements of a plate change places, where all pairs of them are tied, each twice; else empty."""
    (a, b), (one, other) = entry.latents, entry.places
    free = all(isinstance(i, Ix) for i in (*one, *other)) and len({*one, *other}) > len(one)
    pairs = list(zip(one, other, strict=True)) if a == b and free else []
    return {i: j for p, q in pairs if p != q for i, j in ((p, q), (q, p)) if isinstance(i, Ix)}


def _plain(places: tuple[tuple[Idx, ...], ...]) -> list[Ix]:
    return list(dict.fromkeys(i for i in x.free(El("", tuple(i for p in places for i in p)))))


def _later_first(tie: Tie, parts: tuple[Expr, ...]) -> tuple[object, Entry] | None:
    """Both elements moved ahead until one stands at the index itself, where both lie along one plate."""
    lags = [distance(p[-1]) if p and isinstance(p[-1], Ix | DataIx) else None for p in tie.places]
    one, other = lags
    if tie.lag is None or one is None or other is None or one[0].dim.endswith("]"):
        return None
    at, ahead = one[0], min(one[1], other[1])
    moved: dict[Ix, Idx] = {at: DataIx(x.add(x.Val(at), x.num(ahead)))}
    if ahead:
        inside = x.fn("lt", x.Val(at), x.add(x.SizeN(at.dim), x.num(-ahead)))
        parts = tuple(x.mul(inside, x.substitute(p, moved)) for p in parts)
    left = [n[1] - ahead for n in (one, other)]
    places = tuple(
        (*p[:-1], at if n == 0 else DataIx(x.add(x.Val(at), x.num(-n)))) for p, n in zip(tie.places, left, strict=True)
    )
    outer = tuple(i.dim if isinstance(i, Ix) else repr(i) for i in tie.places[0][:-1])
    return (tie.latents, outer, at.dim, *left), Entry(tie.latents, (places[0], places[1]), parts)


def _through_data(field: Field, tie: Tie, parts: tuple[Expr, ...]) -> tuple[object, Entry] | None:
    """`u[row[n]]` and `v[column[n]]` meet in all rows n that name both."""
    pointed = [i for p in tie.places for i in p if isinstance(i, DataIx)]
    if not all(p and isinstance(p[-1], DataIx) and isinstance(p[-1].value, El) for p in tie.places):
        return None
    if any(not isinstance(i.value, El) for i in pointed) or tie.latents[0] == tie.latents[1]:
        return None
    homes = [tuple(x.fresh(i.dim) for i in field.homes[n]) for n in tie.latents]
    conditions: list[Expr] = []
    outside: dict[Ix, Idx] = {}
    for home, place in zip(homes, tie.places, strict=True):
        for own, i in zip(home, place, strict=True):
            if isinstance(i, DataIx):
                conditions.append(x.Sel(i.value, own))
            elif isinstance(i, Ix):
                outside[i] = own
            else:
                return None
    over = [i for i in tie.ixs if i not in outside]
    found = tuple(x.substitute(x.totals(over, x.mul(*conditions, p)), outside) for p in parts)
    shared = [tuple(outside[i] if isinstance(i, Ix) and i in outside else own
                    for own, i in zip(home, place, strict=True))
              for home, place in zip(homes, tie.places, strict=True)]  # fmt: skip
    return (tie.latents, tie.places), Entry(tie.latents, (shared[0], shared[1]), found)


# ------------------------------------------------------------------ along a chain


def along(block: Block, field: Field, t: Typeset) -> Iterator[Say | Show]:
    """The sums forward and backward (Durbin and Koopman 2012, section 4.4; Bishop 2006, 13.3), by precisions.

    Of one latent whose elements are each tied to the one before; of any other field element by element.
    """
    chained = [tie for tie in field.ties if tie.lag == 1]
    if len(block.latents) > 1 or len(field.ties) != 1 or len(chained) != 1:
        yield from _one_by_one(t)
        return
    names = t.letters.extend({}, chained[0].ixs)
    now, before = (t.places(p, names) for p in chained[0].places)
    at = chained[0].places[0][-1]
    if len(now) != len(before) or not isinstance(at, Ix):
        yield from _one_by_one(t)
        return
    length = t.range(at, names)[-1][1]
    last = f.Plus(((False, length), (True, ONE)))
    z, y, first, end = (
        f.At(f.Name(block.latents[0]), (*now[:-1], p)) for p in (now[-1], before[-1], f.Number("0"), last)
    )
    yield Say(
        "Its moments are found along the plate, by a Kalman filter in information form and a smoother. Forward, the "
        "elements before one are integrated out; they leave"
    )
    assert block.gaussian is not None
    vectors = bool(block.gaussian.rows[block.latents[0]])
    tie = f.of("J", z, y)
    turned = f.Raised(tie, T) if vectors else tie
    yield from (Show(e, part="forward") for e in forward(z, y, first, turned))
    yield Say("and of A each its share,")
    yield Show(left_over(z, vectors), part="forward")
    yield Say("so that backward, from the last element on,")
    yield from (Show(e, part="backward") for e in backward(z, y, end, turned))


def _letters(t: Typeset) -> tuple[f.Name, f.Name, f.Name]:
    """Letters for elements, none of the model's."""
    free = [c for c in "uvwabcxyzfgopqrstUVW" if c not in t.letters.taken]
    one, other, third = (*free, "u'", "v'", "w'")[:3]
    return f.Name(one), f.Name(other), f.Name(third)


def element_by_element(t: Typeset) -> Iterator[Say | Show]:
    """What is best for the factor of each element, those of the others held."""
    u, a, _ = _letters(t)
    yield Say(
        f"q is a product over elements, each the best given the others: for an element `{u.text}`, with "
        f"ties({u.text}) those that J ties to it,"
    )
    inverse = f.Raised(f.of("J", u, u), f.Number("-1"))
    mean = f.less(f.of("h", u), _tied_to(u, a, f.times(f.of("J", u, a), f.Mean(a))))
    yield Show(f.Relation("=", f.Mean(u), f.times(inverse, mean)), part="moments")
    yield Show(f.Relation("=", f.of("cov", u, u), inverse), part="moments")
    yield Say(
        "Elements are taken one after the other. With m the means and d the number of dimensions, the expected terms "
        "and the entropies add up to"
    )
    m, big = f.Word("m"), f.Word("J")
    square = f.times(HALF, f.Raised(m, T), big, m)
    volumes = f.Big(((u, f.Word("")),), None, f.of("logdet", f.of("J", u, u)))
    constant = f.times(f.Word("d"), f.of("log", f.times(f.Number("2"), f.Word("pi"))))
    rest = f.times(HALF, f.less(constant, volumes))
    whole = f.Plus(((False, f.Times((f.Raised(f.Word("h"), T), m))), (True, square), (False, rest)))
    yield Show(f.Relation("=", f.Word("A"), whole), part="normaliser")


def _one_by_one(t: Typeset) -> Iterator[Say | Show]:
    """What is left of J and h when an element has been eliminated, and moments on the way back."""
    u, a, b = _letters(t)
    yield Say(
        f"Let `{u.text}` be the next element, and ties({u.text}) those after it that J then ties to it. For all "
        f"`{a.text}`, `{b.text}` among these it leaves"
    )
    yield from (Show(e, part="forward") for e in eliminated(u, a, b))
    yield Say(
        f"and back, the last element first, with what J({u.text}, .) and h({u.text}) were when it was eliminated,"
    )
    yield from (Show(e, part="backward") for e in restored(u, a, b))


def _tied_to(u: Formula, a: Formula, body: Formula) -> Formula:
    return f.Big(((a, f.Word("")),), f.Relation("in", a, f.of("ties", u)), body)


def eliminated(u: Formula, a: Formula, b: Formula) -> Iterator[Formula]:
    """A step of Cholesky's elimination, in blocks (George and Liu 1981, section 2.1; Rue and Held 2005, 2.4)."""
    inverse = f.Raised(f.of("J", u, u), f.Number("-1"))
    yield f.Relation("<-", f.of("J", a, b), f.less(f.of("J", a, b), f.times(f.of("J", a, u), inverse, f.of("J", u, b))))
    yield f.Relation("<-", f.of("h", a), f.less(f.of("h", a), f.times(f.of("J", a, u), inverse, f.of("h", u))))


def restored(u: Formula, a: Formula, b: Formula) -> Iterator[Formula]:
    """Means, and the covariances beside entries of J (Takahashi's recursion; Rue and Held 2005, 2.4.2)."""
    inverse = f.Raised(f.of("J", u, u), f.Number("-1"))
    mean = f.less(f.of("h", u), _tied_to(u, a, f.times(f.of("J", u, a), f.Mean(a))))
    yield f.Relation("=", f.Mean(u), f.times(inverse, mean))
    beside = f.times(inverse, _tied_to(u, a, f.times(f.of("J", u, a), f.of("cov", a, b))))
    yield f.Relation("=", f.of("cov", u, b), f.Plus(((True, beside),)))
    own = f.times(inverse, _tied_to(u, a, f.times(f.of("J", u, a), f.of("cov", a, u))))
    yield f.Relation("=", f.of("cov", u, u), f.less(inverse, own))


def _inverse(e: Formula) -> Formula:
    return f.Raised(f.of("Lambda", e), f.Number("-1"))


def forward(z: Formula, y: Formula, first: Formula, turned: Formula) -> Iterator[Formula]:
    tie = f.of("J", z, y)
    yield f.Relation("=", f.of("Lambda", first), f.of("J", first, first))
    yield f.Relation("=", f.of("Lambda", z), f.less(f.of("J", z, z), f.times(tie, _inverse(y), turned)))
    yield f.Relation("=", f.of("nu", first), f.of("h", first))
    yield f.Relation("=", f.of("nu", z), f.less(f.of("h", z), f.times(tie, _inverse(y), f.of("nu", y))))


def backward(z: Formula, y: Formula, end: Formula, turned: Formula) -> Iterator[Formula]:
    tie = f.of("J", z, y)
    yield f.Relation("=", f.Mean(end), f.times(_inverse(end), f.of("nu", end)))
    yield f.Relation("=", f.of("cov", end, end), _inverse(end))
    back = f.less(f.of("nu", y), f.times(turned, f.Mean(z)))
    yield f.Relation("=", f.Mean(y), f.times(_inverse(y), back))
    yield f.Relation("=", f.of("cov", z, y), f.Plus(((True, f.times(f.of("cov", z, z), tie, _inverse(y))),)))
    less = f.times(_inverse(y), turned, f.of("cov", z, y))
    yield f.Relation("=", f.of("cov", y, y), f.less(_inverse(y), less))


def left_over(z: Formula, vectors: bool) -> Formula:
    constant = f.of("log", f.times(f.Number("2"), f.Word("pi")))
    if not vectors:
        square: Formula = f.Over(f.Raised(f.of("nu", z), f.Number("2")), f.of("Lambda", z))
        return f.times(HALF, f.Plus(((False, square), (True, f.of("log", f.of("Lambda", z))), (False, constant))))
    square = f.times(f.Raised(f.of("nu", z), T), _inverse(z), f.of("nu", z))
    volume = f.of("logdet", f.of("Lambda", z))
    return f.times(HALF, f.Plus(((False, square), (True, volume), (False, f.times(f.Word("d"), constant)))))
