"""Reading files, most of which somebody else may have put there.

Those are never waited for, and never read without end.
"""

import errno
import json
import os
import pkgutil
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_MOST_JSON = 1024 * 1024
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


@contextmanager
def opened(path: Path, *, follow: bool = True) -> Iterator[int]:
    """Open a plain file for reading; without ``follow`` a symlink is none.

    Raises ``OSError`` where it cannot be opened or is no plain file.
    """
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK"):  # a FIFO is not waited for
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "a device")
            raise OSError(errno.EINVAL, f"it is {kind}, not a plain file", str(path))
        yield handle
    finally:
        os.close(handle)


def _next(handle: int, most: int) -> bytes:
    content = bytearray()
    while chunk := os.read(handle, min(1 << 20, most - len(content))):
        content += chunk
    return bytes(content)


def content_of(handle: int, path: Path, most: int) -> bytes:
    """Return what is in an opened file; raises ``OSError`` for more than ``most`` bytes."""
    content = _next(handle, most + 1)
    if len(content) > most:
        raise OSError(errno.EINVAL, "it is too large", str(path))
    return content


def read(path: Path, most: int, *, follow: bool = True) -> bytes:
    """Return the bytes of a plain file, which may have ``most`` of them.

    Raises ``OSError`` where it cannot be read, is larger, or is no plain file.
    """
    with opened(path, follow=follow) as handle:
        return content_of(handle, path, most)


def read_end(path: Path, most: int) -> bytes:
    """Return the last ``most`` bytes of a plain file, all of a shorter one.

    Raises ``OSError`` where it cannot be read or is no plain file.
    """
    with opened(path) as handle:
        os.lseek(handle, max(0, os.fstat(handle).st_size - most), os.SEEK_SET)
        return _next(handle, most)


def read_text(path: Path, most: int, encoding: str = "utf-8") -> str:
    """Return the text of a plain file of at most ``most`` bytes, empty where there is none."""
    try:
        return read(path, most).decode(encoding, errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""


def parsed(content: bytes) -> Any:
    """Return the data of JSON as kimi-code takes it: in UTF-8, without a byte order mark.

    Raises ``ValueError`` for anything else, and ``RecursionError``. Python would take more.
    """

    def refused(name: str) -> None:
        raise ValueError(name)

    return json.loads(content.decode("utf-8", errors="replace"), parse_constant=refused)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, None where there is none that can be read."""
    try:
        data = parsed(read(path, _MOST_JSON))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def shipped(name: str) -> bytes:
    """Return the content of a file of this package, such as `config/sample.toml`."""
    return pkgutil.get_data("kimifix", name) or b""


@cache
def tables(name: str) -> dict[str, Any]:
    """Return what a TOML file of this package holds, for all to read."""
    return tomllib.loads(shipped(name).decode())
