"""Which alias the sessions of the client go on with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kimifix.client.sessions import newest, resumed
from kimifix.words import quoted

ALIAS = "kimi-code/kimi-for-coding"


def kimi(*words: str) -> str:
    """Return a command as it is typed."""
    return " ".join(map(quoted, ("kimi", *words)))


def session(home: Path, number: int, *events: object) -> Path:
    """Leave a session whose log has these events; a higher number was used later."""
    folder = home / "sessions" / "wd_project_0" / f"session_{number}" / "agents" / "main"
    folder.mkdir(parents=True)
    path = folder / "wire.jsonl"
    path.write_text("".join(f"{json.dumps(event, separators=(',', ':'))}\n" for event in events))
    os.utime(path, (number, number))
    return path


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"type": "config.update", "modelAlias": ALIAS}, id="0.20.0"),
        pytest.param({"type": "usage.record", "model": ALIAS}, id="0.20.0-usage"),
        pytest.param({"type": "profile.bind", "agentId": "main", "modelAlias": ALIAS}, id="2.1.0"),
    ],
)
def test_the_last_alias_counts(home: Path, event: dict[str, str]) -> None:
    """Whatever was noted before, and whatever is said in the conversation afterwards."""
    said = {"type": "turn.prompt", "input": json.dumps({"modelAlias": "said/in-text"})}
    session(home, 1, {"type": "config.update", "modelAlias": "old"}, event, said)
    assert list(newest(home)) == [("session_1", ALIAS)]


def test_the_newest_sessions_of_the_other_alias_are_listed(home: Path) -> None:
    """Three at most, the last one first; those of other models and broken ones are not."""
    for number in range(1, 6):
        session(home, number, {"modelAlias": ALIAS})
    session(home, 6, {"modelAlias": "other/model"})
    session(home, 7, {"nothing": "of it"})
    session(home, 8, {"modelAlias": "kimifix/kimi-for-coding"})
    session(home, 9).write_bytes(b'{"modelAlias":"\xff"}\n')
    models = {"model": "kimi-for-coding"}
    found = resumed(kimi, home, {ALIAS: models}, {"kimifix/kimi-for-coding": models})
    assert found == tuple(
        f"kimi -S session_{number} -m kimifix/kimi-for-coding" for number in (5, 4, 3)
    )
    assert resumed(kimi, home, {"kimifix/kimi-for-coding": models}, {ALIAS: models}) == (
        f"kimi -S session_8 -m {ALIAS}",
    )
    assert resumed(kimi, home, {ALIAS: models}, {}) == ()


def test_a_name_that_is_no_plain_word_is_quoted(home: Path) -> None:
    """What a shell would act on is not acted on."""
    session(home, 1, {"modelAlias": "a"})
    found = resumed(kimi, home, {"a": {"model": "m"}}, {"b; touch PWN": {"model": "m"}})
    assert found == (f"kimi -S session_1 -m {quoted('b; touch PWN')}",)
