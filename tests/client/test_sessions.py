"""Which alias the sessions of the client go on with."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.nobody import as_nobody, give_to_nobody, open_folder
from support.platforms import posix

from kimifix.client.features import NEWEST_KNOWN, Version
from kimifix.client.sessions import is_full, newest, obstacle, resumed, unreadable
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


def written(home: Path) -> Path:
    """Leave a home as the client has left it that was started in this folder."""
    here = sha256(os.fsencode(Path.cwd().as_posix())).hexdigest()[:12]
    for name in ("sessions", f"sessions/wd_tests_{here}", "sessions/wd_other_0123456789ab"):
        (home / name).mkdir()
        give_to_nobody(home / name)
    (home / "session_index.jsonl").write_text("")
    give_to_nobody(home / "session_index.jsonl")
    give_to_nobody(home)
    return home / f"sessions/wd_tests_{here}"


@posix("a mode says who may write")
@pytest.mark.parametrize(
    "place", ["", "sessions", "here", "session_index.jsonl", "sessions/wd_other_0123456789ab"]
)
def test_what_the_client_must_write_is_known(place: str) -> None:
    """What belongs to somebody else, as after `sudo kimi`; another project is in nobody's way."""
    with open_folder() as home:
        bucket = written(home)
        path = bucket if place == "here" else home / place
        assert as_nobody(lambda: obstacle(home, NEWEST_KNOWN)) is None
        path.chmod(0o555)
        found = as_nobody(lambda: obstacle(home, NEWEST_KNOWN))
        assert found == (None if "other" in place else path)
        # Before 0.33.0 the home itself had to be written only to make what was not there.
        old = as_nobody(lambda: obstacle(home, Version((0, 32, 0))))
        assert old == (found if place else None)
        path.chmod(0o755)


@posix("a mode says who may write")
def test_a_home_in_which_the_client_cannot_make_its_files() -> None:
    """Whatever the version: there is nothing in it yet, and nothing can be made."""
    with open_folder() as home:
        give_to_nobody(home)
        home.chmod(0o555)
        assert as_nobody(lambda: obstacle(home, Version((0, 32, 0)))) == home
        home.chmod(0o755)


@pytest.mark.parametrize("name", ["sessions", "session_index.jsonl"])
def test_something_else_stands_there(home: Path, name: str) -> None:
    """A file in the place of the folder, and the other way round."""
    if name == "sessions":
        (home / name).write_text("")
    else:
        (home / name).mkdir()
    assert obstacle(home, NEWEST_KNOWN) == home / name


def test_a_home_that_is_not_there_is_the_clients_to_make(tmp_path: Path) -> None:
    """And a client that has never run has no sessions."""
    assert obstacle(tmp_path / "gone", NEWEST_KNOWN) is None
    assert obstacle(tmp_path, NEWEST_KNOWN) is None


@pytest.mark.parametrize(
    ("content", "is_read"),
    [
        *(("{}", True), ("\ufeff{}", True), ("null", True), ("[" * 10_000 + "]" * 10_000, True)),
        *(("", False), (" ", False), ("\0" * 9, False), ('{"a": NaN}', False), ("{},", False)),
    ],
)
def test_what_the_client_must_read_is_known(home: Path, content: str, is_read: bool) -> None:
    """The list of its folders is JSON, as it takes that; a crash may leave nothing of it."""
    assert unreadable(home, NEWEST_KNOWN) is None
    path = home / "workspaces.json"
    path.write_text(content, encoding="utf-8")
    assert unreadable(home, NEWEST_KNOWN) == (None if is_read else path)
    assert unreadable(home, Version((0, 32, 0))) is None
    path.unlink()
    path.mkdir()
    assert unreadable(home, NEWEST_KNOWN) == path


@posix("a mode says who may read")
def test_what_the_client_may_not_read() -> None:
    """As after `sudo kimi`, which replaces the list of folders by one of its own."""
    with open_folder() as home:
        (home / "workspaces.json").write_text("{}")
        assert as_nobody(lambda: unreadable(home, NEWEST_KNOWN)) is None
        (home / "workspaces.json").chmod(0o600 if os.geteuid() == 0 else 0)
        assert as_nobody(lambda: unreadable(home, NEWEST_KNOWN)) == home / "workspaces.json"


def test_a_full_disk_has_no_room_for_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few blocks are not enough; a file system that does not tell its size is not full."""
    assert not is_full(tmp_path)
    assert not is_full(tmp_path / "gone")
    for total, free, full in ((10**9, 16_384, True), (10**9, 65_536, False), (0, 0, False)):
        usage = SimpleNamespace(total=total, free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert is_full(tmp_path) is full
