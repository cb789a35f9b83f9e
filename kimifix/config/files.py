"""Files as the system has them: one reading, a new file, a replacement, a lock.

Everything here keeps the promise that a file is the old one or the new one, whole, and
knows what differs on Windows. What it means for the config is in ``storage``.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kimifix.config.receipt import digest
from kimifix.errors import ConfigError, KimifixError

LOCK_PATIENCE_SECONDS = 10.0
PRIVATE_FILE = 0o600

_BINARY = getattr(os, "O_BINARY", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_LOCK_PAUSE_SECONDS = 0.05
_WINDOWS_LOCK_OFFSET = 1 << 30  # away from the process number that others read


@dataclass(frozen=True)
class Snapshot:
    """The config as it was at one moment.

    ``path`` is the path asked for, ``real`` the file behind all symlinks; ``content``
    is None where there is no file, and ``mode``, ``uid``, ``gid`` then mean nothing.
    """

    path: Path
    real: Path
    content: bytes | None
    mode: int = PRIVATE_FILE
    uid: int = -1
    gid: int = -1

    @property
    def sha256(self) -> str | None:
        """The hash of the content, None where there is no file."""
        return None if self.content is None else digest(self.content)


def read(path: Path) -> Snapshot:
    """Return the config at ``path`` as it is now.

    Raises ``ConfigError`` for everything that is no readable regular file, but for
    nothing at all, which is a snapshot without content.
    """
    try:
        real = Path(os.path.realpath(path, strict=True))
        handle = os.open(real, os.O_RDONLY | _BINARY | _NONBLOCK)
    except FileNotFoundError:
        return _absent(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(path, f"the config is {_kind(status.st_mode)}, not a file")
            content = b"".join(iter(lambda: os.read(handle, 1 << 20), b""))
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(path, error) from None
    mode = stat.S_IMODE(status.st_mode)
    return Snapshot(path, real, content, mode, status.st_uid, status.st_gid)


def _absent(path: Path) -> Snapshot:
    try:
        if not path.is_symlink():
            return Snapshot(path, Path(os.path.realpath(path)), None)
        reason = f"the config is a symlink to `{path.readlink()}`, which does not exist"
    except OSError as error:
        raise _unreadable(path, error) from None
    hint = "create the target or remove the symlink, then run kimifix again"
    raise ConfigError(path, reason, hint)


def write_new(path: Path, content: bytes, mode: int, like: Snapshot | None = None) -> None:
    """Write a file that did not exist, private until it is whole, and on disk on return."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, PRIVATE_FILE)
    try:
        _write_all(handle, content)
        if sys.platform != "win32":
            if like is not None and like.content is not None:
                mode = _keep_owner(handle, like, mode)
            os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _keep_owner(handle: int, like: Snapshot, mode: int) -> int:
    """Give the file the owner and group of ``like`` where we may; return the mode to give it.

    Where the group cannot be kept, another one must not get its rights.
    """
    if sys.platform == "win32":
        return mode
    status = os.fstat(handle)
    if (status.st_uid, status.st_gid) != (like.uid, like.gid):
        with suppress(PermissionError):
            os.fchown(handle, like.uid, like.gid)
        with suppress(PermissionError):
            os.fchown(handle, -1, like.gid)
    return mode if os.fstat(handle).st_gid == like.gid else mode & ~0o070


def patiently(change: Callable[[], object], check: Callable[[], None] = lambda: None) -> None:
    """Carry out ``change`` after ``check``; on Windows wait a moment for who holds the file open.

    Who does may be writing it, so the check comes before each try.
    """
    pauses = (0.05, 0.1, 0.2, 0.4, 0.8) if sys.platform == "win32" else ()
    for pause in (*pauses, None):
        check()
        try:
            change()
            return
        except PermissionError:
            if pause is None:
                raise
            time.sleep(pause)


def sync_folder(folder: Path) -> None:
    """Have the folder's entries on disk, where the system can do that."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # the rename has happened; not every file system can do this
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold back Ctrl-C: between here and the receipt it would leave the user in the dark."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which names the process that has it.

    Raises ``KimifixError`` with that process after LOCK_PATIENCE_SECONDS.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, PRIVATE_FILE)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _try_lock(handle):
            if time.monotonic() >= deadline:
                raise KimifixError(
                    f"another kimifix is at work on this config: process {_holder(path)}",
                    "wait until it is done, or end it, then run kimifix again",
                )
            time.sleep(_LOCK_PAUSE_SECONDS)
        os.ftruncate(handle, 0)
        _write_all(handle, str(os.getpid()).encode())
        yield
    finally:
        with suppress(OSError):
            os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _WINDOWS_LOCK_OFFSET, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="ascii") or "unknown"
    except (OSError, ValueError):
        return "unknown"


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if error.errno == errno.ELOOP:
        return ConfigError(path, "the config is a loop of symlinks", "remove the loop")
    on_windows = isinstance(error, PermissionError) and sys.platform == "win32"
    if isinstance(error, IsADirectoryError) or (on_windows and path.is_dir()):
        return ConfigError(path, "the config is a folder, not a file")
    if isinstance(error, PermissionError):
        return ConfigError(path, "no permission to read the config", "see its owner and mode")
    return ConfigError(path, f"the config cannot be read: {error.strerror or error}")


def write_hint(error: OSError) -> str:
    """Return what to do about a write that the system refused."""
    match error.errno:
        case errno.ENOSPC | errno.EFBIG:
            return "free some space on this disk, then run kimifix again; the config is as it was"
        case errno.EROFS:
            return "the file system is read-only; the config is as it was"
        case errno.EACCES if sys.platform == "win32":
            return "it may be marked read-only, or open in another program; the config is as it was"
        case errno.EACCES | errno.EPERM:
            return "see who owns the file and its folder; the config is as it was"
        case _:
            return "the config is as it was"
