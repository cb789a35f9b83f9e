"""The config is read as it lies there and replaced whole, and what was before is kept."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.command import Kimifix
from support.nobody import as_nobody, give_to_nobody, open_folder
from support.platforms import symlinks
from support.verbs import apply, revert

from kimifix.config import files, storage
from kimifix.config.change import Moved, Undo
from kimifix.config.files import Snapshot, read
from kimifix.config.receipt import Intent, Receipt, digest
from kimifix.config.storage import BACKUPS_KEPT, Store
from kimifix.errors import ChangedMeanwhileError, ConfigError, KimifixError

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and kinds of file of POSIX")
root_only = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="attributes of Linux")

ACL = "system.posix_acl_access"

OLD = b"old = 1\n"
NEW = b'[providers.kimifix]\ntype = "kimi"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config with the old content."""
    path = tmp_path / "home" / "config.toml"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o644)
    return path


@pytest.fixture
def store(tmp_path: Path, config: Path) -> Store:
    """The store of the config."""
    return Store(tmp_path / "state" / "kimifix", config)


@pytest.fixture
def no_umask() -> Iterator[None]:
    """A user who lets everybody read and write everything."""
    previous = os.umask(0)
    yield
    os.umask(previous)


def receipt_for(before: bytes | None, after: bytes, **fields: Any) -> Receipt:
    """Return a receipt for a change of the config."""
    return Receipt(
        config=fields.pop("config", "config.toml"),
        time="2026-11-22T00:00:00Z",
        kimifix="1",
        client=None,
        route="header",
        credential="login",
        before=None if before is None else digest(before),
        after=digest(after),
        mode_before=None,
        undo=Undo((Moved(("default_model",), '"a"', "b"),), newline_added=True),
        **fields,
    )


def commit(store: Store, config: Path, content: bytes = NEW) -> Receipt:
    """Apply new content to the config as it lies there."""
    snapshot = read(config)
    receipt = receipt_for(snapshot.content, content)
    put(store, snapshot, content, receipt, mode=snapshot.mode, backup=snapshot.content)
    return receipt


def put(store: Store, snapshot: Snapshot, *rest: Any, **named: Any) -> None:
    """Commit, knowing the receipt that holds."""
    store.commit(snapshot, *rest, earlier=store.receipt(snapshot.sha256), **named)


def mode_of(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> set[str]:
    """Return all paths below a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# Reading


def test_reads_content_mode_and_place(config: Path) -> None:
    """A snapshot says all that is needed to put the file back as it was."""
    snapshot = read(config)
    status = config.stat()
    assert snapshot == Snapshot(config, config, OLD, mode_of(config), status.st_uid, status.st_gid)
    assert snapshot.sha256 == digest(OLD)


def test_reads_more_than_fits_one_call(config: Path) -> None:
    """A config of several megabytes is read to its end."""
    content = b"# 0123456789abcde\n" * 200_000
    config.write_bytes(content)
    assert read(config).content == content


def test_nothing_is_a_snapshot_without_content(tmp_path: Path) -> None:
    """Also where the folder is missing too."""
    for path in (tmp_path / "config.toml", tmp_path / "no" / "folder" / "config.toml"):
        assert read(path) == Snapshot(path, path, None)
        assert read(path).sha256 is None


@symlinks
def test_reads_through_symlinks_of_files_and_folders(tmp_path: Path, config: Path) -> None:
    """The real path is that of the file, however many links lead there."""
    (tmp_path / "one").symlink_to(config)
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "folder").symlink_to(config.parent)
    for path in (tmp_path / "two", tmp_path / "folder" / "config.toml"):
        snapshot = read(path)
        assert (snapshot.path, snapshot.real, snapshot.content) == (path, config, OLD)


def _folder(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to(os.devnull)


def _socket(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path.name)  # the whole path may be too long for a socket
    listening.close()


def _dangling(path: Path) -> None:
    path.symlink_to("dotfiles/config.toml")


def _dangling_chain(path: Path) -> None:
    path.symlink_to("link")
    (path.parent / "link").symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.symlink_to("link")
    (path.parent / "link").symlink_to(path.name)


def _loop_of_itself(path: Path) -> None:
    path.symlink_to(path.name)


@posix
@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (_folder, "the config cannot be read: it is a folder, not a plain file", None),
        (_fifo, "the config cannot be read: it is a FIFO, not a plain file", None),
        (_device, "the config cannot be read: it is a device, not a plain file", None),
        (_socket, "the config cannot be read: No such device or address", None),
        (
            _dangling,
            "the config is a symlink to `dotfiles/config.toml`, which does not exist",
            "create the target or remove the symlink, then run kimifix again",
        ),
        (
            _dangling_chain,
            "the config is a symlink to `link`, which does not exist",
            "create the target or remove the symlink, then run kimifix again",
        ),
        (_loop, "the config is a loop of symlinks", "remove the loop"),
        (_loop_of_itself, "the config is a loop of symlinks", "remove the loop"),
    ],
)
def test_what_is_no_file_is_refused_by_what_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    message: str,
    hint: str | None,
) -> None:
    """At once: nothing waits for the other end of a FIFO. What lies there stays."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.toml"
    make(path)
    kind = stat.S_IFMT(path.lstat().st_mode)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert (caught.value.message, caught.value.hint) == (f"{message}: `{path}`", hint)
    snapshot = Snapshot(path, path, OLD)
    with pytest.raises(KimifixError):
        put(Store(tmp_path / "state", path), snapshot, NEW, None, mode=0o600)
    assert stat.S_IFMT(path.lstat().st_mode) == kind


@posix
def test_a_file_below_a_file_is_refused(config: Path) -> None:
    """A home that is a file gives an error, not a crash."""
    with pytest.raises(ConfigError, match="the config cannot be read: Not a directory"):
        read(config / "config.toml")


@posix
@pytest.mark.parametrize("locked", ["config.toml", "."])
def test_without_permission_to_read_the_error_says_so(locked: str) -> None:
    """On the file or on its folder."""
    with open_folder() as folder:
        config = folder / "home" / "config.toml"
        config.parent.mkdir()
        config.write_bytes(OLD)
        (config.parent / locked).chmod(0)

        def attempt() -> tuple[str, str | None]:
            try:
                read(config)
            except ConfigError as error:
                return error.message, error.hint
            return "read", None

        message = f"no permission to read the config: `{config}`"
        assert as_nobody(attempt) == (message, "see its owner and mode")


@posix
@pytest.mark.parametrize("verb", [("doctor",), ("apply", "--yes"), ("revert", "--yes")])
@pytest.mark.parametrize("name", ["a" * 6_000, "a/" * 3_000])
def test_a_home_with_a_name_too_long_is_an_error(
    kimifix: Kimifix, tmp_path: Path, verb: tuple[str, ...], name: str
) -> None:
    """Said in a sentence, by every verb."""
    result = kimifix(*verb, "--home", tmp_path / name)
    assert result.code == 1
    assert "Traceback" not in result.err
    assert verb == ("doctor",) or "name too long" in result.err.lower()


@posix
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_home_that_cannot_be_entered_is_an_error(mode: int) -> None:
    """Whether its names can be seen or not."""
    with open_folder() as folder:
        (folder / "home").mkdir()
        (folder / "home").chmod(mode)

        def attempt(verb: Callable[[Path], object]) -> str:
            try:
                verb(folder / "home")
            except KimifixError as error:
                return error.message
            return "done"

        for verb in (apply, revert):
            message = as_nobody(partial(attempt, verb))
            assert message == f"no permission to read the config: `{folder}/home/config.toml`"


# Writing


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o664, 0o400, 0o444, 0o755])
def test_content_is_replaced_and_the_mode_kept(config: Path, store: Store, mode: int) -> None:
    """Whatever the umask says."""
    config.chmod(mode)
    inode = config.stat().st_ino
    previous = os.umask(0o077)
    try:
        commit(store, config)
    finally:
        os.umask(previous)
    assert config.read_bytes() == NEW
    assert mode_of(config) == mode
    assert config.stat().st_ino != inode
    assert names_in(config.parent) == {"config.toml"}


@posix
def test_a_new_config_and_an_explicit_mode(tmp_path: Path, config: Path, store: Store) -> None:
    """The caller decides about the mode; a new file belongs to its user alone."""
    put(store, read(config), NEW, None, mode=0o600)
    assert mode_of(config) == 0o600
    new = tmp_path / "home" / "new.toml"
    snapshot = read(new)
    put(Store(tmp_path / "state", new), snapshot, NEW, None, mode=snapshot.mode)
    assert (new.read_bytes(), mode_of(new)) == (NEW, 0o600)


@root_only
def test_the_owner_is_kept(config: Path, store: Store) -> None:
    """Root at work on the config of a user leaves it to the user."""
    os.chown(config, 65534, 65533)
    config.chmod(0o660)
    commit(store, config)
    status = config.stat()
    assert (status.st_uid, status.st_gid) == (65534, 65533)
    assert mode_of(config) == 0o660


@root_only
def test_another_group_does_not_get_the_rights_of_the_old_one() -> None:
    """Where the group cannot be kept, only owner and others keep theirs."""
    with open_folder() as folder:
        config = folder / "home" / "config.toml"
        config.parent.mkdir()
        give_to_nobody(config.parent)
        config.write_bytes(OLD)
        os.chown(config, 0, 0)
        config.chmod(0o664)
        state = folder / "state"
        state.mkdir()
        give_to_nobody(state)

        def attempt() -> None:
            commit(Store(state / "kimifix", config), config)

        as_nobody(attempt)
        assert config.read_bytes() == NEW
        assert config.stat().st_uid == 65534
        assert mode_of(config) == 0o604


def acl(mask: int = 4) -> bytes:
    """Return an ACL: the owner may write, one other user read, the group and all others nothing."""
    entries = [(0x01, 6, -1), (0x02, 4, 1234), (0x04, 0, -1), (0x10, mask, -1), (0x20, 0, -1)]
    packed = [struct.pack("<HHi", *entry) for entry in entries]
    return struct.pack("<I", 2) + b"".join(packed)


@linux
def test_acl_and_attributes_are_kept_and_a_mode_bounds_them(config: Path, store: Store) -> None:
    """Nobody gets a right that he did not have; who loses one gets it back with the mode."""
    os.setxattr(config, "user.note", b"mine")
    os.setxattr(config, ACL, acl())
    assert mode_of(config) == 0o640
    for content, mode, mask in ((NEW, 0o640, 4), (OLD, 0o600, 0), (NEW, 0o640, 4)):
        put(store, read(config), content, None, mode=mode)
        assert (config.read_bytes(), mode_of(config)) == (content, mode)
        assert os.getxattr(config, ACL) == acl(mask)
        assert os.getxattr(config, "user.note") == b"mine"


@linux
def test_an_acl_for_new_files_gives_nobody_rights_on_the_config(config: Path, store: Store) -> None:
    """The folder has one, the config that is replaced has none."""
    os.setxattr(config.parent, "system.posix_acl_default", acl())
    commit(store, config)
    assert ACL not in os.listxattr(config)
    assert mode_of(config) == 0o644


@linux
def test_what_a_replacement_loses_is_known_before(config: Path) -> None:
    """Other names of the file, and attributes that cannot be copied."""
    assert read(config).losses == ()
    os.link(config, config.with_name("other"))
    assert read(config).losses == ("the config has 2 hard links: the others keep the old file",)
    if os.geteuid() == 0:
        os.setxattr(config, "trusted.note", b"x")
        assert read(config).losses[1:] == ("attributes of the config will be lost: trusted.note",)


@linux
def test_that_a_mac_would_lose_an_acl_is_known_before(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is one; and where the system cannot be asked, as this one cannot."""
    loses = ("the config loses its access control list, if `ls -le` shows one",)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert read(config).losses == loses
    for pointer, losses in ((0x7F00, loses), (None, ())):
        library = SimpleNamespace(acl_get_fd_np=lambda handle, kind, found=pointer: found)
        monkeypatch.setattr(ctypes, "CDLL", lambda _, found=library: found)
        assert read(config).losses == losses


@root_only
def test_that_the_owner_changes_is_known_before() -> None:
    """A user who may write the folder, but not the file in it, becomes its owner."""
    with open_folder() as folder:
        config = folder / "config.toml"
        config.write_bytes(OLD)
        os.chown(config, 0, 1234)
        assert as_nobody(lambda: read(config).losses) == (
            "the config belongs to user 0 and will belong to you",
            "group 1234 loses its rights on the config",
        )
        assert read(config).losses == ()


@posix
def test_a_symlink_stays_one(tmp_path: Path, config: Path) -> None:
    """The file behind all links is replaced, in its own folder."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to("second")
    second.symlink_to(config)
    store = Store(tmp_path / "state", read(first).real)
    commit(store, first)
    assert config.read_bytes() == NEW
    assert not config.is_symlink()
    assert (first.readlink(), second.readlink()) == (Path("second"), config)
    assert names_in(tmp_path) >= {"first", "second", "home/config.toml"}
    put(store, read(first), None, None, mode=0o600)
    assert not config.exists()


def test_content_none_removes_the_file(config: Path, store: Store) -> None:
    """For a config that was not there before; it may be gone already."""
    for _ in range(2):
        put(store, read(config), None, None, mode=0o600)
        assert names_in(config.parent) == set()


def test_a_receipt_comes_back_as_it_was_written(config: Path, store: Store) -> None:
    """With all that `unpatch` needs; the next commit may end it."""
    assert store.receipt(digest(OLD)) is None
    receipt = commit(store, config)
    assert store.receipt(digest(NEW)) == receipt
    assert store.receipt(digest(b"somebody else's")) == receipt
    put(store, read(config), OLD, None, mode=0o644)
    assert store.receipt(digest(OLD)) is None
    assert not (store.folder / "intent.json").exists()


def _without_end(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    "damage",
    [
        *("", "[]", "{}", "null", "1", '"x"', "[" * 100_000),
        _without_end,
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"undo"', '"redo"'),
        lambda text: text.replace('"path"', '"way"'),
        lambda text: text.replace('"route": "header"', '"route": ["header"]'),
        lambda text: text.replace('"mode_before": null', '"mode_before": "0644"'),
        lambda text: text.replace('"is_key": false', '"is_key": 0'),
        lambda text: text.replace('"time"', '"more": 1, "time"'),
        lambda text: re.sub(r'"path": \[.*?\]', '"path": [1]', text, flags=re.DOTALL),
        lambda text: re.sub(r'"path": \[.*?\]', '"path": []', text, flags=re.DOTALL),
        lambda text: text.replace(r'"\"a\""', r'"1\n[evil]\nb = 2"'),
        lambda text: text.replace(r'"\"a\""', '"]"'),
    ],
)
def test_a_receipt_that_does_not_fit_the_schema_is_lost(
    config: Path, store: Store, damage: str | Callable[[str], str]
) -> None:
    """As if there were none, but said; so is an intent, and the next commit makes up for both."""
    commit(store, config)
    receipt, intent = store.folder / "receipt.json", store.folder / "intent.json"
    damaged = damage if isinstance(damage, str) else damage(receipt.read_text())
    assert damaged != receipt.read_text()
    receipt.write_text(damaged)
    intent.write_text(damaged)
    assert store.receipt(digest(NEW)) is None
    assert store.lost == {receipt, intent}
    written = commit(store, config, b"x = 1\n")
    assert Store(store.root, config).receipt(digest(b"x = 1\n")) == written
    assert not intent.exists()


@posix
@pytest.mark.parametrize("name", ["receipt.json", "intent.json", "."])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_receipt_that_cannot_be_read_is_not_one_that_is_missing(
    config: Path, store: Store, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    """It is an error that names the file, and nothing is written."""
    receipt = commit(store, config)
    snapshot, failing = read(config), store.folder / name
    real = os.open

    def failing_open(path: Any, *rest: Any, **named: Any) -> int:
        if failing in (Path(path), Path(path).parent):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", failing_open)
    message = rf"could not (read|write): {os.strerror(number)}: `{store.folder}/"
    with pytest.raises(KimifixError, match=message):
        store.receipt(digest(NEW))
    with pytest.raises(KimifixError, match=message):
        store.commit(snapshot, b"x = 1\n", None, mode=0o644, earlier=receipt)
    monkeypatch.undo()
    assert config.read_bytes() == NEW
    assert store.receipt(digest(NEW)) == receipt


def test_a_receipt_of_another_process_starts_the_commit_over(config: Path, store: Store) -> None:
    """The bytes may be the same again that were read; what they replaced is another thing."""
    earlier = commit(store, config)
    snapshot = read(config)
    put(store, snapshot, OLD + b"# more\n", None, mode=0o644)
    receipt = commit(store, config)
    assert read(config) == snapshot
    for known in (earlier, None):
        with pytest.raises(ChangedMeanwhileError):
            store.commit(snapshot, OLD, None, mode=0o644, earlier=known)
    assert config.read_bytes() == NEW
    assert store.receipt(digest(NEW)) == receipt


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@posix
@pytest.mark.parametrize("make", [_fifo, _endless, _sparse])
def test_no_file_of_the_state_is_waited_for_or_read_without_end(
    config: Path, store: Store, make: Callable[[Path], None]
) -> None:
    """Special files are errors at once, and as backups they are damaged ones."""
    commit(store, config)
    (backup,) = store.backup_paths()
    backup.unlink()
    make(backup)
    assert store.backup(digest(OLD)) is None
    for name in ("receipt.json", "intent.json"):
        path = store.folder / name
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(KimifixError, match=rf"it is (too large|a .*): `.*{name}`") as caught:
            store.receipt(digest(NEW))
        assert caught.value.hint == "the config is as it was"
        path.unlink()
    put(store, read(config), OLD, None, mode=0o644)
    commit(store, config)
    assert store.backup(digest(OLD)) == OLD


def test_the_backup_is_the_file_before(config: Path, store: Store) -> None:
    """It is found by hash, and kept once however often it is saved."""
    commit(store, config)
    assert store.backup(digest(OLD)) == OLD
    assert store.backup(digest(NEW)) is None
    (path,) = store.backup_paths()
    assert store.backup_path(digest(OLD)) == path
    put(store, read(config), OLD, None, mode=0o644)
    commit(store, config)
    assert store.backup_paths() == [path]


def test_the_backup_of_nothing_needs_no_file(store: Store) -> None:
    """What an empty config holds is known without looking."""
    assert store.backup(digest(b"")) == b""


def test_a_damaged_backup_is_none_and_written_anew(config: Path, store: Store) -> None:
    """A hash in the name promises nothing."""
    commit(store, config)
    (path,) = store.backup_paths()
    path.write_bytes(b"damaged")
    assert store.backup(digest(OLD)) is None
    put(store, read(config), OLD, None, mode=0o644)
    commit(store, config)
    assert store.backup(digest(OLD)) == OLD
    assert len(store.backup_paths()) == 1
    path = store.backup_paths()[0]
    path.unlink()
    path.mkdir()
    assert store.backup(digest(OLD)) is None


def test_backups_are_bounded_and_the_first_is_kept(config: Path, store: Store) -> None:
    """The first one and the latest, so that there is always the one that revert needs."""
    for number in range(BACKUPS_KEPT + 5):
        config.write_bytes(b"number = %d\n" % number)
        before = read(config).sha256
        receipt = commit(store, config, b"after = %d\n" % number)
        assert receipt.before == before
        assert store.backup(receipt.before or "") == b"number = %d\n" % number
    kept = [path.read_bytes() for path in store.backup_paths()]
    numbers = [0, *range(6, BACKUPS_KEPT + 5)]
    assert kept == [b"number = %d\n" % number for number in numbers]
    names = [path.name for path in store.backup_paths()]
    assert [int(name[:6]) for name in names] == [number + 1 for number in numbers]
    pattern = r"\d{6}-\d{8}T\d{6}Z-[0-9a-f]{16}\.toml"
    assert [name for name in names if not re.fullmatch(pattern, name)] == []


def test_an_old_backup_that_the_receipt_needs_is_kept(
    config: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where attempts that failed at the last moment have left newer ones."""
    for number in range(BACKUPS_KEPT):
        config.write_bytes(b"number = %d\n" % number)
        commit(store, config)
    with monkeypatch.context() as patching:
        patching.setattr(files, "rename", lambda *_, **__: config.write_bytes(b""))
        for number in range(3):
            config.write_bytes(b"attempt = %d\n" % number)
            with pytest.raises(ChangedMeanwhileError):
                commit(store, config)
    config.write_bytes(b"number = 1\n")
    commit(store, config)
    assert store.backup(digest(b"number = 1\n")) == b"number = 1\n"
    assert store.backup(digest(b"number = 2\n")) is None
    assert len(store.backup_paths()) == BACKUPS_KEPT + 1


def test_files_of_others_among_the_backups_do_no_harm(config: Path, store: Store) -> None:
    """Only what has the name of a backup is one."""
    commit(store, config)
    for name in ("1a-x.toml", "notes.toml", "000001-copy.txt", "x-0123456789abcdef.toml"):
        (store.backups / name).write_text("mine")
    put(store, read(config), b"x = 1\n", None, mode=0o644, backup=NEW)
    assert [path.read_bytes() for path in store.backup_paths()] == [OLD, NEW]


@posix
@pytest.mark.usefixtures("no_umask")
def test_state_is_private(tmp_path: Path, config: Path, store: Store) -> None:
    """Folders 0700, files 0600, with a file that says who made them, whatever the umask."""
    commit(store, config)
    for path in [store.root, *store.root.rglob("*")]:
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path
    names = names_in(store.root)
    folder = store.folder.name
    (backup,) = store.backup_paths()
    assert names == {
        "README.txt",
        folder,
        f"{folder}/lock",
        f"{folder}/receipt.json",
        f"{folder}/backups",
        f"{folder}/backups/{backup.name}",
    }
    assert "made by kimifix" in (store.root / "README.txt").read_text()


@posix
@pytest.mark.usefixtures("no_umask")
def test_every_file_is_private_until_it_is_whole(
    config: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are created 0600 and exclusively, and get another mode when all is in them."""
    created: list[str] = []
    opening, changing = os.open, os.fchmod

    def watched_open(path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        if flags & os.O_CREAT:
            created.append(Path(path).name)
            assert mode == 0o600
            assert flags & os.O_EXCL or Path(path).name == "lock"
        handle = opening(path, flags, mode, **rest)
        assert not flags & os.O_CREAT or stat.S_IMODE(os.fstat(handle).st_mode) == 0o600
        return handle

    def watched_change(handle: int, mode: int) -> None:
        assert mode == 0o600 or os.fstat(handle).st_size == len(NEW)
        changing(handle, mode)

    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "fchmod", watched_change)
    commit(store, config)
    assert mode_of(config) == 0o644
    assert len(created) == 5  # README, lock, backup, config, intent that becomes the receipt
    assert store.aside.name in created


@posix
def test_a_state_folder_that_exists_is_used(config: Path, store: Store) -> None:
    """Its mode is the user's affair; what we put into it is private."""
    store.root.mkdir(parents=True)
    store.root.chmod(0o755)
    (store.root / "README.txt").write_text("mine")
    commit(store, config)
    assert mode_of(store.root) == 0o755
    assert mode_of(store.folder) == 0o700
    assert (store.root / "README.txt").read_text() == "mine"


@posix
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702, None])
def test_a_state_folder_of_others_is_not_trusted(
    config: Path, store: Store, mode: int | None
) -> None:
    """They could plant a receipt there, and with it a config; neither read nor written."""
    snapshot, receipt = read(config), commit(store, config)
    if mode is not None:
        store.root.chmod(mode)
    elif os.geteuid() == 0:
        os.chown(store.root, 65534, -1)
    else:
        pytest.skip("only root gives files away")
    message = f"the state folder of kimifix is not yours alone: `{store.root}`"
    with pytest.raises(KimifixError, match=message):
        store.receipt(digest(NEW))
    with pytest.raises(KimifixError, match=message):
        store.commit(snapshot, OLD, None, mode=0o644, earlier=receipt)
    assert config.read_bytes() == NEW


@posix
def test_a_lock_that_is_a_symlink_is_not_followed(config: Path, store: Store) -> None:
    """Its target keeps its content, and the error names the lock."""
    store.folder.mkdir(parents=True, mode=0o700)
    store.root.chmod(0o700)
    target = config.with_name("precious")
    target.write_bytes(OLD)
    (store.folder / "lock").symlink_to(target)
    with pytest.raises(KimifixError, match=f"could not write: .*: `{store.folder}/lock`"):
        commit(store, config)
    assert target.read_bytes() == config.read_bytes() == OLD


@posix
@pytest.mark.usefixtures("no_umask")
def test_folders_are_made_all_the_way_down(tmp_path: Path, config: Path) -> None:
    """A new user has not even `~/.local`, and nobody else may write there."""
    store = Store(tmp_path / "local" / "state" / "kimifix", config)
    assert store.receipt(commit(store, config).after) is not None
    for folder in (store.root, store.root.parent, store.root.parent.parent):
        assert mode_of(folder) == 0o700


def test_what_an_earlier_version_has_left_is_found(tmp_path: Path, config: Path) -> None:
    """The names and the format of the state are for ever, or `format` changes."""
    name = hashlib.sha256(os.fsencode(config)).hexdigest()[:16]
    folder = tmp_path / "state" / name
    (folder / "backups").mkdir(parents=True)
    (folder / "backups" / f"000007-20260101T000000Z-{digest(OLD)[:16]}.toml").write_bytes(OLD)
    (folder / "receipt.json").write_text(
        json.dumps(
            {
                "format": 1,
                "config": "config.toml",
                "time": "2026-11-22T00:00:00Z",
                "kimifix": "1",
                "client": None,
                "route": "header",
                "credential": "login",
                "before": digest(OLD),
                "after": digest(NEW),
                "mode_before": None,
                "undo": {
                    "moved": [
                        {
                            "path": ["default_model"],
                            "old": '"a"',
                            "new": "b",
                            "is_key": False,
                            "new_table": False,
                        }
                    ],
                    "newline_added": True,
                },
            }
        )
    )
    store = Store(tmp_path / "state", config)
    assert store.receipt(digest(NEW)) == receipt_for(OLD, NEW)
    assert store.backup(digest(OLD)) == OLD


def test_stores_of_two_configs_keep_apart(tmp_path: Path, config: Path) -> None:
    """Each config has a folder of its own, named after its path."""
    other = config.with_name("other.toml")
    other.write_bytes(OLD)
    one, two = Store(tmp_path / "state", config), Store(tmp_path / "state", other)
    commit(one, config)
    assert two.receipt(digest(NEW)) is None
    assert two.backup_paths() == []
    commit(two, other, b"x = 1\n")
    assert one.receipt(digest(NEW)) != two.receipt(digest(NEW))
    assert Store(tmp_path / "state", config).receipt(digest(NEW)) == one.receipt(digest(NEW))


@posix
def test_one_file_has_one_store_however_it_is_spelled(
    tmp_path: Path, config: Path, store: Store
) -> None:
    """A disk that takes `Home` for `home` is one on which two paths lead to the same folder.

    Here a symlink does that, which on such a disk there is none to resolve.
    """
    (tmp_path / "Home").symlink_to(config.parent)
    (tmp_path / "other").mkdir()
    other_spelling, another = tmp_path / "Home" / config.name, tmp_path / "other" / config.name
    another.write_bytes(OLD)
    assert Store(store.root, other_spelling).folder != store.folder
    receipt = receipt_for(OLD, NEW, config=str(config))
    put(store, read(config), NEW, receipt, mode=0o644)
    for spelled in (other_spelling, config):
        for content in (NEW, None):
            config.unlink() if content is None else config.write_bytes(content)
            assert Store(store.root, spelled).folder == store.folder
            assert Store(store.root, spelled).receipt(digest(NEW)) == receipt
    assert Store(store.root, another).folder != store.folder


def _overwritten(config: Path) -> None:
    config.write_bytes(b"somebody = 'else'\n")


def _renamed_over(config: Path) -> None:
    other = config.with_name("theirs")
    other.write_bytes(b"somebody = 'else'\n")
    other.replace(config)


def _removed(config: Path) -> None:
    config.unlink()


def _made_a_symlink(config: Path) -> None:
    config.rename(config.with_name("moved"))
    config.symlink_to("moved")


@pytest.mark.parametrize(
    "change",
    [_overwritten, _renamed_over, _removed, pytest.param(_made_a_symlink, marks=symlinks)],
)
def test_a_change_since_the_snapshot_is_not_overwritten(
    config: Path, store: Store, change: Callable[[Path], None]
) -> None:
    """Whatever somebody did to the config meanwhile stays, and nothing else is left."""
    snapshot = read(config)
    change(config)
    lying = {path: path.read_bytes() for path in config.parent.iterdir()}
    for content in (NEW, None) if lying else (NEW,):
        receipt = receipt_for(OLD, content) if content else None
        with pytest.raises(ChangedMeanwhileError):
            put(store, snapshot, content, receipt, mode=0o644, backup=OLD, keep_replaced=True)
    assert {path: path.read_bytes() for path in config.parent.iterdir()} == lying
    assert store.backup_paths() == []
    assert store.receipt(read(config).sha256) is None
    assert not (store.folder / "intent.json").exists()


def test_a_config_that_appeared_since_the_snapshot_is_not_overwritten(
    tmp_path: Path, store: Store
) -> None:
    """Where there was none, one of somebody else is a change too."""
    config = tmp_path / "home" / "new.toml"
    snapshot = read(config)
    config.write_bytes(OLD)
    with pytest.raises(ChangedMeanwhileError, match="keeps changing while") as caught:
        put(store, snapshot, NEW, None, mode=0o600)
    assert f"`{config}`" in caught.value.message
    assert config.read_bytes() == OLD


def test_a_touched_config_is_not_a_changed_one(config: Path, store: Store) -> None:
    """Only the bytes count."""
    snapshot = read(config)
    _renamed_over(config)
    config.write_bytes(OLD)
    put(store, snapshot, NEW, None, mode=0o644)
    assert config.read_bytes() == NEW


@posix
@pytest.mark.parametrize("locked", ["home", "state"])
def test_without_permission_to_write_the_error_says_so_and_nothing_is_left(locked: str) -> None:
    """On the folder of the config or on that of the state."""
    with open_folder() as folder:
        config = folder / "home" / "config.toml"
        (folder / "state").mkdir()
        config.parent.mkdir()
        config.write_bytes(OLD)
        for path in (config, config.parent, folder / "state"):
            give_to_nobody(path)
        (folder / locked).chmod(0o555)

        def attempt() -> tuple[str, str | None]:
            try:
                commit(Store(folder / "state" / "kimifix", config), config)
            except KimifixError as error:
                return error.message, error.hint
            return "written", None

        message, hint = as_nobody(attempt)
        assert message.startswith("could not write: Permission denied: `")
        assert str(folder / locked) in message
        assert hint == "see who owns the file and its folder; the config is as it was"
        assert names_in(folder / "home") == {"config.toml"}
        assert config.read_bytes() == OLD
        (folder / locked).chmod(0o755)
        assert as_nobody(attempt) == ("written", None)
        assert config.read_bytes() == NEW


# What a killed run has left


def left_behind(
    store: Store, before: bytes | None, after: bytes | None, *, reverting: bool = False
) -> None:
    """Leave what a run leaves that is killed after its intent: before or after the exchange.

    Beside the config, that is, lies what is not in the config: one of ``before`` and ``after``.
    """
    receipt = None if reverting else receipt_for(before, after or b"")
    sha256 = [None if content is None else digest(content) for content in (before, after)]
    store.folder.mkdir(parents=True, exist_ok=True)
    intent = Intent(str(store.aside), sha256[0], sha256[1], receipt)
    (store.folder / "intent.json").write_text(intent.to_json())


THEIRS = b"[theirs]\n"


@pytest.mark.parametrize("edited", [b"", THEIRS, b"\xff"])
@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_intent_that_was_carried_out_counts_as_receipt(
    config: Path, store: Store, edited: bytes, can_exchange: bool
) -> None:
    """Whatever somebody has made of the config since; the next run makes up for it."""
    left_behind(store, OLD, NEW)
    if can_exchange:
        store.aside.write_bytes(OLD)
    config.write_bytes(NEW + edited)
    sha256 = read(config).sha256
    assert store.receipt(sha256) == receipt_for(OLD, NEW)
    store.settle()
    assert store.receipt(sha256) == receipt_for(OLD, NEW)
    assert names_in(config.parent) == {"config.toml"}
    assert not (store.folder / "intent.json").exists()


@pytest.mark.parametrize("content", [OLD, OLD + THEIRS, NEW + THEIRS, b"\xff", None])
def test_an_intent_that_was_not_carried_out_is_dropped(
    config: Path, store: Store, content: bytes | None
) -> None:
    """Whatever somebody has made of the config since, entries of ours from earlier included."""
    earlier = commit(store, config)
    left_behind(store, OLD, NEW + OLD)
    store.aside.write_bytes(NEW + OLD)
    config.unlink() if content is None else config.write_bytes(content)
    assert store.receipt(read(config).sha256) == earlier
    store.settle()
    assert store.receipt(read(config).sha256) == earlier
    assert not store.aside.exists()
    assert not (store.folder / "intent.json").exists()


@pytest.mark.parametrize("content", [OLD, OLD + THEIRS, THEIRS, None])
@pytest.mark.parametrize("removes", [False, True])
def test_the_intent_of_a_revert_ends_the_receipt_if_carried_out(
    config: Path, store: Store, content: bytes | None, removes: bool
) -> None:
    """A config that is no longer what it replaced, and whatever somebody wrote since."""
    commit(store, config)
    left_behind(store, NEW, None if removes else OLD, reverting=True)
    store.aside.write_bytes(NEW)
    config.unlink() if content is None else config.write_bytes(content)
    assert store.receipt(read(config).sha256) is None
    store.settle()
    assert store.receipt(read(config).sha256) is None
    assert not store.aside.exists()


@pytest.mark.parametrize("removes", [False, True])
def test_a_revert_that_was_not_carried_out_leaves_the_receipt(
    config: Path, store: Store, removes: bool
) -> None:
    """Also where a client has taken our entries out since, and the default with them."""
    earlier = commit(store, config)
    left_behind(store, NEW, None if removes else OLD, reverting=True)
    if not removes:
        store.aside.write_bytes(OLD)
    config.write_bytes(THEIRS)
    assert store.receipt(digest(THEIRS)) == earlier
    store.settle()
    assert store.receipt(digest(THEIRS)) == earlier


@posix
@pytest.mark.parametrize("after", [NEW, None])
def test_an_edit_that_a_killed_run_had_pushed_aside_goes_back(
    config: Path, store: Store, after: bytes | None
) -> None:
    """It came between the last look and the exchange, and nobody else has its bytes."""
    left_behind(store, OLD, after, reverting=after is None)
    store.aside.write_bytes(THEIRS)
    config.unlink() if after is None else config.write_bytes(after)
    store.settle()
    assert config.read_bytes() == THEIRS
    assert names_in(config.parent) == {"config.toml"}
    assert store.receipt(digest(THEIRS)) is None


@posix
def test_an_edit_that_cannot_go_back_is_kept_beside_the_config(config: Path, store: Store) -> None:
    """Somebody has written the config since; the error says where, and the next run goes on."""
    left_behind(store, OLD, NEW)
    store.aside.write_bytes(THEIRS)
    with pytest.raises(KimifixError, match="what one wrote lies at") as caught:
        store.settle()
    (kept,) = config.parent.glob("config.toml.kept-*")
    assert str(kept) in caught.value.message
    assert (kept.read_bytes(), config.read_bytes()) == (THEIRS, OLD)
    store.settle()
    assert names_in(config.parent) == {"config.toml", kept.name}


def test_settling_that_the_disk_refuses_is_our_own_error(
    config: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run tries again."""
    left_behind(store, OLD, NEW)

    def refused(path: Any, **rest: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patching:
        patching.setattr(os, "unlink", refused)
        with pytest.raises(
            KimifixError, match=r"could not write: Permission denied: `.*intent\.json`"
        ):
            store.settle()
    store.settle()
    assert not (store.folder / "intent.json").exists()


def test_settling_where_nothing_was_left_creates_nothing(config: Path, store: Store) -> None:
    """Nothing is written before the first change."""
    store.settle()
    assert not store.root.exists()


def test_temporary_files_of_a_killed_run_are_swept(tmp_path: Path) -> None:
    """By whoever has the lock, so whatever process lives; others' files stay."""
    config = tmp_path / "my-config.toml"
    config.write_bytes(OLD)
    store = Store(tmp_path / "state", config)
    commit(store, config)
    strays = [store.aside, store.folder / "new.tmp"]
    kept = [config.with_name(f"{config.name}.tmp"), Store(tmp_path / "state2", config).aside]
    for path in (*strays, *kept):
        path.write_bytes(b"x")
    store.settle()
    assert [path for path in strays if path.exists()] == []
    for path in strays:
        path.write_bytes(b"x")
    commit(store, config, b"x = 1\n")
    assert [path for path in strays if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_the_state_lies_where_the_system_keeps_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One folder called kimifix."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here"))
    if sys.platform == "linux":
        assert storage.state_root(tmp_path) == tmp_path / "here" / "kimifix"
    assert storage.state_root(tmp_path).name == "kimifix"
