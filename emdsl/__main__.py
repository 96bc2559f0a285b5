"""`emdsl` and `python -m emdsl`: the command line, loaded where Ctrl-C is told as it is later."""

import os
import sys


def main() -> None:
    """Run the command line. Exits."""
    try:
        import signal  # which takes a moment

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from emdsl.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.stderr.flush()
        os._exit(130)  # of an import that Ctrl-C ends Python ends by the signal, whatever it is told
    run()


if __name__ == "__main__":
    main()
