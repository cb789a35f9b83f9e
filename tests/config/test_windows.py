"""What the only writer does on Windows, as far as that can run elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.platforms import lacking_in_wine

from kimifix.config import files, storage
from kimifix.config.files import read
from kimifix.config.storage import Store
from kimifix.errors import ChangedMeanwhileError, ConfigError, KimifixError

OLD, NEW = b"old = 1\r\n", b"new = 1\r\n"
PATIENCE_SECONDS = 1.0


class Msvcrt(ModuleType):
    """The locks of Windows' C runtime: notes where they are set."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.locked: list[tuple[int, int, int]] = []
        self.refusals = 0

    def locking(self, handle: int, mode: int, length: int) -> None:
        """Lock ``length`` bytes from the position of the file on."""
        if self.refusals:
            self.refusals -= 1
            raise PermissionError(13, "Permission denied")
        self.locked.append((os.lseek(handle, 0, os.SEEK_CUR), mode, length))


@pytest.fixture(autouse=True)
def msvcrt(monkeypatch: pytest.MonkeyPatch) -> Msvcrt:
    """Let the writer take its Windows branch, where a file has neither owner nor mode."""
    module = Msvcrt()
    monkeypatch.setattr(files, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(storage, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    for name in ("fchmod", "fchown"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "kill", None)
    return module


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the writer makes, without making them."""
    made: list[float] = []
    monkeypatch.setattr("kimifix.config.files.time.sleep", made.append)
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config with the old content."""
    path = tmp_path / "home" / "config.toml"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


@pytest.fixture
def store(tmp_path: Path, config: Path) -> Store:
    """The store of the config."""
    return Store(tmp_path / "state" / "kimifix", config)


def commit(store: Store, config: Path, content: bytes | None = NEW) -> None:
    """Replace the config."""
    snapshot = read(config)
    backup = snapshot.content
    store.commit(snapshot, content, None, mode=snapshot.mode, earlier=None, backup=backup)


def held_open(
    monkeypatch: pytest.MonkeyPatch,
    config: Path,
    *,
    times: int,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Let the config be open in another program: replacing it fails ``times`` times."""
    replace = Path.replace
    left = [times]

    def refuse(self: Path, target: Any) -> Path:
        if Path(target) == config and left[0]:
            left[0] -= 1
            meanwhile()
            raise PermissionError(13, "Access is denied", str(self), 5, str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)


def test_config_is_replaced_and_kept(config: Path, store: Store) -> None:
    """The bytes are those that were given, line endings included, and the old ones are kept."""
    commit(store, config)
    assert config.read_bytes() == NEW
    (backup,) = store.backup_paths()
    assert backup.read_bytes() == OLD
    assert list(config.parent.iterdir()) == [config]


def test_lock_leaves_the_process_number_readable(
    config: Path, store: Store, msvcrt: Msvcrt
) -> None:
    """One byte far behind the number is locked: a locked byte cannot be read by others."""
    commit(store, config)
    assert {(mode, length) for _, mode, length in msvcrt.locked} == {(msvcrt.LK_NBLCK, 1)}
    assert min(position for position, _, _ in msvcrt.locked) > 1_000_000
    assert (store.folder / "lock").read_bytes() == str(os.getpid()).encode()


def test_lock_is_waited_for(
    config: Path, store: Store, msvcrt: Msvcrt, pauses: list[float]
) -> None:
    """A lock that somebody else holds for a moment is no error."""
    msvcrt.refusals = 3
    commit(store, config)
    assert config.read_bytes() == NEW
    assert len(pauses) == 3


@pytest.mark.parametrize("times", [1, 3])
def test_config_that_is_held_open_for_a_moment(
    config: Path, store: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A reader that has the file open is waited for, longer each time."""
    held_open(monkeypatch, config, times=times)
    commit(store, config)
    assert config.read_bytes() == NEW
    assert len(pauses) == times
    assert pauses == sorted(pauses)


def test_config_that_stays_open(
    config: Path, store: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a second or two it is given up: an error, the old config, nothing left behind."""
    held_open(monkeypatch, config, times=1000)
    with pytest.raises(KimifixError) as caught:
        commit(store, config)
    assert caught.value.message == f"could not write: Access is denied: `{config}`"
    assert "config is as it was" in (caught.value.hint or "")
    assert config.read_bytes() == OLD
    assert list(config.parent.iterdir()) == [config]
    assert PATIENCE_SECONDS < sum(pauses) < 5 * PATIENCE_SECONDS


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere the folder decides")
@lacking_in_wine("mark that keeps a file from being replaced")
def test_config_that_is_marked_read_only(config: Path, store: Store) -> None:
    """It stays as it is, and the hint names the mark."""
    config.chmod(0o444)
    with pytest.raises(KimifixError) as caught:
        commit(store, config)
    assert "read-only" in (caught.value.hint or "")
    assert config.read_bytes() == OLD
    config.chmod(0o644)


def test_folders_of_the_state_are_like_any_other(config: Path, store: Store) -> None:
    """A mode would give those of an elevated run to the administrators alone."""
    commit(store, config)
    for folder in (store.root, store.folder, store.backups):
        assert folder.stat().st_mode == config.parent.stat().st_mode


def test_nobodys_edit_is_lost_while_waiting(
    config: Path, store: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who held the file open may have written it: that is seen before the next try."""
    theirs = b"theirs = 1\r\n"
    held_open(monkeypatch, config, times=1, meanwhile=lambda: config.write_bytes(theirs))
    with pytest.raises(ChangedMeanwhileError):
        commit(store, config)
    assert config.read_bytes() == theirs


def test_config_that_is_removed_while_held_open(
    config: Path, store: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing a file that we made waits for a reader, too."""
    rename = Path.rename
    refusals = [PermissionError(13, "Access is denied")]

    def refuse(self: Path, target: Any) -> Path:
        if self == config and refusals:
            raise refusals.pop()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    commit(store, config, None)
    assert not config.exists()
    assert len(pauses) == 1


def test_stray_that_is_in_use(
    config: Path, store: Store, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary file of a killed run that a scanner holds open for a moment is waited for."""
    store.aside.write_bytes(b"")
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == store.aside and len(pauses) < 3:
            raise PermissionError(13, "The process cannot access the file", str(self), 32)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    commit(store, config)
    assert config.read_bytes() == NEW
    assert len(pauses) == 3


def test_folder_for_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to open a folder as if it were forbidden: it is called a folder."""
    folder = tmp_path / "config.toml"
    folder.mkdir()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError, match="is a folder"):
        read(folder)
