"""The only writer: reads the config, and replaces it in one atomic step.

The order of a commit makes a kill at any instant harmless: the backup is on disk
before the intent is, the intent before the new config, and the receipt takes its
place last. What a kill left behind is settled by the next commit: the hash of the
config says on which side of the replacement it happened.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kimifix.config.document import parse
from kimifix.config.patch import own_entries
from kimifix.config.receipt import Receipt, digest
from kimifix.errors import ChangedMeanwhileError, ConfigError, KimifixError

BACKUPS_KEPT = 10
LOCK_PATIENCE_SECONDS = 10.0

_BINARY = getattr(os, "O_BINARY", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_LOCK_PAUSE_SECONDS = 0.05
_WINDOWS_LOCK_OFFSET = 1 << 30  # away from the process number that others read

_README = """\
This folder was made by kimifix, https://pypi.org/project/kimifix/.
It holds one folder for each kimi-code config.toml that kimifix has changed:
  receipt.json   what was written and what was there before
  backups/       the file as it was before
`kimifix revert` needs them to give back the same bytes. When nothing of kimifix
is in your config any more, you can delete this folder.
"""


@dataclass(frozen=True)
class Snapshot:
    """The config as it was at one moment.

    ``path`` is the path asked for, ``real`` the file behind all symlinks; ``content``
    is None where there is no file, and ``mode``, ``uid``, ``gid`` then mean nothing.
    """

    path: Path
    real: Path
    content: bytes | None
    mode: int = _PRIVATE_FILE
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
        if path.is_symlink():
            target = path.readlink()
            raise ConfigError(
                path,
                f"the config is a symlink to `{target}`, which does not exist",
                "create the target or remove the symlink, then run kimifix again",
            ) from None
        return Snapshot(path, Path(os.path.realpath(path)), None)
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


class Store:
    """What kimifix remembers of one config: its receipt and its backups.

    ``root`` is the state folder of kimifix; the store is a folder in it, named after
    the hash of the config's real path. Nothing is created before the first write.
    """

    def __init__(self, root: Path, real: Path) -> None:
        self.root = root
        self.folder = root / digest(os.fsencode(real))[:16]
        self.backups = self.folder / "backups"
        self._real = real
        self._receipt = self.folder / "receipt.json"
        self._intent = self.folder / "intent.json"

    def receipt(self, sha256: str | None) -> Receipt | None:
        """Return the receipt that holds for a config with this hash; reads only.

        What a killed run has carried out counts, whether or not others wrote since.
        """
        intent = _load(self._intent)
        if isinstance(intent, dict) and (
            intent.get("after") == sha256 or _carried_out(intent, read(self._real))
        ):
            return Receipt.from_data(intent.get("receipt"))
        return Receipt.from_data(_load(self._receipt))

    def backup_path(self, sha256: str) -> Path | None:
        """Return the path of the backup with this hash, None where there is none."""
        name = f"-{sha256[:16]}.toml"
        return next((path for path in self.backup_paths() if path.name.endswith(name)), None)

    def backup(self, sha256: str) -> bytes | None:
        """Return the backup with this hash, None where there is none or it is damaged."""
        path = self.backup_path(sha256)
        try:
            content = path.read_bytes() if path else b""
        except OSError:
            return None
        return content if digest(content) == sha256 else None

    def backup_paths(self) -> list[Path]:
        """Return the paths of all backups, oldest first."""
        try:
            return sorted(self.backups.glob("[0-9]" * 6 + "-*.toml"))
        except OSError:
            return []

    def commit(
        self,
        snapshot: Snapshot,
        content: bytes | None,
        receipt: Receipt | None,
        *,
        mode: int,
        backup: bytes | None = None,
    ) -> None:
        """Replace the config of ``snapshot`` by ``content`` (None: remove the file).

        ``receipt`` takes the place of the one there is; None ends the patch and the
        receipt with it. ``backup`` is kept where nobody else can read it. Raises
        ``ChangedMeanwhileError`` when the config is no longer that of ``snapshot``, and
        ``KimifixError`` when the disk refuses; the config is then as it was.
        """
        with self._reporting(snapshot), ExitStack() as until_unlocked, self._locked():
            self._settle(read(snapshot.path))
            if backup is not None:
                self._save_backup(backup)
            after = None if content is None else digest(content)
            intent = {
                "before": snapshot.sha256,
                "after": after,
                "receipt": json.loads(receipt.to_json()) if receipt else None,
            }
            self._write_private(self._intent, json.dumps(intent, indent=2).encode())
            until_unlocked.enter_context(_interrupts_deferred())
            try:
                _replace(snapshot, content, mode)
            except BaseException:
                if read(snapshot.path).sha256 != after:
                    self._intent.unlink(missing_ok=True)
                    raise
            # The config is the new one: what fails from here on is bookkeeping,
            # and the intent is enough for the next run to make up for it.
            with suppress(OSError, KimifixError):
                self._settle(read(snapshot.path))
                self._forget_old_backups(receipt.before if receipt else None)

    def settle(self, snapshot: Snapshot) -> None:
        """Do what a killed run has left undone, where nothing will be committed.

        Raises ``KimifixError`` when the disk refuses.
        """
        with self._reporting(snapshot):
            if _load(self._intent) is not None or any(self._strays(snapshot.real)):
                with self._locked():
                    self._settle(read(snapshot.path))

    def _settle(self, now: Snapshot) -> None:
        """Carry an intent through or drop it, by what lies on disk; sweep what a kill left."""
        intent = _load(self._intent)
        if isinstance(intent, dict) and _carried_out(intent, now):
            if intent.get("receipt"):
                text = json.dumps(intent["receipt"], indent=2) + "\n"
                self._write_private(self._receipt, text.encode())
            else:
                self._receipt.unlink(missing_ok=True)
        self._intent.unlink(missing_ok=True)
        for stray in list(self._strays(now.real)):
            stray.unlink(missing_ok=True)

    def _strays(self, real: Path) -> Iterator[Path]:
        """Yield the temporary files of runs that were killed."""
        beside = real.parent.glob(_temporary(Path(glob.escape(str(real))), "*"))
        yield from (path for path in beside if not _is_alive(path))
        yield from self.folder.glob(".*.tmp")
        yield from self.backups.glob(".*.tmp")

    def _save_backup(self, content: bytes) -> None:
        sha256 = digest(content)
        if self.backup(sha256) == content:
            return
        damaged = self.backup_path(sha256)
        if damaged:
            damaged.unlink()
        last = next(reversed(self.backup_paths()), None)
        number = int(last.name.partition("-")[0]) + 1 if last else 1
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._write_private(self.backups / f"{number:06}-{stamp}-{sha256[:16]}.toml", content)

    def _forget_old_backups(self, needed: str | None) -> None:
        paths = self.backup_paths()
        kept = self.backup_path(needed) if needed else None
        for path in paths[1 : max(1, len(paths) - BACKUPS_KEPT + 1)]:
            if path != kept:
                path.unlink(missing_ok=True)

    def _write_private(self, path: Path, content: bytes) -> None:
        self._make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            _write_new(temporary, content, _PRIVATE_FILE)
            _rename(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == self.root:
            folder.parent.mkdir(parents=True, exist_ok=True)
        else:
            self._make_folder(folder.parent)
        folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        _sync_folder(folder.parent)

    def _write_readme(self) -> None:
        path = self.root / "README.txt"
        if path.exists():
            return
        try:
            _write_new(path, _README.encode(), _PRIVATE_FILE)
        except FileExistsError:
            pass  # another kimifix, at work on another config
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise

    @contextmanager
    def _reporting(self, snapshot: Snapshot) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename or snapshot.real
            raise KimifixError(
                f"could not write: {error.strerror or error}: `{place}`", _write_hint(error)
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._make_folder(self.folder)
        self._write_readme()
        path = self.folder / "lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, _PRIVATE_FILE)
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


def state_root() -> Path:
    """Return the folder that holds kimifix's memory of all configs; it need not exist."""
    from platformdirs import user_state_path

    return user_state_path("kimifix", appauthor=False)


def _replace(snapshot: Snapshot, content: bytes | None, mode: int) -> None:
    real = snapshot.real
    if content is None:
        _require_unchanged(snapshot)
        real.unlink()
    else:
        temporary = real.with_name(_temporary(real, str(os.getpid())))
        temporary.unlink(missing_ok=True)
        try:
            _write_new(temporary, content, mode, like=snapshot)
            _require_unchanged(snapshot)
            _rename(temporary, real)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    _sync_folder(real.parent)


def _require_unchanged(snapshot: Snapshot) -> None:
    now = read(snapshot.path)
    if now.content != snapshot.content or now.real != snapshot.real:
        raise ChangedMeanwhileError(snapshot.path)


def _write_new(path: Path, content: bytes, mode: int, like: Snapshot | None = None) -> None:
    """Write a file that did not exist, private until it is whole, and on disk on return."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, _PRIVATE_FILE)
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


def _rename(source: Path, target: Path) -> None:
    """Rename over ``target``; on Windows wait a moment for a reader that holds it open."""
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8) if sys.platform == "win32" else ():
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    source.replace(target)


def _sync_folder(folder: Path) -> None:
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
def _interrupts_deferred() -> Iterator[None]:
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


def _carried_out(intent: dict[str, Any], now: Snapshot) -> bool:
    if now.sha256 == intent.get("after"):
        return True
    if now.sha256 == intent.get("before"):
        return False
    try:  # somebody else has written since: our entries tell
        data = parse(now.content or b"", now.path).data
    except KimifixError:
        return False
    return bool(own_entries(data)) == bool(intent.get("receipt"))


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _temporary(real: Path, process: str) -> str:
    return f".{real.name}.kimifix-{process}.tmp"


def _is_alive(temporary: Path) -> bool:
    process = temporary.name.removesuffix(".tmp").rpartition("-")[2]
    if sys.platform == "win32" or not process.isdecimal() or int(process) == os.getpid():
        return False  # on Windows a file that is in use cannot be removed anyway
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if error.errno == errno.ELOOP:
        return ConfigError(path, "the config is a loop of symlinks", "remove the loop")
    if isinstance(error, IsADirectoryError):
        return ConfigError(path, "the config is a folder, not a file")
    if isinstance(error, PermissionError):
        return ConfigError(path, "no permission to read the config", "see its owner and mode")
    return ConfigError(path, f"the config cannot be read: {error.strerror or error}")


def _write_hint(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EFBIG:
            return "free some space on this disk, then run kimifix again; the config is as it was"
        case errno.EROFS:
            return "the file system is read-only; the config is as it was"
        case errno.EACCES | errno.EPERM:
            return "see who owns the file and its folder; the config is as it was"
        case _:
            return "the config is as it was"
