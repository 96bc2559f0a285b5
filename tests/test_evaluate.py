"""Every operator and function of the language, evaluated as its text, against numpy."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import linalg, special

import emdsl
from emdsl.errors import DataError
from emdsl.families import PRELUDE
from emdsl.families.functions import ELEMENTWISE, VECTOR_FUNCTIONS
from emdsl.fit.interpret import evaluate
from emdsl.language import parse_model
from emdsl.language.functions import FUNCTIONS, MAKERS, OPERATORS, PRELUDE_FUNCTIONS

HEAD = """model M
given v[K] : real
given p : simplex[K]
given A : spd[K]
given B : real[K, 2]
given s : positive
given i : category[K]
given k : count
given h : real[2, 3, K]
let table = [2, 0, 1]
param unused : real
"""
rng = np.random.default_rng(1)
V, P, S, PLACE, N = rng.normal(size=3), np.array([0.5, 0.5, 0.0]), 1.7, 2, 5
R = rng.normal(size=(3, 3))
A, B, H = R @ R.T + np.eye(3), rng.normal(size=(3, 2)), rng.normal(size=(2, 3, 3))
VALUES = {"v": V, "p": P, "A": A, "B": B, "s": S, "i": PLACE, "k": N, "h": H}

CASES = {
    "v + 1": V + 1,
    "2 - v*v": 2 - V**2,
    "-s^2": -(S**2),
    "2^3^2": 512,
    "2^-1": 0.5,
    "(-2)^2": 4,
    "1/4": 0.25,
    "k // 2 + k % 2": 3,
    "-7 // 2": -4,
    "-7 % 3": 2,
    "A @ v": A @ V,
    "v @ A @ v": V @ A @ V,
    "v @ B": V @ B,
    "A @ B": A @ B,
    "B.T @ A": B.T @ A,
    "v[i] + v[0]": V[2] + V[0],
    "v[table[i]]": V[1],
    "h[1, i]": H[1, 2],
    "h[0][i][1]": H[0, 2, 1],
    "A[i, 0]": A[2, 0],
    "[v, 2*v]": np.stack([V, 2 * V]),
    "[[1, s], [s, 2]]": np.array([[1, S], [S, 2]]),
    "[-s, s][i // 2]": S,
    "[v[a] * a for a in K]": V * np.arange(3),
    "[[a - b for a in K] for b in 2]": np.arange(3) - np.arange(2)[:, None],
    "sum(v[a] for a in K if a != 1)": V[0] + V[2],
    "sum(outer(v, v)[a] for a in K)": V * V.sum(),
    "sum(sum(v[a]*v[b] for b in K if b < a) for a in K)": (V[1] * V[0] + V[2] * (V[0] + V[1])),
    "K * K": 9,
    "pi": np.pi,
    "s if i == 2 else v[9 % 3]": S,
    "1 if i == 0 else 2 if i == 1 else 3": 3,
    "i == 2 and k > 3 or s < 0": 1,
    "not i == 2": 0,
    "[a > 0 and v[a - 1] > -99 for a in K]": np.array([0, 1, 1]),
    "[a == 0 or v[a - 1] < -99 for a in K]": np.array([1, 0, 0]),
    "[v[a - 1] if a > 0 else s for a in K]": np.array([S, V[0], V[1]]),
    "0 <= i < K": 1,
    "0 < i != 2": 0,
    "i >= 2": 1,
    "i <= 1": 0,
    "exp(v)": np.exp(V),
    "log(s)": np.log(S),
    "log(0)": -np.inf,
    "sum(p * [log(p[a]) for a in K])": np.log(0.5),
    "log1p(s)": np.log1p(S),
    "log1p(exp(1000*s))": 1000 * S,
    "sqrt(s)": np.sqrt(S),
    "abs(v)": np.abs(V),
    "logistic(v)": special.expit(V),
    "logit(p[0])": 0.0,
    "tanh(v)": np.tanh(V),
    "sin(v)": np.sin(V),
    "cos(v)": np.cos(V),
    "Phi(v)": special.ndtr(V),
    "lgamma(s)": special.gammaln(S),
    "digamma(s)": special.digamma(S),
    "beta_ln(s, 2)": special.betaln(S, 2),
    "lchoose(k, 2)": np.log(10),
    "lchoose(2, k)": -np.inf,
    "min(s, 1)": 1,
    "max(v)": V.max(),
    "min(v)": V.min(),
    "max(v, 0)": np.maximum(V, 0),
    "max(1, s, k)": 5,
    "sum(A)": A.sum(),
    "softmax(v)": special.softmax(V),
    "logsumexp(v)": special.logsumexp(V),
    "cumsum(v)": np.cumsum(V),
    "outer(v, p)": np.outer(V, P),
    "diag(v)": np.diag(V),
    "diag(A)": np.diag(A),
    "eye(K)": np.eye(3),
    "zeros(2, K)": np.zeros((2, 3)),
    "ones(K)": np.ones(3),
    "logdet(A)": np.linalg.slogdet(A)[1],
    "inv(A)": linalg.inv(A),
    "trace(A)": np.trace(A),
    "quad(A, v)": V @ A @ V,
    "concat(v, 0, s)": np.concatenate([V, [0, S]]),
    "concat([1, 2], v, [3])": np.concatenate([[1, 2], V, [3]]),
    "concat([1, s], [7])[2]": 7,
    "cumsum(concat([s, 2], 3, v))": np.cumsum([S, 2, 3, *V]),
    "min(v, 0, s, 2*v)": np.minimum(np.minimum(V, 0), 2 * V),
    "max(1, 2, 3)": 3,
    "k and s": 1,
    "0 or k": 1,
    "1 and v": 1 + 0 * V,
    "not k": 0,
    "1 if k else 0": 1,
    "sum(v[a] for a in K if a)": V[1] + V[2],
    "sum(a for a in 9 if a % 3)": 27,
    "inv([[2, 1], [0, s]])": linalg.inv([[2, 1], [0, S]]),
    "inv(h[0] + 3*eye(K))": linalg.inv(H[0] + 3 * np.eye(3)),
    "logdet([[2, 1], [0, s]])": np.log(2 * S),
    "logdet([[1, 2], [s, 0]])": np.log(2 * S),  # of the size of a determinant that is negative
    "inv(B @ B.T + A @ A)": linalg.inv(B @ B.T + A @ A),
}
WITHOUT_CODE = ("log(0)",)  # -1e200 until the objective is added up, so that 0 log 0 is 0


def value(text: str, **other: object) -> np.ndarray:
    model = parse_model(HEAD + f"let answer = {text}\n", "<test>", PRELUDE())
    lets = {x.name: x for x in model.lets}
    return evaluate(lets["answer"].body, {**VALUES, **other}, {"K": 3}, lets=lets)


@pytest.mark.parametrize("text", CASES)
def test_value(text: str) -> None:
    found = value(text)
    assert found.shape == np.shape(CASES[text])
    np.testing.assert_allclose(found, CASES[text], rtol=1e-12, atol=1e-14)


def test_generated_code_has_the_same_values() -> None:
    """Each case as the default of a given, which the module computes."""
    known = [t for t in CASES if t not in WITHOUT_CODE]
    given = [f"given c{n} : real{list(np.shape(CASES[t])) or ''} = {t}" for n, t in enumerate(known)]
    text = re.sub(r"\bK\b", "3", HEAD + "\n".join(given)) + "\nfor n in N:\n    observed y[n] ~ Normal(unused, 1)\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = emdsl.compile(text=text).source
    module: dict[str, Any] = {}
    exec(source, module)  # noqa: S102
    with np.errstate(divide="ignore"):
        found = module["default_givens"]({"N": 1}, VALUES)
    for n, t in enumerate(known):
        np.testing.assert_allclose(found[f"c{n}"], CASES[t], rtol=1e-10, atol=1e-12, err_msg=t)


def test_every_function_of_the_language_has_a_value_and_a_case() -> None:
    elsewhere = {"transpose", "neg", "pow", "and", "or", "not", "mul", *MAKERS}
    names = {*FUNCTIONS, *PRELUDE_FUNCTIONS, *OPERATORS.values()} | (elsewhere - {*MAKERS, "and", "or", "pow", "mul"})
    assert names - elsewhere <= set(ELEMENTWISE) | set(VECTOR_FUNCTIONS)
    everything = " ".join(CASES)
    assert not [n for n in (*FUNCTIONS, *MAKERS) if f"{n}(" not in everything]


@pytest.mark.parametrize(("text", "other"), [("v[i]", {"i": 3}), ("v[i - 1]", {"i": 0}), ("h[i, 0]", {"i": 2})])
def test_an_index_out_of_range_is_an_error(text: str, other: dict[str, int]) -> None:
    with pytest.raises(DataError, match="is outside 0"):
        value(text, **other)


def test_the_logdet_of_no_covariance_is_not_a_number() -> None:
    assert np.isnan(value("logdet([[1, 2], [2, 1]])")) and np.isnan(value("logdet(-1 * eye(2))"))


def test_and_stops_where_the_answer_is_known() -> None:
    assert value("i > 0 and v[i - 1] > -99", i=0) == 0
    assert value("i == 0 or v[i - 1] > -99", i=0) == 1
    assert value("v[i - 1] if i > 0 else 7", i=0) == 7
