"""`python -m emdsl` is `emdsl`."""

import sys

try:
    from emdsl.cli import main
except KeyboardInterrupt:  # Ctrl-C while the command line is loaded
    sys.stderr.write("interrupted\n")
    raise SystemExit(130) from None

main()
