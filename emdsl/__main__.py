"""`python -m emdsl` is `emdsl`."""

from emdsl.cli import main

main()
