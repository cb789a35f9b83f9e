"""`kimifix apply` as a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config


@pytest.fixture
def signed_in(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config of a signed-in client 2.1.0 that is on PATH."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    sign_in(home)
    return write_config(home)


def test_apply_then_revert_gives_the_old_bytes(kimifix: Kimifix, signed_in: Path) -> None:
    """The bytes after `revert` are those before `apply`."""
    assert kimifix("apply", "--yes").code == 0
    assert signed_in.read_text() != LOGGED_IN
    assert kimifix("revert", "--yes").code == 0
    assert signed_in.read_text() == LOGGED_IN
