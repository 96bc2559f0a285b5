"""Every example in the documentation is read and typed; every mistake it shows gives the error it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import emdsl
from emdsl.errors import ModelError
from emdsl.families import PRELUDE
from emdsl.fit.interpret import log_joint
from emdsl.fit.sampling import sample
from emdsl.fit.verify.setting import plausible
from emdsl.language import parse_model

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^```(?:em|em-error (?P<code>\S+))\n(?P<body>.*?)^```$(?:\n\n```text\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


class Example(NamedTuple):
    place: str
    text: str
    code: str | None  # the error it must give
    shown: str | None  # the message that the page shows below it


def examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in FENCE.finditer(text):
            place = f"{page.relative_to(ROOT)}:{text[: block.start()].count(chr(10)) + 2}"
            body = block["body"]
            body = body if re.search(r"^model\b", body, re.MULTILINE) else f"model Example\n{body}"
            found.append(Example(place, body, block["code"], block["shown"]))
    return found


EXAMPLES = examples()


def test_no_example_is_overlooked() -> None:
    fences = sum(page.read_text(encoding="utf-8").count("```em") for page in PAGES)
    assert len(EXAMPLES) == fences >= 20


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.code is None], ids=lambda e: e.place)
def test_an_example_reads(example: Example) -> None:
    model = parse_model(example.text, "example.em", PRELUDE())
    assert model.variables


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.code is None], ids=lambda e: e.place)
def test_an_example_is_sampled_and_evaluated(example: Example) -> None:
    """What cannot be fitted yet can be drawn from and has a density all the same."""
    model = parse_model(example.text, "example.em", PRELUDE())
    sizes, lengths, params, givens, _ = plausible(model)
    drawn = sample(model, params, sizes, 0, givens, lengths)
    assert np.isfinite(log_joint(model, {**params, **givens, **drawn}, sizes, lengths))


@pytest.mark.filterwarnings("ignore::UserWarning")  # few rows: some collapse, some are on a boundary
@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.code is None], ids=lambda e: e.place)
def test_an_example_is_fitted_or_refused_with_its_place(example: Example) -> None:
    resolved = parse_model(example.text, "example.em", PRELUDE())
    sizes, lengths, params, givens, _ = plausible(resolved)
    drawn = sample(resolved, params, sizes, 0, givens, lengths)
    data = {v.name: drawn[v.name] for v in resolved.of_kind("observed")} | givens
    try:
        fitter = emdsl.compile(text=example.text).fitter(seed=0, max_iter=20, sizes=sizes, on_degenerate="keep")
        history = np.array(fitter.fit(data, lengths=lengths or None).history_)
    except ModelError as refusal:
        assert {p.code for p in refusal.problems} <= {"E110", "E120"}
        assert all(p.span.line > 1 and p.hint for p in refusal.problems)
    else:
        assert (np.diff(history) >= -1e-9 * (1 + abs(history[1:]))).all()


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.code is not None], ids=lambda e: e.place)
def test_a_mistake_is_named(example: Example) -> None:
    with pytest.raises(ModelError) as caught:
        parse_model(example.text, "example.em", PRELUDE())
    assert example.code in [p.code for p in caught.value.problems]
    if example.shown is not None:
        assert str(caught.value) == example.shown.rstrip("\n")


def test_the_families_of_every_model_are_in_the_table_with_their_arguments() -> None:
    rows = re.findall(
        r"^\| (`[A-Z].*?) \| (.*?) \| .* \|$", (ROOT / "docs/language.md").read_text("utf-8"), re.MULTILINE
    )
    told = {name: arguments for names, arguments in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == set(PRELUDE())
    for name, family in PRELUDE().items():
        known = {a.name for s in family.signatures for a in s.arguments}
        assert known <= set(re.findall(r"\w+", told[name])), name


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", page.read_text(encoding="utf-8")):
            path, _, anchor = "".join(target).partition("#")
            there = page.parent / path if path else page
            if path.startswith("http"):
                continue
            if not there.exists() or (anchor and anchor not in _anchors(there)):
                broken.append(f"{page.relative_to(ROOT)}: {''.join(target)}")
    assert not broken


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_decision_is_in_the_index_by_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    titles = [(p.name, p.read_text(encoding="utf-8").partition("\n")[0]) for p in sorted(folder.glob("0*.md"))]
    listed = [f"- [{name[:4]}]({name}): {title.removeprefix(f'# {name[:4]}. ')}" for name, title in titles]
    index = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in index if line.startswith("- ")] == listed
