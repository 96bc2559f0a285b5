"""Which updates need one another, and in which order the rest can be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emdsl.derive.solve import Update


def components(groups: Sequence[Update]) -> list[list[Update]]:
    """Tarjan's strongly connected components of "needs", dependencies first."""
    owner = {n: k for k, u in enumerate(groups) for n in u.params}
    needs = [sorted({owner[n] for n in u.depends if n in owner and owner[n] != k}) for k, u in enumerate(groups)]
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    out: list[list[Update]] = []

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
            out.append([groups[n] for n in sorted(members)])

    for k in range(len(groups)):
        if k not in index:
            visit(k)
    return out
