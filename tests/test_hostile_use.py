"""The command line on real models, used wrongly: one block on standard error, a status, never a traceback."""

from __future__ import annotations

import cProfile
import itertools
import json
import os
import pstats
import stat
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import emdsl
from emdsl import cli
from emdsl.derive.joint import centre
from emdsl.derive.posteriors import quadrature
from emdsl.derive.updates import solve
from emdsl.errors import DataError, ModelError
from emdsl.report import conditions, explicit, typeset, walking
from emdsl.report import formula as f
from emdsl.runtime.fitting import storage
from emdsl.runtime.meanfield.variational import _places

ROOT = Path(__file__).parents[1]
MODEL = str(ROOT / "models/old_faithful.em")
DATA = str(ROOT / "models/data/faithful.csv")
PARAMS = {"weights": [0.5, 0.5], "mean": [[2, 50], [4, 80]], "cov": [[[1, 0], [0, 9]], [[1, 0], [0, 9]]]}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a wrong use prints on standard error; nothing goes to standard output, and no bug of ours shows."""

    def runs(status: int, *arguments: str) -> str:
        assert cli.run(arguments) == status
        got = capsys.readouterr()
        assert got.out == "" and got.err and "Traceback" not in got.err and "internal error" not in got.err
        return got.err

    return runs


def test_names_that_no_file_can_have(said: Any) -> None:
    """Found by chance: a long name was an internal error."""
    for name in ("y" * 3000, "y" * 256):
        assert "D040" in said(1, "compile", MODEL, "-o", name)
        assert "D030" in said(1, "check", name)


HOSTILE = "n\x1b[31m\x9b\u202e\r\x07z"  # colours, moves the cursor, turns the line round, rings


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", f"{HOSTILE}.em"), ("check", f"wrong{HOSTILE}.em"), ("check", f"no{HOSTILE}"),
        ("format", "--check", f"{HOSTILE}.em"), ("derive", "m.em", "--infer", f"{HOSTILE}=exact"),
        ("derive", "m.em", "-o", f"{HOSTILE}/d"), ("fit", "m.em", "d.csv"), ("fit", "m.em", "d.csv", "--json"),
        ("fit", "m.em", "d.csv", "--column", f"c=w{HOSTILE}"), ("fit", "m.em", "w.csv", "--size", f"{HOSTILE}=3"),
        ("fit", "m.em", f"{HOSTILE}.csv"), ("fit", "m.em", "w.csv"), (HOSTILE,), ("check", f"--{HOSTILE}"),
    ],
)  # fmt: skip
def test_nothing_reaches_a_terminal_that_it_would_obey(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of files, columns, levels and options were printed as they are."""
    monkeypatch.chdir(tmp_path)
    text = "model M\nparam p : simplex[L]\nfor n in N:\n  observed c[n] ~ Categorical(p)\n"
    Path("m.em").write_text(text)
    Path(f"{HOSTILE}.em").write_text(text)
    Path(f"wrong{HOSTILE}.em").write_text("model M\nparam a : rael\n")
    for name, header in (("d", "c"), (HOSTILE, "c"), ("w", f'"{HOSTILE}"')):
        Path(f"{name}.csv").write_text(f'{header},e\n"{HOSTILE}",1\nb,1\nb,2\n', newline="")
    cli.run(arguments)
    got = capsys.readouterr()
    shown = got.out + got.err
    assert "9b" in shown, shown
    assert shown.replace("\n", "").isprintable() and "internal error" not in shown


def test_a_name_without_end_is_shortened_in_what_is_said_of_it() -> None:
    """An error about it printed all of it, a hundred thousand characters."""
    with pytest.raises(ModelError) as caught:
        emdsl.compile(text=f"model M\nlet a = {'b' * 100_000}\n")
    assert "b...b" in str(caught.value) and len(str(caught.value)) < 600


def test_no_argument_holds_a_zero_character(said: Any) -> None:
    assert "zero character" in said(2, "check", MODEL, "\0")


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    """The file that it is written to first has a name of its own, no longer one."""
    path = tmp_path / ("y" * 252 + ".py")
    assert cli.run(["compile", MODEL, "-o", str(path)]) == 0 and path.exists()


def test_what_is_read_is_not_written_over(said: Any, tmp_path: Path) -> None:
    model = tmp_path / "m.em"
    model.write_text(Path(MODEL).read_text())
    for command in ("derive", "compile", "graph"):
        assert "it is what is read" in said(1, command, str(model), "-o", str(model))
    assert model.read_text() == Path(MODEL).read_text()


def saved(folder: Path, document: Any) -> str:
    (folder / "p.json").write_text(json.dumps(document))
    return str(folder / "p.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"weights": [1], "weights": [0.5, 0.5]}', "two entries are named 'weights'"),
        (b"[" * 100_000, "nested too deeply"), (b"{}".ljust(2_000_000) + b"\0", "a NUL byte"),
        ('{"weights": [1]}'.encode("utf-16"), "not UTF-8"),
        (b'{"weights": ' + b"9" * 5000 + b"}", "a number has thousands of digits"),
    ],
)  # fmt: skip
def test_what_json_may_hold_is_told_alike_wherever_it_is_read(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    """Parameters took the second of two entries of one name, and a device without an end filled the memory."""
    path = tmp_path / "p.json"
    path.write_bytes(content)
    monkeypatch.setattr(storage, "BLOCK", 1 << 12)
    for wrong in (
        ("sample", MODEL, "--params", str(path), "--size", "N=3"),
        ("fit", MODEL, DATA, "--init", str(path)),
        ("fit", MODEL, str(path)),
    ):
        assert words in said(1, *wrong)
    monkeypatch.setattr(storage, "MOST_BYTES", 1 << 13)
    path.write_bytes(b'{"weights": [0.5, 0.5]}'.ljust(1 << 20))
    assert "it is larger than" in said(1, "fit", MODEL, str(path))


@pytest.mark.parametrize(
    ("block", "arguments", "words"),
    [
        (b"1,2\n", ("fit", MODEL, "{pipe}"), "cannot be read through a pipe: it is larger than 2 MB"),
        (b"[1, 2],", ("fit", MODEL, "{pipe}.json"), "cannot be read as JSON: it is larger than 2 MB"),
        (b"model M\n", ("check", "{pipe}"), "larger than a model may be"),
        (b"model M\n", ("check", "-"), "larger than a model may be"),
    ],
)
def test_what_comes_through_a_pipe_without_an_end_is_left(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: bytes, arguments: tuple[str, ...], words: str
) -> None:
    """A table was laid aside until the disk was full, a model from standard input held until the memory was."""
    monkeypatch.setattr(storage, "MOST_BYTES", 1 << 21)
    pipe = tmp_path / ("pipe.json" if arguments[-1].endswith("json") else "pipe")
    os.mkfifo(pipe)
    left = []

    def endless() -> None:
        try:
            with open(pipe, "wb", buffering=0) as file:
                for _ in range(1 << 8):  # 16 MB, where 4 would do
                    file.write(block * ((1 << 16) // len(block)))
        except BrokenPipeError:
            left.append(pipe)

    writer = Thread(target=endless, daemon=True)
    writer.start()
    if "-" in arguments:
        monkeypatch.setattr(sys, "stdin", pipe.open())
    assert words in said(1, *(a.format(pipe=tmp_path / "pipe") for a in arguments))
    if "-" in arguments:
        sys.stdin.close()
    writer.join(20)
    assert left


@pytest.mark.parametrize("number", ["²", "٣", "1.0", "+2", "1_0"])
def test_a_size_is_written_in_plain_digits(said: Any, number: str) -> None:
    assert "a size is a positive whole number" in said(2, "fit", MODEL, DATA, "--size", f"K={number}")


@pytest.mark.parametrize("columns", [",", "a,", ",b", "a,,b"])
def test_no_name_of_a_column_is_empty(said: Any, columns: str) -> None:
    assert "between commas is empty" in said(2, "fit", MODEL, DATA, "--column", f"x={columns}")


def test_an_infer_option_points_at_the_latent(said: Any) -> None:
    """No line of the model asks for it: the place is where the latent is declared."""
    told = said(1, "derive", MODEL, "--infer", "z=quadrature").splitlines()
    assert (
        told[0].startswith(f"{MODEL}:11:5: error E120: z is discrete") and "latent   z[n]" in told[1] and "^" in told[2]
    )


def test_a_number_that_only_python_reads_is_the_one_pointed_at(said: Any, tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text("a,b\n1,2\n1_000,3\n4,5\n")
    told = said(1, "fit", MODEL, str(data))
    assert "'1_000'" in told and f"line 3 of {data}" in told


@pytest.mark.parametrize("cell", ["1_000", "abc", "2,5", "1 000", "?", "1.2.3"])
def test_a_wrong_cell_does_not_take_its_column_away(said: Any, tmp_path: Path, cell: str) -> None:
    data = tmp_path / "d.csv"
    data.write_text(f'who,a,b\nu,1,2\nv,"{cell}",3\nw,4,5\n')
    told = said(1, "fit", MODEL, str(data))
    assert "x (column a)" in told and repr(cell) in told and f"line 3 of {data}" in told


def test_columns_of_names_are_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (ROOT / "models/data/faithful.csv").read_text().splitlines()
    data = tmp_path / "d.csv"
    data.write_text("\n".join([f"who,{lines[0]}", *(f"{'uvw'[i % 3]},{line}" for i, line in enumerate(lines[1:]))]))
    assert cli.run(["fit", MODEL, str(data), "--max-iter", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"]["D"] == 2


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({**PARAMS, "weights": [0.9, 0.9]}, "weights: its value must be probabilities that sum to 1"),
        ({**PARAMS, "weights": "abc"}, "weights is no array of numbers"),
        ({**PARAMS, "weights": [[0.5], [0.2, 0.3]]}, "weights is no array of numbers"),
        ({**PARAMS, "weights": [10**400, 0]}, "weights is no array of numbers"),
        ({**PARAMS, "weights": ["0.5", "0.5"]}, "weights is no array of numbers"),
        ({**PARAMS, "weights": [0.5, None]}, "weights: its value must be finite"),
        ({**PARAMS, "weights": [1.0]}, "sizes disagree"),
        ({**PARAMS, "cov": [[1]]}, "cov: its value has shape (1, 1)"),
        ({"params": PARAMS, "sizes": {"N": "x"}}, "sizes must be whole numbers"),
        ({"params": PARAMS, "sizes": {"N": 2.5}}, "sizes must be whole numbers"),
        ({"params": PARAMS, "sizes": [3]}, "sizes must be whole numbers"),
        ({"params": [1]}, "params must be numbers by name"),
    ],
)
def test_draws_need_parameters_of_the_model(said: Any, tmp_path: Path, document: Any, words: str) -> None:
    path = saved(tmp_path, document)
    told = said(1, "sample", MODEL, "--params", path, "--size", "N=3")
    assert words in told and path in told


def test_draws_are_of_known_sizes_and_in_a_known_format(said: Any, tmp_path: Path) -> None:
    path = saved(tmp_path, PARAMS)
    assert "no size Q" in said(2, "sample", MODEL, "--params", path, "--size", "N=3", "--size", "Q=3")
    out = tmp_path / "draws.parquet"
    assert "CSV" in said(2, "sample", MODEL, "--params", path, "--size", "N=3", "-o", str(out))
    assert not out.exists()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.py", tmp_path / "link.py"
    target.write_text("old")
    link.symlink_to(target)
    assert cli.run(["compile", MODEL, "-o", str(link)]) == 0
    assert link.is_symlink() and "class GaussianMixture" in target.read_text()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert cli.run(["derive", str(ROOT / "models/student.em"), "-o", str(pipe)]) == 0
        assert os.read(reader, 20) and stat.S_ISFIFO(os.stat(pipe).st_mode)
    finally:
        os.close(reader)


def test_rows_that_share_a_latent_have_no_scores_of_their_own() -> None:
    """A plain ValueError without a code, where the way out is score(data)."""
    text = "model M\nparam m : real\nlatent b ~ Normal(0, 1)\nfor n in N:\n"
    model = emdsl.compile(text=text + "    observed y[n] ~ Normal(m + b, 1)")
    data = {"y": [0.1, 0.5, 2.0, 1.0]}
    fitted = model.fitter().fit(data)
    with pytest.raises(DataError, match=r"D021.*no sum over one plate"):
        fitted.score_samples(data)
    assert fitted.score(data) == pytest.approx(fitted.log_likelihood_ / 4)


def test_a_factorial_without_end_is_not_written_out() -> None:
    """The equation of an update had no end."""
    text = (
        "model M\nparam m : real\nfor n in N:\n    observed x[n] ~ Normal(m + lchoose(1e15, 5e14) + lgamma(1e15), 1)\n"
    )
    assert "lgamma" in str(emdsl.compile(text=text).updates["m"].equation)


def test_lets_that_double_are_opened_once() -> None:
    """2^15 terms if each let were put in wherever it stands; with 2^20 the model is refused."""
    lets = "\n".join(f"let a{i} = a{i - 1} + a{i - 1}" for i in range(1, 16))
    text = f"model M\nparam m : real\nlet a0 = 2^(-15)*m\n{lets}\nfor n in N: observed x[n] ~ Normal(a15, 1)"
    fitted = emdsl.compile(text=text).fitter().fit({"x": [1.0, 2.0]})
    assert float(fitted.params_["m"]) == pytest.approx(1.5)


def test_a_function_of_many_binary_latents() -> None:
    """It was written out for each of their 2^16 states together: 25 of them did not end."""
    latents = "\n".join(f"    latent z{i}[n] ~ Bernoulli(0.5)" for i in range(16))
    mean = " + ".join(f"w[{i}] * z{i}[n]" for i in range(16))
    text = f"model M\nparam w : real[16]\nfor n in N:\n{latents}\n    observed y[n] ~ Normal(exp({mean}), 1)\n"
    model = emdsl.compile(text=text)
    assert model.updates["w"].kind == "gradient" and {p.method for p in model.plan.values()} == {"exact:enumeration"}


def test_lets_too_large_to_put_in() -> None:
    lets = "\n".join(f"let a{i} = exp(a{i - 1}) * sin(a{i - 1})" for i in range(1, 40))
    text = f"model M\nparam m : real\nlet a0 = m\n{lets}\nfor n in N: observed x[n] ~ Normal(a39, 1)"
    with pytest.raises(ModelError, match=r"E008: `a\d+` has more than"):
        emdsl.compile(text=text).source  # noqa: B018


def test_many_branches() -> None:
    """Each branch carries the negations of those before it: products of many masks."""
    branches = "".join(f"Normal(m + {i}, 1) if k[n] == {i} else " for i in range(25))
    text = f"model M\nparam m : real\nfor n in N:\n    given k[n] : count\n    observed x[n] ~ {branches}Normal(m, 1)"
    data = {"x": np.arange(26.0), "k": np.arange(26)}
    assert float(emdsl.compile(text=text).fitter().fit(data).params_["m"]) == pytest.approx(25 / 26)


def test_what_stands_beside_an_unknown_may_be_long() -> None:
    """sympy put a sum of 300 names over one denominator, for each of them: it is one symbol while it solves."""
    names = [f"c{n}" for n in range(40)]
    given = "".join(f"given {n} : positive\n" for n in names)
    text = f"model M\nparam a : positive\n{given}for n in N: observed y[n] ~ Normal(0, var = a + {' + '.join(names)})"
    model = emdsl.compile(text=text)
    fit = model.fitter().fit({"y": np.array([3.0, -5, 4]), **dict.fromkeys(names, 0.1)})
    assert fit.params_["a"] == pytest.approx(50 / 3 - 4, rel=1e-12)


def test_many_observed_variables_about_one_parameter() -> None:
    """What moves with each of them was looked for anew, through all the others: hundreds took minutes."""
    lines = "".join(f"    observed y{n}[n] ~ Normal(m, s)\n" for n in range(120))
    model = emdsl.compile(text=f"model M\nparam m : real\nparam s : positive\nfor n in N:\n{lines}")
    assert set(model.updates) == {"m", "s"}


def many(declared: int, kind: str) -> str:
    if kind == "latent":
        line = "    latent {0} ~ Normal({1}, s)\n"
        names = ["s", *(f"z{i}[n]" for i in range(declared))]
        lines = "".join(line.format(b, a) for a, b in itertools.pairwise(names))
        return f"model M\nparam s : positive\nfor n in N:\n{lines}    observed y[n] ~ Normal({names[-1]}, s)"
    params = "".join(f"param a{i} : real\n" for i in range(declared))
    return f"model M\n{params}for n in N: observed y[n] ~ Normal({' + '.join(f'a{i}' for i in range(declared))}, 1)"


@pytest.mark.parametrize(("kind", "most", "line"), [("latent", 200, 204), ("param", 600, 602)])
def test_more_names_than_equations_are_written_for(kind: str, most: int, line: int) -> None:
    """Every pair of them was looked at: 300 latents took a minute, 2000 parameters printed 100 MB."""
    with pytest.raises(ModelError, match=rf":{line}:\d+: error E108: {most + 1} "):
        emdsl.compile(text=many(most + (kind == "latent"), kind)).source  # noqa: B018


def test_more_places_than_equations_are_written_for() -> None:
    """Of a product of 2000 elements of one parameter no derivation came within two minutes; its module had 46 MB."""
    text = "model M\nparam p[2] : positive[400]\nfor n in N: observed y[n] ~ Poisson({})\n"
    places = [f"p[{i % 2}][{i // 2}]" for i in range(601)]
    with pytest.raises(ModelError, match=r":3:\d+: error E108: more than 600 elements .* such as p\[0, 300\]"):
        emdsl.compile(text=text.format(" * ".join(places))).source  # noqa: B018
    assert emdsl.compile(text=text.format(" + ".join(2 * places[:40]))).source


def test_where_elements_stand_in_cliques_is_found_in_the_time_of_a_sort() -> None:
    """Rows were looked through for each element, in each sweep: of a picture of 100 x 100 points for seconds."""
    rng = np.random.default_rng(0)
    members = rng.integers(7, size=(200, 4))
    for v, found in enumerate(_places(members, 8)):
        rows = np.flatnonzero((members == v).any(1))
        assert sorted(r for own, _ in found for r in own) == rows.tolist()
        assert all((np.flatnonzero(members[r] == v) == at).all() for own, at in found for r in own)
        assert [at for _, at in found] == sorted({at for _, at in found}, key=lambda at: [k in at for k in range(4)])
    line = np.arange(20_000)
    assert len(_places(np.stack([line[:-1], line[1:]], 1), 20_000)) == 20_000
    assert _places(np.zeros((0, 2), int), 1) == [[]]


def tied(latents: int, mean: str) -> str:
    names = [f"u{i}" for i in range(latents)]
    declared = "".join(f"latent {n} ~ Normal(0, 1)\n" for n in names)
    return f"model M\n{declared}for n in N:\n    observed y[n] ~ {mean.format(' + '.join(names))}\n"


def test_latents_by_names_of_their_own_in_one_sum() -> None:
    """The square of more than 70 terms stayed closed, and all other ways were tried for minutes."""
    model = emdsl.compile(text=tied(60, "Normal({}, 1)"))
    assert {p.method for p in model.plan.values()} == {"exact:gaussian"}
    y = np.array([3.0, -1.0, 2.5])
    covariance = np.eye(3) + 60
    wanted = -0.5 * (y @ np.linalg.solve(covariance, y) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert model.fitter(max_iter=0).fit({"y": y}).log_likelihood_ == pytest.approx(wanted, rel=1e-9)
    with pytest.raises(ModelError, match=r":64:\d+: error E108: 61 latents .* meet in the density of y, more than 60"):
        emdsl.compile(text=tied(61, "Normal({}, 1)")).source  # noqa: B018
    many = [f"latent u{i} ~ Normal({' + '.join(f'u{j}' for j in range(i)) or 0}, 1)\n" for i in range(60)]
    with pytest.raises(ModelError, match=r":50:\d+: error E108: up to the density of u48 20,825 pairs"):
        emdsl.compile(text=f"model M\n{''.join(many)}observed y ~ Normal(u59, 1)\n").source  # noqa: B018


def test_conditions_that_double_the_cases() -> None:
    """A sum of twenty conditionals was opened into a million factors, for hours; ten took a minute."""
    text = "model M\nparam m : real\nparam q : real\nfor n in N:\n    given g[n] : real\n"
    text += "    observed y[n] ~ Normal({}, 1)\n"
    summed = " + ".join(f"(m if g[n] < {i} else q)" for i in range(11))
    with pytest.raises(ModelError, match=r":6:\d+: error E109: .* density of y make more than 512 cases"):
        emdsl.compile(text=text.format(summed)).source  # noqa: B018
    numbers = " + ".join(f"(m * (g[n] < {i}) + q * (1 - (g[n] < {i})))" for i in range(3))
    assert emdsl.compile(text=text.format(numbers)).source


def test_conditions_that_decide_others() -> None:
    """Of 90 conditionals inside one another 91 cases were written, all but two of which hold nowhere: for minutes."""
    nested = "(" * 90 + "m" + "".join(f" if k[n] == {i} else {i} * m)" for i in range(90))
    text = f"model M\nparam m : real\nfor n in N:\n    given k[n] : count\n    observed y[n] ~ Normal({nested}, 1)\n"
    model = emdsl.compile(text=text)
    assert str(model.derivation).count("k[n] = ") and "k[n] = 88" not in str(model.derivation)
    fit = model.fitter().fit({"k": np.array([3, 89, 1]), "y": np.array([89.0, 176.0, 178.0])})
    assert fit.params_["m"] == pytest.approx((89 * 89 + 88 * 176 + 89 * 178) / (89**2 * 2 + 88**2))


@pytest.mark.parametrize(("term", "printed"), [("p[{}]", True), ("g[n][{}]", False)])
def test_a_sum_that_stands_in_many_places_is_looked_through_once(term: str, printed: bool) -> None:
    """Of 2000 elements of a parameter, each by its place, no derivation came within two minutes, and of as many of data
    the module took half of one."""

    def calls(terms: int) -> int:
        text = f"model M\nparam a : real\nparam p : real[{terms}]\nfor n in N:\n    given g[n] : real[{terms}]\n"
        summed = " + ".join(term.format(i) for i in range(terms))
        model = emdsl.compile(text=f"{text}    observed y[n] ~ Normal(a + {summed}, 1)\n")
        assert not printed or model.source
        profile = cProfile.Profile()
        profile.runcall(lambda: str(model.derivation) if printed else model.source)
        return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]

    assert calls(160) < 2.4 * calls(80)


def test_a_product_of_many_sums_is_no_polynomial_that_is_opened() -> None:
    """Of 24 sums of a parameter and a covariate 2^24 products were made, to see what the covariate is measured from."""
    product = " * ".join(f"(a + {i + 1} * x[n])" for i in range(40))
    text = f"model M\nparam a : real\nfor n in N:\n    given x[n] : real\n    observed y[n] ~ Normal({product}, 1)\n"
    assert emdsl.compile(text=text).source


@pytest.mark.parametrize("term", ["a / {}", "log({} * b)", "log(b + {})", "x[n] / {}"])
def test_a_sum_whose_numbers_have_thousands_of_digits_together(term: str) -> None:
    """A common denominator of numbers of 16 digits, or a product of them, has digits that Python would not spell."""
    summed = " + ".join(term.format(10**15 + i) for i in range(320))
    text = "model M\nparam a : real\nparam b : positive\nfor n in N:\n    given x[n] : real\n"
    model = emdsl.compile(text=f"{text}    observed y[n] ~ Normal({summed} + a, b)\n")
    assert model.source and "infinity" not in str(model.derivation)


def test_many_functions_of_two_parameters_in_one_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The square of 40 of them is 1,600 products, which sympy differentiated, to find out that they are too many."""
    monkeypatch.setattr("emdsl.derive.algebra.scalars.Symbols.to_sympy", lambda *_: pytest.fail("handed to sympy"))
    summed = " + ".join(f"min({n + 1}*a, b)" for n in range(40))
    text = f"model M\nparam a : real\nparam b : real\nfor n in N: observed y[n] ~ Normal({summed}, 1)"
    model = emdsl.compile(text=text)
    fit = model.fitter(init={"a": 0.5, "b": 3.0}).fit({"y": [90.0, 100.0, 110.0]})
    assert np.minimum(np.arange(1, 41) * fit.params_["a"], fit.params_["b"]).sum() == pytest.approx(100, rel=1e-6)


def test_conditions_meet_their_opposites_without_trying_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair of the terms of a slope was tried, one for each of 250 conditions: half a minute."""
    tried = itertools.count()
    monkeypatch.setattr(conditions, "_without_sides", lambda *a, f=conditions._without_sides: (next(tried), f(*a))[1])
    summed = " + ".join(f"min(a, {n}*g[n])" for n in range(30))
    text = f"model M\nparam a : real\nfor n in N:\n    given g[n] : real\n    observed y[n] ~ Normal({summed}, 1)"
    assert str(emdsl.compile(text=text).derivation) and next(tried) < 30


def test_one_sum_in_many_terms_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each term of the slope holds the sum: 500 of them took 36 seconds to derive."""
    written = itertools.count()
    signed = typeset.Typeset._signed
    monkeypatch.setattr(typeset.Typeset, "_signed", lambda *a: (next(written), signed(*a))[1])
    summed = " + ".join(f"min(a, {n}*g[n])" for n in range(30))
    text = f"model M\nparam a : real\nfor n in N:\n    given g[n] : real\n    observed y[n] ~ Normal({summed}, 1)"
    assert str(emdsl.compile(text=text).derivation) and next(written) < 10 * 30


def test_a_formula_that_stands_in_many_places_is_rebuilt_once() -> None:
    """Walks over the slope of 500 `exp(c*a*x[n])` passed two million parts, and took half a minute."""
    asked = itertools.count()
    whole = f.plus(*(f.Name(c) for c in "abcdefgh"))
    for _ in range(40):
        whole = f.Over(whole, f.Raised(whole, f.Number("2")))
    assert walking.rebuilt(whole, lambda _: (next(asked), None)[1]) and next(asked) < 200


def test_pairs_of_a_product_are_not_opened_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q was opened for each pair of its factors: 200 of them took half a minute."""
    opened = itertools.count()
    about = solve.about
    monkeypatch.setattr(solve, "about", lambda *a: (next(opened), about(*a))[1])
    text = many(30, "param").replace(" + ", " * ")
    assert {u.kind for u in emdsl.compile(text=text).updates.values()} == {"closed form"} and next(opened) < 3 * 30


def test_what_stands_apart_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 300 densities was opened for each of 300 parameters, and shifts of all looked through for each."""
    looked = itertools.count()
    opened, moved = explicit.state_by_state, centre.of_one_number
    monkeypatch.setattr(explicit, "state_by_state", lambda *a: (next(looked), opened(*a))[1])
    monkeypatch.setattr(centre, "of_one_number", lambda *a: (next(looked), moved(*a))[1])
    lines = (f"param m{i} : real\nfor n{i} in N{i}: observed y{i}[n{i}] ~ Normal(m{i}, 1)\n" for i in range(20))
    assert str(emdsl.compile(text="model M\n" + "".join(lines)).derivation) and next(looked) < 10 * 20


def test_choices_are_tried_as_long_as_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 30 latents was drawn, and points for 40 choices of the others were tried under each: minutes."""
    looked = itertools.count()
    monkeypatch.setattr(quadrature, "by_quadrature", lambda *a, f=quadrature.by_quadrature: (next(looked), f(*a))[1])
    model = emdsl.compile(text=tied(30, "Poisson(exp({}))"))
    assert {p.method for p in model.plan.values()} == {"saem:slice"}
    assert next(looked) < 40


def test_products_of_many_matrices() -> None:
    """Every pair of 80 operands was weighed against all others, after each step again: minutes."""
    text = "model M\nparam A : real[2, 2]\nfor n in N:\n    given x[n] : real[2]\n    observed y[n] ~ Normal("
    model = emdsl.compile(text=f"{text}({' @ '.join(['A'] * 9)} @ x[n])[0], 1)")
    A, X, y = np.array([[0.9, 0.3], [-0.2, 1.1]]), np.arange(6.0).reshape(3, 2), np.array([1.0, -1, 2])
    fit = model.fitter(init={"A": A}, max_iter=0).fit({"x": X, "y": y})
    mean = X @ np.linalg.matrix_power(A, 9)[0]
    assert fit.log_likelihood_ == pytest.approx(-0.5 * np.sum((y - mean) ** 2) - 1.5 * np.log(2 * np.pi), rel=1e-12)


def test_sizes_that_no_machine_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if "SIZE" in name else 2**20)
    text = "model M\nsize K\nparam w : simplex[K]\nfor n in N: observed x[n] ~ Categorical(w)"
    with pytest.raises(DataError, match="D043: the parameters need 8 GB"):
        emdsl.compile(text=text).fitter(K=10**9).fit({"x": [0, 1]})


class Raises:
    def __array__(self, *arguments: Any, **beside: Any) -> Any:
        raise RuntimeError("not today")


def test_code_of_what_is_handed_over_may_raise() -> None:
    model = emdsl.compile(text="model M\nparam m : real\nfor n in N: observed x[n] ~ Normal(m, 1)")
    for data in (Raises(), [Raises()], {"x": Raises()}):
        with pytest.raises(DataError, match="makes no array: RuntimeError: not today"):
            model.fitter().fit(data)
    for options in ({"init": {"m": Raises()}}, {"fixed": {"m": Raises()}}):
        with pytest.raises(DataError, match="m: is a Raises"):
            model.fitter(**options).fit([1.0, 2])
    with pytest.raises(DataError, match="sample_weight: is a Raises"):
        model.fitter().fit([1.0, 2], sample_weight=Raises())


def test_draws_of_a_fit_are_as_many_as_its_givens() -> None:
    """An index of the fit's rows says nothing of other rows: they are handed over, or the fit's own are drawn anew."""
    model = emdsl.compile(
        text="model M\nparam m : real\nfor s in S:\n    for i in L[s]: given a[s, i] : real\n"
        "    for j in R[s]: observed x[s, j] ~ Normal(m*a[s, 0], 1)"
    )
    fit = model.fitter().fit({"a": [[1.0, 2], [3.0]], "x": [[1.0], [2.0, 3]]})
    assert list(map(len, fit.sample()["x"])) == [1, 2]
    with pytest.raises(DataError, match="a: the fit has it for S = 2 elements, not for 3"):
        fit.sample(3)
    fit.sample(3, data={"a": [[1.0], [2.0, 4], [3.0]]})
    for wrong in (2.5, -1, "3", {"S": 3}):
        with pytest.raises(DataError, match="n must be a whole number"):
            fit.sample(wrong)
    with pytest.raises(DataError, match="data must be a dict"):
        fit.sample(3, data=[1.0])


def test_a_score_of_many_ratios_has_its_degree_told_at_a_point() -> None:
    """A noisy or of three causes: its score over one denominator was multiplied out, in half a minute."""
    spared = " * ".join(f"(1 - w[{k}, j] if d[n, {k}] else 1)" for k in range(3))
    text = f"""model NoisyOr
param p[3] : unit
param w[3, J] : unit
param leak[J] : unit
for n in N:
    for k in 3:
        latent d[n, k] ~ Bernoulli(p[k])
    for j in J:
        observed y[n, j] ~ Bernoulli(1 - (1 - leak[j]) * {spared})
"""
    kinds = {name: u.kind for name, u in emdsl.compile(text=text).updates.items()}
    assert kinds == {"p": "closed form", "w": "newton", "leak": "newton"}
