"""A fuzzer of model texts: whatever stands in a file, the answer is a model or a `ModelError`, within seconds.

    python tests/fuzz.py --cases 20000 --seed 1          # mutations of models: tokens, lines, bytes
    python tests/fuzz.py --grammar --cases 20000         # texts, lines and expressions made from the grammar
    python tests/fuzz.py --atheris corpus/ -runs=20000   # guided by coverage, where Atheris is installed

Run by night, not by pytest. A text that breaks something is written beside the script as `found_*.em`, and status is 1.
Each one becomes a test.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

guided: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
if "--atheris" in sys.argv:
    import atheris

    guided = atheris.instrument_imports(include=["emdsl"])  # what is imported below is watched, numpy is not
with guided:
    from grammar_texts import put_into, whole

    from emdsl.compiler import compile as compile_model
    from emdsl.errors import ModelError
    from emdsl.families import PRELUDE
    from emdsl.generate import module as _printer  # noqa: F401
    from emdsl.language import parse_model
    from emdsl.report import derivation as _report  # noqa: F401

LIMIT = 20.0  # seconds of the processor that a text of a few lines may take
TOKEN = re.compile(r"[^\W\d]\w*|\d+(?:\.\d+)?|==|!=|<=|>=|\s+|.", re.DOTALL)
EXTREME = [
    "0", "1", "2", "-1", "1e308", "1e-308", "999999999", "0.5", "[", "]", "(", ")", ",", "~", "=", ":", "|", "@", "^",
    "*", "-", "+", "/", "\n", "    ",
    "for", "in", "if", "else", "sum", "exp", "log", "latent", "observed", "param", "given",
    "real", "positive", "simplex", "spd", "category", "count", "Normal", "Gamma", "Delta", "\u00e9", "\u00b5", "\x00",
]  # fmt: skip


def corpus() -> list[str]:
    """Every model of the repository, right and wrong."""
    paths = [*sorted((ROOT / "models").glob("*.em")) * 8, *sorted((ROOT / "tests").glob("*/*.em"))]
    return [p.read_bytes().decode("utf-8", "replace") for p in paths]


def mutated(rng: random.Random, texts: list[str]) -> str | bytes:
    """A text with a few tokens, lines or bytes changed, or two texts spliced."""
    text = rng.choice(texts)
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        kind = rng.randrange(7)
        if kind < 4:
            tokens = TOKEN.findall(text) or [""]
            at = rng.randrange(len(tokens))
            other = TOKEN.findall(rng.choice(texts)) or [""]
            new = [[], [rng.choice(EXTREME)], [rng.choice(tokens)], [rng.choice(other)], [tokens[at]] * 2]
            tokens[at : at + rng.choice([0, 1, 1, 1, 3])] = rng.choice(new)
            text = "".join(tokens)
        elif kind < 6:
            lines, other = text.split("\n"), rng.choice(texts).split("\n")
            at = rng.randrange(len(lines))
            lines[at : at + rng.randrange(2)] = rng.choice([[], [rng.choice(lines)], [rng.choice(other)]])
            text = "\n".join(lines)
        else:
            data = bytearray(text.encode("utf-8", "surrogatepass"))
            for _ in range(rng.randrange(1, 4)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data)
    return text


def written(rng: random.Random, texts: list[str]) -> str:
    """A text made from the grammar, or a model of which a line or an expression is."""
    return whole(rng) if rng.random() < 0.3 else put_into(rng, rng.choice(texts))


def answer(text: str | bytes, deep: bool) -> str:
    """What becomes of a text: `model`, `refused` or `wrong`. Any other exception leaves this function."""
    try:
        parse_model(text, "<fuzz>", PRELUDE())
        if not deep:
            return "model"
        model = compile_model(text=text if isinstance(text, str) else text.decode("utf-8", "replace"))
        if model.refusal is not None:
            return "refused"
        assert model.source and str(model.derivation)
    except ModelError as error:
        assert error.problems and str(error)
        return "wrong"
    return "model"


def by_chance(
    cases: int, seed: int, deep: float, made: Callable[[random.Random, list[str]], str | bytes] = mutated
) -> int:
    """Texts that are made from the corpus; how many broke something."""
    rng, texts, told, broken = random.Random(seed), corpus(), Counter[str](), 0
    for n in range(cases):
        text, start = made(rng, texts), time.process_time()
        try:
            told[answer(text, rng.random() < deep)] += 1
            took = time.process_time() - start
            wrong = f"{took:.0f} s" if took > LIMIT else ""
        except Exception as error:  # noqa: BLE001  (that is what is looked for)
            wrong = f"{type(error).__name__}: {error}"[:300]
        if wrong:
            broken += 1
            place = Path(f"found_{seed}_{n}.em")
            place.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
            print(f"{place}: {wrong}", flush=True)
    print(dict(told), "broken:", broken)
    return broken


def by_coverage(arguments: list[str]) -> None:
    """Atheris: bytes that reach new lines of the compiler."""

    def one(data: bytes) -> None:
        answer(data, deep=len(data) % 16 == 0)

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--deep", type=float, default=0.1, help="share of the models found that are derived and printed"
    )
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; further arguments are Atheris's")
    parser.add_argument("--grammar", action="store_true", help="texts made from the grammar, not mutations")
    known, rest = parser.parse_known_args()
    if known.atheris:
        by_coverage(rest)
        return 0
    return int(by_chance(known.cases, known.seed, known.deep, written if known.grammar else mutated) > 0)


if __name__ == "__main__":
    sys.exit(main())
