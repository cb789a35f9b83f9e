"""What tests of real things download from a package registry, once, into a cache folder."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

SECONDS = 600

# Taken at import: a test gets an environment without programs and without their settings.
ENVIRONMENT = dict(os.environ)

# What could not be had. The first test that needs it fails and says why; to the others it
# would happen in the same way, after the same wait, so that they are skipped.
_failed: set[str] = set()


def require(available: object, what: str, otherwise: str) -> None:
    """Fail the first test that needs ``what`` where it is not available; skip the others."""
    if available:
        return
    if what in _failed:
        pytest.skip(f"{what} could not be had, and an earlier test has failed of that")
    _failed.add(what)
    pytest.fail(otherwise, pytrace=False)


def folder(name: str) -> Path:
    """Return the folder ``name`` of the cache, which need not exist."""
    option = ENVIRONMENT.get("KIMIFIX_TEST_CACHE")
    cache = Path(option) if option else Path(__file__).parents[2] / ".cache" / "tests"
    return cache.absolute() / name


def downloaded(package: str, name: str, command: Sequence[str]) -> Path:
    """Return the folder ``name`` of the cache, which ``command``, run inside it, has filled.

    A folder in the cache is whole; the first test fails where the command does.
    """
    target = folder(name)
    if target.is_dir():
        return target
    require(package not in _failed, package, "")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        problem = _problem(command, new)
        require(not problem, package, f"{command[0]} could not bring {package}: {problem}")
        try:
            new.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise somebody else was faster
                raise
    return target


def _problem(command: Sequence[str], folder: Path) -> str | None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not within {SECONDS} s"
    return f"exit code {done.returncode}\n{done.stdout}" if done.returncode else None
