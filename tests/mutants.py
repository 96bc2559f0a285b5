"""A sweep of mutants: lines of the derivation and of the printer made wrong one by one, and what the certificate says.

    python tests/mutants.py --most 120 --seed 1

Run by hand, not by pytest. A mutant is a line that some model below passes over: a sign turned, a factor left out, an
index moved by one, a slice or a comparison turned, a condition negated, or a piece of printed numpy changed the same
ways. For the models that pass over it, the module is printed; where its text is another than before, the certificate
is asked for. *Survivors* are mutants that change a module and that no certificate minds: right in another way (an order
of sums, a shortcut not taken), or a hole in the certificate. They are listed, to be read.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import importlib
import io
import os
import pkgutil
import random
import re
import signal
import sys
import time
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import emdsl  # noqa: E402
from emdsl.errors import EmdslError  # noqa: E402

PARTS = ("derive", "generate")
LIMIT = 100  # seconds of the processor for one mutant
MODELS_FOR_ONE = 5  # whose modules are compared; of those that pass over a line, the quickest
GALLERY = (
    "ar_hmm", "blood_groups", "categorical_hmm", "crossed_effects", "diagonal_gaussian_mixture", "factor_analysis",
    "factorial_hmm", "gamma_mixture", "gaussian_hmm", "genetic_linkage", "growth_mixture", "hidden_tree",
    "incomplete_gaussian", "input_output_hmm", "item_response", "latent_classes", "linear_dynamical_system",
    "local_level", "logistic_random_effects", "mixture_of_experts", "mixture_of_regressions",
    "negative_binomial", "poisson_lognormal", "poisson_mixture", "probit_regression", "random_intercepts",
    "random_slopes", "robust_regression", "student", "tied_gaussian_mixture", "word_alignment", "zero_inflated_poisson",
)  # fmt: skip
FLIPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
PRINTED = (
    (" - ", " + "), (" + ", " - "), (".T", ""), ("[:-1]", "[1:]"), ("[1:]", "[:-1]"), ("0.5 *", ""), ("-", ""),
    (" * ", " / "), (" / ", " * "), ("keepdims=True", "keepdims=False"), ("..., None", "None, ..."),
    ("->", "->"), (" @ ", " * "), ("log(", "("), ("exp(", "("), (" < ", " <= "), ("mask", "~mask"),
)  # fmt: skip


class Site:
    """One change: file, line, what becomes of it, and the tree of the file with it made."""

    def __init__(self, path: Path, node: ast.AST, what: str, change: types.FunctionType) -> None:
        self.path, self.line, self.what, self.change = path, getattr(node, "lineno", 0), what, change
        self.node = node

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} {self.what}"


def sites(path: Path, tree: ast.Module) -> Iterator[Site]:
    """Every change of a file that is tried, as functions that make and unmake it in the tree."""
    notes = {id(n.annotation) for n in ast.walk(tree) if isinstance(n, (ast.arg, ast.AnnAssign)) and n.annotation}
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    skip = {id(m) for n in ast.walk(tree) if id(n) in notes | docs for m in ast.walk(n)
            if isinstance(n, ast.Constant) or id(n) in notes}  # fmt: skip
    for n in ast.walk(tree):
        if id(n) in skip or not hasattr(n, "lineno"):
            continue
        if isinstance(n, ast.BinOp) and type(n.op) in FLIPS:
            yield Site(path, n, f"{type(n.op).__name__} -> other", swap(n, "op", FLIPS[type(n.op)]()))
        if isinstance(n, ast.Compare) and type(n.ops[0]) in FLIPS:
            yield Site(
                path, n, f"{type(n.ops[0]).__name__} turned", swap(n, "ops", [FLIPS[type(n.ops[0])](), *n.ops[1:]])
            )
        if isinstance(n, ast.BoolOp):
            yield Site(path, n, f"{type(n.op).__name__} turned", swap(n, "op", FLIPS[type(n.op)]()))
        if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub):
            yield Site(path, n, "sign lost", swap(n, "op", ast.UAdd()))
        if isinstance(n, ast.Constant) and type(n.value) is int and n.value in (0, 1, 2):
            yield Site(path, n, f"{n.value} + 1", swap(n, "value", n.value + 1))
        if isinstance(n, (ast.If, ast.IfExp)):
            yield Site(path, n, "condition negated", swap(n, "test", ast.UnaryOp(ast.Not(), n.test)))
        if (
            isinstance(n, ast.Call)
            and len(n.args) > 1
            and isinstance(n.func, ast.Attribute)
            and n.func.attr in ("mul", "add")
        ):
            yield Site(path, n, f"{n.func.attr} without its last", swap(n, "args", n.args[:-1]))
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) < 120:
            for old, new in PRINTED:
                if old in n.value and old != new:
                    yield Site(path, n, f"printed {old!r} -> {new!r}", swap(n, "value", n.value.replace(old, new, 1)))


def swap(node: ast.AST, field: str, new: object) -> types.FunctionType:
    def change() -> object:
        old = getattr(node, field)
        setattr(node, field, new)
        return lambda: setattr(node, field, old)

    return change  # type: ignore[return-value]


def live(path: Path) -> dict[tuple[str, int], list[types.FunctionType]]:
    """The functions of a file as they stand in the interpreter, by name and first line."""
    out: dict[tuple[str, int], list[types.FunctionType]] = defaultdict(list)
    for f in gc.get_objects():
        if isinstance(f, types.FunctionType) and f.__code__.co_filename == str(path):
            out[f.__code__.co_qualname, f.__code__.co_firstlineno].append(f)
    return out


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            yield c
            yield from codes(c)


def install(site: Site, tree: ast.Module) -> bool:
    """Put the changed code into the running functions; False where nothing of a function has changed."""
    undo = site.change()
    try:
        made = compile(ast.fix_missing_locations(copy.deepcopy(tree)), str(site.path), "exec")
    finally:
        undo()
    there, done = live(site.path), False
    for c in codes(made):
        for f in there.get((c.co_qualname, c.co_firstlineno), ()):
            if f.__code__ != c and len(f.__code__.co_freevars) == len(c.co_freevars):
                f.__code__ = c
                done = True
    return done


def texts() -> dict[str, str]:
    """The models, by name."""
    from test_verify import CONDITIONAL, DRAWN, MEANFIELD, PRIOR

    found = {n: (ROOT / "models" / f"{n}.em").read_text(encoding="utf-8") for n in GALLERY}
    return {**found, "conditional": CONDITIONAL, "prior": PRIOR, "meanfield": MEANFIELD, "drawn": DRAWN}


def passed_over(models: dict[str, str]) -> tuple[dict[tuple[str, int], list[str]], dict[str, str], dict[str, float]]:
    """Which models pass over each line, their modules as they are, and seconds of a certificate."""
    lines: dict[tuple[str, int], list[str]] = defaultdict(list)
    printed, cost = {}, {}
    for name, text in models.items():
        seen: set[tuple[str, int]] = set()

        def trace(frame: types.FrameType, *_: Any) -> Any:
            file = frame.f_code.co_filename
            if not any(f"/emdsl/{p}/" in file for p in PARTS):
                return None

            def line(frame: types.FrameType, event: str, _: Any, file: str = file) -> Any:
                if event == "line":
                    seen.add((file, frame.f_lineno))  # noqa: B023
                return line

            return line

        sys.settrace(trace)
        model = emdsl.compile(text=text)
        printed[name] = model.source
        sys.settrace(None)
        for at in seen:
            lines[at].append(name)
        began = time.process_time()
        assert model.verify(apart=False).passed, name
        cost[name] = time.process_time() - began
        print(f"  {name}: {cost[name]:.1f} s", flush=True)
    return lines, printed, cost


def tried(site: Site, tree: ast.Module, names: list[str], models: dict[str, str], printed: dict[str, str]) -> str:
    """What becomes of a mutant: in a process of its own, which ends when its time is over."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            told = verdict(site, tree, names, models, printed)
        os.write(write, told.encode()[:3000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return told or "killed: takes too long"


def verdict(site: Site, tree: ast.Module, names: list[str], models: dict[str, str], printed: dict[str, str]) -> str:
    warnings.simplefilter("ignore")
    if not install(site, tree):
        return "unchanged"
    changed = []
    for name in names:
        try:
            model = emdsl.compile(text=models[name])
            if model.source == printed[name]:
                continue
            changed.append(name)
            found = model.verify(apart=False)
        except EmdslError as refused:
            return f"killed: {name} is refused, {str(refused)[:80]!r}"
        except Exception as error:  # noqa: BLE001
            return f"killed: {name} raises {type(error).__name__}"
        if not found.passed:
            first = found.failures[0] if found.failures else None
            return f"killed: {name}, {first.name if first else 'nothing checked'}"
    return f"SURVIVED: {', '.join(changed)}" if changed else "unchanged"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=120, help="mutants that change a module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a pattern for files")
    known = parser.parse_args()
    for part in PARTS:
        for found in pkgutil.walk_packages([str(ROOT / "emdsl" / part)], f"emdsl.{part}."):
            importlib.import_module(found.name)
    models = texts()
    lines, printed, cost = passed_over(models)
    trees = {
        p: ast.parse(p.read_text(encoding="utf-8")) for part in PARTS for p in (ROOT / "emdsl" / part).rglob("*.py")
    }
    every = [
        s for p, t in trees.items() if re.search(known.only, str(p)) for s in sites(p, t) if (str(p), s.line) in lines
    ]
    rng, by_file = random.Random(known.seed), defaultdict(list)
    for s in every:
        by_file[s.path].append(s)
    for group in by_file.values():
        rng.shuffle(group)
    turn: list[Site] = []  # one of each file in turn
    while any(by_file.values()):
        here = [group.pop() for group in by_file.values() if group]
        turn += rng.sample(here, len(here))
    told: Counter[str] = Counter()
    for s in turn:
        names = sorted(lines[str(s.path), s.line], key=cost.__getitem__)[:MODELS_FOR_ONE]
        said = tried(s, trees[s.path], names, models, printed)
        told[said.partition(":")[0]] += 1
        if said != "unchanged":
            print(f"{s}: {said}", flush=True)
        if told["killed"] + told["SURVIVED"] >= known.most:
            break
    print(f"{len(every)} sites, tried {sum(told.values())}: {dict(told)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
