"""Whether kimi-code finds a Git Bash on Windows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from kimifix.client import shell


@pytest.fixture(autouse=True)
def _on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimifix.client.shell.sys", SimpleNamespace(platform="win32"))


def file(path: Path) -> Path:
    """Leave a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


@pytest.mark.parametrize("below", ["bin/bash.exe", "usr/bin/bash.exe"])
@pytest.mark.parametrize("folder", ["cmd", "BIN"])
def test_it_is_found_beside_git(tmp_path: Path, folder: str, below: str) -> None:
    """Where Git is on PATH, by the folder that its installer has put there."""
    git = file(tmp_path / "Git" / folder / "git.exe")
    bash = file(tmp_path / "Git" / below)
    env = {"PATH": f"{tmp_path / 'nothing'};{git.parent} ;"}
    found = shell.git_bash(env)
    assert found is not None
    assert found.samefile(bash)
    assert not shell.is_lacking(env)


def test_it_is_found_where_this_user_has_installed_it(tmp_path: Path) -> None:
    """Without rights of an administrator Git lies below LOCALAPPDATA; a choice comes before."""
    bash = file(tmp_path / "Programs" / "Git" / "bin" / "bash.exe")
    env = {"LOCALAPPDATA": f" {tmp_path}", "KIMI_SHELL_PATH": str(tmp_path / "gone")}
    assert shell.git_bash(env) == bash
    env["KIMI_SHELL_PATH"] = str(file(tmp_path / "chosen.exe"))
    assert shell.git_bash(env) == tmp_path / "chosen.exe"


def test_it_is_lacking_where_nothing_leads_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `git.exe` in another folder, as scoop's, tells the client when it is asked."""
    monkeypatch.setattr(shell, "_USUAL", ())
    assert shell.is_lacking({})
    assert shell.is_lacking({"KIMI_SHELL_PATH": str(tmp_path / "gone"), "PATH": str(tmp_path)})
    git = file(tmp_path / "shims" / "git.exe")
    assert not shell.is_lacking({"PATH": str(git.parent)})


def test_no_other_system_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the client takes `bash`, and `sh` where there is none."""
    monkeypatch.setattr("kimifix.client.shell.sys", SimpleNamespace(platform="linux"))
    assert not shell.is_lacking({})
