"""How large a table over states may be: told in the plan, and refused with the number when data are bound."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from gallery import compiled

import emdsl
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.scalars import solve_score
from emdsl.derive.joint.terms import LONGEST, opened
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.preparation import within_reach

TWO_LAGS = """
    model TwoLags
    size K = 3
    param first : simplex[K]
    param second[K] : simplex[K]
    param trans[K, K] : simplex[K]
    param rate[K] : positive
    for t in T:
        latent z[t] ~ (Categorical(first) if t == 0 else Categorical(second[z[t-1]]) if t == 1
                       else Categorical(trans[z[t-2], z[t-1]]))
        observed x[t] ~ Poisson(rate[z[t]])
"""
PAIR = """
    model Pair
    size A = 2
    param p : simplex[A]
    param q : simplex[B]
    param rate[A, B] : positive
    for n in N:
        latent   a[n] ~ Categorical(p)
        latent   b[n] ~ Categorical(q)
        observed x[n] ~ Poisson(rate[a[n], b[n]])
"""


def refusal(model: object, **sizes: int) -> str:
    with pytest.raises(ValueError, match="D016") as caught:
        model.fitter(max_iter=1, seed=0, **sizes).fit({"x": np.arange(5)})  # type: ignore[attr-defined]
    return str(caught.value)


def test_the_product_is_told() -> None:
    assert "A x B (4 by default) states per element" in compiled("factorial_hmm").plan["a"].reason
    assert "K states per element" in compiled("poisson_hmm").plan["z"].reason
    assert "K (3^2 by default) states per element" in emdsl.compile(text=TWO_LAGS).plan["z"].reason
    assert "A x B states per element" in emdsl.compile(text=PAIR).plan["a"].reason  # B has no default


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_table_too_large_is_refused_with_its_size() -> None:
    said = refusal(compiled("factorial_hmm"), A=64, B=33)
    assert "a, b" in said and "64 x 33 = 2112 states" in said and "4.46e+06 entries" in said and "4194304" in said
    two = emdsl.compile(text=TWO_LAGS)
    assert "each of the 2 before it" in (said := refusal(two, K=162)) and "4.25e+06 entries" in said
    assert "2100 x 2000 = 4200000 states" in refusal(emdsl.compile(text=PAIR), A=2100, B=2000)


def test_states_inside_others_count_too() -> None:
    data = {"x": np.zeros((5, 1))}
    with pytest.raises(ValueError, match=r"c: an element has 2100 states, inside 2000 states of others.*4\.2e\+06"):
        compiled("gmm_hmm").fitter(M=2100, K=2000).fit(data)


def test_the_limit_itself_is_allowed() -> None:
    within_reach("z", [2048], 1)
    within_reach("z", [1024], 1, [4])
    for beyond in (([2049], 1), ([1024], 1, [5])):
        with pytest.raises(DataError):
            within_reach("z", *beyond)


def test_terms_hold_only_the_states_that_they_read() -> None:
    """A square of a sum of states is a sum over pairs: no term holds the gates of all, and twelve are no more work."""
    many = [f"z{k}" for k in range(12)]
    latents = "".join(f"    latent {z}[n] ~ Bernoulli(0.3)\n" for z in many)
    mean = " + ".join(f"{z}[n]" for z in many)
    text = f"model M\nparam m : real\nfor n in N:\n{latents}    observed y[n] ~ Normal(m + {mean}, 1)\n"
    found = emdsl.compile(text=text).derived.elimination.terms
    assert len(found) > 60 and max(len(t.gates) for t, _ in found) == 2


def test_powers_too_high_for_a_polynomial() -> None:
    squares = "".join(f"let b{k + 1} = b{k} * b{k}\n" for k in range(15))
    text = f"model M\nparam a : real\nlet b0 = a\n{squares}for n in N:\n    observed y[n] ~ Normal(b15, 1)\n"
    assert emdsl.compile(text=text).updates["a"].kind in ("newton", "gradient")


def calls_of(text: str) -> int:
    """How many functions Python calls to derive a model: its work, whatever the machine's load."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        emdsl.compile(text=text)
    finally:
        sys.setprofile(None)
    return calls


def test_many_data_about_one_number_are_centred_once() -> None:
    """Eighty observed variables took 19 s, each looked for what moves with it among all the others."""

    def text(n: int) -> str:
        rows = "".join(f"    observed y{k}[n] ~ Normal(a, 1)\n" for k in range(n))
        return "model M\nparam a : real\nfor n in N:\n" + rows

    emdsl.compile(text=text(2))  # what is cached is not counted
    assert calls_of(text(20)) < 8 * calls_of(text(5))


def test_squares_of_squares_end() -> None:
    """Thirty of them: each was opened twice for each above it, and multiplied out to look for a root of the score."""
    e = x.add(El("a", ()), x.ONE)
    for _ in range(30):
        e = x.add(x.mul(e, e), x.ONE)
    assert len(opened(e, lambda name: "V")) <= LONGEST  # what is too long stays closed
    assert solve_score(El("a", ()), (e,), (x.ONE,)) is None
