"""What every test gets: an empty environment of its own, and kimifix as a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import Kimifix

# What a process needs to run at all; everything else that could lead a test to the
# developer's own files or network is taken away.
_KEPT = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP", "VIRTUAL_ENV")


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(
            ("PYTEST", "COVERAGE", "COV_", "KIMIFIX_TEST")
        ):
            monkeypatch.delenv(name)
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("USERPROFILE", str(user))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing-on-path"))
    monkeypatch.chdir(user)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The client's home in the place where kimifix looks for it by default."""
    folder = tmp_path / "user" / ".kimi-code"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def kimifix(tmp_path: Path) -> Kimifix:
    """The command, run as a process of its own in the isolated environment."""
    return Kimifix(tmp_path)
