"""Left to right: one order of all nodes in which every plate is a run, with few crossings.

Plates that neither nest nor keep apart are drawn as boxes that overlap. A group of them is possible so where its
parts can be put in a row in which each plate is a run (the consecutive-ones property); else a plate is drawn as more
than one box, as few as can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

Sets = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Leaf:
    key: str


@dataclass(frozen=True)
class Group:
    """Children side by side. `free`: in any order; else only those with no more breaks than `cuts` says."""

    children: tuple[Tree, ...]
    cuts: tuple[frozenset[str], ...] = ()  # of a row of overlapping plates: the members of each

    @property
    def free(self) -> bool:
        return not self.cuts


Tree = Leaf | Group


def leaves(tree: Tree) -> tuple[str, ...]:
    match tree:
        case Leaf(key):
            return (key,)
        case Group(children):
            return tuple(k for c in children for k in leaves(c))


def crosses(a: frozenset[str], b: frozenset[str]) -> bool:
    return bool(a & b) and not a <= b and not b <= a


def tree(keys: Sequence[str], plates: Sets) -> Group:
    """The nodes nested by their plates."""
    names = [p for p in plates if plates[p]]
    children: list[Tree] = []
    placed: set[str] = set()
    for key in keys:
        if key in placed:
            continue
        tops = _cluster(key, names, plates)
        if not tops:
            children.append(Leaf(key))
            placed.add(key)
            continue
        union = frozenset().union(*(plates[p] for p in tops))
        children.append(_one(keys, tops, union, plates))
        placed |= union
    return Group(tuple(children))


def _cluster(key: str, names: Sequence[str], plates: Sets) -> list[str]:
    """The outermost plate around a node, and all that overlap it in turn."""
    around = [p for p in names if key in plates[p]]
    if not around:
        return []
    best: list[str] = []
    size = -1
    for start in around:
        found = [start]
        for p in found:
            found += [q for q in names if q not in found and crosses(plates[p], plates[q])]
        union = frozenset().union(*(plates[p] for p in found))
        if len(union) > size:
            best, size = [p for p in names if p in found], len(union)
    return best


def _one(keys: Sequence[str], tops: Sequence[str], union: frozenset[str], plates: Sets) -> Group:
    if len(tops) == 1:
        rest = {p: s for p, s in plates.items() if p != tops[0] and s <= union}
        return tree([k for k in keys if k in union], rest)
    atoms: dict[tuple[bool, ...], list[str]] = {}
    for k in keys:
        if k in union:
            atoms.setdefault(tuple(k in plates[p] for p in tops), []).append(k)
    parts: list[Tree] = []
    for members in atoms.values():
        inner = {p: s for p, s in plates.items() if p not in tops and s <= frozenset(members)}
        parts.append(tree(members, inner))
    cuts = tuple(plates[p] for p in tops)
    return Group(best_row(parts, cuts), cuts)


def breaks(parts: Sequence[Tree], cuts: Sequence[frozenset[str]]) -> int:
    """How many boxes more than one each plate needs, with these parts in a row."""
    total = 0
    for cut in cuts:
        inside = [leaves(p)[0] in cut for p in parts]
        total += sum(now and not before for before, now in zip([False, *inside], inside, strict=False)) - 1
    return total


def best_row(parts: Sequence[Tree], cuts: Sequence[frozenset[str]]) -> tuple[Tree, ...]:
    """The row with the fewest breaks; beyond seven parts, found by inserting one after the other."""
    if len(parts) <= 7:
        return min(permutations(parts), key=lambda row: breaks(row, cuts))
    row: list[Tree] = []
    for p in parts:
        options = [[*row[:i], p, *row[i:]] for i in range(len(row) + 1)]
        row = min(options, key=lambda r: breaks(r, [c for c in cuts if any(leaves(x)[0] in c for x in r)]))
    return tuple(row)


def neighbours(node: Group) -> list[Group]:
    """The trees one move away: a child put elsewhere among its siblings, here or further down."""
    out: list[Group] = []
    count = len(node.children)
    for i in range(count):
        for j in range(count):
            if i == j or j == i - 1:
                continue
            row = [c for n, c in enumerate(node.children) if n != i]
            row.insert(j, node.children[i])
            if node.free or breaks(row, node.cuts) <= breaks(node.children, node.cuts):
                out.append(Group(tuple(row), node.cuts))
    if count > 2:
        out.append(Group(node.children[::-1], node.cuts))
    for i, child in enumerate(node.children):
        if isinstance(child, Group):
            for changed in neighbours(child):
                out.append(Group((*node.children[:i], changed, *node.children[i + 1 :]), node.cuts))
    return out


def runs(order: Sequence[str], members: frozenset[str]) -> list[tuple[str, ...]]:
    """The runs of a plate's members in an order: one for each box."""
    out: list[list[str]] = []
    inside = False
    for key in order:
        if key in members:
            if not inside:
                out.append([])
            out[-1].append(key)
        inside = key in members
    return [tuple(r) for r in out]
