"""The only writer: replaces the config in one atomic step and remembers how it was.

A commit makes a kill, or a power cut, at any instant harmless by its order:

1. the backup, and the new config beside the old one, under the name of ``Store.aside``;
2. the intent, which says what becomes what; all of this is on disk before
3. config and new file exchange their names. What came out is looked at: where it is not
   what was read, somebody wrote at the last moment, and it goes back;
4. the file of the intent becomes the receipt, and what came out is removed.

Where a kill stopped it, the next commit carries on from 3 (``_settle``): the file beside the
config tells whether the exchange took place, whoever wrote the config since. Beside an
intent it may be all that is left of somebody's edit and is kept; without one it is ours. A
system that cannot exchange renames over the config, right after a last look.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from kimifix import reader
from kimifix.config import files
from kimifix.config.files import PRIVATE_FILE, Snapshot, patiently, read, sha256_of, write_new
from kimifix.config.receipt import Intent, Receipt, digest
from kimifix.errors import ChangedMeanwhileError, KimifixError

BACKUPS_KEPT = 10
STATE_IN_HOME = ".kimifix"


class Store:
    """What kimifix remembers of one config: its receipt and its backups.

    ``root`` is the state folder of kimifix; the store is a folder in it. ``aside`` is where the
    new config is written, beside the old one: who has the lock owns it. ``lost`` are the files
    that do not fit the schema. Nothing is created before the first write.
    """

    def __init__(self, root: Path, real: Path) -> None:
        self.root = root
        self.folder = _folder(root, real)
        self.backups = self.folder / "backups"
        token = digest(os.fsencode(self.folder))[:8]
        self.aside = real.with_name(f".{real.name}.kimifix-{token}.tmp")
        self.lost: set[Path] = set()
        self._real = real
        self._receipt = self.folder / "receipt.json"
        self._intent = self.folder / "intent.json"
        self._new = self.folder / "new.tmp"
        self._changed: set[Path] = set()  # folders whose new names are not yet on disk

    def receipt(self, sha256: str | None) -> Receipt | None:
        """Return the receipt that holds for a config with this hash; reads only.

        What a killed run has carried out counts, whether or not others wrote since. Raises
        ``KimifixError`` where there is one that cannot be read, or the folder is not ours.
        """
        with self._reporting("read"):
            self._require_ours()
            intent = self._load(self._intent)
            if intent is None or not _is_carried_out(intent, sha256, sha256_of(self.aside)):
                intent = self._load(self._receipt)
            return intent.receipt if intent else None

    def _load(self, path: Path) -> Intent | None:
        try:
            return Intent.from_json(reader.read(path, files.MOST_BYTES))
        except FileNotFoundError:
            return None
        except ValueError:
            self.lost.add(path)
            return None

    def backup_path(self, sha256: str) -> Path | None:
        """Return the path of the backup with this hash, None where there is none."""
        name = f"-{sha256[:16]}.toml"
        return next((path for path in self.backup_paths() if path.name.endswith(name)), None)

    def backup(self, sha256: str) -> bytes | None:
        """Return the backup with this hash, None where there is none or it is damaged."""
        path = self.backup_path(sha256)
        try:
            content = reader.read(path, files.MOST_BYTES) if path else b""
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
        earlier: Receipt | None,
        backup: bytes | None = None,
        keep_replaced: bool = False,
    ) -> None:
        """Replace the config of ``snapshot`` by ``content`` (None: remove the file).

        ``receipt`` takes the place of ``earlier``; None ends the patch and the receipt with
        it. ``backup`` is kept where nobody else can read it, and so is, with
        ``keep_replaced``, what the config is now. Raises ``ChangedMeanwhileError``
        when the config is no longer that of ``snapshot``, or the receipt not ``earlier``, and
        ``KimifixError`` when the disk refuses; the config is then as it was.
        """
        with self._reporting("write"), self._locked():
            self._settle()
            now = self._load(self._receipt)
            if (now.receipt if now else None) != earlier:
                raise ChangedMeanwhileError(snapshot.path)
            _require_unchanged(snapshot)  # else a backup would be made of what holds no more
            after = None if content is None else digest(content)
            intent = Intent(str(snapshot.real), snapshot.sha256, after, receipt)
            try:
                for kept in (backup, snapshot.content if keep_replaced else None):
                    if kept is not None:
                        self._save_backup(kept)
                if content is not None:
                    write_new(self.aside, content, mode, like=snapshot)
                self._write_private(self._intent, intent.to_json().encode())
                while self._changed:
                    files.sync_folder(self._changed.pop())
                self._put_in_place(snapshot, after)
            except BaseException:  # Ctrl-C, too: what lies on disk decides
                if not self._settle():
                    raise
            else:
                done = True
                with suppress(OSError):  # bookkeeping, which the next run can make up for
                    done = self._settle()
                if not done:
                    raise ChangedMeanwhileError(snapshot.path)
            with suppress(OSError):
                self._forget_old_backups(receipt.before if receipt else None)

    def settle(self) -> None:
        """Do what a killed run has left undone, where nothing will be committed.

        Raises ``KimifixError`` when the disk refuses.
        """
        with self._reporting("write"):
            if any(map(os.path.lexists, (self._intent, self.aside, self._new))):
                with self._locked():
                    self._settle()

    def _put_in_place(self, snapshot: Snapshot, after: str | None) -> None:
        def attempt() -> None:
            _require_unchanged(snapshot)
            if after is None:
                self._real.rename(self.aside)
            elif not files.rename(self.aside, self._real, exchange=snapshot.content is not None):
                _require_unchanged(snapshot)
                self.aside.replace(self._real)

        try:
            patiently(attempt)
        except (FileNotFoundError, FileExistsError):
            raise ChangedMeanwhileError(snapshot.path) from None
        if os.path.lexists(self.aside) and Path(os.path.realpath(snapshot.path)) != self._real:
            self._put_back(after)  # the symlink leads elsewhere by now
            raise ChangedMeanwhileError(snapshot.path)
        files.sync_folder(self._real.parent)

    def _put_back(self, after: str | None) -> None:
        """Undo ``_put_in_place``, unless somebody has written over it: theirs stays."""
        if after is None:
            with suppress(FileExistsError):
                if not files.rename(self.aside, self._real, exchange=False):
                    self.aside.rename(self._real)
        else:
            files.rename(self.aside, self._real, exchange=True)
            if sha256_of(self.aside) != after:
                files.rename(self.aside, self._real, exchange=True)

    def _settle(self) -> bool:
        """Carry an intent through or drop it, by what lies on disk; sweep what a kill left.

        Returns whether it was carried out. Raises ``KimifixError`` where somebody's edit
        lies beside the config now, because two of them came in the same instant as ours.
        """
        intent = self._load(self._intent)
        done, kept = False, None
        if intent is not None:
            known = (None, intent.replaces, intent.after)
            now, out = sha256_of(self._real), sha256_of(self.aside)
            came_between = out not in known and now == intent.after
            if came_between:
                self._put_back(intent.after)
                out = sha256_of(self.aside)
            done = not came_between and _is_carried_out(intent, now, out)
            if out not in known:
                kept = self._real.with_name(f"{self._real.name}.kept-{time.time_ns()}")
                self.aside.rename(kept)
            if done and intent.receipt:
                patiently(partial(self._intent.replace, self._receipt))
            elif done:
                self._receipt.unlink(missing_ok=True)
        self._intent.unlink(missing_ok=True)
        for stray in (self.aside, self._new):
            with suppress(OSError):  # on Windows somebody may hold it open, and for long
                patiently(partial(stray.unlink, missing_ok=True))
        if kept:
            raise KimifixError(
                f"others wrote the config in the same instant; what one wrote lies at `{kept}`",
                "compare it with the config, then run kimifix again",
            )
        return done

    def _save_backup(self, content: bytes) -> None:
        sha256 = digest(content)
        if self.backup(sha256) == content:
            return
        path = self.backup_path(sha256)  # a damaged one
        if path is None:
            last = next(reversed(self.backup_paths()), None)
            number = int(last.name.partition("-")[0]) + 1 if last else 1
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            path = self.backups / f"{number:06}-{stamp}-{sha256[:16]}.toml"
        self._write_private(path, content)

    def _forget_old_backups(self, needed: str | None) -> None:
        paths = self.backup_paths()
        kept = self.backup_path(needed) if needed else None
        for path in paths[1 : max(1, len(paths) - BACKUPS_KEPT + 1)]:
            if path != kept:
                path.unlink(missing_ok=True)

    def _write_private(self, path: Path, content: bytes) -> None:
        self._make_folder(path.parent)
        write_new(self._new, content, PRIVATE_FILE)
        patiently(partial(self._new.replace, path))
        self._changed.add(path.parent)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            # On Windows it inherits that it is private: with 0o700 Python would give the folder
            # of an elevated run to the administrators alone.
            folder.mkdir(mode=0o777 if sys.platform == "win32" else 0o700, exist_ok=True)
            self._changed.add(folder.parent)

    def _require_ours(self) -> None:
        """Raise ``KimifixError`` where others may have put there what lies in ``root``."""
        if sys.platform == "win32" or not os.path.lexists(self.root):
            return
        status = self.root.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise KimifixError(
                f"the state folder of kimifix is not yours alone: `{self.root}`",
                "see its owner and mode, or remove it, then run kimifix again",
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._require_ours()
        self._make_folder(self.folder)
        with suppress(FileExistsError):
            (self.root / "README.txt").touch(PRIVATE_FILE, exist_ok=False)
            (self.root / "README.txt").write_bytes(reader.shipped("config/state.txt"))
        with files.locked(self.folder / "lock"):
            yield

    @contextmanager
    def _reporting(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename2 or error.filename
            if not place or str(place) == str(self.aside):  # a name that tells nobody anything
                place = self._real
            raise KimifixError(
                f"could not {doing}: {error.strerror or error}: `{place}`", files.write_hint(error)
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


def _is_carried_out(intent: Intent, now: str | None, aside: str | None) -> bool:
    """Tell it by the hashes of the config and of what lies beside it, None for nothing."""
    if now in (intent.after, intent.replaces):
        return now == intent.after
    # Somebody has written since. What was put in place is not beside the config any more.
    return aside is not None if intent.after is None else aside != intent.after


def _folder(root: Path, real: Path) -> Path:
    """Return the folder of state of a config: it is named after the hash of its real path.

    Where that holds nothing, it is the folder of the same file by another spelling: a disk may
    take `A` for `a`, or two ways to write `é` for one.
    """
    own = root / digest(os.fsencode(real))[:16]
    for path in () if any(own.glob("*.json")) else root.glob("*/*.json"):
        with suppress(OSError, ValueError):
            named = Path(Intent.from_json(reader.read(path, files.MOST_BYTES)).config)
            same_folder = named.parent.samefile(real.parent)
            if same_folder and (named.name == real.name or named.samefile(real)):
                return path.parent
    return own


def _require_unchanged(snapshot: Snapshot) -> None:
    now = read(snapshot.path)
    if now.content != snapshot.content or now.real != snapshot.real:
        raise ChangedMeanwhileError(snapshot.path)
