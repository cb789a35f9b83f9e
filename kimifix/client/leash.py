"""A process that is ended and a folder that is removed, whatever ends the block they serve."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from kimifix.errors import KimifixError

_SECONDS_TO_OBEY = 2.0
_SECONDS_TO_REMOVE = 5.0
_TICK = 0.05

_ENDINGS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Have a signal that would end this process at once raise ``SystemExit`` in the block."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    with _handled(leave, [number for number in _ENDINGS if number != signal.SIGINT]):
        yield


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """Make a new folder of mode 0700, and remove it with all that is in it behind the block.

    Raises ``KimifixError`` where it cannot be removed.
    """
    folder = None
    try:
        with _held_back():
            folder = Path(tempfile.mkdtemp(prefix=prefix))
        yield folder
    finally:
        if folder is not None:
            with _held_back():
                _remove(folder)


@contextmanager
def started(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, stderr: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start ``command`` as a group of its own, and end it with its children behind the block.

    Raises ``OSError`` where it cannot be started.
    """
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        own_group = {"creationflags": flags}
    process = None
    try:
        with _held_back():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=cwd,
                env=dict(env),
                **own_group,
            )
        yield process
    finally:
        if process is not None:
            with _held_back():
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, kindly at first."""
    if sys.platform == "win32":
        tree = ["taskkill", "/pid", str(process.pid), "/t", "/f"]
        subprocess.run(tree, capture_output=True, check=False)
        process.kill()
    else:
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_OBEY)
        _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(leader: int, number: int) -> None:
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)


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
                "remove it by hand; there is no secret in it",
            )
        time.sleep(_TICK)


@contextmanager
def _held_back() -> Iterator[None]:
    """Let no signal interrupt the block; what came meanwhile is delivered behind it."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number), _ENDINGS):
        yield
    for number in came[:1]:
        signal.raise_signal(number)


@contextmanager
def _handled(handler: Callable[[int, Any], None], numbers: list[int]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)
