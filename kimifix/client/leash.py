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
from collections.abc import Iterator, Mapping, Sequence
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


class Leash:
    """Have a signal that would end this process at once unwind the ``with`` block first.

    The first one raises ``KeyboardInterrupt`` (SIGINT) or ``SystemExit`` in the block, but
    not while something is made or taken away; further ones change nothing. Outside the
    main thread, where Python handles no signals, only exceptions unwind the block.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._busy = 0
        self._waiting: int | None = None
        self._leaving = False

    def __enter__(self) -> Leash:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDINGS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def private_folder(self, prefix: str) -> Iterator[Path]:
        """Make a new folder of mode 0700, and remove it with all that is in it behind the block.

        Raises ``KimifixError`` where it cannot be removed.
        """
        folder = None
        try:
            with self._undisturbed():
                folder = Path(tempfile.mkdtemp(prefix=prefix))
            yield folder
        finally:
            if folder is not None:
                with self._undisturbed():
                    _remove(folder)

    @contextmanager
    def started(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, stderr: IO[bytes]
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
            with self._undisturbed():
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
                with self._undisturbed():
                    _end(process)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Let no signal interrupt the block; what came meanwhile acts behind it."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
        if self._waiting is not None and not self._leaving:
            self._leave(self._waiting)

    def _receive(self, number: int, _: object) -> None:
        if self._busy:
            self._waiting = number
        elif not self._leaving:
            self._leave(number)

    def _leave(self, number: int) -> None:
        self._leaving = True
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


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
