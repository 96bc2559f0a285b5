"""Mean-field factors: where a sweep starts from, and sweeps until the bound stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.discrete.networks import Network


def shares_of_ones(shape: Sequence[int], states: int) -> Array:
    """Equal probabilities over the leading `states` axes."""
    return np.full(shape, 1.0 / max(1, int(np.prod(shape[:states]))))


def unit_covariance(shape: Sequence[int], places: Sequence[int]) -> Array:
    """Identity matrices on the axes at `places`, rows before columns; ones where there are none."""
    out = np.zeros(shape)
    half = len(places) // 2
    grid = np.indices(shape, sparse=True)
    same = np.ones(shape, bool)
    for i, j in zip(places[:half], places[half:], strict=True):
        same &= grid[i] == grid[j]
    out[same] = 1.0
    return out


def plain_member(
    kernel: Callable[..., tuple[Any, Mapping[str, Any]]], natural: Sequence[float], shape: Sequence[int],
    wanted: Mapping[str, tuple[str, str]], rng: np.random.Generator, **axis: Any,
) -> dict[str, Array]:  # fmt: skip
    """Moments of a family near its plain member; each element a little off, so that no two are alike."""
    batch = [n for i, n in enumerate(shape) if i not in axis.get("axes", ())]
    near = [n * rng.uniform(0.8, 1.25, batch) if n else rng.uniform(0.0, 0.5, batch) for n in natural]
    if "axes" in axis:  # of matrices: the log-determinant's, then a multiple of the identity
        near[1] = unit_covariance(shape, axis["axes"]) * natural[1]
    _, found = kernel(*near, **axis)
    fields = {"E": found, "argument": found.get("arguments", {})}
    whole = {"logdet", "df"} if "axes" in axis else set()
    return {
        key: np.broadcast_to(fields[kind][name], batch if name in whole else shape).copy()
        for key, (kind, name) in wanted.items()
    }


def from_both_ends(links: Array, there: Array) -> Array:
    """What the links of elements say of each of them, be it at their first end or at their second: elements last.

    links : (elements, elements); there : 1 for those that count. Where each pair is there once, both ends have it.
    """
    kept = np.where(np.asarray(there) != 0, links, 0.0)
    both = ((np.asarray(there) != 0) & (np.asarray(there) != 0).T).any()
    return np.concatenate([kept, kept.T]) if both else kept + kept.T


def put(
    factors: dict[str, Array], given: dict[str, Any], latent: str, key: str, order: Sequence[int], which: Any = None
) -> None:
    """The probabilities of a discrete latent that the user starts from: plates first, states last.

    order : the axes of these in which they are kept, states first. Where equal rows are one element, `which` tells
    them: it starts from their mean.
    """
    if latent not in given:
        return
    value = given.pop(latent)
    if isinstance(value, list | tuple) and value and np.ndim(value[0]) == 2:  # an array for each part of a ragged plate
        value = np.concatenate([v for v in value if len(v)])
    value = np.asarray(value, float)
    shape = factors[key].shape if which is None else (*factors[key].shape[:-1], len(which))
    moved = value.transpose(order) if value.ndim == len(order) else value
    if moved.shape != shape or not np.isfinite(moved).all() or (moved < 0).any():
        wanted = tuple(shape[list(order).index(k)] for k in range(len(order)))
        raise DataError(f"init: {latent} must hold probabilities of shape {wanted}", code="D016")
    if which is not None:
        counts = np.bincount(which, minlength=factors[key].shape[-1])
        moved = np.stack([np.bincount(which, weights=p, minlength=len(counts)) for p in moved]) / counts
    factors[key] = moved / moved.sum(0)


def refuse_factors(given: Mapping[str, Any]) -> None:
    """Starting factors that no rule takes."""
    if given:
        raise DataError(f"init: {', '.join(given)} cannot be started from here: start from the other latents",
                        code="D016")  # fmt: skip


def settled(sweep: Callable[[Any], Mapping[str, Any]], factors: Any, tol: float = 1e-9, most: int = 500) -> Any:
    """Factors after sweeps until the bound moves by less than `tol` of 1 + its size."""
    before = -np.inf
    for _ in range(most):
        found = sweep(factors)
        factors, bound = found["state"], float(found["log_likelihood"])
        if abs(bound - before) < tol * (1 + abs(bound)):
            break
        before = bound
    return factors


def with_points(factors: dict[str, Array], axes: Sequence[tuple[str, int, int]]) -> dict[str, Array]:
    """Factors that a rule of fewer points has made under one of more: those that are added have no probability.

    axes : of each array that lies at points its name, the axis of the points, and how many there are now.
    """
    for name, axis, count in axes:
        if name in factors and (more := count - factors[name].shape[axis]) > 0:
            width = [(0, more if k == axis else 0) for k in range(factors[name].ndim)]
            mode: Any = "constant" if name.startswith("q:") else "edge"
            factors[name] = np.pad(factors[name], width, mode)
    return factors


def as_seen(factors: Mapping[str, Any], latent: str) -> dict[str, Any]:
    """The factors as they were when that of `latent` was made, where others have moved on since."""
    mark = f"{latent} saw "
    return {**factors, **{k.removeprefix(mark): v for k, v in factors.items() if k.startswith(mark)}}


def products(
    network: tuple[Network, Mapping[str, tuple[int, ...]]], clique: int, factors: Mapping[str, Array],
    shape: Sequence[int],
) -> Array:  # fmt: skip
    """Probabilities of a clique whose elements are independent: (*states, *plates), 0 where the clique is not there."""
    net, _ = network
    q = np.concatenate([factors[f"q:{name}"].reshape(k, -1) for name, (k, _) in net.levels.items()], axis=1)
    members = net.members[clique]
    out = np.zeros((*shape[: members.shape[1]], int(np.prod(shape[members.shape[1] :]))))
    out[..., net.rows[clique]] = _product(q, members, out.shape[:-1])
    return out.reshape(shape)


def _product(q: Array, members: Array, states: Sequence[int]) -> Array:
    """q of each row's members multiplied, (*states, rows); of one element in two places, where their states agree."""
    out = np.ones((*states, len(members)))
    grid = np.indices(tuple(states), sparse=True)
    for at in range(members.shape[1]):
        own = q[: states[at], members[:, at]]
        own = own.reshape(*(states[at] if i == at else 1 for i in range(len(states))), len(members))
        for other in range(at):
            agree = (grid[other] == grid[at])[..., None] + 0.0
            own = np.where(members[:, other] == members[:, at], agree, own)
        out *= own
    return out


def networks_apart(
    network: tuple[Network, Mapping[str, tuple[int, ...]]], tables: Sequence[Array], start: Array
) -> tuple[dict[str, Array], float, list[Array]]:
    """One sweep over the elements of one latent, each the best factor given the others': probabilities, bound, cliques.

    tables : (*states, *plates) log weights of each clique; start : (states, *home) probabilities to begin from.
    """
    net, shapes = network
    ((name, (k, n)),) = net.levels.items()
    q = start.reshape(k, n).copy()
    flat = [
        t.reshape(*t.shape[: m.shape[1]], -1)[..., r] for t, m, r in zip(tables, net.members, net.rows, strict=True)
    ]
    where = [_places(m, n) for m in net.members]
    for v in range(n):
        log_q = np.zeros(k)
        for table, members, places in zip(flat, net.members, where, strict=True):
            for rows, own in places[v]:
                log_q += _message(table[..., rows], members[rows], own, q)
        q[:, v] = np.exp(log_q - log_q.max())
        q[:, v] /= q[:, v].sum()
    bound = -float(np.where(q > 0, q * np.log(np.where(q > 0, q, 1.0)), 0.0).sum())
    cliques = []
    for table, weights, members, kept in zip(tables, flat, net.members, net.rows, strict=True):
        p = _product(q, members, weights.shape[:-1])
        bound += float((p * weights).sum())
        whole = np.zeros((*weights.shape[:-1], int(np.prod(table.shape[members.shape[1] :]))))
        whole[..., kept] = p
        cliques.append(whole.reshape(table.shape))
    return {name: q.reshape(k, *shapes[name])}, bound, cliques


def _places(members: Array, count: int) -> list[list[tuple[Array, tuple[int, ...]]]]:
    """For each element: the rows that hold it, by the places at which they do."""
    out: list[list[tuple[Array, tuple[int, ...]]]] = [[] for _ in range(count)]
    width = members.shape[1]
    held = members[:, :, None] == members[:, None, :]  # where a row holds what it holds at a place
    rows, first = np.nonzero(held.argmax(2) == np.arange(width))
    which, pattern = members[rows, first], held[rows, first] @ (1 << np.arange(width)[::-1])
    order = np.lexsort((rows, pattern, which))
    rows, first, which, pattern = (a[order] for a in (rows, first, which, pattern))
    begins = np.flatnonzero(np.diff(which, prepend=-1) | np.diff(pattern, prepend=-1))
    for at, end in zip(begins, [*begins[1:], len(rows)], strict=False):  # none of no rows
        out[which[at]].append((rows[at:end], tuple(np.flatnonzero(held[rows[at], first[at]]).tolist())))
    return out


def _message(table: Array, members: Array, own: tuple[int, ...], q: Array) -> Array:
    """The expected log weight of an element's states: other places averaged, its own all in one state."""
    letters = list(range(members.shape[1]))
    for at in own:
        letters[at] = own[0]
    row = members.shape[1]
    factors: list[Any] = [table, [*letters, row]]
    for at in range(members.shape[1]):
        if at not in own:
            factors += [q[: table.shape[at], members[:, at]], [at, row]]
    return np.asarray(np.einsum(*factors, [own[0]]))
