"""The command line: exit status, one block on standard error, numbers that can be read off, files that fit."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tomllib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.fake_model import FakeModel

from emdsl import cli
from emdsl.errors import DataError
from emdsl.fit import csvfile, tables
from emdsl.fit.readers import parse_csv, read_table_file
from emdsl.report.output import stop_when_told
from emdsl.runtime.data.frames import as_table

ROOT = Path(__file__).parents[1]
FAITHFUL = str(ROOT / "models/data/faithful.csv")


@pytest.fixture(autouse=True)
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "compiled", lambda path, infer=(): FakeModel("poisson" if "poisson" in path else "gmm"))


class Ran:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


COMPILED = cli.compiled


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def runs(*arguments: str) -> Ran:
        status = cli.run(arguments)
        got = capsys.readouterr()
        assert "Traceback" not in got.err
        return Ran(status, got.out, got.err)

    return runs


# ---------------------------------------------------------------- fit


def test_fit_prints_plan_parameters_likelihood_and_why(run: Any, tmp_path: Path) -> None:
    done = run("fit", "gmm.em", FAITHFUL, "--seed", "1", "--tol", "1e-10", "-o", str(tmp_path / "fit.json"))
    assert done.status == 0 and done.err == ""
    assert "-1130.26396" in done.out
    assert "z by exact:enumeration; weights, mean, cov by closed form" in done.out
    assert "N = 272" in done.out and "converged after" in done.out and "11 free parameters" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines()) and "\x1b" not in done.out
    document = json.loads((tmp_path / "fit.json").read_text())
    assert document["log_likelihood"] == pytest.approx(-1130.263960, abs=1e-5)
    again = run("fit", "gmm.em", FAITHFUL, "--init", str(tmp_path / "fit.json"), "--json")
    assert json.loads(again.out)["n_iter"] == 1


def test_fit_options_reach_the_fit(run: Any, tmp_path: Path) -> None:
    svg = tmp_path / "h.svg"
    done = run("fit", "gmm.em", FAITHFUL, "--size", "K=1", "--column", "x=waiting", "--plot", str(svg), "--json")
    facts = json.loads(done.out)
    assert facts["sizes"]["K"] == 1 and facts["sizes"]["D"] == 1
    assert svg.read_text().startswith("<svg")
    short = run("fit", "gmm.em", FAITHFUL, "--max-iter", "2", "--seed", "0")
    assert short.status == 0 and "not converged" in short.out


def test_garbage_is_looked_for_seldom(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation of many equations took a quarter longer."""
    seen: list[int] = []
    monkeypatch.setattr("gc.set_threshold", lambda *found: seen.append(found[0]))
    monkeypatch.setattr(cli, "stop_when_told", lambda: None)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert seen[0] > 10000


def test_a_delimiter_that_is_none(run: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a b\n1 2\n3 4\n")
    assert "what tells columns apart is a comma" in run("fit", "gmm.em", str(tmp_path / "t.csv")).err


def test_a_column_whose_name_holds_a_comma() -> None:
    assert cli.column_lists(['x="a,b",c']) == {"x": ["a,b", "c"]}
    assert cli.column_lists(['x=a"b, c d']) == {"x": ['a"b', "c d"]}


def test_fit_with_weights(run: Any, tmp_path: Path) -> None:
    data = tmp_path / "w.csv"
    data.write_text("a,b,count\n" + "\n".join(f"{i % 7},{i % 5},2" for i in range(40)))
    done = run("fit", "gmm.em", str(data), "--size", "K=1", "--weights", "count", "--json")
    assert json.loads(done.out)["n_units"] == 80 and json.loads(done.out)["sizes"]["D"] == 2
    assert "no column wt" in run("fit", "gmm.em", str(data), "--weights", "wt").err


def test_fit_of_a_long_table(run: Any, tmp_path: Path) -> None:
    data = tmp_path / "long.csv"
    data.write_text("subject,y\nb,1\na,2\nb,9\na,11\nb,NA\n")
    done = run("fit", "poisson.em", str(data), "--index", "s=subject", "--json", "--seed", "0")
    facts = json.loads(done.out)
    assert facts["sizes"] == {"S": 2, "K": 2} and facts["labels"]["S"] == ["a", "b"]


def test_a_chain_in_a_table_is_in_the_order_of_its_times(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come in any order; a step that is left out is a fault of that line; `--init` takes values by name."""
    monkeypatch.setattr(cli, "compiled", COMPILED)
    first, trans, rate = np.array([0.4, 0.6]), np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([1.0, 6.0])
    start, data = tmp_path / "start.json", tmp_path / "t.csv"
    start.write_text(json.dumps({"first": [0.4, 0.6], "trans": trans.tolist(), "rate": [1, 6]}))
    arguments = ("fit", "models/poisson_hmm.em", str(data), "--init", str(start), "--max-iter", "0")
    data.write_text("t,y\n3,1\n1,2\n2,\n")
    seen = first * rate**2 * np.exp(-rate) / 2, rate * np.exp(-rate)
    wanted = np.log(seen[0] @ trans @ trans @ seen[1])
    assert json.loads(run(*arguments, "--json").out)["log_likelihood"] == pytest.approx(wanted, abs=1e-12)
    data.write_text("t,y\n3,1\n1,2\n4,\n")
    assert "t: a gap between 1 and 3" in (told := run(*arguments).err) and f"(row 0 is line 2 of {data})" in told
    data.write_text("t,y\n3,1\n1,-2\n2,\n")
    assert f"0 or more: the value in row 1: -2 (row 1 is line 3 of {data})" in run(*arguments).err


def test_fit_of_json(run: Any, tmp_path: Path) -> None:
    """An object is what Python takes, other names left out; a list of rows is a table; null is missing."""
    table = tmp_path / "long.csv"
    table.write_text("subject,y\n1,1\n0,2\n1,9\n0,11\n1,NA\n")
    wanted = json.loads(run("fit", "poisson.em", str(table), "--index", "s=subject", "--json", "--seed", "0").out)
    rows = [{"subject": 1, "y": 1}, {"subject": 0, "y": 2}, {"y": 9, "subject": 1}, {"subject": 0, "y": 11}]
    for content, more in (
        ({"y": [[2, 11], [1, 9, None]], "z": [1]}, []),
        ([*rows, {"subject": 1}], ["--index", "s=subject"]),
    ):
        (tmp_path / "d.json").write_text(json.dumps(content))
        facts = json.loads(run("fit", "poisson.em", str(tmp_path / "d.json"), *more, "--json", "--seed", "0").out)
        assert (facts["objective"], facts["sizes"]) == (wanted["objective"], wanted["sizes"])
    twice, digits = '{"y": [[1]], "y": [[2]]}', '{"y": [[' + "9" * 5000 + "]]}"
    for text, words in (('{"y": [1,}', "cannot be read as JSON: Expecting value"), ("[1, 2]", "holds no table"),
                        (twice, "two entries are named 'y'"), (digits, "thousands of digits")):  # fmt: skip
        (tmp_path / "bad.json").write_text(text)
        done = run("fit", "poisson.em", str(tmp_path / "bad.json"))
        assert done.status == 1 and words in done.err


def test_estimates_of_what_the_data_name_stand_by_their_names(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "compiled", COMPILED)
    (tmp_path / "w.em").write_text(
        "model W\nparam p[G] : simplex[V]\nparam m[G] : real\nfor n in N:\n    given g[n] : index[G]\n"
        "    observed w[n] : category[V] ~ Categorical(p[g[n]])\n    observed y[n] ~ Normal(m[g[n]], 1)\n"
    )
    (tmp_path / "w.csv").write_text("g,w,y\nwest,red,1\neast,red,5\nwest,blue,3\neast,red,5\n")
    done = run("fit", str(tmp_path / "w.em"), str(tmp_path / "w.csv"))
    rows = {line.rsplit(None, 1)[0].strip(): line.split()[-1] for line in done.out.splitlines() if "[" in line}
    assert (rows["m[east]"], rows["m[west]"]) == ("5", "2")
    assert (rows["p[west, blue]"], rows["p[west, red]"], rows["p[east, red]"]) == ("0.5", "0.5", "1")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["fit", "gmm.em", "absent.csv"], 1, ["absent.csv: cannot be read: No such file"]),
        (["fit", "gmm.em", FAITHFUL, "--size", "K"], 2, ["--size needs NAME=VALUE"]),
        (["fit", "gmm.em", FAITHFUL, "--size", "K=-2"], 2, ["positive whole number"]),
        (["fit", "gmm.em", FAITHFUL, "--size", "Q=2"], 2, ["no size Q"]),
        (["fit", "gmm.em", FAITHFUL, "--column", "x=wating"], 1, ["no column wating", "did you mean waiting"]),
        (["fit", "gmm.em", FAITHFUL, "--tol", "-1"], 2, ["--tol"]),
        (["fit", "gmm.em", FAITHFUL, "--tol", "nan"], 2, ["--tol must be a finite number"]),
        (["fit", "gmm.em", FAITHFUL, "--max-iter", "9" * 30], 2, ["--max-iter must be a whole number"]),
        (["fit", "gmm.em", FAITHFUL, "-o", ""], 1, ["its name is empty"]),
        (["fit", "gmm.em", FAITHFUL, "--plot", "a.pdf"], 2, [".svg"]),
        (["fit", "gmm.em", FAITHFUL, "-o", FAITHFUL + "/"], 1, ["its name ends in /"]),  # it was written over
        (["fit", "gmm.em", FAITHFUL, "-o", "-"], 2, ["--output: name a file"]),
        (["fit", "gmm.em", FAITHFUL, "-o", "a.svg", "--plot", "./a.svg"], 2, ["two name the same file"]),
        (["fit", "gmm.em", FAITHFUL, "-o", "/no/such/dir/fit.json"], 1, ["cannot be written"]),
        (["fit", "gmm.em", FAITHFUL, "--init", "absent.json"], 1, ["absent.json: cannot be read"]),
        (["fit", "gmm.em"], 2, ["DATA"]),
        (["fti"], 2, ["No such command"]),
        (["derive", "gmm.em", "--diff", "gmm.em", "--format", "html"], 2, ["--diff prints text"]),
        (["sample", "gmm.em", "--params", FAITHFUL, "-o", FAITHFUL], 1, ["it is what is read"]),
        (["graph", "absent.em"], 1, ["absent.em: cannot be read"]),
        (["graph", "gmm.em", "--format", "png"], 2, ["--format"]),
        (["graph", "gmm.em", "-o", "/no/such/dir/g.svg"], 1, ["cannot be written"]),
        (["check", "absent.em"], 1, ["absent.em: cannot be read"]),
    ],
)
def test_what_is_wrong_is_said_in_one_block(run: Any, arguments: list[str], status: int, words: list[str]) -> None:
    done = run(*arguments)
    assert done.status == status and done.out == ""
    for word in words:
        assert word in done.err


def test_the_model_from_standard_input(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "compiled", COMPILED)
    text = "model M\nparam m : real\nparam s : positive\nfor n in N: observed x[n] ~ Normal(m, s)\n"
    typed = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", typed)
    done = run("fit", "-", FAITHFUL, "--column", "x=waiting")
    assert done.status == 0 and "70.897" in done.out
    assert run("fit", "-", "-").status == 2


def test_data_from_a_pipe(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read twice was laid aside, and then read from its end: `cat d.csv | emdsl fit m.em -`."""
    end, start = os.pipe()
    os.write(start, b"waiting\n" + b"70\n90\n50\n55\n88\n" * 9)
    os.close(start)
    with os.fdopen(end, encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        done = run("fit", "gmm.em", "-", "--size", "K=1", "--json")
    assert json.loads(done.out)["sizes"]["N"] == 45
    monkeypatch.setattr(sys, "stdin", None)
    closed = run("fit", "gmm.em", "-")
    assert closed.status == 1 and "it is closed" in closed.err


def test_outputs_of_the_system(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A link to itself and a terminal of few letters were internal errors."""
    (tmp_path / "loop").symlink_to("loop")
    done = run("fit", "gmm.em", FAITHFUL, "-o", str(tmp_path / "loop"))
    assert done.status == 1 and "cannot be written" in done.err
    monkeypatch.setattr(cli, "put", lambda *_: "Σ".encode("ascii"))
    done = run("compile", "gmm.em")
    assert done.status == 1 and "ascii has no '\\u03a3'" in done.err


def test_an_absent_model_is_said_alike_everywhere(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "compiled", COMPILED)
    said = set()
    for command, *more in (["fit", FAITHFUL], ["sample", "--params", "p.json"], ["check"], ["derive"], ["compile"]):
        said.add(run(command, "absent.em", *more).err)
    assert said == {"error D030: absent.em: cannot be read: No such file or directory\n"}


def test_a_bad_cell_is_told_with_its_line(run: Any, tmp_path: Path) -> None:
    data = tmp_path / "bad.csv"
    data.write_text("x1,x2\n1,2\n3,abc\n4,5\n")
    done = run("fit", "gmm.em", str(data))
    assert done.status == 1 and "'abc'" in done.err and f"line 3 of {data}" in done.err
    data.write_text("x1;x2\n1,5;2\n2,5;3\n")
    assert "decimal commas" in run("fit", "gmm.em", str(data)).err


def test_ctrl_c_keeps_the_fit_and_ends_with_130(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fixtures import hand_gmm

    honest, calls = hand_gmm.m_step, []

    def m_step(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return honest(*args)

    monkeypatch.setattr(hand_gmm, "m_step", m_step)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    try:
        done = run("fit", "gmm.em", FAITHFUL, "--seed", "0", "-o", str(tmp_path / "fit.json"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.status == 130 and "interrupted" in done.err
    assert json.loads((tmp_path / "fit.json").read_text())["status"] == "interrupted"


def test_data_that_change_during_a_fit_are_those_of_before(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fixtures import hand_gmm

    honest, data = hand_gmm.m_step, tmp_path / "data.csv"
    data.write_bytes(Path(FAITHFUL).read_bytes())

    def m_step(*args: Any) -> Any:
        data.write_text("eruptions,waiting\n1,1\n")
        return honest(*args)

    before = run("fit", "gmm.em", str(data), "--seed", "0", "--json").out
    monkeypatch.setattr(hand_gmm, "m_step", m_step)
    assert run("fit", "gmm.em", str(data), "--seed", "0", "--json").out == before and data.stat().st_size < 50


IN_EXEC = "try: exec('raise KeyboardInterrupt')\n    except KeyboardInterrupt: return cli.INTERRUPTED"
CLEARED = """class A:
        def __del__(self): raise KeyboardInterrupt
    A()
    try: time.sleep(30)
    except KeyboardInterrupt: return cli.INTERRUPTED"""


@pytest.mark.parametrize("body", [IN_EXEC, CLEARED], ids=["in exec", "while an object is cleared away"])
def test_ctrl_c_ends_with_130_wherever_it_comes(tmp_path: Path, body: str) -> None:
    """Found by signals at random moments: Python ended by SIGINT, though it was caught, or ignored it and went on."""
    (tmp_path / "told.py").write_text(
        f"import time\nfrom emdsl import cli\ndef ran(_):\n    {body}\ncli.run = ran\ncli.main()"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-m", "told"], env=env, check=False, timeout=60, capture_output=True)
    assert done.returncode == 130 and b"Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="of terminals")
def test_a_table_is_written_by_blocks_that_ctrl_c_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """csv writes rows without a look at signals: 3 million took 18 seconds to be stopped."""
    seen: list[int] = []

    class Writer:
        def writerow(self, row: Any) -> None: ...

        def writerows(self, rows: list[Any]) -> None:
            seen.append(len(rows))

    monkeypatch.setattr(tables.csv, "writer", lambda *_, **__: Writer())
    tables._csv_text({"a": range(10000), "b": range(10000)})
    assert sum(seen) == 10000 and max(seen) < 5000


def test_a_terminal_that_is_closed_is_ctrl_c_but_for_nohup(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fit was lost with the connexion."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup themselves
        stop_when_told()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stop_when_told()
        signal.raise_signal(signal.SIGHUP)
    finally:
        for told, handler in before.items():
            signal.signal(told, handler)


def test_ctrl_c_while_the_command_line_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script `emdsl` imported it where nothing catches: a traceback."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, name = scripts["emdsl"].partition(":")

    class Interrupting:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "emdsl.cli":
                raise KeyboardInterrupt

    start = getattr(importlib.import_module(module), name)
    monkeypatch.delitem(sys.modules, "emdsl.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    monkeypatch.setattr(os, "_exit", sys.exit)  # at once, as Python would end by the signal and not by the status
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stop:
            start()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 130 and capsys.readouterr().err == "interrupted\n"


def test_a_fit_that_cannot_be_saved_is_still_printed(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = run("fit", "gmm.em", FAITHFUL, "--seed", "0", "-o", str(tmp_path / "fit.json"))
    assert done.status == 1 and "No space left" in done.err and "log-likelihood" in done.out


def test_a_bug_of_ours_is_no_traceback(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "compiled", lambda path, infer=(): 1 / 0)
    done = run("derive", "gmm.em")
    assert done.status == 1 and "internal error (ZeroDivisionError)" in done.err and "report" in done.err


def test_collapse_is_said(run: Any, tmp_path: Path) -> None:
    data = tmp_path / "same.csv"
    data.write_text("x1,x2\n" + "1,1\n" * 20)
    done = run("fit", "gmm.em", str(data))
    assert done.status == 1 and "D020" in done.err


def test_a_full_standard_output_is_no_bug(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Any, content: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "put", full)
    monkeypatch.setattr("emdsl.report.output.leave_output", lambda: None)
    done = run("compile", "gmm.em")
    assert done.status == 1 and "error D040: standard output: cannot be written: No space left" in done.err


@pytest.mark.parametrize("command", ["compile", "fit"])
def test_a_reader_that_has_seen_enough_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """`emdsl derive M.em | head -1`: click (rich, of fits) made it status 1 without a word; a plot was not drawn."""
    reader, writer = os.pipe()
    os.close(reader)
    more = (FAITHFUL, "--seed", "0", "--plot", str(tmp_path / "plot.svg")) if command == "fit" else ()
    with contextlib.suppress(BrokenPipeError), open(writer, "w", buffering=1) as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.run((command, "gmm.em", *more)) == 0
    assert command != "fit" or (tmp_path / "plot.svg").read_text().startswith("<svg")


def test_what_is_wrong_stays_wrong_where_nobody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`emdsl check M.em 2>&1 | true` of a wrong model ended with 0."""
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), open(writer, "w", buffering=1) as err:
        monkeypatch.setattr(sys, "stderr", err)
        assert cli.run(("check", "absent.em")) == 1


def test_a_fit_that_comes_through_a_pipe_is_read_once(run: Any, tmp_path: Path) -> None:
    """`--init <(...)` was opened twice, and the second time nothing was left."""
    assert run("fit", "gmm.em", FAITHFUL, "--seed", "0", "-o", str(tmp_path / "fit.json")).status == 0
    reader, writer = os.pipe()
    os.write(writer, (tmp_path / "fit.json").read_bytes())
    os.close(writer)
    assert run("fit", "gmm.em", FAITHFUL, "--init", f"/dev/fd/{reader}", "--max-iter", "1").status == 0
    os.close(reader)


# ---------------------------------------------------------------- the other commands


def test_derive_and_compile(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, wide in (("80", 80), ("1000", 100), ("9", 60)):
        monkeypatch.setenv("COLUMNS", asked)
        assert run("derive", "gmm.em").out == f"the derivation, {wide} wide\n"
    assert run("derive", "gmm.em", "-o", str(tmp_path / "d.txt")).status == 0
    assert (tmp_path / "d.txt").read_text() == "the derivation, 100 wide"
    assert run("compile", "gmm.em", "-o", str(tmp_path / "m.py")).status == 0
    assert (tmp_path / "m.py").read_text() == "# the module"


def test_check(run: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.em", tmp_path / "bad.em"
    good.write_text("model M\nparam m : real\nfor n in N:\n    observed x[n] ~ Normal(m, 1)\n")
    bad.write_text("model M\nfor n in N:\n    observed x[n] ~ Norml(0, 1)\n")
    assert run("check", str(good)).status == 0
    done = run("check", str(good), str(bad))
    assert done.status == 1 and f"{bad}:3:" in done.err and "Normal" in done.err
    facts = json.loads(run("check", "--json", str(good), str(bad)).out)
    assert [f["ok"] for f in facts] == [True, False] and facts[1]["problems"][0]["line"] == 3


def test_sample_is_a_table_that_fits(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "compiled", COMPILED)
    model, fit, draws = "models/old_faithful.em", tmp_path / "fit.json", tmp_path / "draws.csv"
    run("fit", model, FAITHFUL, "--seed", "1", "-o", str(fit))
    done = run("sample", model, "--params", str(fit), "--size", "N=500", "--seed", "3", "-o", str(draws))
    assert done.status == 0 and done.out == ""
    table = read_table_file(str(draws))
    assert list(table.columns) == ["z", "x1", "x2"] and len(table.columns["z"]) == 500
    again = run("fit", model, str(draws), "--seed", "1", "--json")
    assert json.loads(again.out)["sizes"] == {"N": 500, "K": 2, "D": 2}
    assert "lacks the parameters" in run("sample", model, "--params", _json(tmp_path, {"mean": [1]})).err


def test_draws_of_several_plates_are_json_that_fits(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the givens that they were drawn by; one table cannot hold them."""
    monkeypatch.setattr(cli, "compiled", COMPILED)
    (tmp_path / "m.em").write_text(
        "model Two\nparam m[2] : real\nfor j in G:\n    observed kind[j] ~ Bernoulli(0.5)\n"
        "for n in N:\n    given g[n] : index[G]\n    observed y[n] ~ Normal(m[kind[g[n]]], 1)\n"
    )
    params, draws = _json(tmp_path, {"m": [-1, 2]}), str(tmp_path / "draws.json")
    (tmp_path / "g.json").write_text('{"g": [0, 0, 1, 1]}')
    asked = ("sample", str(tmp_path / "m.em"), "--params", params, "--data", str(tmp_path / "g.json"), "--seed", "1")
    assert "which one table cannot hold" in run(*asked, "--size", "G=2").err
    assert run(*asked, "--size", "G=2", "-o", draws).status == 0
    drawn = json.loads(Path(draws).read_text())
    assert drawn["g"] == [0, 0, 1, 1] and len(drawn["kind"]) == 2
    fitted = run("fit", str(tmp_path / "m.em"), draws, "--max-iter", "0", "--json")
    assert fitted.status == 0, fitted.err


def test_draws_of_ragged_plates_are_json_by_parent(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "compiled", COMPILED)
    model, draws = tmp_path / "r.em", str(tmp_path / "draws.json")
    model.write_text(
        "model M\nparam r : positive\nfor s in S:\n    for t in T[s]:\n        observed y[s, t] ~ Poisson(r)\n"
    )
    asked = ("sample", str(model), "--params", _json(tmp_path, {"r": 9}), "--size", "S=3", "--size", "T=2", "-o", draws)
    assert run(*asked).status == 0 and np.shape(json.loads(Path(draws).read_text())["y"]) == (3, 2)
    assert run("fit", str(model), draws).status == 0


def _json(folder: Path, document: Any) -> str:
    (folder / "p.json").write_text(json.dumps(document))
    return str(folder / "p.json")


def test_the_whole_way_from_text_to_estimates(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emdsl", "fit", str(ROOT / "models/old_faithful.em"), FAITHFUL, "--seed", "0"]
    done = subprocess.run([*command, "-o", str(tmp_path / "fit.json")], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stderr == "" and "-1130.26396" in done.stdout
    import emdsl

    x = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
    again = emdsl.load(tmp_path / "fit.json")
    assert again.score(x) * len(x) == pytest.approx(-1130.26396018, abs=1e-6)
    assert again.sample(4, seed=0)["x"].shape == (4, 2)


def test_help_is_quick_and_light() -> None:
    code = (
        "import sys; from emdsl.cli import run; run(['--help']); print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    for command in ("fit", "derive", "compile", "check", "verify", "sample", "graph", "format"):
        assert f"  {command}" in done.stdout
    assert not {"numpy", "sympy", "lark", "rich", "scipy"} & set(done.stdout.splitlines()[-1].split("'"))


# ---------------------------------------------------------------- tables


def columns(text: str | bytes) -> dict[str, list[Any]]:
    content = text.encode() if isinstance(text, str) else text
    return {n: list(c) for n, c in parse_csv(io.BytesIO(content), "t.csv").columns.items()}


def test_csv_forms() -> None:
    assert columns("a,b\r\n1,x\r\n2,y\r\n") == {"a": [1, 2], "b": ["x", "y"]}
    assert columns(b"\xef\xbb\xbfa\n1\n") == {"a": [1]}
    assert columns("a;b\n1;2\n") == columns("a\tb\n1\t2\n") == {"a": [1], "b": [2]}
    assert columns('"a, b",c\n"x, ""y""",2\n') == {"a, b": ['x, "y"'], "c": [2]}
    assert columns('"x";"a, b, c"\n1;2\n') == {"x": [1], "a, b, c": [2]}  # what is in quotes delimits nothing
    assert columns(" a , b\n1, 2\n\n3,4\n") == {"a": [1, 3], "b": [2, 4]}
    assert columns("a\nTRUE\nfalse\n") == {"a": [1.0, 0.0]}
    assert columns('a\nu\n\n""\nv\n') == {"a": ["u", None, "v"]}  # a blank line is none, an empty cell is missing


def test_missing_cells_by_the_kind_of_column() -> None:
    got = columns("number,label\n1,NA\n,None\nNA,x\nNaN,null\n2,\n")
    np.testing.assert_array_equal(got["number"], [1, np.nan, np.nan, np.nan, 2])
    assert got["label"] == ["NA", "None", "x", "null", None]
    assert columns("a,b\n1_000,1\n") == {"a": ["1_000"], "b": [1]}


def test_csv_is_read_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What blocks cut is the same: characters, line ends, quotes, kinds of columns that only a later cell decides."""
    text = "num,late,flag,gap,é\r\n" + "".join(
        f'{i},{"1.50" if i < 7 else "x"},{"true" if i < 8 else "2"},{"NA" if i < 6 else i},"ü,\r\n{i}"\r\n'
        for i in range(9)
    )
    whole, size = columns(text), tracemalloc_peak("a,b\n" + "1.2345678,-2.3456789\n" * 4000)
    assert size > 4, "in one block, so that what follows measures blocks"
    monkeypatch.setattr(csvfile, "BYTES", 5)
    monkeypatch.setattr(csvfile, "CELLS", 7)
    monkeypatch.setattr(csvfile, "LABELS", 2)
    got = columns(text)
    np.testing.assert_equal({n: got[n] for n in ("num", "gap")}, {n: whole[n] for n in ("num", "gap")})
    assert {n: got[n] for n in ("late", "flag", "é")} == {n: whole[n] for n in ("late", "flag", "é")}
    assert got["late"][0] == "1.50" and got["flag"][0] == "true" and got["é"][8] == "ü,\r\n8"
    with pytest.raises(DataError, match=r"t.csv:3:1: .* byte 0xff at offset 8"):
        parse_csv(io.BytesIO(b"\xef\xbb\xbfa\n1\n2\xff"), "t.csv")
    monkeypatch.setattr(csvfile, "BYTES", 1000)
    monkeypatch.setattr(csvfile, "CELLS", 200)
    assert tracemalloc_peak("a,b\n" + "1.2345678,-2.3456789\n" * 4000) < 3, "numbers take 8 bytes, text is let go"


def tracemalloc_peak(text: str) -> float:
    """Memory taken while a CSV is read, in sizes of its text."""
    content = text.encode()
    tracemalloc.start()
    try:
        parse_csv(io.BytesIO(content), "t.csv")
        return tracemalloc.get_traced_memory()[1] / len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n3\n", "t.csv:3:1: error D035: the row has 1 cells, but the header has 2"),
        (b"a\n1.234,5\n", "commas inside numbers"),
        (b"a,a\n1,2\n", "two columns are named a"),
        (b"1,2\n3,4\n", "the first line holds numbers"),
        (b"a\n\xff\n", "byte 0xff at offset 2"),
        (b"a\n\0\n", "NUL"),
        (b'a,b\n"1"x,2\n', "a quote inside quotes is written twice"),
        (b'a,b\n1,2\n"1,2\n3,4\n', "t.csv:3:1: error D035: a quote opens in this row"),
        (b'a,b\n"r",1,2\n', "header has 2"),
        (b"a,b\n7,1,2\n", "or a column of row names"),
        (b"\x1f\x8b\x08\0", "unpack it first"),
        (b"a,\n1,2\n", "column 2 has no name"),
        (b"PK\x03\x04\x14\0", "t.csv: is no text, but a zip archive"),
        (b"\x93NUMPY\x01\0", "an array that numpy saved"),
    ],
)
def test_csv_faults(content: bytes, words: str) -> None:
    with pytest.raises(DataError) as info:
        parse_csv(io.BytesIO(content), "t.csv")
    assert words in str(info.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(DataError, match="compressed by gzip"):
        read_table_file(str(tmp_path / "x.json"))
    for path in (tmp_path, tmp_path / "x.csv", tmp_path / "x.parquet"):
        with pytest.raises(DataError):
            read_table_file(str(path))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"a": [1.0, None], "b": ["u", "v"]}), tmp_path / "t.parquet")
    table = as_table(read_table_file(str(tmp_path / "t.parquet")))
    assert table is not None and list(table.columns) == ["a", "b"]
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="D032"):
        read_table_file(str(tmp_path / "bad.parquet"))
    table, path = pyarrow.table({"a": [1.25, 2.5, 9.0]}), tmp_path / "sums.parquet"
    parquet.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(struct.pack("<d", 2.5), struct.pack("<d", 7.5), 1))
    with pytest.raises(DataError, match="D032"):
        read_table_file(str(path))
