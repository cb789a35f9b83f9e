"""Reading files of others: what is no plain file, or too much, is an error at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kimifix.reader import read, read_end, read_json, read_text


def test_a_plain_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    """A file of just the limit is read whole, one byte more is an error."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read(path, 5) == read_end(path, 9) == b"12345"
    assert read_end(path, 2) == b"45"
    with pytest.raises(OSError, match="too large"):
        read(path, 4)
    assert (read_text(path, 5), read_text(path, 4)) == ("12345", "")


def test_a_sparse_file_takes_no_memory(tmp_path: Path) -> None:
    """A file that claims to be huge is refused without being read."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40 if sys.platform != "win32" else 1 << 24)
    with pytest.raises(OSError, match="too large"):
        read(path, 100)
    assert read_end(path, 3) == bytes(3)
    assert read_json(path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="there are no special files")
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    """A FIFO without a writer, an endless device and a folder are errors."""
    path = tmp_path / "file"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"not a plain file|directory"):
        read(path, 100)
    assert (read_json(path), read_text(path, 100)) == (None, "")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"text"', "{} {}"])
def test_what_is_no_object_is_none(tmp_path: Path, text: str) -> None:
    """Only a JSON object comes back, whatever the file holds."""
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    assert read_json(path) is None
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
