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


@pytest.mark.parametrize(
    ("options", "is_lost"),
    [
        ("-r {gone}", True),
        ("--no-warnings --require={gone}", True),
        ('--require "{gone}" --enable-source-maps', True),
        ("--import {there} --import {gone}", True),
        ("--experimental-loader={gone}", True),
        ('--require "{there}"', False),
        ("-r {bare}", False),  # Node finds its ending
        ("-r gone", False),  # where Node looks for that is for Node to say
        ("--require-module {gone}", False),
        ("", False),
    ],
)
def test_a_file_that_node_shall_load_first_is_there(
    tmp_path: Path, options: str, is_lost: bool
) -> None:
    """As in a terminal of an editor; in quotes a backslash counts for what comes behind it."""
    there, gone = file(tmp_path / "there it is.js"), tmp_path / "gone" / "loader.js"
    quote = "\\\\" if '"' in options else "\\"
    paths = {"there": there, "gone": gone, "bare": there.with_suffix("")}
    if '"' not in options:
        paths |= {"there": file(tmp_path / "x.js"), "bare": tmp_path / "x"}
    named = {name: str(path).replace("\\", quote) for name, path in paths.items()}
    found = shell.lost_preload({"NODE_OPTIONS": options.format_map(named)})
    assert found == (str(gone) if is_lost else None)
