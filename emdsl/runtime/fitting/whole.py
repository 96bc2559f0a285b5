"""Files that are written whole or not at all: a temporary one beside them, then a rename."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Any

from emdsl.runtime.data.faults import DataError

PART = ".emdsl-part"  # a file that is being written, or that a process left which was killed meanwhile
WRITING = 10.0  # seconds that a temporary file is left in peace, even if nobody seems to write it


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all. DataError where that fails.

    A link stays a link to the new content; a device or a pipe is written to, never replaced. Who may read a file stays
    as it is.
    """
    try:
        _write_whole(path, content)
    except OSError as error:
        why = "it is a directory" if os.path.isdir(path) else error.strerror or str(error)
        raise DataError(f"{os.fspath(path)}: cannot be written: {why}", code="D040") from None


def _write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        Path(path).write_bytes(content)
        return
    path = Path(os.path.realpath(path))
    if path.exists() and not os.access(path, os.W_OK):  # a rename asks the directory alone
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    start = f".{path.name[:40]}."
    name = path.parent / f"{start}{os.urandom(4).hex()}{PART}"
    try:
        with open(name, "xb") as file:
            is_mine(file)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(name, path.stat().st_mode & 0o777)
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    for left in (e for e in os.scandir(path.parent) if e.name.startswith(start) and e.name.endswith(PART)):
        with contextlib.suppress(OSError), open(left, "rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > WRITING and is_mine(file):
                os.unlink(left)


def is_mine(file: Any) -> bool:
    """Marks an open file as this process's; False where it is another's, or where a system has no such marks.

    The mark of a process that was killed is gone, so that the next one that writes there can tell what it left.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
