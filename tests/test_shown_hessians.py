"""The gradients and Hessians that a derivation shows, read from its JSON, against differences of the Q it shows.

Statistics are letters there: the equations hold whatever their values are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from gallery import written
from trees import defined, value

from emdsl.report.derivation import Derivation

SIZES = {"N": 4, "P": 2, "K": 3, "I": 4, "J": 2}
# The model, the shapes of what Q holds; S before a statistic's name.
MODELS = {
    "Poisson regression": (
        """param beta : real[P]
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Poisson(exp(x[n] @ beta))
""",
        {"beta": "P", "x": "NP", "S y_x": "P"},
    ),
    "probit regression": (
        """param beta : real[P]
for n in N:
    given x[n] : real[P]
    observed z[n] ~ Bernoulli(Phi(x[n] @ beta))
""",
        {"beta": "P", "x": "NP", "z": "N"},
    ),
    "multinomial logit": (
        """param W[K] : real[P]
for n in N:
    given x[n] : real[P]
    observed y[n] ~ Categorical(logits = W @ x[n])
""",
        {"W": "KP", "x": "NP", "S x_y": "KP"},
    ),
    "negative binomial": (
        """param m : unit
param r : positive
for n in N:
    observed u[n] ~ NegativeBinomial(r, m)
""",
        {"m": "", "r": "", "u": "N", "S n_u": "", "S u": ""},
    ),
    "item response, abilities given": (
        """param a[J] : positive
param b[J] : real
for i in I:
    given t[i] : real
    for j in J:
        observed y[i, j] ~ Bernoulli(logistic(a[j] * t[i] - b[j]))
""",
        {"a": "J", "b": "J", "t": "I", "S y_t": "J", "S y": "J"},
    ),
    "Student's t by class": (
        """param mu[K] : real
param s : positive
for n in N:
    latent z[n] ~ Categorical(ones(K) / K)
    observed y[n] ~ StudentT(4, mu[z[n]], s)
""",
        {"mu": "K", "s": "", "y": "N", "q": "NK", "S n_y": ""},
    ),
    "Weibull, censored, by class": (
        """param form[K] : positive
param life[K] : positive
for n in N:
    given    until[n] : positive
    latent   z[n] ~ Categorical(ones(K) / K)
    latent   t[n] ~ Weibull(form[z[n]], life[z[n]])
    observed y[n] ~ Delta(min(t[n], until[n]))
""",
        {"form": "K", "life": "K", "until": "N", "y": "N", "q": "NK", "S z_n_y": "K", "S z_n_y_log_until_y": "K"},
    ),
    "Dirichlet": (
        """param alpha[K] : positive
for n in N:
    observed p[n] : simplex[K] ~ Dirichlet(alpha)
""",
        {"alpha": "K", "S n_p": "", "S n_p_log_p": "K"},
    ),
}


def moved(at: Mapping[str, Any], name: str, place: tuple[int, ...], by: float) -> dict[str, Any]:
    new = np.array(at[name], float)
    new[place] += by
    return {**at, name: new}


def slope(f: Any, sides: list[tuple[str, tuple[int, ...]]], at: Mapping[str, Any]) -> float:
    """Central differences of f, once by each of `sides`."""
    if not sides:
        return float(f(at))
    (name, place), *rest = sides
    h = 1e-3 if len(sides) + len(rest) > 1 else 1e-4
    up, down, up2, down2 = (slope(f, rest, moved(at, name, place, k * h)) for k in (1, -1, 2, -2))
    return (8 * (up - down) - (up2 - down2)) / (12 * h)  # of fourth order


def entries(
    tree: Mapping[str, Any], at: Mapping[str, Any]
) -> Iterator[tuple[float, list[tuple[str, tuple[int, ...]]]]]:
    """Each number of a shown slope, beside what it is by."""
    left = tree["left"]
    ways = [left["by"]] if left["order"] == 1 else [left["by"], left.get("other") or left["by"]]
    bases = [w["base"]["text"] if w["kind"] == "at" else w["text"] for w in ways]
    placed = [[p["text"] for p in w.get("places", ())] for w in ways]
    names = sorted({n for p in placed for n in p})
    spans = [range(SIZES[n.rstrip("'").upper()]) for n in names]
    for point in product(*spans):
        here = dict(zip(names, point, strict=True))
        got = np.asarray(value(tree["right"], {**at, **here}))
        own = [np.ndindex(np.shape(at[b])[len(p) :]) for b, p in zip(bases, placed, strict=True)]
        wanted = list(product(*own))
        assert got.size == len(wanted)
        for number, rest in zip(got.ravel(), wanted, strict=True):
            yield (
                float(number),
                [(b, (*(here[n] for n in p), *r)) for b, p, r in zip(bases, placed, rest, strict=True)],
            )


@pytest.mark.parametrize("name", MODELS)
def test_shown_gradients_and_hessians_are_the_slopes_of_the_shown_q(name: str) -> None:
    text, shapes = MODELS[name]
    rng = np.random.default_rng(3)
    at = SIZES | {n: rng.uniform(0.3, 0.9, [SIZES[d] for d in s]) for n, s in shapes.items()}
    lines = [
        line["tree"]
        for step in Derivation.of(written("model A\n" + text).derived).to_dict()["steps"]
        if step.get("kind") == "update"
        for line in step["lines"]
        if line.get("tree", {}).get("kind") == "relation"
    ]
    q = next(t["right"] for t in lines if t["left"]["kind"] == "apply")
    shown = [t for t in lines if t["left"]["kind"] == "slope"]
    assert {t["left"]["order"] for t in shown} == {1, 2}
    at["letters"] = {n: meant for t in lines for n, meant in [defined(t)] if len(n) == 1 and n not in at}  # a softmax
    for tree in shown:
        for number, sides in entries(tree, at):
            # Rounding of Q, 1e-15, over h squared, 1e-6, is 1e-9; the fourth power of h is less.
            assert number == pytest.approx(slope(lambda here: value(q, here), sides, at), rel=1e-6, abs=1e-7)


def test_the_shown_slopes_of_a_profile_are_those_of_q_where_the_partner_is_updated() -> None:
    """A Gamma's shape, its rate where Q is greatest: by the update that the report shows."""
    text = "model A\nparam c : positive\nparam r : positive\nfor n in N:\n    observed u[n] ~ Gamma(c, r)\n"
    steps = Derivation.of(written(text).derived).to_dict()["steps"]
    trees = [t for step in steps for line in step["lines"] if (t := line.get("tree", {})).get("kind") == "relation"]
    q = next(t["right"] for t in trees if t["left"]["kind"] == "apply" and len(t["left"]["arguments"]) == 2)
    rate = next(t["right"] for t in trees if t["left"] == {"kind": "name", "text": "r"} and t["op"] == "=")
    at = {"c": 1.7, "S n_u": 4.0, "S n_u_log_u": -1.1, "S u": 3.9}
    by_c = [t for t in trees if t["left"]["kind"] == "slope" and t["left"]["by"]["text"] == "c"]
    assert [t["left"]["order"] for t in by_c] == [1, 2]
    for order, tree in enumerate(by_c, 1):
        shown = tree["right"]["left"] if tree["right"]["kind"] == "relation" else tree["right"]
        wanted = slope(lambda here: value(q, {**here, "r": value(rate, here)}), [("c", ())] * order, at)
        assert value(shown, at) == pytest.approx(wanted, rel=1e-6)
