"""Reading files that somebody else may have put there: never waited for, never too much."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

_MOST_JSON = 1024 * 1024


def read(path: Path, most: int) -> bytes:
    """Return the bytes of a plain file, which may have ``most`` of them.

    Raises ``OSError`` where it cannot be read, is larger, or is no plain file.
    """
    content = read_end(path, most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, "it is too large", str(path))
    return content


def read_end(path: Path, most: int) -> bytes:
    """Return the last ``most`` bytes of a plain file, all of a shorter one.

    Raises ``OSError`` where it cannot be read or is no plain file.
    """
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK"):  # a FIFO is not waited for
        flags |= getattr(os, name, 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file", str(path))
        file.seek(max(0, status.st_size - most))
        return file.read(most)


def read_text(path: Path, most: int, encoding: str = "utf-8") -> str:
    """Return the text of a plain file of at most ``most`` bytes, empty where there is none."""
    try:
        return read(path, most).decode(encoding, errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, None where there is none that can be read."""
    try:
        data = json.loads(read(path, _MOST_JSON))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
