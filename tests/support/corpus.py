"""TOML documents that others wrote to test TOML parsers: hosts for what kimifix adds.

The sdist of tomlkit carries the official suite toml-test and examples of its own; a
Python that was installed with its tests carries those of tomllib, which are tomli's
too (the sdists of tomli carry none).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

_PACKAGE = "tomlkit"
_VERSION = "0.15.2"
_SECONDS_FOR_PIP = 300

# Taken at import: a test gets an environment without the settings that pip may need.
_ENVIRONMENT = dict(os.environ)


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
    """Return the sdist, downloaded if need be; fails the test where that fails."""
    name = f"{_PACKAGE}-{_VERSION}.tar.gz"
    cache_folder = _cache_folder()
    path = cache_folder / name
    if path.is_file():
        return path
    cache_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache_folder) as temporary:
        _download(Path(temporary))
        (Path(temporary) / name).replace(path)
    return path


def _download(folder: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary", _PACKAGE, "--dest", str(folder), f"{_PACKAGE}=={_VERSION}"),
    ]
    try:
        done = subprocess.run(
            command,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS_FOR_PIP,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"pip did not download {_PACKAGE} within {_SECONDS_FOR_PIP} s")
    if done.returncode != 0:
        pytest.fail(f"pip could not download {_PACKAGE} {_VERSION}:\n{done.stdout}")


def _cache_folder() -> Path:
    option = _ENVIRONMENT.get("KIMIFIX_TEST_CACHE")
    if option:
        return Path(option).absolute()
    return Path(__file__).parents[2] / ".cache" / "corpus"
