"""The runtime as one text, for printing into a generated module that runs without emdsl."""

from __future__ import annotations

import re
from importlib.resources import files

# In the order of their imports: each needs only those before it.
BUNDLED = (
    "data/faults", "data/arguments", "data/sizes", "data/columns", "data/advice", "data/domains", "data/plates",
    "data/binding", "data/frames", "data/cells", "data/groups", "data/named", "data/places", "data/layout",
    "data/table", "data/weighed", "numeric/ways", "numeric/infinity", "fitting/climbs", "fitting/endings",
    "fitting/effects", "fitting/leaps", "fitting/untouched", "fitting/loop", "fitting/reach", "fitting/sealing",
    "fitting/whole", "fitting/storage", "fitting/rounding", "fitting/divisions", "fitting/settings", "fitting/symmetry",
    "fitting/forecast", "fitting/answers", "fitting/estimator",
)  # fmt: skip
IMPORT = re.compile(r"^(?:from [\w.]+ import (?:\([^)]*\)|[^\n]*)|import [^\n]*)\n", re.MULTILINE)


def runtime_source(name: str) -> str:
    """The text of one file of the runtime, by its place in it: `data/faults`."""
    return (files("emdsl.runtime") / f"{name}.py").read_text(encoding="utf-8")


def bundle() -> tuple[list[str], str]:
    """The imports that the runtime needs, one line for each module, and its body: every file without its imports.

    Imports inside functions stay. `from __future__ import annotations` must head the module.
    """
    plain: set[str] = set()
    taken: dict[str, set[str]] = {}
    bodies = []
    for name in BUNDLED:
        text = runtime_source(name)
        for line in IMPORT.findall(text):
            words = line.replace("(", " ").replace(")", " ").replace(",", " ").split()
            if words[0] == "import":
                plain.add(" ".join(words))
            elif words[1] != "__future__" and not words[1].startswith("emdsl."):
                taken.setdefault(words[1], set()).update(words[3:])
        title, _, rest = IMPORT.sub("", text).partition('"""\n')
        heading = title.removeprefix('"""').split("\n")[0].rstrip(".")
        bodies.append(f"# {'-' * 20} {heading}\n\n\n{rest.strip()}\n")
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in taken.items()]
    return [*sorted(plain), *sorted(imports)], "\n\n".join(bodies)
