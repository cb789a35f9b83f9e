"""Reading recent errors from the client's logs; `data` holds excerpts of real ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.nobody import as_nobody, open_folder

from kimifix.client.logs import LogError, recent_errors

DATA = Path(__file__).parent / "data" / "logs"
NOW = datetime(2026, 11, 22, 18, tzinfo=UTC).timestamp()
DAY = 86_400

IDENTITY = (
    "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, "
    "Claude Code, Roo Code, Kilo Code, etc."
)
OVERLOAD = "The engine is currently overloaded, please try again later"
KEY = (
    "The API Key appears to be invalid or may have expired. "
    "Please verify your credentials and try again."
)
SUSPENDED = "Access terminated. Your account has been suspended."
SIGNED_OUT = "OAuth provider credentials were rejected. Send /login to login."


def session(home: Path, name: str = "session_1", project: str = "wd_project") -> Path:
    """Lay out the folder of a session as the client does."""
    folder = home / "sessions" / project / name
    (folder / "logs").mkdir(parents=True)
    (folder / "agents" / "main").mkdir(parents=True)
    return folder


def line(when: str, message: str = "Boom", status: int | None = 500) -> str:
    """Return what the client logs for a request that failed."""
    code = "" if status is None else f" statusCode={status}"
    quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return (
        f"{when} WARN  llm request failed  turnStep=0.1 model=kimi-for-coding "
        f'errorName=APIStatusError errorMessage="{quoted}"{code}\n'
    )


def log(home: Path, text: str | bytes, name: str = "kimi-code.log") -> Path:
    """Write the client's own log and give it the time at which the tests take place."""
    path = home / "logs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return dated(path)


def dated(path: Path, when: float = NOW - 60) -> Path:
    """Set when ``path`` was last written."""
    os.utime(path, (when, when))
    return path


def texts(errors: list[LogError]) -> list[tuple[int | None, str]]:
    """Return status and message of each error."""
    return [(error.status, error.message) for error in errors]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("0.20.0-identity", [(403, IDENTITY)], id="0.20.0-identity"),
        pytest.param("0.20.0-auth", [(None, SIGNED_OUT)], id="0.20.0-auth"),
        pytest.param("0.20.0-overload", [(429, OVERLOAD)], id="0.20.0-overload"),
        pytest.param("0.25.0-auth", [(401, KEY)], id="0.25.0-auth"),
        pytest.param("0.38.0-identity", [(403, IDENTITY)], id="0.38.0-identity"),
        pytest.param("0.38.0-overload", [(429, OVERLOAD)], id="0.38.0-overload"),
        pytest.param("2.1.0-identity", [(403, IDENTITY)], id="2.1.0-identity-in-the-wire-only"),
        pytest.param("2.1.0-suspended", [(403, SUSPENDED)], id="2.1.0-suspended"),
        pytest.param("2.1.0-ok-tool", [], id="2.1.0-without-error"),
    ],
)
def test_what_real_clients_leave_is_understood(
    case: str, expected: list[tuple[int | None, str]], tmp_path: Path
) -> None:
    """One failed prompt is one error, once, whatever number of files and retries tell of it."""
    home = tmp_path / "home"
    shutil.copytree(DATA / case, home)
    for path in home.rglob("*"):
        dated(path)
    found = recent_errors(home, now=NOW)
    assert texts(found) == expected
    assert [error.times for error in found] == [1] * len(expected)
    assert all(error.time.date().isoformat() == "2026-11-22" for error in found)


def test_errors_come_newest_first_and_not_too_many(home: Path) -> None:
    """The newest error is the first one, and ``most`` limits their number."""
    log(home, "".join(line(f"2026-11-22T10:00:{n:02}.000Z", f"error {n}") for n in range(20)))
    found = recent_errors(home, now=NOW, most=3)
    assert texts(found) == [(500, "error 19"), (500, "error 18"), (500, "error 17")]


def test_the_same_error_at_other_times_is_counted(home: Path) -> None:
    """Retries in a row are one time, a later day is another, and the newest time is told."""
    log(
        home,
        line("2026-11-21T10:00:00.000Z")
        + line("2026-11-21T10:00:31.000Z")
        + line("2026-11-22T09:00:00.000Z"),
    )
    (error,) = recent_errors(home, now=NOW)
    assert error.times == 2
    assert error.time == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_old_errors_are_left_out(home: Path) -> None:
    """An error counts for ``days``, by its own time and not by the file's."""
    log(home, line("2026-11-14T17:00:00.000Z", "old") + line("2026-11-16T12:00:00.000Z", "new"))
    assert texts(recent_errors(home, now=NOW)) == [(500, "new")]
    assert texts(recent_errors(home, now=NOW, days=30)) == [(500, "new"), (500, "old")]


def test_a_file_untouched_for_long_is_not_read(home: Path) -> None:
    """A file that was not written within ``days`` has nothing to say."""
    dated(log(home, line("2026-11-22T10:00:00.000Z")), NOW - 8 * DAY)
    assert recent_errors(home, now=NOW) == []


def test_the_log_before_the_rotation_counts(home: Path) -> None:
    """The client renames a full log; its newest errors are still there."""
    log(home, "", "kimi-code.log")
    log(home, line("2026-11-22T10:00:00.000Z"), "kimi-code.log.1")
    assert texts(recent_errors(home, now=NOW)) == [(500, "Boom")]


def test_only_the_end_of_a_large_file_is_read(home: Path) -> None:
    """An error at the start of many megabytes is not looked for, one at the end is found."""
    filler = b"2026-11-22T10:00:00.000Z INFO  llm request  turnStep=0.1\n" * 20_000
    first = line("2026-11-22T10:00:00.000Z", "first").encode()
    last = line("2026-11-22T10:00:00.000Z", "last").encode()
    log(home, first + filler + last)
    assert texts(recent_errors(home, now=NOW)) == [(500, "last")]


def test_a_line_cut_by_the_limit_is_not_taken_for_a_whole_one(home: Path) -> None:
    """The first line of the part that is read may be half of one, and is dropped."""
    inner = line("2026-11-22T10:00:00.000Z", "part of a longer line").rstrip("\n")
    rest = "x" * (256 * 1024 - len(inner) - 1) + "\n"
    log(home, "y" * 100 + inner + "\n" + rest[: 256 * 1024 - len(inner) - 1])
    assert recent_errors(home, now=NOW) == []


def test_conversations_are_never_shown(home: Path) -> None:
    """Nothing that a user or a model wrote is taken for an error, whatever it looks like."""
    folder = session(home)
    said = line("2026-11-22T10:00:00.000Z", "SECRET PLAN")
    ended = {"type": "turn.ended", "error": {"message": "SECRET PLAN"}, "time": NOW * 1000}
    wire = [
        {"type": "turn.prompt", "input": [{"text": said + json.dumps(ended)}], "time": NOW * 1000},
        {"type": "context.append_message", "message": ended, "time": NOW * 1000},
        {"type": "tool.result", "output": {"type": "turn.ended", "error": ended["error"]}},
        {"type": "turn.ended", "reason": "completed", "time": NOW * 1000},
    ]
    path = folder / "agents" / "main" / "wire.jsonl"
    path.write_text("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in wire))
    dated(path)
    log(home, "2026-11-22T10:00:00.000Z WARN  acp: failed  text=SECRET\n  Error: SECRET PLAN\n")
    assert recent_errors(home, now=NOW) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * (256 * 1024 + 1), id="no-line-end"),
        pytest.param(b"\x00\xff\xfe" * 1000, id="binary"),
        pytest.param(b"{" * 100_000, id="deep-json"),
        pytest.param(b'{"type":"turn.ended"' + b"[" * 100_000, id="deep-event"),
        pytest.param(b'{"type":"turn.ended"}\n[]\n"turn.ended"\nnull\n', id="other-shapes"),
        pytest.param(b'{"type":"turn.ended","error":"x","time":1}\n', id="error-is-text"),
        pytest.param(
            b'{"type":"turn.ended","error":{"message":"x","details":[]},"time":1e400}\n',
            id="endless-time",
        ),
        pytest.param(
            b'{"type":"turn.ended","error":{"message":"x"},"time":' + b"9" * 9000 + b"}\n",
            id="huge-time",
        ),
        pytest.param(b"9999-99-99T99:99:99.999Z WARN  llm request failed  x=1\n", id="no-date"),
        pytest.param(b"2026-11-22T10:00:00.000Z WARN  llm request failed", id="cut-off"),
    ],
)
def test_garbage_is_passed_over(content: bytes, home: Path) -> None:
    """A file that is no log, or a broken one, gives no error and hides no other file's."""
    folder = session(home)
    for name in ("logs/kimi-code.log", "agents/main/wire.jsonl"):
        (folder / name).write_bytes(content)
        dated(folder / name)
    log(home, line("2026-11-22T10:00:00.000Z"))
    assert texts(recent_errors(home, now=NOW)) == [(500, "Boom")]


def test_a_home_without_logs_has_no_errors(tmp_path: Path) -> None:
    """Where there is nothing, or a file in place of a folder, there are no errors."""
    assert recent_errors(tmp_path / "missing", now=NOW) == []
    file = tmp_path / "file"
    file.write_text("")
    assert recent_errors(file, now=NOW) == []
    (tmp_path / "sessions").write_text("")
    (tmp_path / "logs").write_text("")
    assert recent_errors(tmp_path, now=NOW) == []


@pytest.mark.skipif(sys.platform == "win32", reason="special files are a matter of POSIX")
def test_special_files_are_not_opened(home: Path, tmp_path: Path) -> None:
    """A FIFO, a socket or a device in the place of a log neither blocks nor is read."""
    folder = session(home)
    os.mkfifo(folder / "logs" / "kimi-code.log")
    (folder / "agents" / "main" / "wire.jsonl").symlink_to("/dev/zero")
    (home / "logs").mkdir()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(home / "logs" / "kimi-code.log"))
        assert recent_errors(home, now=time.time()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="symlinks need a privilege there")
def test_symlinks_lead_nowhere(home: Path, tmp_path: Path) -> None:
    """A link out of the home, of a file or of any folder above it, is not followed."""
    other = tmp_path / "other"
    folder = session(other)
    dated(log(other, line("2026-11-22T10:00:00.000Z", "elsewhere")))
    inner = folder / "logs" / "kimi-code.log"
    inner.write_text(line("2026-11-22T10:00:00.000Z", "elsewhere"))
    dated(inner)
    (home / "logs").symlink_to(other / "logs")
    (home / "sessions").mkdir()
    (home / "sessions" / "wd_linked").symlink_to(folder.parent)
    assert recent_errors(home, now=NOW) == []
    own = session(home)
    (own / "logs" / "kimi-code.log").symlink_to(inner)
    assert recent_errors(home, now=NOW) == []
    (home / "logs").unlink()
    (home / "sessions" / "wd_linked").unlink()
    shutil.rmtree(home / "sessions")
    (home / "sessions").symlink_to(other / "sessions")
    assert recent_errors(home, now=NOW) == []


@pytest.mark.skipif(sys.platform == "win32", reason="symlinks need a privilege there")
def test_a_home_that_is_a_symlink_is_read(home: Path, tmp_path: Path) -> None:
    """Where the home itself is a link, its logs are those of the folder behind it."""
    log(home, line("2026-11-22T10:00:00.000Z"))
    linked = tmp_path / "linked"
    linked.symlink_to(home)
    assert texts(recent_errors(linked, now=NOW)) == [(500, "Boom")]


def test_an_unreadable_log_is_passed_over(home: Path) -> None:
    """A log that may not be read hides no other one."""
    if sys.platform == "win32":
        pytest.skip("files are not hidden by a mode there")
    with open_folder() as open_home:
        log(open_home, line("2026-11-22T10:00:00.000Z", "hidden")).chmod(0)
        log(open_home, line("2026-11-22T10:00:00.000Z"), "kimi-code.log.1")
        found = as_nobody(lambda: texts(recent_errors(open_home, now=NOW)))
    assert found == [(500, "Boom")]


def test_a_message_is_one_printable_line_of_limited_length(home: Path) -> None:
    """Escapes, line ends and control characters become spaces, and 300 characters are enough."""
    evil = "\x1b[31mred\x07\u202e " + 'say "hi"\n\tC:\\temp ' + "z" * 1000
    log(home, line("2026-11-22T10:00:00.000Z", evil, status=502))
    (error,) = recent_errors(home, now=NOW)
    assert error.message.startswith('[31mred say "hi" C:\\temp zzz')
    assert error.message.isprintable()
    assert len(error.message) == 300
    assert error.message.endswith("…")


def test_a_status_stands_for_itself(home: Path) -> None:
    """A status in front of the message is told as the status, where it is one."""
    log(
        home,
        line("2026-11-22T10:00:01.000Z", "403 Forbidden", status=403)
        + line("2026-11-22T10:00:02.000Z", "401 Unauthorized", status=None)
        + line("2026-11-22T10:00:03.000Z", "500 files are too many", status=400)
        + line("2026-11-22T10:00:04.000Z", "4294 is a number", status=None)
        + line("2026-11-22T10:00:05.000Z", "Connection error.", status=None),
    )
    assert texts(recent_errors(home, now=NOW)) == [
        (None, "Connection error."),
        (None, "4294 is a number"),
        (400, "500 files are too many"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
    ]


def test_the_sessions_used_last_are_looked_into(home: Path) -> None:
    """Of hundreds of sessions the one used last is found, and most are not opened at all."""
    for number in range(300):
        folder = session(home, f"session_{number:04}", f"wd_{number % 7}")
        wire = folder / "agents" / "main" / "wire.jsonl"
        wire.write_text("{}\n")
        own = folder / "logs" / "kimi-code.log"
        own.write_text(line("2026-11-22T10:00:00.000Z", f"error {number}"))
        age = 60 if number == 150 else 3600 + number
        dated(wire, NOW - age)
        dated(own, NOW - age)
        dated(folder, NOW - 30 * DAY)
    found = recent_errors(home, now=NOW, most=10_000)
    assert (500, "error 150") in texts(found)
    assert len(found) < 100
