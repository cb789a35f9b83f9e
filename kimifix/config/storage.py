"""The only writer: replaces the config in one atomic step and remembers how it was.

The order of a commit makes a kill at any instant harmless: the backup is on disk
before the intent is, the intent before the new config, and the receipt takes its
place last. What a kill left behind is settled by the next commit: the hash of the
config says on which side of the replacement it happened.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from kimifix.config.document import parse
from kimifix.config.files import (
    PRIVATE_FILE,
    Snapshot,
    interrupts_deferred,
    locked,
    patiently,
    read,
    sync_folder,
    write_hint,
    write_new,
)
from kimifix.config.receipt import Receipt, digest
from kimifix.errors import ChangedMeanwhileError, KimifixError

BACKUPS_KEPT = 10
STATE_IN_HOME = ".kimifix"

_README = """\
This folder was made by kimifix, a command-line tool for kimi-code.
It holds one folder for each kimi-code config.toml that kimifix has changed:
  receipt.json   what was written and what was there before
  backups/       the file as it was before
`kimifix revert` needs them to give back the same bytes. When nothing of kimifix
is in your config any more, you can delete this folder.
"""


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
            until_unlocked.enter_context(interrupts_deferred())
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
            with suppress(OSError):  # on Windows somebody may hold it open
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
            write_new(temporary, content, PRIVATE_FILE)
            patiently(lambda: temporary.replace(path))
            sync_folder(path.parent)
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
        # On Windows it inherits that it is private: with 0o700 Python would give the folder of
        # an elevated run to the administrators alone.
        folder.mkdir(mode=0o777 if sys.platform == "win32" else 0o700, exist_ok=True)
        sync_folder(folder.parent)

    def _write_readme(self) -> None:
        path = self.root / "README.txt"
        if path.exists():
            return
        try:
            write_new(path, _README.encode(), PRIVATE_FILE)
        except FileExistsError:
            pass  # another kimifix, at work on another config
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._make_folder(self.folder)
        self._write_readme()
        with locked(self.folder / "lock"):
            yield

    @contextmanager
    def _reporting(self, snapshot: Snapshot) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename2 or error.filename or snapshot.real  # a rename: its target
            raise KimifixError(
                f"could not write: {error.strerror or error}: `{place}`", write_hint(error)
            ) from error


def state_root(home: Path) -> Path:
    """Return the folder that holds kimifix's memory of all configs; it need not exist.

    It is in ``home``, the client's, for a user without a home, as `docker run --user 12345`
    makes one, and where there is one already, as in a sandbox.
    """
    from platformdirs import user_state_path

    inside = home / STATE_IN_HOME
    try:
        root = user_state_path("kimifix", appauthor=False)
    except RuntimeError:
        return inside
    # platformdirs before 4.5 gives a relative path instead of an error.
    return inside if inside.is_dir() or not root.is_absolute() else root


def _replace(snapshot: Snapshot, content: bytes | None, mode: int) -> None:
    real = snapshot.real
    if content is None:
        patiently(real.unlink, lambda: _require_unchanged(snapshot))
    else:
        temporary = real.with_name(_temporary(real, str(os.getpid())))
        temporary.unlink(missing_ok=True)
        try:
            write_new(temporary, content, mode, like=snapshot)
            patiently(lambda: temporary.replace(real), lambda: _require_unchanged(snapshot))
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    sync_folder(real.parent)


def _require_unchanged(snapshot: Snapshot) -> None:
    now = read(snapshot.path)
    if now.content != snapshot.content or now.real != snapshot.real:
        raise ChangedMeanwhileError(snapshot.path)


def _carried_out(intent: dict[str, Any], now: Snapshot) -> bool:
    if now.sha256 == intent.get("after"):
        return True
    if now.sha256 == intent.get("before"):
        return False
    try:  # somebody else has written since: our entries tell
        document = parse(now.content or b"", now.path)
    except KimifixError:
        return False
    return bool(document.own_entries) == bool(intent.get("receipt"))


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
