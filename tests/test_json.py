"""The contract of `--json`: what docs/json.md promises is what every run prints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config

DOCUMENT = Path(__file__).parents[1] / "docs" / "json.md"

TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "string": (str,),
    "string or null": (str, type(None)),
    "boolean or null": (bool, type(None)),
    "object or null": (dict, type(None)),
    "list of strings": (list,),
    "list of objects": (list,),
}
ERROR = {"message", "hint", "path", "line", "column"}
FINDING = {"check", "status", "message", "hint", "data"}
# Each with what its exit code is on a home where kimi-code is signed in.
RUNS = [
    pytest.param("apply --dry-run", "dry-run", 0),
    pytest.param("apply", "error", 1),
    pytest.param("apply --yes", "applied", 0),
    pytest.param("apply --yes", "unchanged", 0),
    pytest.param("apply --yes --credential key", "error", 1),
    pytest.param("doctor", "ok", 0),
    pytest.param("revert --dry-run", "dry-run", 0),
    pytest.param("revert", "error", 1),
    pytest.param("revert --yes", "reverted", 0),
    pytest.param("revert --yes", "nothing", 0),
    pytest.param("doctor", "ok", 0),
]


def promised(command: str) -> dict[str, str]:
    """Return the fields that the document promises for a command, with their types."""
    if not DOCUMENT.is_file():
        pytest.skip("a source distribution has no documents")
    sections = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    fields: dict[str, str] = {}
    for title in ("Every command", command):
        (section,) = (one for one in sections if one.startswith(f"{title}\n"))
        fields |= dict(re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", section, re.MULTILINE))
    return fields


def breaches(data: dict[str, Any]) -> Iterator[str]:
    """Yield in what ``data`` is not what the document promises."""
    fields = promised(data["command"])
    yield from (f"{name} is missing or new" for name in data.keys() ^ fields.keys())
    for name, kind in fields.items():
        value = data.get(name)
        if not isinstance(value, TYPES[kind]):
            yield f"{name} is {value!r}, no {kind}"
        if isinstance(value, list):
            item = str if kind == "list of strings" else dict
            yield from (f"{name} holds {one!r}" for one in value if not isinstance(one, item))
    if (data["error"] is not None) != (data["status"] == "error" and data["command"] != "doctor"):
        yield f"status {data['status']} with error {data['error']}"
    if data["error"] is not None and data["error"].keys() != ERROR:
        yield f"error has {data['error'].keys()}"
    yield from (f"finding {one}" for one in data.get("findings", ()) if one.keys() != FINDING)


@pytest.fixture
def config(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client that is on PATH."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    sign_in(home)
    return write_config(home)


@pytest.mark.skipif("sys.platform == 'win32'", reason="the client's stub is a POSIX program")
def test_every_run_keeps_the_contract(kimifix: Kimifix, config: Path) -> None:
    """Whatever comes of a command, its object has the same keys with the promised types."""
    for run in RUNS:
        line, status, code = run.values
        result = kimifix(*str(line).split(), "--json")
        assert (result.json["status"], result.code) == (status, code), line
        assert list(breaches(result.json)) == [], line
        assert result.out.isascii()
    assert config.read_text() == LOGGED_IN


@pytest.mark.parametrize("command", ["apply", "revert", "doctor"])
def test_failures_keep_the_contract(kimifix: Kimifix, home: Path, command: str) -> None:
    """A config that cannot be read is told with its place, in the same keys."""
    write_config(home, "a = 1\nb = = 2\n")
    consent = () if command == "doctor" else ("--yes",)
    result = kimifix(command, "--json", *consent)
    assert (result.code, result.json["status"]) == (1, "error")
    assert list(breaches(result.json)) == []
    if command != "doctor":
        error = result.json["error"]
        assert error["path"] == str(home / "config.toml")
        assert (error["line"], error["column"]) == (2, 5)


def test_a_setting_is_told_by_its_values(kimifix: Kimifix, home: Path) -> None:
    """`moved` holds what TOML means, not how it is spelled."""
    sign_in(home)
    spelled = LOGGED_IN.replace('"kimi-code/kimi-for-coding"', "'kimi-code/kimi-for-coding'", 1)
    write_config(home, spelled)
    moved = kimifix("apply", "--dry-run", "--json", "--credential", "login").json["moved"]
    assert moved == [
        {
            "path": "default_model",
            "from": "kimi-code/kimi-for-coding",
            "to": "kimifix/kimi-for-coding",
        }
    ]
