"""A long sum or square form that stands more than once in a step gets a letter: `R = ...`, and then `s = R / S_n`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.measure import measure
from emdsl.report.page import SHORT, THEN, Say, Show
from emdsl.report.unicode import text
from emdsl.report.walking import counted, distinct, parts, rebuilt

WORTH = 60  # letters that a name saves, where it is worth one
LONG, MUCH = 24, 200  # letters of two terms that are worth one, and letters saved that are worth one for shorter ones
SHORTEST = 12  # letters of what no letter stands for
TALL = 1500  # letters of a sum within a fraction or brackets that are more than a page: it stands by itself
LETTERS = "RCDFGHMUVWXYZ"

Long = f.Plus | f.Times
Key = frozenset[tuple[bool, Formula]]


def abbreviated(body: Sequence[Say | Show], taken: Collection[str], again: bool = True) -> tuple[Say | Show, ...]:
    """The lines of a step, what is long in it and stands `again` named before the first of them, and what is too tall.

    `taken` are the names of the model: no letter hides one, and an index is none of them.
    """
    shown = [line.formula for line in body if isinstance(line, Show)]
    often = (_repeated(shown) if again else []) or _tall(shown)
    used = {p.text for p in distinct(tuple(shown)) if isinstance(p, f.Name)}
    used |= {c for e in body if isinstance(e, Say) for c in re.findall(r"\b[A-Z]\b", e.text)}  # of a rule
    letters = [c for c in LETTERS if c not in taken and c not in used]
    if not often or len(letters) < len(often):
        return tuple(body)
    named = {_key(e): f.at(f.Name(c), *_free(e, taken)) for e, c in zip(often, letters, strict=False)}

    def step(e: Formula) -> Formula | None:
        if isinstance(e, f.Times):
            at = next((n for n, own in _square_forms(e) if _key(own) in named), None)
            return None if at is None else f.times(*(rebuilt(p, step) for p in _without_form(e, at, named)))
        if not isinstance(e, f.Plus):
            return None
        if (turned := _key(_turned(e))) in named:
            return f.Plus(((True, named[turned]),))
        terms = frozenset(e.terms)
        inside = [k for k in named if k <= terms] if terms not in named else []
        if len(inside) < 2 or len(frozenset.union(*inside)) < sum(map(len, inside)):
            return named.get(terms)
        rest = [t for t in e.terms if not any(t in k for k in inside)]
        return f.Plus((*((False, named[k]) for k in inside), *rest))

    lines = [replace(e, formula=rebuilt(e.formula, step)) if isinstance(e, Show) else e for e in body]
    at = next(n for n, (one, other) in enumerate(zip(lines, body, strict=True)) if one != other)
    before = body[at - 1] if at else None
    at -= isinstance(before, Say) and not before.text.endswith(".")  # what leads to the equation stays beside it
    meant = [Show(f.Relation("=", left, e)) for left, e in zip(named.values(), often, strict=True)]
    told = [said for left, e in zip(named.values(), often, strict=True) for said in _distance(left, e)]
    then = (THEN,) if isinstance(lines[at], Show) else ()
    return (*lines[:at], SHORT, *meant, *told, *then, *lines[at:])


def _key(e: Long) -> Key:
    """The same for a sum in whatever order its terms stand; of a product the product."""
    return frozenset(e.terms if isinstance(e, f.Plus) else ((False, e),))


def _repeated(shown: Sequence[Formula]) -> list[Long]:
    """What is long and stands at least twice, none of it within another, in the order of the first of each."""
    found: dict[Key, tuple[Long, int]] = {}
    for e, times in counted(shown):  # a sum may be one object in thousands of places
        for own in _nameable(e):
            turned = _key(_turned(own)) if isinstance(own, f.Plus) else None
            key = turned if turned is not None and turned in found else _key(own)
            first, before = found.get(key, (own, 0))
            found[key] = first, before + times
    often = [first for first, times in found.values() if _saved(first, times) > WORTH]
    often = [e for e in often if not any(_is_all_of(form, e) for form in often)]
    apart = [e for e in often if not any(e in distinct(o) for o in often if o is not e)]
    return [e for e in apart if not _of_others(_key(e), [_key(o) for o in apart])]


def _tall(shown: Sequence[Formula]) -> list[Long]:
    """Sums that no page holds, of those within one another the outermost; a whole right side is broken over pages."""
    sides = [e.right if isinstance(e, f.Relation) else e for e in shown]
    found = [p for side in sides for p in parts(side)
             if isinstance(p, f.Plus) and not any(p is side for side in sides) and measure(p) > TALL]  # fmt: skip
    first = {_key(p): p for p in reversed(found)}
    return [p for p in reversed(first.values()) if not any(p in distinct(o) for o in found if o is not p)]


def _turned(e: f.Plus) -> f.Plus:
    """The sum with the other sign."""
    return f.Plus(tuple((not minus, t) for minus, t in e.terms))


def _nameable(e: Formula) -> Sequence[Long]:
    """What of a formula itself a letter may stand for: a sum, a square form in a product."""
    match e:
        case f.Plus(terms) if len(terms) > 1:
            return [e]
        case f.Times():
            return [form for _, form in _square_forms(e)]
    return []


def _square_forms(e: f.Times) -> Iterator[tuple[int, f.Times]]:
    """Where `aᵀ M a` stands in a product, and what it is there."""
    for n, (left, _, right) in enumerate(zip(e.factors, e.factors[1:], e.factors[2:], strict=False)):
        if left == f.Raised(right, f.Word("T")):
            yield n, f.Times(e.factors[n : n + 3])


def _is_all_of(form: Long, e: Long) -> bool:
    """Whether a sum is a square form and one term more, `nu + (x - m)ᵀ S⁻¹ (x - m)`: the form has the letter."""
    if not isinstance(e, f.Plus) or len(e.terms) > 2 or not isinstance(form, f.Times):
        return False
    return any(form.factors == t.factors for _, t in e.terms if isinstance(t, f.Times))


def _distance(left: Formula, e: Formula) -> Iterator[Say]:
    """What `(x - m)ᵀ S⁻¹ (x - m)` is called."""
    match e:
        case f.Times((_, f.Raised(_, f.Number("-1")), f.Plus(((False, x), (True, mean))))):
            yield Say(f"{text(left)} is the squared Mahalanobis distance of {text(x)} from {text(mean)}.")


def _without_form(e: f.Times, at: int, named: Mapping[Key, Formula]) -> tuple[Formula, ...]:
    """The factors of a product, the square form at a place by its name."""
    return (*e.factors[:at], named[_key(f.Times(e.factors[at : at + 3]))], *e.factors[at + 3 :])


def _of_others(terms: Key, all_: Sequence[Key]) -> bool:
    """Whether a sum is the sum of others that have letters: `R + C`."""
    smaller = [k for k in all_ if k < terms]
    return len(smaller) > 1 and frozenset.union(*smaller) == terms


def _saved(e: Long, times: int) -> int:
    """The letters that a name saves; two terms, and a product, must be long, and stand often."""
    size = measure(e)
    saved = (times - 1) * size
    terms = [t for _, t in e.terms] if isinstance(e, f.Plus) else []
    often = times > 2 + any(isinstance(t, f.Number) for t in terms)  # `1 - p` is short to the eye
    long = len(terms) > 2 or (often and (size > LONG or (size > SHORTEST and saved > MUCH)))
    return saved if long else 0


def _free(e: Formula, taken: Collection[str]) -> tuple[Formula, ...]:
    """The indices of a formula that no sum in it binds, in the order they are met."""
    bound = {i for p in parts(e) if isinstance(p, f.Big) for i, _ in p.indices}
    held = [p.places if isinstance(p, f.At) else p.numbers for p in parts(e) if isinstance(p, f.At | f.Nth)]
    places = [n for own in held for place in own for n in parts(place)]
    return tuple(dict.fromkeys(n for n in places if isinstance(n, f.Name) and n not in bound and n.text not in taken))
