"""Recent errors in the client's own logs: when, which HTTP status, which message.

Sources, as runs of kimi-code 0.20.0, 0.25.0, 0.38.0 and 2.1.0 leave them:

- `<home>/logs/kimi-code.log`: `startup failed`, where print mode ended in an error;
- `<home>/sessions/wd_*/session_*/logs/kimi-code.log`: `llm request failed`, one line for
  each request that was given up (0.38.0 on: for each attempt), and `turn failed`;
- `<home>/sessions/wd_*/session_*/agents/main/wire.jsonl`: `turn.ended` (0.38.0 on), the
  only place where print mode of 2.1.0 may leave a 403.

Conversations lie in the same files. Of them only the lines named here are taken, and of
those only the message of the error.
"""

import json
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from kimifix.reader import read_end

_MOST_FILES = 50
_MOST_ENTRIES = 50_000
_TAIL_BYTES = 256 * 1024
_LONGEST_MESSAGE = 300

# Retries of one request are at most half a minute apart (0.38.0 and 2.1.0: ten attempts
# in about 150 s), and one error is told in up to three of the files.
_SAME_INCIDENT = timedelta(minutes=1)
_NEVER = datetime.max.replace(tzinfo=UTC)

_PLACES = (
    "logs/kimi-code.log*",
    "sessions/wd_*/session_*/logs/kimi-code.log*",
    "sessions/wd_*/session_*/agents/main/wire.jsonl",
)
_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (?:WARN|ERROR) +"
    r"(?P<event>llm request failed|turn failed|startup failed)(?P<fields>.*)"
)
_ERROR_MESSAGE = re.compile(r' errorMessage=(?:"((?:[^"\\]|\\.)*)"?|(\S+))')
_STATUS_CODE = re.compile(r" statusCode=(\d{3})(?!\d)")
_ESCAPE = re.compile(r"\\(.)")
_THROWN = re.compile(r"  (?:[A-Za-z]\w*: )?(?P<message>\S.*)")
_CODE = re.compile(r"^[a-z_]+\.[a-z_]+: ")
_STATUS = re.compile(r"([1-5]\d\d) +(?=\S)")

# Reading an event of another shape raises one of these.
_NO_EVENT = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError)
_Told = tuple[datetime, int | None, str]


class LogError(NamedTuple):
    """One error that the client noted.

    ``status`` is the HTTP status, None where the error is not an answer of the server;
    ``message`` is the server's or client's text without status, control characters and
    more than 300 characters. ``incidents`` are the times when it happened, the latest
    last; retries in a row count as one.
    """

    status: int | None
    message: str
    incidents: tuple[datetime, ...]

    @property
    def time(self) -> datetime:
        """When it happened last."""
        return self.incidents[-1]

    @property
    def times(self) -> int:
        """How often it happened."""
        return len(self.incidents)


def recent_errors(home: Path, *, now: float, days: int = 7, most: int = 10) -> list[LogError]:
    """Return the errors of the last ``days`` before ``now`` (Unix seconds), newest first.

    Errors of the same status and message are one entry. Never raises: what cannot be
    read, or is no log, is passed over. At most the ends of the 50 files changed last are
    read; special files and what lies outside ``home`` are not opened.
    """
    since = now - days * 86_400
    found: dict[tuple[int | None, str], list[datetime]] = {}
    for path in newest_files(home, _PLACES, _MOST_FILES, since):
        read = _from_wire if path.suffix == ".jsonl" else _from_log
        with suppress(OSError):  # it is not for us to read
            for time, status, text in read(_tail(path)):
                if time.timestamp() >= since:
                    found.setdefault(_cleaned(status, text), []).append(time)
    errors = [LogError(*told, _incidents(sorted(times))) for told, times in found.items()]
    return sorted(errors, key=lambda error: error.time, reverse=True)[:most]


def _incidents(times: list[datetime]) -> tuple[datetime, ...]:
    """Return the last of each run of times, which come in order."""
    pairs = pairwise([*times, _NEVER])
    return tuple(time for time, following in pairs if following - time > _SAME_INCIDENT)


def newest_files(home: Path, places: Iterable[str], most: int, since: float = 0.0) -> list[Path]:
    """Return plain files of ``home`` in such places changed after ``since``, the last one first."""
    changed: dict[Path, float] = {}
    for path in _entries(home, places):
        with suppress(OSError, RuntimeError):  # it is gone, or leads in a circle
            status = path.lstat()
            recent = stat.S_ISREG(status.st_mode) and status.st_mtime >= since
            if recent and path.resolve().is_relative_to(home.resolve()):
                changed[path] = status.st_mtime
    return nlargest(most, changed, key=lambda path: changed[path])


def _entries(home: Path, places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        with suppress(OSError):  # the system may refuse the name of the home
            yield from islice(home.glob(place), _MOST_ENTRIES)


def _tail(path: Path) -> list[str]:
    """Return the lines at the end of the file, whole ones only."""
    content = read_end(path, _TAIL_BYTES + 1)
    lines = content.decode("utf-8", errors="replace").split("\n")
    return lines[1:] if len(content) > _TAIL_BYTES else lines


def _from_log(lines: list[str]) -> Iterator[_Told]:
    for line, following in pairwise([*lines, ""]):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            continue
        status = _STATUS_CODE.search(match["fields"])
        if match["event"] == "llm request failed":
            noted = _ERROR_MESSAGE.search(match["fields"])
            text = noted and (
                noted[2] or _ESCAPE.sub(lambda e: " " if e[1] == "n" else e[1], noted[1])
            )
        else:
            thrown = _THROWN.fullmatch(following.rstrip("\r"))
            text = thrown and thrown["message"]
        if text:
            with suppress(ValueError):  # no such day
                time = datetime.fromisoformat(match["time"])
                yield time, int(status[1]) if status else None, text


def _from_wire(lines: list[str]) -> Iterator[_Told]:
    for line in lines:
        if '"turn.ended"' not in line:
            continue
        with suppress(*_NO_EVENT, RecursionError):
            event = json.loads(line)
            error = event["error"]
            status = (error.get("details") or {}).get("statusCode")
            time = datetime.fromtimestamp(event["time"] / 1000, UTC)
            text = error["message"]
            if event["type"] == "turn.ended" and isinstance(text, str) and text.strip():
                yield time, status if type(status) is int else None, text


def _cleaned(status: int | None, text: str) -> tuple[int | None, str]:
    """Return status and message, the message fit to be printed, without code and status."""
    message = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    message = _CODE.sub("", message, count=1)
    leading = _STATUS.match(message)
    if leading and status in (None, int(leading[1])):
        status, message = int(leading[1]), message[leading.end() :]
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    return status, message
