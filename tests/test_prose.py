"""Mathematics within sentences: what is read as a formula, and what stays a word."""

from __future__ import annotations

import pytest

import emdsl
from emdsl.report.prose import told
from emdsl.report.unicode import text

NAMES = frozenset(("X", "n", "k", "beta", "gate", "shape", "z", "x", "h", "V"))


@pytest.mark.parametrize(("said", "found"), [
    ("newton. log(Σ_k exp(gate[k] @ X[n])) ties gate to the data", ["log(Σ_k exp(gate[k]ᵀ X[n]))"]),
    ("no closed root where Q holds shape[k] log shape[k], shape", ["Q", "shape[k] log shape[k]"]),
    ("Given z[n] = k and h[n - 1] = 2 its log joint is", ["z[n] = k", "h[n - 1] = 2"]),
    ("q is a product, q(x) q(z, beta), so", ["q", "q(x) q(z, beta)"]),
    ("because log Γ(a) - a log a is convex", ["log Γ(a) - a log a"]),
    ("E[f(x)] is the sum of q(x⁽ᵃ⁾) f(x⁽ᵃ⁾).", ["E[f(x)]", "q(x⁽ᵃ⁾) f(x⁽ᵃ⁾)"]),
    ("with r = h[missing] - V[missing, seen] times what was seen", ["r = h[missing] - V[missing, seen]"]),
    ("x[n]^-0.5 / (2 beta)", ["x[n]^(-0.5) / (2 beta)"]),
    ("is 0 but where x[n] ≥ -π and x[n] < 4", ["x[n] ≥ -π", "x[n] < 4"]),
    ("A missing value (E is the mean, as a step of 2 by default) is (Baum et al. 1970); 2 = a.", []),
    ("`Delta(x[n] > 0)`, at `x[n]`, sum(", []),
    ("exp(, x[, [x, x] y, (x[n], and log(1 +", ["x[n]"]),
    ("Q is concave in `beta`, by `refine`.", ["Q", "beta"]),
    ("", []),
])  # fmt: skip
def test_what_is_a_formula_in_a_sentence(said: str, found: list[str]) -> None:
    parts = list(told(said, NAMES))
    assert [text(formula) for _, formula, _ in parts if formula is not None] == found
    assert "".join(f"`{part}`" if ticked else part for part, _, ticked in parts) == said  # nothing is lost


def test_reasons_are_mathematics_in_every_form() -> None:
    """They were code: `exp(X[n] @ beta)` in a page of equations."""
    source = "model M\nparam beta : real[P]\nfor n in N:\n    given X[n] : real[P]\n"
    derivation = emdsl.compile(text=f"{source}    observed y[n] ~ Poisson(exp(X[n] @ beta))").derivation
    assert "newton. exp(X[n]ᵀ beta) ties beta to the data" in " ".join(derivation.to_text().split())
    for shown in (derivation.to_latex(), derivation._repr_markdown_(), derivation.to_markdown().replace("`", "")):
        assert r"newton. $\exp(X_{n}^{\top} \, \beta)$ ties $\beta$ to" in shown
    assert "newton. <math>" in derivation.to_html()
