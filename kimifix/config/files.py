"""Files as the system has them: one reading, a new file, a replacement, a lock.

Everything here keeps the promise that a file is the old one or the new one, whole, and
knows what differs by system. What it means for the config is in ``storage``.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kimifix import reader
from kimifix.config.receipt import digest
from kimifix.errors import ConfigError, KimifixError

LOCK_PATIENCE_SECONDS = 10.0
MOST_BYTES = 32 << 20
PRIVATE_FILE = 0o600

_BINARY = getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LOCK_PAUSE_SECONDS = 0.05
_WINDOWS_LOCK_OFFSET = 1 << 30  # away from the process number that others read
_ACL = "system.posix_acl_access"
_ACCESS = "see who owns the file and its folder; "
if sys.platform == "win32":
    _ACCESS = "it may be marked read-only, or open in another program; "
_SPACE = "free some space on this disk, then run kimifix again; "
_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EFBIG), _SPACE),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _ACCESS),
    errno.EROFS: "the file system is read-only; ",
}


@dataclass(frozen=True)
class Snapshot:
    """The config as it was at one moment.

    ``path`` is the path asked for, ``real`` the file behind all symlinks; ``content``
    is None where there is no file, and what follows then means nothing. ``attributes`` are
    the extended ones, the ACL among them. ``losses`` says, in sentences, what the file
    cannot keep when it is replaced.
    """

    path: Path
    real: Path
    content: bytes | None
    mode: int = PRIVATE_FILE
    uid: int = -1
    gid: int = -1
    attributes: dict[str, bytes] = field(default_factory=dict)
    losses: tuple[str, ...] = ()

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
        with reader.opened(real) as handle:
            status = os.fstat(handle)
            content = reader.content_of(handle, real, MOST_BYTES)
            attributes, losses = _rights(handle, status)
    except FileNotFoundError:
        return _absent(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
    return Snapshot(path, real, content, mode, *owner, attributes, tuple(losses))


def _absent(path: Path) -> Snapshot:
    try:
        reason = f"the config is a symlink to `{path.readlink()}`, which does not exist"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):  # EINVAL: a file has come meanwhile
            return Snapshot(path, Path(os.path.realpath(path)), None)
        raise _unreadable(path, error) from None
    hint = "create the target or remove the symlink, then run kimifix again"
    raise ConfigError(path, reason, hint)


def _rights(handle: int, status: os.stat_result) -> tuple[dict[str, bytes], list[str]]:
    """Return the extended attributes that can be copied, and what cannot be kept."""
    losses: list[str] = []
    if status.st_nlink > 1:
        losses.append(f"the config has {status.st_nlink} hard links: the others keep the old file")
    if sys.platform != "win32" and os.geteuid() != 0:
        if status.st_uid != os.geteuid():
            losses.append(f"the config belongs to user {status.st_uid} and will belong to you")
        if status.st_gid not in (os.getegid(), *os.getgroups()):
            losses.append(f"group {status.st_gid} loses its rights on the config")
    if sys.platform == "darwin" and _may_have_acl(handle):
        losses.append("the config loses its access control list, if `ls -le` shows one")
    if sys.platform != "linux":
        return {}, losses
    try:
        names = os.listxattr(handle)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return {}, losses
        raise
    copied = [name for name in names if name == _ACL or name.startswith("user.")]
    # SELinux labels the new file itself, by the folder.
    if others := sorted({*names} - {*copied, "security.selinux"}):
        losses.append(f"attributes of the config will be lost: {', '.join(others)}")
    return {name: os.getxattr(handle, name) for name in copied}, losses


def _may_have_acl(handle: int) -> bool:
    """Tell whether macOS has an ACL for an opened file, or cannot be asked."""
    try:
        import ctypes

        find = ctypes.CDLL(None).acl_get_fd_np
        find.restype = ctypes.c_void_p
    except (ImportError, AttributeError):
        return True
    return find(handle, 0x100) is not None  # ACL_TYPE_EXTENDED; NULL without one


def sha256_of(path: Path) -> str | None:
    """Return the hash of the plain file at ``path``, None for nothing, "" for all else."""
    try:
        return digest(reader.read(path, MOST_BYTES, follow=False))
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def write_new(path: Path, content: bytes, mode: int, like: Snapshot | None = None) -> None:
    """Write a file that did not exist, private until it is whole, and on disk on return.

    It gets owner, group and attributes of ``like``, where there is such a file and we may.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, PRIVATE_FILE)
    try:
        if like is not None and like.content is not None:
            mode = _made_like(handle, like, mode)
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        if sys.platform != "win32":
            os.fchmod(handle, mode)
        _sync(handle)
    except OSError as error:  # which names no file
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(handle)


def _made_like(handle: int, like: Snapshot, mode: int) -> int:
    """Give the file owner, group and attributes of ``like``; return the mode it may have.

    Where the group cannot be kept, another one must not get its rights.
    """
    if sys.platform == "win32":
        return mode
    for owner in ((-1, like.gid), (like.uid, -1)):
        with suppress(PermissionError):
            os.fchown(handle, *owner)
    if os.fstat(handle).st_gid != like.gid:
        mode &= ~0o070
    if sys.platform == "linux":
        for name, value in like.attributes.items():
            os.setxattr(handle, name, value)
        if _ACL not in like.attributes:
            with suppress(OSError):  # one that the folder gives to new files
                os.removexattr(handle, _ACL)
        os.fchmod(handle, PRIVATE_FILE)  # which bounds the ACL as well
    return mode


def rename(source: Path, target: Path, *, exchange: bool) -> bool:
    """Exchange two names in one step, or rename ``source`` to a name that must be free.

    Returns whether this can be done here: Linux has renameat2 since 3.15, macOS renamex_np
    since 10.12, and not every file system takes part. Raises ``OSError`` where it fails.
    """
    names = os.fsencode(source), os.fsencode(target)
    if sys.platform == "linux":
        here = -100  # AT_FDCWD: names count from the working directory
        return _called("renameat2", here, names[0], here, names[1], 2 if exchange else 1)
    if sys.platform == "darwin":
        return _called("renamex_np", *names, 2 if exchange else 4)
    return False


def _called(function: str, *arguments: int | bytes) -> bool:
    try:
        import ctypes

        failed = getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments)
    except (ImportError, AttributeError):  # a Python without ctypes; another libc
        return False
    number = ctypes.get_errno()
    if failed and number not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        raise OSError(number, os.strerror(number))
    return not failed


def patiently(change: Callable[[], object]) -> None:
    """Carry out a change; on Windows try again for a moment while somebody holds the file open."""
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8) if sys.platform == "win32" else ():
        try:
            change()
            return
        except PermissionError:
            time.sleep(pause)
    change()


def _sync(handle: int) -> None:
    if sys.platform == "darwin":  # where fsync leaves it to the drive when
        import fcntl

        with suppress(OSError):  # not every file system can do this
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Have the folder's entries on disk, where the system can do that."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # the rename has happened; not every file system can do this
        handle = os.open(folder, os.O_RDONLY)
        try:
            _sync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which names the process that has it.

    Raises ``KimifixError`` with that process after LOCK_PATIENCE_SECONDS, and ``OSError``
    where the file is a symlink.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CREAT | _NOFOLLOW, PRIVATE_FILE)

    # A file object lets go of the lock wherever Ctrl-C strikes.
    with open(path, "r+b", buffering=0, opener=opener) as file:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                holder = file.read(20)
                process = holder.decode() if holder.isdigit() else "unknown"
                raise KimifixError(
                    f"another kimifix is at work on this config: process {process}",
                    "wait until it is done, or end it, then run kimifix again",
                )
            time.sleep(_LOCK_PAUSE_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        yield


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _WINDOWS_LOCK_OFFSET, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    return True


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if error.errno == errno.ELOOP:
        return ConfigError(path, "the config is a loop of symlinks", "remove the loop")
    if isinstance(error, PermissionError):
        if sys.platform == "win32" and path.is_dir():
            return ConfigError(path, "the config cannot be read: it is a folder")
        return ConfigError(path, "no permission to read the config", "see its owner and mode")
    return ConfigError(path, f"the config cannot be read: {error.strerror or error}")


def write_hint(error: OSError) -> str:
    """Return what to do about a write that the system refused."""
    return f"{_HINTS.get(error.errno or 0, '')}the config is as it was"
