"""What a newcomer is told is what is done: the README's commands, the continuous integration, the files shipped."""

from __future__ import annotations

import ast
import re
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import emdsl

ROOT = Path(__file__).parents[1]


def readme_commands() -> list[str]:
    """The lines of the shell block under "Two commands"."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Two commands", 1)[1].split("\n## ", 1)[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


def test_ci_runs_the_readme_s_second_command() -> None:
    commands = readme_commands()
    assert len(commands) == 2
    assert commands[0].startswith("pip install . && emdsl fit models/")
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_readme_names_files_that_exist() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} points to {link}"
    for path in re.findall(r"models/[\w/]+\.\w+", " ".join(readme_commands())):
        assert (ROOT / path).exists()


def test_the_installed_package_is_complete() -> None:
    """The wheel holds the grammar, the prelude and the marker of types; a checkout keeps the grammar at its root."""
    package = files("emdsl")
    assert package.joinpath("families", "prelude.em").is_file()
    assert package.joinpath("py.typed").is_file()
    checkout = Path(emdsl.__file__).parents[1] / "grammar" / "em.lark"
    assert package.joinpath("grammar", "em.lark").is_file() or checkout.is_file()


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", emdsl.__version__)
    with suppress(PackageNotFoundError):  # a checkout that is not installed has no second place to disagree
        assert distribution("emdsl").version == emdsl.__version__


def test_core_dependencies_are_the_agreed_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert core == {"click", "lark", "numpy", "rich", "scipy", "sympy"}


def test_what_benchmarks_take_of_one_another_is_there() -> None:
    """They are not run here: their peers are of another extra."""
    files_of = {p.stem: ast.parse(p.read_text(encoding="utf-8")) for p in (ROOT / "benchmarks").glob("*.py")}
    taken = [
        (stem, node.module.removeprefix("benchmarks."), name.name)
        for stem, tree in files_of.items() for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmarks.") for name in node.names
    ]  # fmt: skip
    assert taken
    for stem, other, name in taken:
        defined = {n.name for n in files_of[other].body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        defined |= {t.id for n in ast.walk(files_of[other]) if isinstance(n, ast.Name) for t in [n]}
        assert name in defined, (stem, other, name)
