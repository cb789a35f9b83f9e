"""Copies of kimi-code that run now and may write the same config."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What kimi-code 0.20.0 to 2.1.0 make of their process title, whatever the mode.
_TITLE = "kimi-code"
_SECONDS_FOR_PS = 5


@dataclass(frozen=True)
class Running:
    """The clients that run on one home; ``checked`` is False where this system cannot tell."""

    pids: tuple[int, ...]
    checked: bool = True


def running(home: Path) -> Running:
    """Return the clients of this user that run on ``home``, or on a home that cannot be read."""
    if sys.platform == "linux":
        return Running(tuple(_from_proc(home)))
    if sys.platform == "win32":
        return _from_tasklist()
    return _from_ps()


def _from_proc(home: Path, proc: Path = Path("/proc")) -> Iterator[int]:
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if (entry / "comm").read_bytes().rstrip(b"\n") != _TITLE.encode():
                continue
            variables = (entry / "environ").read_bytes()
        except FileNotFoundError:
            continue  # ended meanwhile
        except OSError:
            variables = b""  # another user's: it may still share the home
        if _home_of(variables) in (None, home, home.resolve()):
            yield int(entry.name)


def _home_of(variables: bytes) -> Path | None:
    pairs = (pair.partition(b"=") for pair in variables.split(b"\0"))
    env = {
        name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs
    }
    if env.get("KIMI_CODE_HOME"):
        return Path(env["KIMI_CODE_HOME"]).resolve()
    if env.get("HOME"):
        return (Path(env["HOME"]) / ".kimi-code").resolve()
    return None


def _from_ps() -> Running:
    output = _output(["/bin/ps", "-axo", "pid=,command="])
    if output is None:
        return Running((), checked=False)
    lines = (line.split(None, 1) for line in output.splitlines())
    return Running(tuple(int(pid) for pid, *rest in lines if rest and rest[0].strip() == _TITLE))


def _from_tasklist() -> Running:
    # A client under node.exe cannot be told from other Node programs without a slow
    # WMI query; the native binary has a name of its own.
    output = _output(["tasklist", "/fo", "csv", "/nh", "/fi", "imagename eq kimi.exe"])
    if output is None:
        return Running((), checked=False)
    rows = (line.split('","') for line in output.splitlines() if line.startswith('"'))
    pids = tuple(int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal())
    return Running(pids, checked=bool(pids))


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS_FOR_PS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
