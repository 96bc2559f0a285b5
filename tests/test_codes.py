"""Every code that a user can meet has an example: of models in tests/bad and tests/refused, of the rest here."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Any

import pytest

import emdsl
from emdsl.cli import unanswered
from emdsl.derive.algebra import codes as derive
from emdsl.derive.joint.records import POSTERIORS
from emdsl.derive.posteriors import averages
from emdsl.errors import EmdslError, InternalError
from emdsl.families import PRELUDE
from emdsl.families import codes as families
from emdsl.families.normalised import check_normalised
from emdsl.fit.interpret import log_joint
from emdsl.fit.sampling import sample
from emdsl.language import codes as language
from emdsl.language import parse_families, parse_model

HERE = Path(__file__).parent
ONE = "model M\nparam m : real\nfor n in N:\n    observed x[n] ~ Normal(m, 1)\n"


def drawn(text: str, params: Any, sizes: Any, data: Any = None) -> Callable[[], object]:
    return lambda: sample(parse_model("model M\n" + text, "m.em", PRELUDE()), params, sizes, 0, data)


def joint(text: str, values: Any, sizes: Any) -> Callable[[], object]:
    return lambda: log_joint(parse_model("model M\n" + text, "m.em", PRELUDE()), values, sizes)


def not_a_density() -> None:
    problem = check_normalised(parse_families("family V(x : real | s : positive) = -x^2/(2*s)", "users.em")[0])
    if problem is not None:
        raise EmdslError(problem)


def not_there() -> None:
    raise unanswered(NotImplementedError("a module draws no paths"))


DOUBLED = " + ".join(f"(m if g < {i} else 2 * m)" for i in range(11))
EXAMPLES: dict[str, Callable[[], object]] = {
    "E064": lambda: emdsl.compile(text=ONE, infer={"m": "exact; x"}),
    "E090": not_a_density,
    "E091": drawn("latent z ~ Normal(0, 1)\nfactor -abs(z)", {}, {}),
    "E108": lambda: emdsl.compile(text="model M\n" + "".join(f"param a{i} : real\n" for i in range(601))).source,
    "E109": lambda: (
        emdsl.compile(text=f"model M\nparam m : real\ngiven g : real\nobserved y ~ Normal({DOUBLED}, 1)").source
    ),
    "E121": not_there,
    "D050": drawn("param m[K] : real\nfor n in N:\n    given g[n] : index[K]\n    observed x[n] ~ Normal(m[g[n]], 1)",
                  {"m": [1.0, 2.0]}, {"N": 1, "K": 2}, {"g": [2]}),
    "D051": drawn("given s : positive\nfor n in N:\n    observed x[n] ~ Normal(0, s)", {}, {"N": 2}),
    "D052": drawn("param m : real\nfor n in N:\n    observed x[n] ~ Normal(m, 1)", {"m": 0.0}, {}),
    "D053": drawn("given p[N] : index[N]\nfor n in N:\n    observed x[n] ~ Normal(x[p[n]], 1)",
                  {}, {"N": 2}, {"p": [1, 0]}),
    "D054": joint("family F(x : real | m : real) = -(x - m)^2/2 - log(2*pi)/2\nfor n in N:\n"
                  "    observed x[n] : real(min = 0) ~ F(1)", {"x": [0.5]}, {"N": 1}),
    "D055": drawn("for n in N:\n    given g[n] : real\n    observed x[n] ~ Normal(0, g[n])", {}, {}, {"g": [-1.0]}),
}  # fmt: skip


def told() -> str:
    """What the files of models say."""
    return "".join(p.read_text(encoding="utf-8") for d in ("bad", "refused") for p in (HERE / d).glob("*.expected"))


def test_every_code_has_an_example() -> None:
    codes = {*language.CODES, *families.CODES, *derive.CODES}
    said = told()
    assert {c for c in codes if f" {c}: " not in said} == set(EXAMPLES)


def test_no_code_is_in_two_tables() -> None:
    tables = (language.CODES, families.CODES, derive.CODES)
    assert len({c for t in tables for c in t}) == sum(map(len, tables))


@pytest.mark.parametrize("code", sorted(EXAMPLES))
def test_the_example_brings_it_up(code: str) -> None:
    with pytest.raises(EmdslError) as caught:
        EXAMPLES[code]()
    assert [p.code for p in caught.value.problems] == [code]


def test_posteriors_have_the_moments_of_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    for p in POSTERIORS:
        assert set(p.statistics) <= set(p.moments), p.name
    monkeypatch.setattr(averages, "_moments", lambda term, block: "no such moment")
    text = cleandoc(
        """model M
        param a : positive
        for n in N:
            latent g[n] ~ Gamma(a, 1)
            observed x[n] ~ Poisson(g[n])
        """
    )
    with pytest.raises(InternalError, match="statistics: no such moment"):
        emdsl.compile(text=text)
