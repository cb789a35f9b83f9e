"""Killed at any instant, kimifix leaves a whole config, and its next run carries on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
from support.configs import install_client
from support.faults import Fault, killed_after, killed_before
from support.killed import killed_at
from support.rounds import cases, rounds
from support.trial import OLD, Trial, applied, switched
from support.verbs import KEY, Agreeing, apply, revert

from kimifix.config.files import read

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork"),
    pytest.mark.slow,
    pytest.mark.usefixtures("no_power_cut"),
]

# A config in which `apply` adds a default and a thinking setting: what only the receipt
# can tell from settings of the user.
BARE = OLD[OLD.index(b"[providers") :].replace(b"[thinking]\nenabled = true\n", b"")

THEIRS = b'\n[theirs]\nvalue = "kept"\n'

VERBS: dict[str, Callable[[Path, Agreeing | None], object]] = {
    "apply": applied,
    "switch": switched,
    "revert": revert,
}


def prepared(folder: Path, verb: str, content: bytes = OLD) -> Trial:
    """Return a home that the verb has something to do in."""
    trial = Trial(folder, content)
    if verb != "apply":
        applied(trial.home)
    return trial


def kills(
    folder: Path,
    verb: str,
    fault: Fault,
    content: bytes,
    afterwards: Callable[[Trial], None],
    start: int,
) -> Counter[str]:
    """Kill a verb at its calls in turn; each time the config is the old or the new one."""
    whole = prepared(folder, verb, content)
    before = whole.content
    VERBS[verb](whole.home, None)
    after = whole.content
    outcomes: Counter[str] = Counter()
    for number in cases(start):
        trial = prepared(folder, verb, content)
        if not killed_at(number, fault, partial(VERBS[verb], trial.home, None)):
            break
        assert trial.content in (before, after), number
        sha256 = read(trial.config).sha256
        receipt = trial.store.receipt(sha256)
        assert (receipt.after if receipt else None) == (
            sha256 if trial.content != content else None
        )
        outcomes["old" if trial.content == before else "new"] += 1
        afterwards(trial)
    print(f"{outcomes.total()} kills survived: {dict(outcomes)}")
    assert outcomes["old"] > 10
    assert outcomes["new"] > 5
    return outcomes


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_call_the_next_runs_carry_on(tmp_path: Path, verb: str) -> None:
    """Applying and reverting then do what they do on any day; no temporary file stays."""
    kills(tmp_path, verb, killed_before, OLD, Trial.carries_on, 0)


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_call_a_revert_gives_back_the_old_bytes(tmp_path: Path, verb: str) -> None:
    """Also of settings that only the receipt knows to be ours."""

    def afterwards(trial: Trial) -> None:
        revert(trial.home)
        assert trial.content == BARE
        assert revert(trial.home).status == "nothing"

    kills(tmp_path, verb, killed_after, BARE, afterwards, 1)


@pytest.mark.parametrize("verb", VERBS)
def test_killed_and_then_edited_by_others_their_edit_stays_and_ours_goes(
    tmp_path: Path, verb: str
) -> None:
    """Who wrote between the kill and the next run changes nothing about what is ours."""

    def afterwards(trial: Trial) -> None:
        trial.config.write_bytes(trial.content + THEIRS)
        revert(trial.home)
        assert trial.content == BARE + THEIRS
        assert trial.store.receipt(None) is None

    kills(tmp_path, verb, killed_before, BARE, afterwards, 2)


def test_killed_while_a_revert_removes_the_config_it_is_there_or_gone(tmp_path: Path) -> None:
    """A config that `apply` made is removed whole."""
    outcomes: Counter[bool] = Counter()
    for number in cases(0):
        trial = Trial(tmp_path)
        trial.config.unlink()
        applied(trial.home)
        before = trial.content
        if not killed_at(number, killed_after, partial(revert, trial.home)):
            break
        outcomes[trial.config.exists()] += 1
        assert not trial.config.exists() or trial.content == before
        revert(trial.home)
        assert not trial.config.exists()
        assert apply(trial.home, credential="key").status == "applied"
        assert trial.content == before
    assert min(outcomes.values()) > 3


def _client_removes_us(trial: Trial) -> None:
    """Do as `kimi provider remove kimifix`: our default goes with the provider."""
    text = trial.content.partition(b"\n[providers.kimifix]")[0]
    trial.config.write_bytes(re.sub(rb'(?m)^default_model = "kimifix/.*\n', b"", text))


def _client_unsets_the_default(trial: Trial) -> None:
    trial.config.write_bytes(re.sub(rb'(?m)^default_model = "kimifix/.*\n', b"", trial.content))


def _somebody_writes(trial: Trial) -> None:
    trial.config.write_bytes(b"# A note.\n" + trial.content)


def test_whatever_comes_between_kills_the_users_settings_come_back(tmp_path: Path) -> None:
    """Also a default of ours that a client has unset, alone or with all of our entries."""
    random = Random(5)
    edits = (_client_removes_us, _client_unsets_the_default, _somebody_writes)
    kills = 0
    for _ in range(rounds(25)):
        trial = Trial(tmp_path)
        done = []
        for _ in range(random.randint(2, 6)):
            verb, fault = random.choice(list(VERBS)), random.choice((killed_before, killed_after))
            step = random.choice(("kill", "kill", "run", "edit"))
            if step == "kill":
                number = random.randint(30, 110)
                kills += killed_at(number, fault, partial(VERBS[verb], trial.home, None))
                done.append(f"{verb} killed at {number}")
            elif step == "run":
                VERBS[verb](trial.home, None)
                done.append(verb)
            else:
                edit = random.choice(edits)
                edit(trial)
                done.append(edit.__name__)
        revert(trial.home)
        assert tomllib.loads(trial.content.decode()) == tomllib.loads(OLD.decode()), done
        assert trial.strays == [], done
    print(f"{kills} kills survived")


@pytest.mark.parametrize("verb", ["apply", "revert"])
def test_killed_at_any_moment_the_next_runs_carry_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The command as a process, killed from outside after a time of any length."""
    programs = install_client(tmp_path / "npm")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")
    random = Random(4)
    outcomes: Counter[str] = Counter()
    longest = 0.0
    for number in range(rounds(15)):
        trial = prepared(tmp_path, verb)
        before = trial.content
        started = time.monotonic()
        process = _started(verb, trial.home)
        if number:
            with suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(0.3, 1.05) * longest)
            process.kill()
        process.wait()
        if not number:
            longest = time.monotonic() - started
        state = "old" if trial.content == before else "new"
        outcomes[state] += 1
        trial.carries_on()
    print(f"{outcomes.total()} kills of `{verb}` survived: {dict(outcomes)}")


def _started(verb: str, home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kimifix", verb, "--yes", "--home", str(home)]
    if verb == "apply":
        command += ["--credential", "key"]
    return subprocess.Popen(
        command,
        env={**os.environ, "KIMIFIX_API_KEY": KEY},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
