"""The runtime as one text, for printing into a generated module that runs without emdsl."""

from __future__ import annotations

import re
from importlib.resources import files

# In the order of their imports: each needs only those before it.
BUNDLED = (
    "faults", "sizes", "columns", "domains", "plates", "binding", "table", "loop", "storage", "settings", "answers",
    "estimator",
)  # fmt: skip
IMPORT = re.compile(r"^(?:from [\w.]+ import (?:\([^)]*\)|[^\n]*)|import [^\n]*)\n", re.MULTILINE)


def runtime_source(name: str) -> str:
    """The text of one file of the runtime."""
    return (files("emdsl.runtime") / f"{name}.py").read_text(encoding="utf-8")


def bundle() -> tuple[list[str], str]:
    """The imports that the runtime needs, sorted, and its body: every file without its imports.

    Imports inside functions stay. `from __future__ import annotations` must head the module.
    """
    imports: set[str] = set()
    bodies = []
    for name in BUNDLED:
        text = runtime_source(name)
        for line in IMPORT.findall(text):
            plain = " ".join(line.split()).replace("( ", "").replace(", )", "").replace(" )", "").replace("(", "")
            if "emdsl." not in plain and "__future__" not in plain:
                imports.add(plain)
        body = IMPORT.sub("", text)
        title, _, rest = body.partition('"""\n')
        heading = title.removeprefix('"""').split("\n")[0].rstrip(".")
        bodies.append(f"# {'-' * 20} {heading}\n\n\n{rest.strip()}\n")
    return sorted(imports), "\n\n".join(bodies)
