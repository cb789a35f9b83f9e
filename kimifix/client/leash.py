"""A private folder and the programs that run in it: both are gone behind the block they serve."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from kimifix.client.processes import system_program
from kimifix.errors import KimifixError

_SECONDS_TO_OBEY = 2.0
_SECONDS_TO_REMOVE = 5.0
_TICK = 0.05

_PREFIX = "kimifix-run-"
_MARK = "made-by-kimifix"
_ENDINGS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
]
_UNFIT_FOR_CMD = re.compile(r'[&|<>^%!"\x00-\x1f]')


class Leash:
    """What ``leash`` gives: a ``folder`` of mode 0700, and programs that run in it."""

    def __init__(self, folder: Path, signals: list[int]) -> None:
        self.folder = folder
        self._signals = signals

    def run(
        self,
        command: list[str],
        env: Mapping[str, str],
        cwd: Path,
        stdout: IO[bytes],
        stderr: IO[bytes],
        *,
        seconds: float,
        enough: Callable[[], bool] = lambda: False,
    ) -> int | None:
        """Run a program until ``enough`` says so; return its exit code, None if it was ended.

        It is also ended behind ``seconds``, and when a signal asks this process to end. Its
        children end with it; on Linux those, too, that have left its group.

        Raises ``OSError`` where it cannot be started, ``ValueError`` where Windows' shell
        would read the command otherwise.
        """
        if self._signals:
            return None
        process = _start(command, env, cwd, stdout, stderr)
        deadline = time.monotonic() + seconds
        try:
            while not (enough() or self._signals) and time.monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_TICK)
            return None
        finally:
            _end(process)
            _end_strays(self.folder)


@contextmanager
def leash() -> Iterator[Leash]:
    """Give a new private folder, and remove it behind the block, whatever ends that.

    A signal that asks this process to end is noted, lets ``Leash.run`` return, and acts
    behind the block: ``KeyboardInterrupt`` for SIGINT, ``SystemExit`` for the others.
    Outside the main thread Python handles none. What an earlier run left because it was
    killed goes first.

    Raises ``KimifixError`` where the folder cannot be made or removed.
    """
    signals: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDINGS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, lambda n, _: signals.append(n))
    try:
        _sweep()
        with _private_folder() as folder:
            yield Leash(folder, signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signals:
            raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])


@contextmanager
def _private_folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    except OSError as error:
        reason = error.strerror or error
        raise KimifixError(
            f"no temporary folder can be made: {reason}", "set TMPDIR to a folder you can write to"
        ) from error
    try:
        with _held(folder):
            yield folder
    finally:
        _remove(folder)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder until this process ends, however that comes about, and mark it as ours.

    Raises ``OSError`` where somebody else holds it.
    """
    mark = folder / _MARK
    if sys.platform == "win32":
        mark.unlink(missing_ok=True)  # fails while another process has it open
        with mark.open("x"):
            yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mark.touch()
        yield
    finally:
        os.close(handle)


def _sweep() -> None:
    """Remove the folders of runs that were killed, and end what still runs in them."""
    for folder in Path(tempfile.gettempdir()).resolve().glob(f"{_PREFIX}*"):
        with suppress(OSError, KimifixError):
            status = folder.lstat()
            ours = sys.platform == "win32" or status.st_uid == os.geteuid()
            if ours and stat.S_ISDIR(status.st_mode) and (folder / _MARK).is_file():
                with _held(folder):
                    _end_strays(folder)
                _remove(folder)


def _start(
    command: list[str],
    env: Mapping[str, str],
    cwd: Path,
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    """Start a program as the leader of a group of its own."""
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        own_group = {"creationflags": flags}
    return subprocess.Popen(
        _for_windows(command) if command[0].lower().endswith((".cmd", ".bat")) else command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=dict(env),
        **own_group,
    )


def _for_windows(command: list[str]) -> str:
    """Return the command line that starts a batch file, which only Windows' shell can.

    The shell takes the outermost quotes away (`/s`); inside the others it reads nothing
    but what is refused here.
    """
    unfit = next((part for part in command if _UNFIT_FOR_CMD.search(part)), None)
    if unfit is not None:
        raise ValueError(f"it cannot be passed to `{Path(command[0]).name}`: `{unfit}`")
    quoted = " ".join(f'"{part}"' for part in command)
    return f'"{system_program("cmd.exe")}" /d /s /c "{quoted}"'


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, kindly at first."""
    if sys.platform == "win32":
        tree = [system_program("taskkill.exe"), "/pid", str(process.pid), "/t", "/f"]
        subprocess.run(tree, capture_output=True, check=False)
        process.kill()
    else:
        running = process.poll() is None
        for number in (signal.SIGTERM, signal.SIGKILL) if running else (signal.SIGKILL,):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_OBEY)
    process.wait()


def _end_strays(folder: Path) -> None:
    """End what has left the group: its environment names the folder, whose name nobody guesses."""
    if sys.platform != "linux":
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(folder) in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove the folder, also while a process that was just killed lets go of it."""
    deadline = time.monotonic() + _SECONDS_TO_REMOVE
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        if time.monotonic() > deadline:
            raise KimifixError(
                f"a temporary folder could not be removed: `{folder}`",
                "remove it by hand: a copy of the config may be in it",
            )
        time.sleep(_TICK)
