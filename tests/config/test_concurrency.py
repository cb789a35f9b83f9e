"""Others at work on the same config: nobody's edit is lost, and nobody waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.faults import fault_at
from support.forked import Forked, Gate
from support.platforms import lacking_in_wine, posix, symlinks
from support.rounds import rounds
from support.trial import OLD, Trial, applied, switched
from support.verbs import Agreeing, apply, revert

from kimifix.config import files, storage
from kimifix.errors import ChangedMeanwhileError, KimifixError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("no_power_cut"),
]

THEIRS = b'\n[theirs]\nvalue = "kept"\n'
MORE = b"""
[models."kimi-code/k3"]
provider = "managed:kimi-code"
model = "k3"
"""


def writes_over(config: Path, addition: bytes = THEIRS) -> None:
    """Do as the client does: read the config, add to it, rename the result into place."""
    other = config.with_name("config.toml.theirs")
    other.write_bytes(config.read_bytes() + addition)
    other.replace(config)


# Two kimifix at once


def _outcome(verb: Callable[[Path], Any], home: Path) -> str:
    try:
        status: str = verb(home).status
    except ChangedMeanwhileError:
        return "kept changing"
    except KimifixError as error:
        return "waited" if "at work on this config" in error.message else error.message
    return status


# Of many at once, one may be overtaken at each of its attempts, or wait too long for the lock.
CROWDED = {"applied", "unchanged", "reverted", "nothing", "kept changing", "waited"}


@posix("no process is forked")
@pytest.mark.parametrize(
    ("verbs", "prepared", "allowed", "ends_old"),
    [
        ((applied, applied), False, {"applied", "unchanged"}, {False}),
        ((applied, revert), False, {"applied", "nothing", "reverted"}, {False, True}),
        ((applied, revert), True, {"applied", "unchanged", "reverted"}, {False, True}),
        ((revert, revert), True, {"reverted", "nothing"}, {True}),
        ((applied, switched), False, {"applied", "unchanged"}, {False}),
        ((applied, applied, revert, revert), False, {}, {False, True}),
        ((applied, revert, switched, revert) * 2, True, CROWDED, {False, True}),
    ],
)
def test_runs_at_the_same_time_end_as_runs_one_after_the_other(
    tmp_path: Path,
    verbs: tuple[Callable[[Path], Any], ...],
    prepared: bool,
    allowed: set[str],
    ends_old: set[bool],
) -> None:
    """Each does its work or finds it done, and what is left can be reverted as ever."""
    seen: Counter[tuple[str, ...]] = Counter()
    for turn in range(rounds(20) // len(verbs)):
        trial = Trial(tmp_path)
        if prepared:
            applied(trial.home)
        gate = Gate()
        order = verbs[::-1] if turn % 2 else verbs
        runs = [Forked(partial(_outcome, verb, trial.home), gate) for verb in order]
        gate.open()
        outcomes = [run.result() for run in runs]
        seen[tuple(outcomes)] += 1
        assert {*outcomes} <= (allowed or {"applied", "unchanged", "reverted", "nothing"})
        assert (trial.content == OLD) in ends_old
        assert trial.strays == []
        trial.carries_on()
    print(f"{seen.total()} rounds: {dict(seen)}")


# The lock


_HOLDER = """
import sys
from pathlib import Path

from kimifix.config.files import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _held_by_another(trial: Trial) -> Iterator[subprocess.Popen[bytes]]:
    """Have another kimifix hold the lock of a config until its stdin is closed."""
    trial.store.folder.mkdir(parents=True)
    command = [sys.executable, "-c", _HOLDER, str(trial.store.folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        yield holder


@lacking_in_wine("error number that says a file is locked")
def test_a_run_waits_for_another_one_to_end(tmp_path: Path) -> None:
    """And then goes on."""
    trial = Trial(tmp_path)
    with _held_by_another(trial) as holder:
        assert holder.stdin is not None
        threading.Timer(0.3, holder.stdin.close).start()
        assert apply(trial.home, credential="key").status == "applied"
    trial.carries_on()


@lacking_in_wine("error number that says a file is locked")
def test_the_wait_is_bounded_and_the_error_names_who_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process number, to look it up; the config is as it was; a kill frees the lock."""
    monkeypatch.setattr(files, "LOCK_PATIENCE_SECONDS", 0.2)
    trial = Trial(tmp_path)
    with _held_by_another(trial) as holder:
        for _ in range(2):
            with pytest.raises(KimifixError) as caught:
                applied(trial.home)
            message = f"another kimifix is at work on this config: process {holder.pid}"
            assert caught.value.message == message
            assert caught.value.hint == "wait until it is done, or end it, then run kimifix again"
        assert trial.content == OLD
        holder.kill()
    trial.carries_on()


@lacking_in_wine("error number that says a file is locked")
def test_a_holder_without_number_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have taken the lock this instant."""
    monkeypatch.setattr(files, "LOCK_PATIENCE_SECONDS", 0.0)
    for content in (b"", b"\xff"):
        trial = Trial(tmp_path)
        trial.store.folder.mkdir(parents=True)
        lock = trial.store.folder / "lock"
        with files.locked(lock):
            lock.write_bytes(content)
            with pytest.raises(KimifixError, match="at work on this config: process unknown"):
                applied(trial.home)


# Others who know nothing of the lock


def test_an_edit_between_consent_and_write_survives(tmp_path: Path) -> None:
    """Ours is on top of it, and reverting gives back the bytes with it."""
    trial = Trial(tmp_path)
    dialogue = Agreeing(partial(writes_over, trial.config))
    assert apply(trial.home, dialogue).status == "applied"
    assert dialogue.asked == 1
    assert THEIRS in trial.content
    assert b"[providers.kimifix]" in trial.content
    revert(trial.home)
    assert trial.content == OLD + THEIRS


def test_an_edit_between_consent_and_revert_survives(tmp_path: Path) -> None:
    """Ours goes, theirs stays."""
    trial = Trial(tmp_path)
    apply(trial.home)
    dialogue = Agreeing(partial(writes_over, trial.config))
    assert revert(trial.home, dialogue).status == "reverted"
    assert trial.content == OLD + THEIRS


def test_an_edit_that_changes_what_was_agreed_to_is_shown(tmp_path: Path) -> None:
    """A model that came meanwhile gets its twin, and the user is asked once more."""
    trial = Trial(tmp_path)
    edits = iter([MORE])

    def meanwhile() -> None:
        for addition in edits:
            writes_over(trial.config, addition)

    dialogue = Agreeing(meanwhile)
    assert apply(trial.home, dialogue).status == "applied"
    assert dialogue.asked == 2
    assert b'[models."kimifix/k3"]' in trial.content
    revert(trial.home)
    assert trial.content == OLD + MORE


@posix("an open file is not replaced")
@pytest.mark.parametrize(
    ("verb", "can_exchange"), [("apply", True), ("revert", True), ("apply", False)]
)
def test_an_edit_at_any_call_of_the_write_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, can_exchange: bool
) -> None:
    """Without an exchange but for the instant between the last look and the rename."""
    if not can_exchange:
        monkeypatch.setattr(files, "rename", lambda *_, **__: False)
    lost: list[str] = []
    inside = storage.Store.commit if rounds(1) > 1 else storage.Store._put_in_place
    for number in count():
        trial = Trial(tmp_path)
        if verb == "revert":
            apply(trial.home)
        edited = 0

        def edit(_: str, call: Callable[[], Any], config: Path = trial.config) -> Any:
            nonlocal edited
            edited += 1
            writes_over(config)
            return call()

        with fault_at(number, edit, inside) as watch:
            apply(trial.home) if verb == "apply" else revert(trial.home)
        if not edited:
            break
        assert trial.strays == []
        if THEIRS in trial.content:
            revert(trial.home)
            assert trial.content == OLD + THEIRS
        else:
            lost.append(watch.calls[number])
    print(f"{number} edits, {len(lost)} of them lost: {lost}")
    assert number > 15
    assert len(lost) <= (0 if can_exchange else 12)
    assert set(lost) <= {"fstat", "read", "listxattr", "close", "rename", "replace"}


@posix("symlinks")
@pytest.mark.parametrize("verb", ["apply", "revert"])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_link_set_at_any_call_of_the_write_stays(
    tmp_path: Path, verb: str, is_link: bool
) -> None:
    """A config that becomes a symlink to a copy, or one that leads elsewhere from then on."""
    for number in count():
        trial = Trial(tmp_path)
        first, second = trial.home / "first.toml", trial.home / "second.toml"
        if is_link:
            trial.config.rename(first)
            trial.config.symlink_to(first)
        if verb == "revert":
            apply(trial.home)
        before = trial.content
        edited = 0

        def link(_: str, call: Callable[[], Any], trial: Trial = trial, to: Path = second) -> Any:
            nonlocal edited
            edited += 1
            to.write_bytes(trial.content)
            (trial.home / "new").symlink_to(to)
            (trial.home / "new").rename(trial.config)
            return call()

        with fault_at(number, link, storage.Store._put_in_place):
            apply(trial.home) if verb == "apply" else revert(trial.home)
        if not edited:
            break
        assert trial.config.readlink() == second
        assert trial.strays == []
        after = trial.content
        assert (b"[providers.kimifix]" in after) == (verb == "apply")
        assert not is_link or first.read_bytes() in (before, after)
    assert number > 10


def test_a_config_that_never_rests_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some attempts the error says so, and every edit of the other is there."""
    trial = Trial(tmp_path)
    edits = 0
    opening = os.open

    def watched(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        nonlocal edits
        if ".kimifix-" in str(path) and flags & os.O_CREAT:
            edits += 1
            writes_over(trial.config, b"\n# edit %d\n" % edits)
        return opening(path, flags, *rest, **named)

    with monkeypatch.context() as patching:
        patching.setattr(os, "open", watched)
        with pytest.raises(ChangedMeanwhileError, match="the config keeps changing"):
            applied(trial.home)
    assert edits == 5
    assert trial.content == OLD + b"".join(b"\n# edit %d\n" % (i + 1) for i in range(5))
    assert trial.strays == []
    trial.old = trial.content
    trial.carries_on()


def _folder(config: Path) -> None:
    config.unlink()
    config.mkdir()


def _fifo(config: Path) -> None:
    config.unlink()
    os.mkfifo(config)


def _dangling(config: Path) -> None:
    config.unlink()
    config.symlink_to("nowhere")


def _loop(config: Path) -> None:
    config.unlink()
    config.symlink_to(config.name)


def _broken(config: Path) -> None:
    config.write_bytes(b"a = \n")


def _not_ours(config: Path) -> None:
    config.write_bytes(OLD + b"[providers.kimifix]\ntype = 'x'\n")


@pytest.mark.parametrize(
    "becomes",
    [
        _folder,
        pytest.param(_fifo, marks=posix("there are no such FIFOs")),
        pytest.param(_dangling, marks=symlinks),
        pytest.param(_loop, marks=symlinks),
        _broken,
        _not_ours,
    ],
)
def test_a_config_that_became_something_else_is_left_alone(
    tmp_path: Path, becomes: Callable[[Path], None]
) -> None:
    """Our own error, and what lies there now stays."""
    trial = Trial(tmp_path)
    with pytest.raises(KimifixError):
        apply(trial.home, Agreeing(partial(becomes, trial.config)))
    status = trial.config.lstat()
    other = tmp_path / "config.toml"
    other.write_bytes(OLD)
    becomes(other)
    assert (status.st_mode >> 12, status.st_size) == (
        other.lstat().st_mode >> 12,
        other.lstat().st_size,
    )
    assert trial.strays == []


@symlinks
def test_a_config_that_became_a_symlink_is_written_where_it_leads(tmp_path: Path) -> None:
    """As into dotfiles that the user just set up; the link stays."""
    trial = Trial(tmp_path)
    target = tmp_path / "dotfiles.toml"

    def becomes_a_link() -> None:
        trial.config.rename(target)
        (tmp_path / "link").symlink_to(target)
        trial.config.symlink_to(tmp_path / "link")

    assert apply(trial.home, Agreeing(becomes_a_link)).status == "applied"
    assert trial.config.is_symlink()
    assert b"[providers.kimifix]" in target.read_bytes()
    assert revert(trial.home).status == "reverted"
    assert trial.config.is_symlink()
    assert target.read_bytes() == OLD


def test_a_config_that_went_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    """What is then written is the change of no config at all, which revert removes."""
    trial = Trial(tmp_path)

    def goes() -> None:
        trial.config.unlink(missing_ok=True)

    assert apply(trial.home, Agreeing(goes), credential="key").status == "applied"
    assert b"managed:kimi-code" not in trial.content
    revert(trial.home)
    assert not trial.config.exists()
