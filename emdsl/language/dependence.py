"""Who depends on whom: cycles among elements, lags followed one step at a time on small plates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from emdsl.errors import Problem, Span
from emdsl.language.model import Expr
from emdsl.language.scope import Reference, Scope
from emdsl.language.small import Sizes, assignments, reached, value

Element = tuple[str, tuple[int, ...]]
_ELEMENTS = 600
_EDGES = 100_000


def cycle_problems(scope: Scope) -> list[Problem]:
    """One problem for each group of names whose elements depend on each other in a ring."""
    graph: dict[str, set[str]] = defaultdict(set)
    entries = scope.entries
    known = [r for r in scope.references if r.owner and entries.get(r.owner) and entries.get(r.target)]
    for reference in known:
        graph[reference.owner].add(reference.target)
    out = []
    for group in components(graph):
        inner = [r for r in known if r.owner in group and r.target in group]
        if inner:
            problem = _ring(inner, scope)
            if problem is not None:
                out.append(problem)
    return out


def components(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Strongly connected components (Tarjan 1972), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    out: list[set[str]] = []
    for root in graph:
        if root in index:
            continue
        work: list[tuple[str, list[str]]] = [(root, sorted(graph.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        waiting.add(root)
        while work:
            node, rest = work[-1]
            if rest:
                after = rest.pop()
                if after not in index:
                    index[after] = low[after] = len(index)
                    stack.append(after)
                    waiting.add(after)
                    work.append((after, sorted(graph.get(after, ()))))
                elif after in waiting:
                    low[node] = min(low[node], index[after])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                cut = stack.index(node)
                out.append(set(stack[cut:]))
                waiting -= out[-1]
                del stack[cut:]
    return out


def _ring(references: list[Reference], scope: Scope) -> Problem | None:
    for base in (4, 3, 2):
        sizes = Sizes(scope.lengths, base, ragged=base)
        edges = _element_edges(references, scope, sizes)
        if edges is not None:
            return _first_cycle(edges)
    return None


def _element_edges(
    references: list[Reference], scope: Scope, sizes: Sizes
) -> dict[Element, list[tuple[Element, Span]]] | None:
    """Which element depends on which, for the elements of small plates; None where they are too many."""
    out: dict[Element, list[tuple[Element, Span]]] = defaultdict(list)
    for reference in references:
        owner = scope.entries[reference.owner]
        assert owner is not None
        loops = dict(reference.loops)
        if sum(map(len, out.values())) > _EDGES:
            return None
        points = list(assignments(loops, sizes, _ELEMENTS))
        if not points and all(sizes(size) for size in loops.values()):
            return None
        for point in points:
            if reached(reference.guards, point, sizes) is False:
                continue
            here = (reference.owner, tuple(point[p.index] for p in owner.plates))
            for there in _targets(reference, point, scope, sizes):
                out[here].append((there, reference.span))
    return out


def _targets(reference: Reference, point: Mapping[str, int], scope: Scope, sizes: Sizes) -> Iterable[Element]:
    """The elements that a reference means at one point; none where the data decide."""
    target = scope.entries[reference.target]
    assert target is not None
    count = len(target.plates)
    args: tuple[Expr, ...] = reference.args[:count]
    written = [value(a, point, sizes) for a in args]
    if any(w is None for w in written):
        return []
    known = tuple(w for w in written if w is not None)
    if any(not 0 <= w < sizes(p.size) for w, p in zip(known, target.plates, strict=False)):
        return []
    rest = {p.index: p.size for p in target.plates[len(known) :]}
    return [(reference.target, known + tuple(tail.values())) for tail in assignments(rest, sizes, _ELEMENTS)]


def _first_cycle(edges: Mapping[Element, list[tuple[Element, Span]]]) -> Problem | None:
    state: dict[Element, int] = {}  # 1 on the path, 2 done
    for root in list(edges):
        if root in state:
            continue
        path: list[tuple[Element, list[tuple[Element, Span]]]] = [(root, list(edges[root]))]
        state[root] = 1
        while path:
            node, rest = path[-1]
            if not rest:
                state[node] = 2
                path.pop()
                continue
            there, span = rest.pop(0)
            if state.get(there) == 1:
                ring = [e for e, _ in path]
                ring = ring[ring.index(there) :]
                names = [name for name, _ in ring] + [there[0]]
                short = [n for i, n in enumerate(names) if i == 0 or n != names[i - 1] or len(names) == 2]
                shown = " -> ".join(short if len(short) > 1 else names[:2])
                hint = "an element may depend on earlier elements alone" if there[1] else None
                return Problem("E050", f"`{there[0]}` depends on itself: {shown}", span, hint)
            if there not in state:
                state[there] = 1
                path.append((there, list(edges.get(there, ()))))
    return None
