"""Which updates need one another, and in which order the rest can be made."""

from __future__ import annotations

from collections.abc import Sequence


def components(needs: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected components of a graph, each after those that it needs.

    `needs[k]` are the nodes that node k needs. Source: Tarjan, SIAM J. Computing 1 (1972) 146.
    """
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    out: list[list[int]] = []

    def visit(k: int) -> None:
        index[k] = low[k] = len(index)
        stack.append(k)
        for n in needs[k]:
            if n not in index:
                visit(n)
                low[k] = min(low[k], low[n])
            elif n in stack:
                low[k] = min(low[k], index[n])
        if low[k] == index[k]:
            members = []
            while True:
                n = stack.pop()
                members.append(n)
                if n == k:
                    break
            out.append(sorted(members))

    for k in range(len(needs)):
        if k not in index:
            visit(k)
    return out
