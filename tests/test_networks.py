"""Networks of discrete elements against enumeration: random graphs, trees, one element twice in a clique, zeros."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import emdsl
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.discrete.networks import Network, most_probable_network, network_posterior

# of two latents: states and elements of each; cliques as rows of (latent, element)
LEVELS = {"a": (3, 3), "b": (2, 3)}
GRAPHS: dict[str, list[list[list[tuple[str, int]]]]] = {
    "a tree": [[[("a", 0), ("a", 1)], [("a", 2), ("a", 1)]], [[("a", 1), ("b", 0)]], [[("b", 2)], [("a", 0)]]],
    "twice in one": [[[("a", 0), ("a", 1)], [("a", 2), ("a", 2)]], [[("b", 1), ("b", 1)], [("b", 0), ("b", 2)]]],
    "a loop": [[[("a", 0), ("a", 1)], [("a", 1), ("a", 2)], [("a", 2), ("a", 0)]], [[("a", 1), ("b", 1)]]],
    "three together": [[[("a", 0), ("a", 2), ("b", 1)], [("a", 1), ("a", 1), ("b", 0)]], [[("b", 0), ("b", 2)]],
                       [[("a", 0), ("a", 1), ("b", 2)]]],
    "a tree of threes": [[[("a", 0), ("a", 0), ("b", 1)], [("a", 1), ("a", 1), ("b", 0)]]],
    "nothing tied": [[[("a", 0)], [("a", 2)]], [[("b", 1)]]],
}  # fmt: skip


def network(graph: list[list[list[tuple[str, int]]]], masks: bool, rng: Any) -> tuple[Network, list[Any], list[Any]]:
    """The network, tables of random log weights, and the rows of each clique that count."""
    cliques, tables, kept = [], [], []
    for rows in graph:
        latents = [name for name, _ in rows[0]]
        latents = latents if all([n for n, _ in r] == latents for r in rows) else []
        if not latents:  # elements of several latents cannot share a clique's place
            continue
        places = [(n, np.array([r[i][1] for r in rows])) for i, n in enumerate(latents)]
        mask = rng.random(len(rows)) < 0.7 if masks else None
        cliques.append((places, mask))
        values = rng.normal(0, 2, (*(LEVELS[n][0] for n in latents), len(rows)))
        tables.append(np.where(rng.random(values.shape) < 0.1, -1e200, values))
        kept.append([r for i, r in enumerate(rows) if mask is None or mask[i]])
    return Network(LEVELS, cliques), tables, kept


def enumerated(net: Network, graph: Any, tables: Any) -> tuple[float, dict[str, Any], list[Any], dict[str, Any]]:
    cells = [(n, i) for n, (_, count) in LEVELS.items() for i in range(count)]
    logs, states = [], []
    for values in product(*(range(LEVELS[n][0]) for n, _ in cells)):
        at = dict(zip(cells, values, strict=True))
        total = 0.0
        for rows, table, members in zip(graph, tables, net.rows, strict=True):
            total += sum(table[(*(at[c] for c in rows[m]), m)] for m in members)
        logs.append(max(total, -1e300))
        states.append(at)
    value = float(np.logaddexp.reduce(logs))
    p = np.exp(np.array(logs) - value)
    q = {n: np.zeros((k, count)) for n, (k, count) in LEVELS.items()}
    joint = [np.zeros(t.shape) for t in tables]
    for w, at in zip(p, states, strict=True):
        for (n, i), s in at.items():
            q[n][s, i] += w
        for rows, out, members in zip(graph, joint, net.rows, strict=True):
            for m in members:
                out[(*(at[c] for c in rows[m]), m)] += w
    top = states[int(np.argmax(logs))]
    best = {n: np.array([top[n, i] for i in range(count)]) for n, (_, count) in LEVELS.items()}
    return value, q, joint, best


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_configuration(name: str, masks: bool) -> None:
    graph = [rows for rows in GRAPHS[name] if len({tuple(n for n, _ in r) for r in rows}) == 1]
    for seed in range(4 if masks else 12):
        net, tables, _ = network(graph, masks, np.random.default_rng(seed))
        assert net.forest == (name in ("a tree", "twice in one", "nothing tied")) or masks
        value, q, joint, best = enumerated(net, graph, tables)
        assert value > -1e100
        found, log_z, cliques = network_posterior(net, tables)
        assert log_z == pytest.approx(value, rel=1e-11)
        for n in LEVELS:
            np.testing.assert_allclose(found[n], q[n], rtol=1e-9, atol=1e-13)
        for ours, theirs in zip(cliques, joint, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-13)
        path, free = most_probable_network(net, tables), {c for rows in graph for r in rows for c in r}
        for n, (_, count) in LEVELS.items():
            told = [i for i in range(count) if (n, i) in free] if not masks else []
            np.testing.assert_array_equal(path[n][told], best[n][told])


def test_the_order_is_by_fewest_ties() -> None:
    """A star of 40 leaves has width 1; taken from its centre it would have 40, and a table of 2^41."""
    star = [[("a", np.zeros(40, int)), ("b", np.arange(40))]]
    net = Network({"a": (2, 1), "b": (2, 40)}, [(places, None) for places in star])
    assert net.width == 1 and net.forest


def test_a_ring_of_more_elements_than_the_alphabet_has_letters() -> None:
    n, rng = 60, np.random.default_rng(5)
    net = Network({"z": (2, n)}, [([("z", np.arange(n)), ("z", (np.arange(n) + 1) % n)], None)])
    table = rng.normal(0, 1, (2, 2, n))
    q, log_z, _ = network_posterior(net, [table])
    steps = [np.exp(table[..., i]) for i in range(n)]
    around = np.linalg.multi_dot(steps)
    np.testing.assert_allclose(log_z, np.log(np.trace(around)), rtol=1e-13)
    np.testing.assert_allclose(q["z"][:, 0], np.diag(around) / np.trace(around), rtol=1e-12)


def test_a_table_beyond_the_limit_is_refused() -> None:
    """All to all: eliminating one element takes a table over the others. 2^22 entries are the most."""

    def together(n: int) -> Network:
        i, j = np.triu_indices(n, 1)
        return Network({"z": (2, n)}, [([("z", i), ("z", j)], None)])

    assert together(22).width == 21
    with pytest.raises(DataError, match=r"23 of them with 8\.39e"):
        together(23)


RING = """
    model Ring
    param first : simplex[4]
    param next[4] : simplex[4]
    param m[4] : real
    for r in N:
        latent a[r] ~ Categorical(first)
        latent b[r] ~ Categorical(next[a[r]])
        latent c[r] ~ Categorical(next[b[r]])
        latent d[r] ~ Categorical(next[c[r]])
        latent e[r] ~ Categorical(next[d[r]])
        latent f[r] ~ Categorical(next[e[r]])
        latent g[r] ~ Categorical(next[f[r]])
        observed joins[r] ~ Normal(m[g[r]] - m[a[r]], 1)
        observed x[r] ~ Normal(m[d[r]], 1)
"""


def test_many_latents_of_one_row_are_a_network_where_few_meet() -> None:
    """4^7 states of each row, by tables over three latents, the rows side by side; against all configurations."""
    rng, rows = np.random.default_rng(3), 3
    first, step = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4), 4)
    p = {"first": first, "next": step, "m": np.array([-2.0, 0.0, 1.0, 4.0])}
    data = {"joins": rng.normal(size=rows), "x": rng.normal(size=rows)}
    model = emdsl.compile(text=RING)
    assert "tables over at most 3 of the 7" in model.plan["a"].reason
    fitted = model.fitter(max_iter=0, init=p).fit(data)
    z = np.array(list(product(range(4), repeat=7)))
    prior = np.log(first[z[:, 0]]) + np.log(step[z[:, :-1], z[:, 1:]]).sum(1)
    mean, told = p["m"][z], 0.0
    posterior, path = fitted.posterior(data), fitted.predict(data)
    for r in range(rows):
        off = np.square(data["joins"][r] - mean[:, 6] + mean[:, 0]) + np.square(data["x"][r] - mean[:, 3])
        log = prior - off / 2 - np.log(2 * np.pi)
        told += np.logaddexp.reduce(log)
        w = np.exp(log - np.logaddexp.reduce(log))
        for i, name in enumerate("abcdefg"):
            np.testing.assert_allclose(posterior[name][r], np.bincount(z[:, i], w, 4), rtol=1e-10)
            assert path[name][r] == z[log.argmax(), i]
    assert fitted.log_likelihood_ == pytest.approx(told, rel=1e-12)


FAMILIES = """
    model Families
    param q : unit
    param flip : unit
    param pen[3] : unit
    let hardy = [(1 - q)^2, 2 * q * (1 - q), q^2]
    let of = [[[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]], [[0.5, 0.5, 0], [0.25, 0.5, 0.25], [0, 0.5, 0.5]],
                [[0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]]
    for i in P:
        given founder[i] : bool
        given father[i] : index[P]
        given mother[i] : index[P]
    for f in F:
        for i in P:
            latent   g[f, i] ~ Categorical(hardy) if founder[i] else Categorical(of[g[f, father[i]], g[f, mother[i]]])
            latent   home[f, i] ~ Bernoulli(0.3) if i == 0 else Bernoulli(flip if home[f, father[i]] else 1 - flip)
            observed ill[f, i] ~ Bernoulli(pen[g[f, i]])
            observed far[f, i] ~ Normal(home[f, i], 1)
"""


def _family(p: Any, ill: Any, far: Any, father: Any, mother: Any) -> float:
    """log p of one family: all genotypes, and all places, enumerated."""
    q, total = p["q"], np.zeros(2)
    hardy = [(1 - q) ** 2, 2 * q * (1 - q), q**2]
    for g in product(range(3), repeat=4):
        weight = hardy[g[0]] * hardy[g[1]]
        for child in (2, 3):
            a, b = g[father[child]] / 2, g[mother[child]] / 2
            weight *= [(1 - a) * (1 - b), a * (1 - b) + b * (1 - a), a * b][g[child]]
        risk = p["pen"][list(g)]
        total[0] += weight * np.where(np.isnan(ill), 1, np.where(ill == 1, risk, 1 - risk)).prod()
    for z in product(range(2), repeat=4):
        stays = [p["flip"] if z[father[i]] == z[i] else 1 - p["flip"] for i in (1, 2, 3)]
        weight = (0.3 if z[0] else 0.7) * np.prod(stays)
        total[1] += weight * np.exp(-0.5 * (far - np.array(z)) ** 2).prod() / (2 * np.pi) ** 2
    return float(np.log(total).sum())


def test_parts_on_a_plate_of_their_own_are_its_rows() -> None:
    """Families that nothing ties have a score each, and weights: an element may have one parent, or two."""
    rng = np.random.default_rng(4)
    model = emdsl.compile(text=FAMILIES)
    father, mother = np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1])
    ill = np.where(rng.random((3, 4)) < 0.2, np.nan, rng.integers(0, 2, (3, 4)))
    shared = {"founder": np.array([1, 1, 0, 0]), "father": father, "mother": mother}
    data = {"ill": ill, "far": rng.normal(size=(3, 4)), **shared}
    start = {"q": 0.3, "flip": 0.8, "pen": np.array([0.1, 0.4, 0.7])}
    fit = model.fitter(max_iter=0, init=start).fit(data)
    rows = [_family(start, i, f, father, mother) for i, f in zip(data["ill"], data["far"], strict=True)]
    np.testing.assert_allclose(fit.score_samples(data), rows, rtol=1e-11)
    weight = np.array([2, 0, 1])
    weighted = model.fitter(max_iter=2, tol=0, init=start).fit(data, sample_weight=weight)
    often = {n: np.repeat(data[n], weight, axis=0) for n in ("ill", "far")}
    np.testing.assert_allclose(
        weighted.history_, model.fitter(max_iter=2, tol=0, init=start).fit({**shared, **often}).history_, rtol=1e-11
    )


def test_effects_inside_elements_that_are_named_one_by_one() -> None:
    """Which of three effects there are: their moments and the step of the noise over all eight subsets. Elements of a
    written number were a chain, of which every effect read the states of the last one alone."""
    text = """
model Subsets
param s : positive
for p in 3:
    latent g[p] ~ Bernoulli(0.3)
    latent b[p] ~ Normal(0, 1)
for n in N:
    given x[n] : real[3]
    observed y[n] ~ Normal(sum(x[n, p] * g[p] * b[p] for p in 3), s)
"""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3))
    y, s = x @ [1, 0, -1] + 0.7 * rng.normal(size=6), 0.7
    logs, means, squares = [], [], []
    for g in map(np.array, product([0, 1], repeat=3)):
        cov = np.linalg.inv(np.eye(3) + (x * g).T @ (x * g) / s**2)
        mean = cov @ (x * g).T @ y / s**2
        chance = np.where(g == 1, 0.3, 0.7)
        logs.append(multivariate_normal.logpdf(y, cov=(x * g) @ (x * g).T + s**2 * np.eye(6)) + np.log(chance).sum())
        means.append(mean)
        squares.append(((y - x * g @ mean) ** 2).sum() + np.trace((x * g) @ cov @ (x * g).T))
    q = np.exp(logs - logsumexp(logs))
    model = emdsl.compile(text=text)
    here = model.fitter(max_iter=0).fit({"x": x, "y": y}, init={"s": s})
    assert here.log_likelihood_ == pytest.approx(logsumexp(logs), rel=1e-12)
    np.testing.assert_allclose(here.posterior_["b"]["mean"], q @ means, rtol=1e-10)
    step = model.fitter(max_iter=1, tol=0).fit({"x": x, "y": y}, init={"s": s})
    assert step.params_["s"] == pytest.approx(np.sqrt(q @ squares / 6), rel=1e-10)


SWITCHING = """
model Switching
param P[2] : simplex[2]
param mu[2] : real
param phi : real
param s : positive
for t in T:
    given    back[t] : index[T]
    latent   z[t] ~ Categorical([1/2, 1/2]) if t == 0 else Categorical(P[z[BEFORE]])
    observed y[t] ~ Normal(mu[z[t]], s) if t == 0 else Normal(mu[z[t]] + phi * (y[t-1] - mu[z[BEFORE]]), s)
"""


def test_a_network_starts_from_its_data_as_a_chain_does() -> None:
    """Hamilton's autoregression whose rows before are data: its start was at random, and ended 49 below."""
    rng, y, z = np.random.default_rng(7), [-1.0], 0
    levels, stays = np.array([-1.0, 1.5]), np.array([0.9, 0.8])
    for _ in range(119):
        before, z = z, z if rng.random() < stays[z] else 1 - z
        y.append(levels[z] + 0.5 * (y[-1] - levels[before]) + 0.5 * rng.normal())
    data = {"y": np.array(y), "back": np.maximum(np.arange(120) - 1, 0)}
    plain = SWITCHING.replace("    given    back[t] : index[T]\n", "").replace("BEFORE", "t-1")
    chain, network = (emdsl.compile(text=text) for text in (plain, SWITCHING.replace("BEFORE", "back[t]")))
    assert [m.plan["z"].method for m in (chain, network)] == ["exact:chain", "exact:tree"]
    ends = [chain.fitter(seed=0).fit(data["y"]).objective_, network.fitter(seed=0).fit(data).objective_]
    assert ends[1] == pytest.approx(ends[0], abs=1e-3)
