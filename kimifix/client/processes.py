"""Copies of kimi-code that run now and may write the same config."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# What kimi-code 0.20.0 to 2.1.0 make of their process title, whatever the mode; the native
# binary does the same (source of 2.1.0).
_TITLE = "kimi-code"
_SECONDS_FOR_PROGRAM = 5


class Running(NamedTuple):
    """The clients that run on one home; ``checked`` is False where this system cannot tell."""

    pids: tuple[int, ...]
    checked: bool = True


def running(home: Path) -> Running:
    """Return the clients that run on ``home``, or whose home cannot be told.

    Where the environment of a process may not be read (on macOS never), it counts if it is
    of this user or of the user to whom the home belongs.
    """
    if sys.platform == "linux":
        return _from_proc(home)
    if sys.platform == "win32":
        # A client under node.exe cannot be told from other Node programs without a slow
        # WMI query; the native binary has a name of its own.
        command = [system_program("tasklist.exe"), "/fo", "csv", "/nh"]
        pids = _in_tasklist(_output([*command, "/fi", "imagename eq kimi.exe"]))
        return Running(pids, checked=bool(pids))
    return _from_ps(home)


def _from_proc(home: Path, proc: Path = Path("/proc")) -> Running:
    try:
        entries = [entry for entry in proc.iterdir() if entry.name.isdecimal()]
        home = home.resolve()
    except (OSError, RuntimeError):  # no /proc, or the home is a loop of symlinks
        return Running((), checked=False)
    users = _users(home)
    found = (int(entry.name) for entry in entries if _runs_on(home, entry, users))
    return Running(tuple(sorted(found)))


def _users(home: Path) -> set[int]:
    """Return the users whose clients may run on ``home`` without saying so."""
    users = set()
    with suppress(OSError):
        if sys.platform != "win32":
            users.add(os.geteuid())
        users.add(home.stat().st_uid)
    return users


def _runs_on(home: Path, entry: Path, users: set[int]) -> bool:
    """Tell whether the process of this folder in /proc is a client on ``home``, a real path."""
    try:
        # `number (title) state …`; one that is dead but not reaped (Z, X) writes no more.
        title, _, rest = (entry / "stat").read_bytes().partition(b" (")[2].rpartition(b") ")
        if title != _TITLE.encode() or rest[:1] in b"ZX":
            return False
        with suppress(PermissionError):
            theirs = _home_of((entry / "environ").read_bytes(), entry)
            if theirs is not None:
                return theirs == home
        return entry.stat().st_uid in users
    except (OSError, RuntimeError):  # it has ended, or its home is a loop of symlinks
        return False


def _home_of(variables: bytes, entry: Path) -> Path | None:
    """Return the home that a client with this environment uses, None where it does not say."""
    pairs = (pair.partition(b"=") for pair in variables.split(b"\0"))
    env = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    theirs = env.get("KIMI_CODE_HOME") or (env.get("HOME") and f"{env['HOME']}/.kimi-code")
    return ((entry / "cwd").readlink() / theirs).resolve() if theirs else None


def _from_ps(home: Path) -> Running:
    output = _output(["/bin/ps", "-axo", "pid=,uid=,stat=,command="])
    found = _in_ps(output, set(map(str, _users(home))))
    return Running(tuple(found), checked=output != "")


def _in_ps(output: str, users: set[str]) -> Iterator[int]:
    """Yield the clients of ``users`` in the lines `pid uid state command` of ps."""
    for line in output.splitlines():
        # Setting the title leaves blanks where the arguments were.
        match line.split(None, 3):
            case [pid, user, state, command] if (
                user in users and command.strip() == _TITLE and not state.startswith("Z")
            ):
                yield int(pid)


def _in_tasklist(output: str) -> tuple[int, ...]:
    """Return the processes in the CSV of tasklist; where there are none it says so in words."""
    rows = (line.split('","') for line in output.splitlines() if line.startswith('"'))
    return tuple(int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal())


def started(pid: int) -> float | None:
    """Return when a process was started at the latest, in Unix seconds; None for unknown."""
    with suppress(OSError, ValueError, IndexError):
        if sys.platform == "linux":
            ticks = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()[19]
            since_boot = (int(ticks) + 1) / os.sysconf("SC_CLK_TCK")
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
        if sys.platform != "win32":
            elapsed = _output(["/bin/ps", "-o", "etime=", "-p", str(pid)])
            return time.time() - _seconds(elapsed)
    return None


def _seconds(elapsed: str) -> int:
    """Return the seconds in `[[dd-]hh:]mm:ss` of ps."""
    days, _, clock = elapsed.strip().rpartition("-")
    hours, minutes, seconds = map(int, f"0:{clock}".split(":")[-3:])
    return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds


def system_program(name: str) -> str:
    """Return the path of one of Windows' own programs; a bare name might start another one."""
    if sys.platform != "win32":
        return name
    import ctypes

    buffer = ctypes.create_unicode_buffer(260)
    ctypes.windll.kernel32.GetSystemDirectoryW(buffer, len(buffer))
    return rf"{buffer.value}\{name}"


def _output(command: list[str]) -> str:
    """Return what a program of the system prints, nothing where it fails."""
    import subprocess

    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS_FOR_PROGRAM,
            check=True,
        ).stdout
    return ""
