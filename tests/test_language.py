"""The language: what models mean when they are read, the layout, and hostile input."""
# ruff: noqa: E501

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_texts import TEXTS

import emdsl
from emdsl.errors import ModelError
from emdsl.families import PRELUDE
from emdsl.language import format_text, parse_families, parse_model
from emdsl.language.bounds import is_cut
from emdsl.language.model import (
    Branch,
    Call,
    Dim,
    FamilyCall,
    If,
    Index,
    Loop,
    ModelText,
    Num,
    Ragged,
    SizeOf,
    SumOver,
    Var,
    walk,
)  # fmt: skip
from emdsl.language.parser import parse_text

NIGHTLY = settings.get_current_profile_name() == "nightly"  # deeper than what is run at each change


def model(text: str) -> ModelText:
    return parse_model(text, "m.em", PRELUDE())


def shapes(m: ModelText) -> dict[str, str]:
    """`{"z": "category[K] N", ...}`: the domain and the lengths of every latent and observed variable."""
    out = {}
    for v in m.variables:
        if v.kind in ("latent", "observed"):
            levels = f"[{v.domain.levels}]" if v.domain.levels is not None else ""
            out[v.name] = " ".join([v.domain.kind + levels, *map(str, v.shape)])
    return out


def expression(text: str, before: str = "param a : real\nparam b : real\nparam c : real\n") -> object:
    return model(f"model M\n{before}let it = {text}\n").lets[0].body


# ---------------------------------------------------------------------------- models


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_models_are_read(name: str) -> None:
    text, expected = TEXTS[name]
    m = model(text)
    assert shapes(m) == expected
    assert [w for w in m.warnings if w.code == "W001"] == []
    assert "?" not in repr(m.variables) + repr(m.lets) + repr(m.potentials)  # every length is settled


def test_a_mixture_in_full() -> None:
    m = model(TEXTS["mixture"][0])
    z, x = m.variable("z"), m.variable("x")
    n = Loop("n", Dim.of("N"))
    pick = Index(Var("z", (Dim.of("N"),)), (n,), ())
    assert isinstance(z.distribution, FamilyCall) and z.distribution.family.name == "Categorical"
    assert z.distribution.args == (("p", Var("weights", (Dim.of("K"),))),)
    assert isinstance(x.distribution, FamilyCall)
    K, D = Dim.of("K"), Dim.of("D")
    assert dict(x.distribution.args)["cov"] == Index(Var("cov", (K, D, D)), (pick,), (D, D))
    assert x.distribution.event == (D,) and dict(x.distribution.sizes) == {"D": D}
    assert [(s.name, s.default, s.declared) for s in m.sizes] == [
        ("K", Dim.of(2), True),
        ("D", None, False),
        ("N", None, False),
    ]


def test_lags_and_branches() -> None:
    m = model(TEXTS["chain"][0])
    d = m.variable("z").distribution
    assert isinstance(d, Branch) and d.cond == Call("eq", (Loop("t", Ragged("T", "s")), Num(0)), ())
    assert isinstance(d.other, FamilyCall)
    inner = [
        x for x in walk(d.other.args[0][1]) if isinstance(x, Index) and isinstance(x.base, Var) and x.base.name == "z"
    ]
    assert inner[0].args == (Loop("s", Dim.of("S")), Call("sub", (Loop("t", Ragged("T", "s")), Num(1)), ()))


def test_a_file_s_order_is_free() -> None:
    lines = TEXTS["mixture"][0].strip().split("\n\n")
    shuffled = "\n\n".join([lines[0], *lines[:0:-1]]) + "\n"
    assert shapes(model(shuffled)) == shapes(model(TEXTS["mixture"][0]))


def test_bounds_come_from_the_family() -> None:
    m = model("model M\nparam p : unit\nfor n in N:\n    given m[n] : count\n    observed x[n] ~ Binomial(m[n], p)\n"
              "    observed u[n] ~ Uniform(-1, 2)\n    latent y[n] ~ Normal(x[n] + u[n], 1)\n")  # fmt: skip
    x, u = m.variable("x").domain, m.variable("u").domain
    assert x.lower == Num(0) and isinstance(x.upper, Index)
    assert (u.kind, u.lower, u.upper) == ("real", Num(-1), Num(2))


def test_a_domain_cuts_a_family_where_it_has_other_bounds() -> None:
    m = model("model M\nfor n in N:\n    given k[n] : count\n    observed a[n] ~ Binomial(k[n], 0.5)\n    observed b[n] ~ Uniform(0, 1)\n"
              "    observed c[n] : real(min = 0) ~ Normal(0, 1)\n    observed d[n] : count(max = k[n]) ~ Binomial(k[n], 0.5)\n"
              "    observed e[n] : count(max = 3) ~ Binomial(k[n], 0.5)\n    observed f[n] ~ Poisson(1)\n")  # fmt: skip
    cut = {
        v.name: is_cut(v.domain, v.distribution)
        for v in m.of_kind("observed")
        if isinstance(v.distribution, FamilyCall)
    }
    assert cut == {"a": False, "b": False, "c": True, "d": False, "e": True, "f": False}


def test_parameterisations() -> None:
    m = model("model M\nparam a : real\nfor n in N:\n    observed x[n] ~ Normal(a, var = 2)\n    observed y[n] ~ Normal(precision = 2, mean = a)\n"
              "latent w : simplex[3] ~ Dirichlet(0.5)\n")  # fmt: skip
    calls = {v.name: v.distribution for v in m.variables}
    assert [n for n, _ in calls["x"].args] == ["mean", "var"] and calls["x"].signature == 1
    assert [n for n, _ in calls["y"].args] == ["mean", "precision"] and calls["y"].signature == 2
    assert calls["w"].signature == 1 and calls["w"].event == (Dim.of(3),)


def test_lengths_are_equated() -> None:
    m = model(
        "model M\nparam w : simplex[K]\nparam m[J] : real\nfor n in N:\n    latent z[n] ~ Categorical(w)\n    observed x[n] ~ Normal(m[z[n]], 1)\n"
    )
    assert [(str(a), str(b)) for a, b, _ in m.equal_sizes] == [("K", "J")]


def test_infer_arguments_replace_lines() -> None:
    text = TEXTS["bayesian mixture"][0]
    m = parse_model(text, "m.em", PRELUDE(), {"z": "mcmc(kernel = gibbs)", "(mean, prec)": "meanfield"})
    assert [(i.groups, i.grouped, i.method) for i in m.infer] == [
        ((("weights",),), (False,), "meanfield"),
        ((("z",),), (False,), "mcmc"),
        ((("mean", "prec"),), (True,), "meanfield"),
    ]
    assert m.infer[1].options == (("kernel", "gibbs"),)


def test_names_may_be_anything() -> None:
    m = model("model self\nparam lambda : positive\nparam np : real\nparam μ : real\nparam N : real\nparam by : real\nparam size : real\n"
              "let class = np + μ + N + by + size\nfor None in Q:\n    observed import[None] ~ Normal(class, lambda)\n")  # fmt: skip
    assert m.name == "self" and shapes(m) == {"import": "real Q"}


def test_pi_is_a_number_where_it_is_not_declared() -> None:
    assert type(expression("pi")).__name__ == "Pi"
    assert isinstance(expression("pi", "param pi : simplex[3]\n"), Var)


def test_families_of_a_file() -> None:
    (f,) = parse_families("family Rayleigh(x : positive | s : positive) = log(x) - 2*log(s) - x^2/(2*s^2)\n", "f.em")
    assert (f.name, f.x.name, f.sizes, [a.name for a in f.signatures[0].arguments]) == ("Rayleigh", "x", (), ["s"])
    m = model(TEXTS["own family"][0])
    assert [g.name for g in m.families] == ["Wave"] and m.families[0].user and len(m.families[0].signatures) == 2


MIXTURE = TEXTS["mixture"][0]


@pytest.mark.parametrize(
    "data",
    [
        "\ufeff" + MIXTURE,
        ("\ufeff" + MIXTURE).encode(),
        MIXTURE.replace("\n", "\r\n"),
        MIXTURE.replace("\n", "\r"),
        MIXTURE.replace("    ", "\t"),
        MIXTURE.rstrip("\n"),
        MIXTURE.replace("\n", "\n    ").strip(),
        "\n\n# before\n" + MIXTURE + "# after",
    ],
    ids=["mark", "mark in bytes", "windows", "old mac", "tabs", "no last line end", "indented", "comments around"],
)
def test_what_a_file_may_look_like(data: str | bytes) -> None:
    if isinstance(data, str) and data.startswith("model") and "\n    \n" in data:
        data = "    " + data  # `compile(text=...)` takes an indented text
    assert shapes(parse_model(data, "m.em", PRELUDE())) == shapes(model(MIXTURE))


def test_columns_count_characters() -> None:
    with pytest.raises(ModelError) as caught:
        model("model M\r\nfor n in N:\r\n\tlatent μμ[n] ~ Norml(0, 1)\r\n")
    assert str(caught.value.problems[0].span) == "m.em:3:17"


def test_importing_does_not_load_the_parser() -> None:
    code = "import sys, emdsl.language; assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    "text, same",
    [
        ("-a^2", "-(a^2)"), ("a^b^c", "a^(b^c)"), ("a - b - c", "(a - b) - c"), ("a/b*c", "(a/b)*c"), ("2^-a", "2^(-a)"),
        ("a < b < c", "a < b and b < c"), ("not a == b", "not (a == b)"), ("a or b and c", "a or (b and c)"),
        ("a if b else c if a else b", "a if b else (c if a else b)"), ("-a*b", "(-a)*b"), ("a + b*c", "a + (b*c)"),
        (".5 + 5.", "0.5 + 5.0"), ("a % 2 if 0 else 1", "a if 0 else 1"), ("1e3", "1000.0"),
    ],
)  # fmt: skip
def test_precedence(text: str, same: str) -> None:
    if "%" in text:
        with pytest.raises(ModelError, match="E033"):
            expression(text)
        return
    assert expression(text) == expression(same)


def test_literals() -> None:
    assert expression("3") == Num(3) and isinstance(expression("3.0").value, float) and expression("-3") == Num(-3)  # type: ignore[attr-defined]


def test_brackets_merge() -> None:
    before = "param m[K] : real[D]\n"
    assert expression("m[0][1]", before) == expression("m[0, 1]", before)
    assert expression("(m[0])[1]", before) == expression("m[0, 1]", before)


def test_sums_and_lists() -> None:
    body = expression("sum(a[k]*b[j] for k in K for j in J if j < k)", "param a : real[K]\nparam b : real[J]\n")
    assert isinstance(body, SumOver) and body.index == "k" and body.cond is None
    assert isinstance(body.body, SumOver) and body.body.index == "j" and body.body.cond is not None
    assert [str(x) for x in expression("[[i + j for j in 3] for i in K]").shape] == ["K", "3"]  # type: ignore[attr-defined]
    assert str(expression("concat([1, 2], 0, zeros(Q))").shape[0]) == "Q + 3"  # type: ignore[attr-defined]


def test_sizes_are_numbers() -> None:
    m = model(
        "model M\nsize P = Q + 1\nparam a : real[P]\nlet b = 1/P\nfor s in S:\n    for t in T[s]:\n        observed x[s, t] ~ Normal(T[s] + b + a[0], 1)\n"
    )
    assert SizeOf(Ragged("T", "s")) in list(walk(m.variable("x").distribution.args[0][1]))
    assert m.sizes[0].default == Dim.of("Q") + Dim.of(1)


@pytest.mark.parametrize("terms", [3, 200, 5_000])
def test_long_sums(terms: int) -> None:
    body = expression(" + ".join(["a"] * terms))
    depth, level = 0, [body]
    while level:
        depth, level = depth + 1, [c for e in level if isinstance(e, Call) for c in e.args]
    assert depth <= 20 and sum(isinstance(e, Var) for e in walk(body)) == terms  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text, shape",
    [
        ("exp(v)", "D"), ("sum(v)", ""), ("sum(A)", ""), ("cumsum(v)", "D"), ("softmax(v)", "D"), ("logsumexp(v)", ""),
        ("max(v)", ""), ("min(v, 0)", "D"), ("max(1, 2, v)", "D"), ("outer(v, w)", "D Q"), ("diag(v)", "D D"),
        ("diag(S)", "D"), ("inv(S)", "D D"), ("logdet(S)", ""), ("trace(S)", ""), ("quad(S, v)", ""), ("A @ w", "D"),
        ("v @ A", "Q"), ("v @ v", ""), ("A @ A.T", "D D"), ("A.T", "Q D"), ("concat(v, w, 1)", "D + Q + 1"), ("v + 1", "D"),
        ("v < 0", "D"), ("not v", "D"), ("[v, v]", "2 D"), ("[A for k in 3]", "3 D Q"), ("sum(A for k in 3)", "D Q"),
        ("zeros(Q, 2)", "Q 2"), ("eye(Q + 1)", "Q + 1 Q + 1"), ("ones(3)", "3"), ("A[0]", "Q"), ("A[0, 1]", ""), ("[v, v][0][1]", ""),
        ("v if D == 2 else 2*v", "D"), ("lchoose(v, 2)", "D"), ("beta_ln(v, v)", "D"), ("-A/2", "D Q"), ("A^2", "D Q"),
    ],
)  # fmt: skip
def test_shapes(text: str, shape: str) -> None:
    body = expression(text, "param v : real[D]\nparam w : real[Q]\nparam A : real[D, Q]\nparam S : spd[D]\n")
    assert " ".join(map(str, body.shape)) == shape  # type: ignore[attr-defined]


PICK = "model M\nparam m[{places}] : real\nfor n in N:\n    {declaration}\n    observed x[n] ~ Normal(m[k[n]], 1)\n"


@pytest.mark.parametrize(
    "places, declaration, equal",
    [
        ("K", "latent k[n] ~ Bernoulli(0.5)", [("2", "K")]),
        ("2", "latent k[n] ~ Bernoulli(0.5)", []),
        ("3", "latent k[n] ~ Bernoulli(0.5)", []),
        ("1", "latent k[n] ~ Bernoulli(0.5)", None),
        ("K", "latent k[n] ~ Binomial(3, 0.5)", [("K", "4")]),
        ("4", "latent k[n] ~ Binomial(3, 0.5)", []),
        ("5", "latent k[n] ~ Binomial(3, 0.5)", []),
        ("3", "latent k[n] ~ Binomial(3, 0.5)", None),
        ("4", "given k[n] : count(max = 3)", []),
        ("3", "given k[n] : count(max = 3)", None),
        ("K", "given k[n] : category[J]", [("J", "K")]),
        ("3", "given k[n] : category[4]", None),
        ("N", "given k[n] : index[N]", []),
    ],
)
def test_what_an_index_says_of_its_axis(places: str, declaration: str, equal: list[tuple[str, str]] | None) -> None:
    text = PICK.format(places=places, declaration=declaration)
    if equal is None:
        with pytest.raises(ModelError, match="E030"):
            model(text)
    else:
        assert [(str(a), str(b)) for a, b, _ in model(text).equal_sizes] == equal


LAG = "model M\nfor t in T:\n    given f[t] : bool\n    observed x[t] ~ Normal({}, 1)\n"


@pytest.mark.parametrize(
    "value, code",
    [
        ("x[t-1] if t > 0 else 0", None),
        ("0 if t == 0 else x[t-1]", None),
        ("0 if not t > 0 else x[t-1]", None),
        ("x[t-1] if t > 0 and f[t] else 0", None),
        ("0 if t == 0 or f[t] else x[t-1]", None),
        ("x[t-1] if f[t] else 0", None),  # the data decide
        ("x[t-1] if t > 0 or f[t] else 0", None),
        ("x[t-1] if t >= 0 else 0", "E052"),
        ("x[t-1] if t == 0 else 0", "E052"),
        ("x[t-2] if t > 0 else 0", "E052"),
        ("x[t-1]*(t > 0)", "E052"),
        ("sum(x[u] for u in T if u < t)", None),
        ("sum(x[u] for u in T if u <= t)", "E050"),
        ("x[t] if f[t] else 0", "E050"),
        ("t > 0 and x[t-1] > 0", None),
        ("x[min(t, 0)] if t > 0 else 0", None),
        ("x[t // 2] if t > 0 else 0", None),
        ("x[abs(t - 1)] if t > 0 else 0", None),
        ("x[t % 2]", "E050"),
    ],
)
def test_guards(value: str, code: str | None) -> None:
    text = LAG.format(value)
    if code is None:
        model(text)
    else:
        with pytest.raises(ModelError, match=code):
            model(text)


# ---------------------------------------------------------------------------- layout


UGLY = """

model  M   # a name


# above
size K=2
param w:simplex[K]
param mean[ K ] :real [D]   # means
param s2:positive

for n in N :
  # inside
  latent z[n]~Categorical( w )
  observed   x[n] ~ MvNormal(mean [z[n]],s2*eye( D ))
  # still inside
# outside
let A=[[1,0],   # one
  [0 , - 1]]
infer z by   mcmc( kernel=gibbs,sweeps = 3 )
"""

NEAT = """model M  # a name

# above
size K = 2
param w       : simplex[K]
param mean[K] : real[D]  # means
param s2      : positive

for n in N:
    # inside
    latent   z[n] ~ Categorical(w)
    observed x[n] ~ MvNormal(mean[z[n]], s2*eye(D))
    # still inside
# outside
let A = [[1, 0],  # one
         [0, -1]]
infer z by mcmc(kernel = gibbs, sweeps = 3)
"""


def test_layout() -> None:
    assert format_text(UGLY, "m.em") == NEAT
    assert format_text(NEAT, "m.em") == NEAT


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_the_layout_of_models(name: str) -> None:
    text = TEXTS[name][0]
    once = format_text(text, "m.em")
    assert format_text(once, "m.em") == once
    assert model(once) == model(text)
    assert [c.text for c in parse_text(once, "m.em").comments] == [
        c.text.rstrip() for c in parse_text(text, "m.em").comments
    ]


def test_the_layout_of_bad_syntax_is_an_error() -> None:
    with pytest.raises(ModelError, match="E014"):
        format_text("model M\nlet a = 1 +\n", "m.em")


NAMES = st.sampled_from(["a", "b", "lambda", "N", "μ", "size", "by", "x1"])


def _join(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def expressions() -> st.SearchStrategy[str]:
    """Texts of expressions, with the layout varied."""
    space = st.sampled_from(["", " ", "  "])
    leaf = st.one_of(NAMES, st.sampled_from(["1", "2.5", ".5", "5.", "1e-3"]))

    def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        operator = st.sampled_from(["+", "-", "*", "/", "//", "%", "@", "^", "==", "<=", "<", " and ", " or "])
        gap = st.sampled_from([" ", "  ", "\n", "\n      ", " # note\n  "])
        return st.one_of(
            _join(inner, space, operator, space, inner),
            _join(st.just("("), gap, inner, gap, st.just(")")),
            _join(st.sampled_from(["-", "- ", "not "]), st.just("("), inner, st.just(")")),
            _join(NAMES, space, st.just("["), inner, st.sampled_from([",", " , ", ",\n"]), inner, st.just("]")),
            _join(st.just("["), inner, space, st.just(","), inner, st.just("]")),
            _join(st.just("exp("), inner, st.just(")")),
            _join(st.just("(("), inner, st.just(") if ("), inner, st.just(") else ("), inner, st.just("))")),
            _join(st.just("sum("), inner, st.just(" for k in K if "), inner, st.just(")")),
            _join(NAMES, st.just(".T")),
        )

    return st.recursive(leaf, wider, max_leaves=12)


@given(
    st.lists(
        st.tuples(NAMES, expressions(), st.sampled_from(["", "  # note", "\n\n\n", "\n# own line"])),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=300 if NIGHTLY else 60)
def test_any_layout_round_trips(parts: list[tuple[str, str, str]]) -> None:
    text = "model M\n" + "".join(f"let {name} = ({body}){end}\n" for name, body, end in parts)
    parsed = parse_text(text, "m.em")
    if parsed.problems:  # `a < not b` and the like
        return
    once = format_text(text, "m.em")
    assert format_text(once, "m.em") == once
    assert parse_text(once, "m.em").statements == parsed.statements
    assert [c.text for c in parse_text(once, "m.em").comments] == [c.text for c in parsed.comments]


# ---------------------------------------------------------------------------- hostile input


def ends_well(text: str | bytes) -> None:
    """A model or a ModelError; never another exception. What a text may cost: `test_work_grows_with_the_text`."""
    try:
        parse_model(text, "m.em", PRELUDE())
    except ModelError as error:
        assert str(error) and all(p.code.startswith("E") for p in error.problems)


HOSTILE = {
    "parentheses": "model M\nlet a = " + "(" * 100_000 + "1" + ")" * 100_000,
    "parentheses on lines": "model M\nlet a = " + "(\n" * 100_000,
    "a bracket a line": "model M\n" + "let a = (\n" * 50_000,
    "brackets": "model M\nlet a = " + "[" * 100_000,
    "functions": "model M\nlet a = " + "sin(" * 329 + "1" + ")" * 329,
    "signs": "model M\nlet a = " + "-" * 5_000 + "1",
    "not": "model M\nlet a = " + "not " * 5_000 + "1",
    "powers": "model M\nlet a = " + "9^" * 5_000 + "9",
    "tower": "model M\nlet a = 9^9^9^9\nparam b : real[9*9]\n",
    "conditionals": "model M\nlet a = " + "1 if 1 else " * 2_000 + "1",
    "transposes": "model M\nlet a = a" + ".T" * 5_000,
    "indices": "model M\nlet a = a" + "[0]" * 5_000,
    "comparisons": "model M\nlet a = 1" + " < 1" * 3_000,
    "digits": "model M\nlet a = " + "9" * 5_000,
    "fraction": "model M\nlet a = 0." + "9" * 5_000,
    "overflow": "model M\nlet a = 1e999",
    "a large file": b"#" * 100_000_000,
    "a large line": "model M\nlet a = " + "a" * 900_000,
    "loops": "model M\n" + "".join(" " * i + f"for i{i} in N:\n" for i in range(600)) + " " * 600 + "let a = 1\n",
    "loops on a line": "model M\n" + "".join(f"for i{i} in N: " for i in range(5_000)) + "let a = 1\n",
    "sums": "model M\nlet a = " + "sum(" * 90 + "1" + "".join(f" for i{i} in N)" for i in range(90)),
    "one sum of many loops": "model M\nlet a = sum(1" + "".join(f" for i{i} in N" for i in range(5_000)) + ")",
    "lists": "model M\nlet a = " + "[" * 90 + "1" + "]" * 90,
    "lets": "model M\n" + "".join(f"let a{i} = a{i + 1} + a{i + 1}\n" for i in range(1_000)) + "let a1000 = 1\n",
    "sizes": "model M\nsize A = " + "(a + b)*" * 60 + "c\n",
    "many declarations": "model M\n" + "".join(f"param p{i} : real[D{i}]\n" for i in range(2_000)),
    "many problems": "model M\n" + "param x : rael\n" * 1_000,
    "many names alike": "model M\n" + "".join(f"param name{i} : real\n" for i in range(700)) + "let a = " + " + ".join(f"nome{i}" for i in range(700)),
    "plates": "model M\n" + "".join("    " * i + f"for i{i} in N:\n" for i in range(12)) + "    " * 12
              + "latent z[" + ", ".join(f"i{i}" for i in range(12)) + "] ~ Normal(z[" + ", ".join(f"i{i}-1" for i in range(12)) + "], 1)\n",
    "doubled lets as an index": "model M\nparam m[K] : real\nlet a0 = 1\n"
    + "".join(f"let a{i + 1} = a{i} + a{i}\n" for i in range(200)) + "let b = m[a200]\n",
    "a long chain of lets": "model M\nparam p : real\nlet a0 = p\n" + "".join(f"let a{i + 1} = a{i} + 1\n" for i in range(1_200))
    + "given g : real = a1200\n",
    "a long chain of lengths": "model M\n" + "".join(f"param a{i} : real[D{i}]\n" for i in range(300))
    + "".join(f"let b{i} = a{i} + a{i + 1}\n" for i in range(299)),
    "a length of many names": "model M\n" + "let a = concat(" + ", ".join(f"zeros(D{i})" for i in range(400)) + ")\n",
    "many makers": "model M\nlet a = " + " + ".join(["zeros(2)"] * 1_200) + "\n",
    "many unknown names": "model M\n" + "".join(f"let name{i} = nome{i}\n" for i in range(300)),
    "many lags": "model M\nfor i in A:\n    for j in B:\n        for k in C:\n"
    + "".join(f"            latent z{n}[i, j, k] ~ Normal(z{n}[i-1, j-1, k-1] if i > 0 and j > 0 and k > 0 else 0, 1)\n" for n in range(40)),
    "a ring of many": "model M\nfor i in N:\n" + "".join(f"    latent z{n}[i] ~ Normal(z{(n + 1) % 200}[i], 1)\n" for n in range(200)),
    "nulls": b"\x00" * 1000,
    "surrogates": "model M\nparam \ud800 : real",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_texts(name: str) -> None:
    ends_well(HOSTILE[name])


def test_a_line_that_is_too_long_is_all_that_is_wrong() -> None:
    """The loop around it was told to have no block, which came first."""
    with pytest.raises(ModelError) as caught:
        model(f"model M\nparam m : real\nfor n in N:\n    observed x[n] ~ Normal({'-' * 90_000}m, 1)\n")
    assert [p.code for p in caught.value.problems] == ["E008"]


@pytest.mark.parametrize("sign", ["*", "+", "-"])
def test_lets_that_double_are_refused_before_they_are_opened(sign: str) -> None:
    """Forty of them had no end: where comparisons are looked for, in the diagram, where a density is evaluated."""
    lets = "".join(f"let a{i + 1} = a{i} {sign} a{i}\n" for i in range(40))
    with pytest.raises(ModelError, match=r"E008: `a[0-9]+` has more than 1,000,000 parts"):
        model(f"model M\nparam m : real\nlet a0 = m\n{lets}for n in N:\n    observed x[n] ~ Normal(a40, 1)\n")


GROWING = {
    "parentheses": lambda n: "let a = " + "(" * n + "1" + ")" * n,
    "a sum": lambda n: "param a : real\nlet b = " + " + ".join(["a"] * n),
    "signs": lambda n: "let a = " + "-" * n + "1",
    "powers": lambda n: "let a = " + "9^" * n + "9",
    "conditionals": lambda n: "let a = " + "1 if 1 else " * n + "1",
    "indices": lambda n: "let a = a" + "[0]" * n,
    "comparisons": lambda n: "let a = 1" + " < 1" * n,
    "declarations": lambda n: "".join(f"param p{i} : real[D{i}]\n" for i in range(n)),
    "problems": lambda n: "param x : rael\n" * n,
    "a chain of lets": lambda n: "param p : real\nlet a0 = p\n" + "".join(f"let a{i + 1} = a{i} + 1\n" for i in range(n)),
    "doubled lets": lambda n: "param p : real\nlet a0 = p\n" + "".join(f"let a{i + 1} = a{i} + a{i}\n" for i in range(n)),
    "a chain of lengths": lambda n: "".join(f"param a{i} : real[D{i}]\n" for i in range(n))
    + "".join(f"let b{i} = a{i} + a{i + 1}\n" for i in range(n - 1)),
    "a length of many names": lambda n: "let a = concat(" + ", ".join(f"zeros(D{i})" for i in range(n)) + ")\n",
    "a ring": lambda n: "for i in N:\n" + "".join(f"    latent z{k}[i] ~ Normal(z{(k + 1) % n}[i], 1)\n" for k in range(n)),
}  # fmt: skip


def calls_of(text: str) -> int:
    """How many functions Python calls to read a text: its work, whatever the machine's load."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        ends_well("model M\n" + text)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", sorted(GROWING))
def test_work_grows_with_the_text(name: str) -> None:
    ends_well("model M\n" + GROWING[name](8))  # what is cached is not counted
    small, large = (calls_of(GROWING[name](n)) for n in (60, 240))
    assert large < 8 * small  # 4 where work follows the text, 16 where it goes with its square


@given(st.binary(max_size=200))
@settings(max_examples=300 if NIGHTLY else 80)
def test_any_bytes(data: bytes) -> None:
    ends_well(data)
    ends_well(b"model M\nlet a = " + data)


WORDS = ["model", "param", "for", "in", "if", "else", "and", "not", "latent", "observed", "given", "let", "size", "family", "infer", "by", "factor",
         "a", "b", "N", "K", "z", "x", "n", "Normal", "Categorical", "MvNormal", "Delta", "Dirichlet", "real", "simplex", "category", "index", "spd",
         "sum", "zeros", "exp", "min", "(", ")", "[", "]", "(", ")", "[", "]", ",", ":", "=", "~", "|", "+", "-", "*", "/", "^", "@", ".T", "==", "<",
         "1", "0", "0.5", "\n", "\n    ", "\n", "exact", "mcmc", "T", "t", "s"]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_any_words(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25 if NIGHTLY else 10):
        ends_well("model M\n" + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 60))))


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_models_with_a_token_changed(name: str) -> None:
    rng = random.Random(name)
    for _ in range(30 if NIGHTLY else 8):
        words = TEXTS[name][0].replace("(", " ( ").replace("[", " [ ").split(" ")
        at = rng.randrange(len(words))
        words[at : at + rng.randrange(2)] = [rng.choice(WORDS)]
        text = " ".join(words)
        ends_well(text)


def test_a_branch_is_if_in_values() -> None:
    assert isinstance(expression("1 if a > 0 else 2"), If)


def test_a_shorter_loop_stays_inside_an_axis() -> None:
    """`f[t]` with t in T-1: was a disagreement of lengths."""
    text = "model M\nparam f[T] : real\nfactor -sum((f[t+1] - f[t])^2 for t in {loop})\nfor t in T: observed y[t] ~ Normal(f[t], 1)"
    fit = emdsl.compile(text=text.format(loop="T-1")).fitter().fit({"y": [0.0, 1.0]})
    np.testing.assert_allclose(fit.params_["f"], [0.4, 0.6], atol=1e-6)  # y = (1 + 2 L) f, L of one edge
    with pytest.raises(ModelError, match="T \\+ 1 values"):
        emdsl.compile(text=text.format(loop="T+1"))
