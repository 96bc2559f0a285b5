"""Any name will do: a model whose every name is an identifier of the generated module fits as it did before."""

from __future__ import annotations

import builtins
import io
import keyword
import re
import tokenize
from functools import cache

import numpy as np
import pytest

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.faults.ConvergenceWarning")
RESERVED = {"for", "in", "if", "else", "and", "or", "not"}
SLOTS = (
    "weights",
    "centre",
    "slope",
    "noise",
    "shape",
    "level",
    "label",
    "covariate",
    "value",
    "tally",
    "row",
    "Rows",
    "Kinds",
)

TEXT = """
model Template
size Kinds = 2
param weights : simplex[Kinds] ~ Dirichlet(2 * ones(Kinds))
param centre[Kinds] : real
param slope : real
param noise[Kinds] : positive
param shape : positive
let level = slope * centre[1]
for row in Rows:
    given    covariate[row] : real
    latent   label[row] ~ Categorical(weights)
    observed value[row] ~ Normal(centre[label[row]] + slope * covariate[row] - level + level, noise[label[row]])
    observed tally[row] ~ NegativeBinomial(shape, mean = 3.0)
"""
RNG = np.random.default_rng(4)
DATA = {
    "covariate": RNG.normal(size=40),
    "value": np.concatenate([RNG.normal(-3, 1, 15), RNG.normal(2, 0.5, 25)]),
    "tally": RNG.negative_binomial(3, 0.5, 40),
}


def renamed(names: dict[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), TEXT)


@cache
def identifiers() -> list[str]:
    """Every name in the generated text, Python's keywords and builtins: all that the language allows as a name."""
    source = emdsl.compile(text=TEXT).source
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = {t.string for t in tokens if t.type == tokenize.NAME} | set(keyword.kwlist) | set(dir(builtins))
    return sorted(n for n in found if re.fullmatch(r"[A-Za-z]\w*", n) and n not in RESERVED and n not in SLOTS)


def history(names: dict[str, str]) -> list[float]:
    data = {names.get(k, k): v for k, v in DATA.items()}
    return list(emdsl.compile(text=renamed(names)).fitter(max_iter=3, tol=0, seed=2).fit(data).history_)


def test_every_identifier() -> None:
    """All of them, thirteen at a time, each time in other places."""
    plain, names = history({}), identifiers()
    assert len(names) > 200
    for start in range(0, len(names), len(SLOTS)):
        chosen = names[start : start + len(SLOTS)]
        slots = [SLOTS[(i + start // len(SLOTS)) % len(SLOTS)] for i in range(len(chosen))]
        mapping = dict(zip(slots, chosen, strict=True))
        assert history(mapping) == pytest.approx(plain, rel=1e-9), mapping
