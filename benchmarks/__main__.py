"""`python -m benchmarks [NAME...]`: all workloads, or those named."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module

from benchmarks.timing import table

NAMES = (
    "gaussian_full",
    "gaussian_diagonal",
    "old_faithful",
    "latent_classes",
    "hidden_chains",
    "item_response",
    "random_intercepts",
    "linear_gaussian",
    "topics",
    "variational",
    "memory",
    "compiling",
    "importing",
)


def main(names: list[str]) -> int:
    """Runs each workload and prints its lines as they come."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # both sides stop after so many iterations, and say so
    for name in names or NAMES:
        print(f"\n{name}\n{table(import_module(f'benchmarks.{name}').run())}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
