"""Whatever call of the system fails, the config is the old or the new one, whole."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.faults import (
    Fault,
    Watch,
    failure,
    fault_at,
    interrupted_after,
    interrupted_before,
    no_fault,
)
from support.rounds import cases, rounds
from support.trial import OLD, Trial, applied, switched
from support.verbs import Agreeing, revert

from kimifix.config import files
from kimifix.config.files import read
from kimifix.config.storage import Store
from kimifix.errors import KimifixError

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="faults of POSIX"),
    pytest.mark.slow,
    pytest.mark.usefixtures("no_power_cut"),
]

ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.EINTR, errno.EDQUOT)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """A shell that starts the tests in the background has them ignore it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def fault_of(kind: str, number: int) -> Fault:
    """Return a fault of this kind; the errors take turns."""
    if kind == "error":
        return failure(ERRORS[number % len(ERRORS)])
    return interrupted_before if kind == "interrupted before" else interrupted_after


def run_with(
    trial: Trial, verb: Callable[..., Any], number: int, fault: Fault
) -> tuple[list[str], BaseException | None]:
    """Run a verb with one fault from the user's consent on; return its calls and its error.

    An interrupt meets the writing alone: what is read and said after it is no longer that.
    """
    inside = Store.commit if fault in (interrupted_before, interrupted_after) else None
    watches: list[Watch] = []
    error: BaseException | None = None
    with ExitStack() as stack:

        def begin() -> None:
            if not watches:
                watches.append(stack.enter_context(fault_at(number, fault, inside)))

        try:
            verb(trial.home, Agreeing(begin))
        except (KimifixError, KeyboardInterrupt) as caught:
            error = caught
    return watches[0].calls, error


def after_all(folder: Path, verb: Callable[..., Any]) -> bytes:
    """Return the config that a verb writes when nothing happens to it."""
    trial = Trial(folder)
    if verb is not applied:
        applied(trial.home)
    verb(trial.home)
    return trial.content


@pytest.mark.parametrize("kind", ["error", "interrupted before", "interrupted after"])
@pytest.mark.parametrize("verb", [applied, switched, revert], ids=["apply", "switch", "revert"])
def test_a_fault_at_any_call_leaves_the_old_or_the_new_config(
    tmp_path: Path, verb: Callable[..., Any], kind: str
) -> None:
    """An error means the old one, and nothing stray is left; the next run carries on."""
    outcomes: Counter[str] = Counter()
    after = after_all(tmp_path, verb)
    for turn in range(min(rounds(1), len(ERRORS)) if kind == "error" else 1):
        for number in cases(len(kind)):
            fault = fault_of(kind, number + turn)
            trial = Trial(tmp_path)
            if verb is not applied:
                applied(trial.home)
            before = trial.content
            calls, error = run_with(trial, verb, number, fault)
            if number >= len(calls):
                assert error is None
                break
            place = f"{kind} at call {number}, {calls[number]}: {error!r}"
            assert trial.content in (before, after), place
            assert (trial.content == before) == (error is not None), place
            assert error is None or trial.strays == [], place
            trial.carries_on()
            outcomes["new" if error is None else type(error).__name__] += 1
    print(f"{outcomes.total()} faults: {dict(outcomes)}")
    assert outcomes["new"] > 5
    assert outcomes.total() > outcomes["new"] + 10


@pytest.mark.parametrize("verb", [applied, revert], ids=["apply", "revert"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_stays_full_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Callable[..., Any], number: int
) -> None:
    """From any write on, none works any more: the old config stays, and no half file."""
    real = os.write
    for room in range(20_000):
        trial = Trial(tmp_path)
        if verb is revert:
            applied(trial.home)
        before = trial.content
        left = room * 200

        def write(handle: int, content: Any) -> int:
            nonlocal left
            if left <= 0:
                raise OSError(number, os.strerror(number))
            written = real(handle, bytes(content)[:left])
            left -= written
            return written

        monkeypatch.setattr(os, "write", write)
        try:
            verb(trial.home, Agreeing())
        except KimifixError:
            assert trial.content == before
        else:
            assert trial.content != before
            if left > 0:
                break
        finally:
            monkeypatch.setattr(os, "write", real)
        assert trial.strays == []
        trial.carries_on()
    assert room > 5


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes one byte at a time gets them all."""
    trial = Trial(tmp_path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, bytes(content)[:1]))
    applied(trial.home, Agreeing())
    assert trial.content.startswith(b'default_model = "kimifix/')
    trial.carries_on()


def test_a_read_that_fails_is_our_own_error(tmp_path: Path) -> None:
    """At every call of reading the config."""
    trial = Trial(tmp_path)
    with fault_at(-1, no_fault) as watch:
        read(trial.config)
    assert len(watch.calls) > 3
    for number in range(len(watch.calls)):
        for kind in (errno.EIO, errno.EACCES, errno.ELOOP, errno.EINTR):
            with fault_at(number, failure(kind)), pytest.raises(KimifixError):
                read(trial.config)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space on this disk, then run kimifix again"),
        (errno.EFBIG, "free some space on this disk, then run kimifix again"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "see who owns the file and its folder"),
        (errno.EPERM, "see who owns the file and its folder"),
        (errno.EIO, "the config is as it was"),
    ],
)
def test_the_error_says_what_failed_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    """The system's own words, the place, and the next step."""
    trial = Trial(tmp_path)

    def replace(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KimifixError) as caught:
        applied(trial.home, Agreeing())
    assert caught.value.message.startswith(f"could not write: {os.strerror(number)}: `")
    assert str(trial.home) in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)
    assert caught.value.hint.endswith("the config is as it was")


def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every file system can do that, and the new config lies there already."""
    trial = Trial(tmp_path)
    real = os.fsync

    def fsync(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    applied(trial.home, Agreeing())
    assert trial.content != OLD
    trial.carries_on()


def test_each_step_is_on_disk_before_the_next_with_the_fewest_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backup, new config and intent; their folders; the exchange; and its folder."""
    trial = Trial(tmp_path)
    done: list[str] = []
    fsync, rename = os.fsync, files.rename

    def watched_fsync(handle: int) -> None:
        done.append(Path(f"/proc/self/fd/{handle}").resolve().name)
        fsync(handle)

    def watched_rename(*names: Path, exchange: bool) -> bool:
        done.append("exchange")
        return rename(*names, exchange=exchange)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(files, "rename", watched_rename)
    store, aside = trial.store.folder.name, trial.store.aside.name
    last = ["exchange", trial.home.name]
    applied(trial.home)
    folders = {"backups", store, "kimifix", "state", trial.home.name}
    assert done[:3] == ["new.tmp", aside, "new.tmp"]
    assert (set(done[3:-2]), len(done[3:-2])) == (folders, 5)
    assert done[-2:] == last
    for verb, folders in ((switched, {store}), (revert, {store}), (applied, {store})):
        done.clear()
        verb(trial.home)
        assert done == [aside, "new.tmp", *folders, *last]
