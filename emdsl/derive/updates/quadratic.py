"""Rule 2: parameters that Q holds quadratically, several tensors jointly, by normal equations.

    Q(v) = 1/2 v' (M + M') v + g' v + const   =>   H v = g,  H = -(M + M')

A common factor without data (a noise precision) cancels; so does a nonsingular matrix that joins
the row slots in every quadratic term and stands at the row slot of every linear one: `(D*Q)`-sized
systems become `Q`-sized ones, with D right-hand sides.

A vector that sums to 0 has `H v = g + l`, where l is one number for all its elements, the multiplier of the sum. Its
elements need one another whatever Q is: that axis is neither batch nor row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import STATISTIC
from emdsl.derive.joint.coefficients import split
from emdsl.derive.joint.terms import Term
from emdsl.language import model as m


@dataclass(frozen=True)
class Column:
    """One tensor's part of the unknown: its name, its batch axes (in the batch's order) and its column axes."""

    name: str
    slots: tuple[Ix, ...]  # the tensor's axes, in its own order, under the names used in H and g


@dataclass(frozen=True)
class Linear:
    """H v = g over `batch`.

    `left[a, b]` has axes batch + columns of a + columns of b (second copy), `right[a]` batch + columns.
    """

    columns: tuple[Column, ...]
    batch: tuple[Ix, ...]
    left: Mapping[tuple[int, int], Expr]
    right: tuple[Expr, ...]
    second: Mapping[Ix, Ix]  # the name of a column axis in the second place
    centred: frozenset[Ix] = frozenset()  # column axes over which the unknown sums to 0, each its tensor's last

    def parameters(self) -> frozenset[str]:
        return frozenset(n for e in (*self.left.values(), *self.right) for n in x.variables(e))

    def diagonal(self, n: int) -> Expr | None:
        """The diagonal of a tensor's own block, where it holds nothing else: levels that do not meet."""
        to = {s: self.second[s] for s in self.columns[n].slots if s in self.second}
        e = self.left.get((n, n), x.ZERO)
        parts = x.terms_of(e)
        ties = [{frozenset((f.a, f.b)) for f in x.factors_of(part) if isinstance(f, x.Delta)} for part in parts]
        if not to or not all(frozenset(pair) in tied for tied in ties for pair in to.items()):
            return None
        return x.substitute(e, {other: s for s, other in to.items()})


def quadratic(terms: Sequence[Term], group: Sequence[m.Variable]) -> Linear | None:
    """The normal equations of a group of tensors, or None where Q is not quadratic in them jointly."""
    names = frozenset(v.name for v in group)
    shapes = {v.name: v.shape for v in group}
    parsed = []
    for t in terms:
        mine, rest = split(t, names)
        atoms: list[El] = []
        for f in mine:
            match f:
                case El():
                    atoms.append(f)
                case x.Pow(El() as e, x.Num(v)) if v == 2:
                    atoms += [e, e]
                case _:
                    return None
        if len(atoms) > 2 or any(not isinstance(i, Ix | int) for a in atoms for i in a.idx):
            return None
        parsed.append(_distinct(t, atoms, rest, shapes))
    quads = [p for p in parsed if len(p[1]) == 2]
    linear = [p for p in parsed if len(p[1]) == 1]
    if not quads:
        return None
    classes = _batches(group, quads)
    everything = _cancel_common(group, quads + linear, classes)
    row = _cancel_row(group, everything, classes)
    if row is not None:
        everything = row[0]
        classes = [*classes, row[1]]
        everything = _cancel_common(group, everything, classes)
    quads = [p for p in everything if len(p[1]) == 2]
    linear = [p for p in everything if len(p[1]) == 1]
    return _assemble(group, quads, linear, classes)


Parsed = tuple[Term, list[El], tuple[Expr, ...]]


def _distinct(t: Term, atoms: list[El], rest: tuple[Expr, ...], shapes: Mapping[str, m.Shape]) -> Parsed:
    """Repeated or fixed places of an atom become dummies tied by a delta."""
    extra: list[Expr] = []
    ixs = list(t.ixs)
    out: list[El] = []
    for a in atoms:
        seen: set[Ix] = set()
        idx: list[Idx] = []
        for place, i in enumerate(a.idx):
            if isinstance(i, Ix) and i not in seen:
                seen.add(i)
                idx.append(i)
            else:
                new = x.fresh(str(shapes[a.var][place]))
                extra.append(x.delta(new, i))
                ixs.append(new)
                idx.append(new)
        out.append(El(a.var, tuple(idx), a.sort))
    return Term(t.coef, (), (), tuple(ixs)), out, (*rest, *extra)


def _is_statistic(f: Expr) -> bool:
    return any(n in STATISTIC for n in x.variables(f))


def _without(rest: tuple[Expr, ...], f: Expr) -> tuple[Expr, ...]:
    at = rest.index(f)
    return rest[:at] + rest[at + 1 :]


Slots = tuple[int, ...]  # one slot per tensor of the group


def _batches(group: Sequence[m.Variable], quads: Sequence[Parsed]) -> list[Slots]:
    """Slots at which both atoms of every quadratic term carry the same index."""
    order = [v.name for v in group]
    found: list[Slots] = []
    for combo in _alignments(group):
        if any(
            set(zip(range(len(order)), combo, strict=True)) & set(zip(range(len(order)), old, strict=True))
            for old in found
        ):
            continue
        if all(a.idx[combo[order.index(a.var)]] == b.idx[combo[order.index(b.var)]] for _, (a, b), _ in quads):
            found.append(combo)
    return found


def _alignments(group: Sequence[m.Variable]) -> list[Slots]:
    """One slot of each tensor, all of one dimension; none over which a tensor sums to 0."""
    shapes = [[str(d) for d in (v.shape[:-1] if v.domain.centred else v.shape)] for v in group]
    return [
        c for c in product(*(range(len(s)) for s in shapes)) if len({s[i] for s, i in zip(shapes, c, strict=True)}) == 1
    ]


def _batch_names(group: Sequence[m.Variable], atom: El, classes: Sequence[Slots]) -> dict[Ix, Idx]:
    """The indices at an atom's batch slots, under the names of the batch."""
    at = [v.name for v in group].index(atom.var)
    out: dict[Ix, Idx] = {}
    for n, c in enumerate(classes):
        i = atom.idx[c[at]]
        if isinstance(i, Ix):
            out[i] = Ix(f"batch{n}", i.dim)
    return out


def _cancel_common(group: Sequence[m.Variable], everything: list[Parsed], classes: Sequence[Slots]) -> list[Parsed]:
    """Positive factors that carry batch indices alone and stand in every term are removed from each."""
    while True:
        spelt = []
        for _, atoms, rest in everything:
            names = _batch_names(group, atoms[0], classes)
            keys = {
                x.alpha(x.substitute(f, names)): f
                for f in rest
                if not _is_statistic(f)
                and not isinstance(f, x.Delta | x.Sel)
                and set(x.free(f)) <= set(names)
                and x.positive(f)
            }
            spelt.append(keys)
        shared = [k for k in spelt[0] if all(k in other for other in spelt[1:])]
        if not shared:
            return everything
        everything = [
            (t, a, _without(rest, keys[shared[0]])) for (t, a, rest), keys in zip(everything, spelt, strict=True)
        ]


def _cancel_row(
    group: Sequence[m.Variable], everything: list[Parsed], classes: Sequence[Slots]
) -> tuple[list[Parsed], Slots] | None:
    """The nonsingular matrix that links the rows of every term, taken out; rows become batch."""
    order = [v.name for v in group]
    for combo in (c for c in _alignments(group) if c not in classes):
        out: list[Parsed] = []
        links: set[Expr] = set()
        for t, atoms, rest in everything:
            rows = tuple(a.idx[combo[order.index(a.var)]] for a in atoms)
            link = _link(rest, rows, _batch_names(group, atoms[0], classes))
            if link is None:
                break
            f, key, replacement = link
            links.add(key)
            kept = tuple(x.substitute(g, replacement) for g in _without(rest, f))
            moved = [El(a.var, tuple(_at(replacement, i) for i in a.idx), a.sort) for a in atoms]
            out.append((Term(t.coef, (), (), tuple(i for i in t.ixs if i not in replacement)), moved, kept))
        else:
            if len(links) == 1:
                return out, combo
    return None


def _at(to: Mapping[Ix, Idx], i: Idx) -> Idx:
    return to.get(i, i) if isinstance(i, Ix) else i


def _link(
    rest: tuple[Expr, ...], rows: tuple[Idx, ...], batch: dict[Ix, Idx]
) -> tuple[Expr, Expr, dict[Ix, Idx]] | None:
    """The matrix that joins the rows of a term, its spelling, and the renaming that removes it."""
    a, b = Ix("row0", ""), Ix("row1", "")
    for f in rest:
        if _is_statistic(f) or not isinstance(f, El | x.MatInv):
            continue
        at = f.at if isinstance(f, x.MatInv) else f.idx[-2:]
        if len(at) != 2 or not all(isinstance(i, Ix) for i in at) or at[0] == at[1]:
            continue
        if isinstance(f, El) and f.sort != "spd":
            continue
        if not set(x.free(f)) <= {*at, *batch}:  # one of several in a sum, as of each class: none comes out
            continue
        if len(rows) == 2 and set(at) == set(rows) and rows[0] != rows[1]:
            first, other = rows
        elif len(rows) == 1 and rows[0] in at:
            first, other = rows[0], at[1] if at[0] == rows[0] else at[0]
        else:
            continue
        assert isinstance(first, Ix) and isinstance(other, Ix)
        others = [g for g in rest if g is not f]
        if any(first in x.free(g) for g in others) or (len(rows) == 2 and any(other in x.free(g) for g in others)):
            continue
        spelt = x.alpha(x.substitute(_symmetric(x.substitute(f, {first: a, other: b})), batch))
        return f, spelt, {other: first}
    return None


def _symmetric(f: Expr) -> Expr:
    if isinstance(f, x.MatInv):
        return x.MatInv(f.i, f.j, f.body, (Ix("row0", ""), Ix("row1", "")))
    assert isinstance(f, El)
    return El(f.var, (*f.idx[:-2], Ix("row0", ""), Ix("row1", "")), f.sort)


def _assemble(
    group: Sequence[m.Variable], quads: Sequence[Parsed], linear: Sequence[Parsed], classes: Sequence[Slots]
) -> Linear:
    order = [v.name for v in group]
    batch = tuple(Ix(f"batch{n}", str(group[0].shape[c[0]])) for n, c in enumerate(classes))
    columns = []
    second: dict[Ix, Ix] = {}
    for g, v in enumerate(group):
        slots = []
        for s, d in enumerate(v.shape):
            at = next((n for n, c in enumerate(classes) if c[g] == s), None)
            ix = batch[at] if at is not None else Ix(f"{v.name}_{s}", str(d))
            if at is None:
                second[ix] = Ix(f"{v.name}_{s}'", str(d))
            slots.append(ix)
        columns.append(Column(v.name, tuple(slots)))
    left: dict[tuple[int, int], list[Expr]] = {}
    right: list[list[Expr]] = [[] for _ in group]
    for t, (a, b), rest in quads:
        for p, q in ((a, b), (b, a)):
            i, j = order.index(p.var), order.index(q.var)
            places = (*columns[i].slots, *(second.get(s, s) for s in columns[j].slots))
            left.setdefault((i, j), []).append(x.neg(_reduced(t, (*p.idx, *q.idx), places, rest)))
    for t, (a,), rest in linear:
        i = order.index(a.var)
        right[i].append(_reduced(t, a.idx, columns[i].slots, rest))
    sums = {place: x.add(*terms) for place, terms in left.items()}
    centred = frozenset(c.slots[-1] for c, v in zip(columns, group, strict=True) if v.domain.centred)
    return Linear(tuple(columns), batch, sums, tuple(x.add(*terms) for terms in right), second, centred)


def _reduced(t: Term, idx: Sequence[Idx], places: Sequence[Ix], rest: Sequence[Expr]) -> Expr:
    to: dict[Ix, Idx] = {}
    extra: list[Expr] = []
    for i, place in zip(idx, places, strict=True):
        if isinstance(i, Ix) and i not in to:
            to[i] = place
        elif to.get(i) != place:  # type: ignore[arg-type]
            extra.append(x.delta(place, to[i] if isinstance(i, Ix) else i))
    body = x.mul(x.Num(t.coef), *(x.substitute(f, to) for f in rest), *extra)
    for i in t.ixs:
        if i not in to:
            body = x.total(i, body)
    return body
