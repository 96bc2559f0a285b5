"""The step of a derivation that finds a joint Gaussian posterior: its precision and linear term, its moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import is_made
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.fields import Field, Tie, field_role
from emdsl.derive.posteriors.gaussian import Gaussian, polynomial_role
from emdsl.derive.posteriors.roles import Across, Monomial, Role, linear_in, quadratic_in
from emdsl.derive.posteriors.scaled import is_matrix
from emdsl.report import formula as f
from emdsl.report.explicit import joined, with_own
from emdsl.report.formula import Formula
from emdsl.report.incomplete import conditional, grouped, left
from emdsl.report.indices import Names
from emdsl.report.page import Say, Show, in_part, names_of
from emdsl.report.products import second_moments
from emdsl.report.rank_one import products, sharing, sharing_in_sums
from emdsl.report.sums import closed
from emdsl.report.tidy import tidy
from emdsl.report.ties import Entry, along, among_all, element_by_element, tied
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import text
from emdsl.report.vectors import T, tensor

J, H, D = (f.Word(c) for c in "Jhd")


def roles_of(block: Block, terms: Sequence[Term]) -> list[tuple[Role, Term]]:
    """What of J and h each of a block's terms adds to."""
    g, field = block.gaussian, block.field
    assert g is not None
    if field is None:
        found = [polynomial_role(term, block.latents, block.home, g) for term in terms]
    else:
        found = [field_role(term, block.latents, field.homes, g, list(field.ties)) for term in terms]
    return [placed for placed in found if not isinstance(placed, str)]


def gaussian_lines(block: Block, terms: Sequence[tuple[Role, Term]], t: Typeset) -> Iterator[Say | Show]:
    """J and h, entry by entry; `terms` are the block's with their roles, as little opened as they may be."""
    g = block.gaussian
    assert g is not None
    own = [i for table in (g.rows, g.columns) for n in block.latents for i in table[n]]
    names = t.letters.extend({}, (*block.home, *block.gates, *own))
    found: dict[Role, list[Expr]] = {}
    for role, term in terms:
        held = {*block.home, *block.gates, *own}
        body = x.totals([i for i in term.ixs if i not in held], term.body)
        found.setdefault(role, []).append(_unscaled(body, block.scale))
    say = f"{within(block, t, names)} log joint is linear and quadratic, so it is Gaussian, with precision J and linear"
    say += " term h"
    if block.scale is not None:
        scale = names_of(*(n for n in sorted(x.variables(block.scale)) if n != block.name and not is_made(n)))
        say += f". {scale} scales all of its precision; without this factor J and h are"
    yield Say(f"{say}:")
    for k, a in enumerate(block.latents):
        for b in block.latents[k:]:
            parts = found.get(quadratic_in(a, b))
            if parts:
                pair = ((a, block.home, g.rows[a]), (b, block.home, g.columns[b]))
                entries = [_precision(p, a == b, pair[0][2], pair[1][2]) for p in parts]
                yield Show(_entries("J", pair, entries, t, names), part="precision")
    for a in block.latents:
        h = _entries("h", ((a, block.home, g.rows[a]),), found.get(linear_in(a), []), t, names)
        yield Show(h, part="linear")
    yield _in_the_code(len(block.latents) > 1)
    if g.seen:
        factor = _scale(block, t, names)
        yield from in_part("moments", conditional(g.seen, [n for n in block.latents if n not in g.seen], factor))
        yield grouped()
        whose = f.listed([f.at(f.Name(n), *t.places(block.home, names)) for n in block.latents])
        given = t.gates(block, {}, names)
        whose = f.Relation("|", whose, f.Listed(tuple(given))) if given else whose
        yield from in_part("moments", left(g.seen, whose, factor))
        return
    if len(block.latents) == 1 and block.scale is None:
        yield from _moments(block, g, t, names)
        return
    latents = f.listed([t.named(El(n, (*block.home, *g.rows[n])), block.home, names) for n in block.latents])
    yield from _inverted(latents, _scale(block, t, names), matrix=block.scale is not None and is_matrix(block))


def _scale(block: Block, t: Typeset, names: Names) -> Formula | None:
    """What scales all of a precision, where something does."""
    if block.scale is None:
        return None
    if isinstance(block.scale, El) and not is_matrix(block):
        return t.of(block.scale, names)
    own = next(n for n in x.walk(block.scale) if isinstance(n, El) and n.var != block.name)
    return f.at(f.Name(own.var), *t.places(own.idx[:-2], names))


def _inverted(latents: Formula, scale: Formula | None = None, matrix: bool = False) -> Iterator[Say | Show]:
    """Mean, covariance and normaliser from J and h; beside a `scale` of the precision what that takes up."""
    inverse = f.Raised(J, f.Number("-1"))
    square: Formula = f.Times((f.Raised(H, T), inverse, H))
    mean = f.Times((inverse, H))
    if scale is None:
        yield Say("Its mean and its covariance are")
        yield Show(f.Relation("=", f.Mean(latents), mean), part="moments")
        yield Show(f.Relation("=", f.of("cov", latents), inverse), part="moments")
        yield from normaliser(latents, square, [(True, f.of("logdet", J))])
        return
    yield Say("Its mean, its covariance without this factor, and what the factor takes up are")
    taken = f.Times((inverse, H, f.Raised(H, T))) if matrix else square
    for word, value in (("location", mean), ("variance", inverse), ("fit", taken)):
        yield Show(f.Relation("=", f.of(word, latents), value), part="moments")
    fit = f.of("fit", latents)
    if matrix:
        volume = [(True, f.times(D, f.of("log", J))), (True, f.of("logdet", scale))]
        yield from normaliser(latents, f.of("tr", f.Times((scale, fit))), volume)
        return
    yield from normaliser(
        latents, f.times(scale, fit), [(True, f.of("logdet", J)), (True, f.times(D, f.of("log", scale)))]
    )


def normaliser(latents: Formula, square: Formula, volume: Sequence[tuple[bool, Formula]]) -> Iterator[Say | Show]:
    """`A(y) = (square - volume + d log(2 pi)) / 2`."""
    yield Say("Summed out it leaves, beside the terms without it and with d the number of its dimensions,")
    constant = f.times(D, f.of("log", f.times(f.Number("2"), f.Word("pi"))))
    whole = f.Plus(((False, square), *volume, (False, constant)))
    half = f.Over(f.Number("1"), f.Number("2"))
    yield Show(f.Relation("=", f.of("A", latents), f.times(half, whole)), part="normaliser")


def _in_the_code(several: bool) -> Say:
    beside = " of an element with itself, and -J between two" if several else ""
    return Say(f"The code has h and what the log joint has of squares: -J / 2{beside}.")


def _moments(block: Block, g: Gaussian, t: Typeset, names: Names) -> Iterator[Say | Show]:
    """The covariance and the mean of one vector, and what it leaves, in terms of J and h."""
    name = block.latents[0]
    axes = g.rows[name]
    latent = t.named(El(name, (*block.home, *axes)), block.home, names)
    given = tuple(t.gates(block, {}, names))
    precision, linear = f.of("J", latent, latent), f.of("h", latent)
    inverse = f.Raised(precision, f.Number("-1"))
    pair = f.Listed((latent, latent))
    cov = f.of("cov", f.Relation("|", pair, f.Listed(given)) if given else pair)
    yield Say("So its covariance and its mean are")
    yield Show(f.Relation("=", cov, inverse), part="moments")
    mean = f.Mean(latent, f.Listed(given) if given else None)
    yield Show(f.Relation("=", mean, f.Times((cov, linear))), part="moments")
    yield Say("and summed out it leaves, beside the terms without it,")
    size = f.times(*(t.of(x.SizeN(i.dim), names) for i in axes)) if axes else f.Number("1")
    square = f.Times((f.Raised(linear, f.Word("T")) if axes else linear, inverse, linear))
    whole = f.Plus((
        (False, square), (True, f.of("logdet" if axes else "log", precision)),
        (False, f.times(size, f.of("log", f.Times((f.Number("2"), f.Word("pi")))))),
    ))  # fmt: skip
    left = f.of("A", f.Relation("|", latent, f.Listed(given)) if given else latent)
    yield Show(f.Relation("=", left, f.times(f.Over(f.Number("1"), f.Number("2")), whole)), part="normaliser")


def _unscaled(e: Expr, scale: Expr | None) -> Expr:
    """A term without the latent that scales all of a precision; where that is a matrix it has been taken out before."""
    if not isinstance(scale, El):
        return e
    return x.put(e, scale, x.ONE)


def within(block: Block, t: Typeset, names: Names) -> str:
    """Whose log joint it is: `Its`, or `Given z[n] = k its`."""
    gates = t.gates(block, {}, names)
    return f"Given {' and '.join(map(text, gates))} its" if gates else "Its"


def _one_place(n: x.Delta) -> bool:
    """Whether a selector names a place by its number."""
    return isinstance(n.a, int) or isinstance(n.b, int)


def _precision(part: Expr, same: bool, rows: Sequence[Ix], columns: Sequence[Ix]) -> Expr:
    """What a term of the log joint adds to minus its second derivatives, entry by entry.

    `b[0] b[1]` is half an entry at (0, 1) and half at (1, 0): all that names single places is written at both.
    """
    if not same:
        return x.neg(part)
    if not any(isinstance(n, x.Delta) and _one_place(n) for n in x.walk(part)):
        return x.mul(x.num(-2), part)
    turned: dict[Ix, Idx] = {**dict(zip(rows, columns, strict=True)), **dict(zip(columns, rows, strict=True))}
    return x.neg(x.add(part, x.substitute(part, turned)))


def _entries(
    letter: str,
    entries: Sequence[tuple[str, tuple[Idx, ...], Sequence[Ix]]],
    parts: Sequence[Expr],
    t: Typeset,
    names: Names,
) -> Formula:
    """`J(a, b)` or `h(a)`, of (latent, plates, own axes): vectors and matrices where it has such a form."""
    value = second_moments(tidy(x.add(*parts), t.known), t)
    own = tuple(i for _, _, axes in entries for i in axes)
    single = any(isinstance(n, x.Delta) and _one_place(n) for n in x.walk(value))
    value = sharing_in_sums(value, *own) if letter == "h" and single and len(own) == 1 else value
    value = closed(value) if letter == "h" or not single else value
    value = (with_own(value, own) if own else joined(value)) if letter == "h" else value
    if single and len(own) == len(entries):
        value = sharing(value, *own) if letter == "h" else products(value, *own)
    whole_ = tensor(t, value, own, names) if all(len(axes) == 1 for _, _, axes in entries) else None
    bare = whole_ is not None or not set(own) & set(x.free(value))  # the same number for every place of the diagonal
    left = (t.named(El(n, (*home, *axes)), home, names) if bare else t.of(El(n, (*home, *axes)), names)
            for n, home, axes in entries)  # fmt: skip
    return f.Relation("=", f.Apply(f.Word(letter), tuple(left)), t.of(value, names) if whole_ is None else whole_)


def field_lines(block: Block, field: Field, terms: Sequence[tuple[Role, Term]], t: Typeset) -> Iterator[Say | Show]:
    """J and h over all elements: at one element, and where two are tied."""
    g = block.gaussian
    assert g is not None
    ties = list(field.ties)
    found: dict[Role, list[tuple[Expr, Names]]] = {}
    own = [i for table in (g.rows, g.columns) for n in block.latents for i in table[n]]
    for role, term in terms:
        held = (*_places(role, field, ties), *own, *block.gates)
        names = t.letters.extend({}, held)
        inside = x.totals([i for i in term.ixs if i not in held], term.body)
        found.setdefault(role, []).append((inside, names))
    jointly = "" if block.apart else ", so all elements are jointly Gaussian"
    yield Say(
        f"Its log joint is linear and quadratic{jointly}, with precision J and linear term h. J holds what stands "
        "beside pairs of elements that one density ties, and no more:"
    )
    bare = {role: [p for p, _ in parts] for role, parts in found.items()}
    entries = tied(field, bare)
    every = {entry.latents[0] for entry in entries if among_all(entry)}
    for k, a in enumerate(block.latents):
        for b in block.latents[k:]:
            if (parts := found.get(quadratic_in(a, b))) and not (a == b and a in every):
                places = ((field.homes[a], g.rows[a]), (field.homes[b], g.columns[b]))
                own_parts = [(_precision(p, a == b, g.rows[a], g.columns[b]), names) for p, names in parts]
                yield _shown("J", (a, b), places, x.ONE, own_parts, t)
    for entry in entries:
        a, b = entry.latents
        if among_all(entry):
            entry = _of_all_pairs(entry, field.homes[a], bare.get(quadratic_in(a, a), []), g)
        apart = ((entry.places[0], g.rows[a]), (entry.places[1], g.columns[b]))
        free = [i for p in entry.places for i in x.free(El("", p))]
        names = t.letters.extend({}, (*dict.fromkeys(free), *own, *block.gates))
        yield _shown("J", (a, b), apart, x.num(-1), [(p, names) for p in entry.parts], t)
    for a in block.latents:
        if parts := found.get(linear_in(a)):
            yield _shown("h", (a,), ((field.homes[a], g.rows[a]),), x.ONE, parts, t)
    yield _in_the_code(bool(ties) or len(block.latents) > 1)
    yield from _moments_of_a_field(block, field, g, t)


def _of_all_pairs(entry: Entry, home: tuple[Ix, ...], own: Sequence[Expr], g: Gaussian) -> Entry:
    """`J(w[p], w[q]) = [p = q] a[p] + sum_n x[n, p] x[n, q]`: the log joint holds a pair twice, and p beside itself."""
    (a, _), (one, other) = entry.latents, entry.places
    rows, columns = g.rows[a], g.columns[a]
    turned: dict[Ix, Idx] = {**among_all(entry), **dict(zip(rows, columns, strict=True))}
    turned |= dict(zip(columns, rows, strict=True))
    same = [x.Delta(p, q) for p, q in zip(one, other, strict=True) if p != q]
    here: dict[Ix, Idx] = dict(zip(home, one, strict=True))
    beside = [x.neg(x.mul(*same, x.substitute(_precision(p, True, rows, columns), here))) for p in own]
    return replace(entry, parts=(*beside, *entry.parts, *(x.substitute(p, turned) for p in entry.parts)))


def _moments_of_a_field(block: Block, field: Field, g: Gaussian, t: Typeset) -> Iterator[Say | Show]:
    """How its mean and the covariances that are needed are found from J and h."""
    if g.seen:
        yield from in_part("moments", conditional(g.seen, [n for n in block.latents if n not in g.seen]))
        yield Say(
            "found by eliminating elements one after the other; of the covariance only what stands beside an entry of "
            "J is needed. The mean of a cell that was seen is its value, its covariance with any other 0."
        )
        yield from in_part("moments", left(g.seen, f.listed([f.Name(n) for n in block.latents])))
        return
    if field.held:
        yield Say(
            "With what is held J is no precision: its inverse has the covariance in its part beside the latents "
            "themselves, and |det J| is that of the density on what is left free."
        )
    if block.apart:
        yield from element_by_element(t)
        return
    yield from _inverted(f.listed([f.Name(n) for n in block.latents]))
    yield Say(
        "Of the covariance only what stands beside an entry of J is needed, and found by eliminating elements one "
        "after the other."
    )
    if not field.held:
        yield from along(block, field, t)


def _places(role: Role, field: Field, ties: Sequence[Tie]) -> tuple[Ix, ...]:
    match role:
        case Across(tie):
            return ties[tie].ixs
        case Monomial((first, *_)):
            return field.homes[first]
    return ()


def _shown(
    letter: str, latents: tuple[str, ...], places: tuple[tuple[tuple[Idx, ...], tuple[Ix, ...]], ...], scale: Expr,
    parts: Sequence[tuple[Expr, Names]], t: Typeset,
) -> Show:  # fmt: skip
    names = parts[0][1]
    entries = [(n, home, own) for n, (home, own) in zip(latents, places, strict=True)]
    shown = _entries(letter, entries, [x.mul(scale, p) for p, _ in parts], t, names)
    return Show(shown, part="precision" if letter == "J" else "linear")
