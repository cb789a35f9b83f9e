"""TOML documents that others wrote to test TOML parsers: hosts for what kimifix adds.

The sdist of tomlkit carries the official suite toml-test and examples of its own; a
Python that was installed with its tests carries those of tomllib, which are tomli's
too (the sdists of tomli carry none).
"""

from __future__ import annotations

import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from support import registry

_PACKAGE = "tomlkit"
_VERSION = "0.15.2"


@dataclass(frozen=True)
class Found:
    """One document and where it comes from."""

    name: str
    content: bytes


@cache
def valid() -> list[Found]:
    """Return every document that tomllib accepts, a byte order mark aside."""
    return [found for found in _documents() if _is_valid(found.content)]


@cache
def invalid() -> list[Found]:
    """Return every document that tomllib refuses."""
    return [found for found in _documents() if not _is_valid(found.content)]


def _is_valid(content: bytes) -> bool:
    try:
        tomllib.loads(content.decode().removeprefix("\ufeff"))
    except ValueError:
        return False
    return True


@cache
def _documents() -> list[Found]:
    return [*_of_sdist(), *_of_python()]


def _of_sdist() -> Iterator[Found]:
    with tarfile.open(_sdist()) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            stream = archive.extractfile(member) if member.name.endswith(".toml") else None
            if stream is not None:
                yield Found(member.name, stream.read())


def _of_python() -> Iterator[Found]:
    package = find_spec("test")
    for folder in package.submodule_search_locations or () if package else ():
        for path in sorted(Path(folder).glob("test_tomllib/data/**/*.toml")):
            yield Found(str(path.relative_to(folder)), path.read_bytes())


def _sdist() -> Path:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", _PACKAGE]
    command = [sys.executable, "-m", "pip", "download", *options, f"{_PACKAGE}=={_VERSION}"]
    name = f"{_PACKAGE}-{_VERSION}"
    return registry.downloaded(f"the sdist of {_PACKAGE}", name, command) / f"{name}.tar.gz"
