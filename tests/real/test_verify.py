"""`--verify`: the real client answers with a change before it is written, and as configured."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.command import Kimifix, Result
from support.kimi_server import KEY
from support.machine import OWN_MODEL, Machine, oldest_and_newest, since
from support.rounds import rounds

SHARING = since("0.20.2")
NEWEST = SHARING[-1:]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The only folder for temporary files of kimifix."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def tree(*folders: Path) -> dict[str, Any]:
    """Return everything in the folders: what it is, its mode, its time and its bytes."""
    found: dict[str, Any] = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mode, status.st_mtime_ns if content else 0, content)
    return found


class Trial:
    """A machine, and what kimifix and the client could leave behind on it."""

    def __init__(self, machine: Machine, kimifix: Kimifix, temporary: Path) -> None:
        self.machine = machine
        self.temporary = temporary
        self.env = machine.env | {"TMPDIR": str(temporary), "KIMIFIX_API_KEY": KEY}
        self._folders = (machine.user, kimifix.state)
        self.before = self.now()

    def now(self) -> dict[str, Any]:
        """Return all that there is in the user's folder and in the state of kimifix."""
        return tree(*self._folders)

    def run(self, *arguments: str) -> Result:
        """Run kimifix; nothing of the client is left over, whatever comes of it."""
        done = self.machine.kimifix(*arguments, **self.env)
        assert not list(self.temporary.iterdir())
        assert self.machine.server.strangers == []
        for secret in (
            KEY,
            *(str(self.machine.login[f"{k}_token"]) for k in ("access", "refresh")),
        ):
            assert secret not in done.out + done.err
        return done


@pytest.fixture
def trial(machine: Machine, kimifix: Kimifix, temporary: Path) -> Trial:
    """A signed-in machine under observation."""
    return Trial(machine, kimifix, temporary)


@pytest.mark.parametrize(
    ("route", "credential", "is_expired"),
    [
        pytest.param("header", "login", True, id="header-expired"),
        pytest.param("header", "key", False, id="header-key"),
        pytest.param("anthropic", "login", False, id="anthropic-login"),
        pytest.param("anthropic", "key", False, id="anthropic-key"),
    ],
)
@pytest.mark.parametrize("version", oldest_and_newest(SHARING))
def test_an_answer_leads_to_the_change(
    trial: Trial, route: str, credential: str, is_expired: bool
) -> None:
    """The client asks once, by the new provider, and what is written answers afterwards, too."""
    machine = trial.machine
    old = machine.login
    if is_expired:
        machine.expire_login()
    options = ("--yes", "--verify", "--route", route, "--credential", credential)
    dry = trial.run("apply", *options, "--dry-run")
    assert dry.code == 0, dry.err
    (chat,) = machine.server.chats()
    assert chat.credential == (KEY if credential == "key" else machine.login["access_token"])
    assert (machine.login != old) == is_expired
    changed = {path for path, was in trial.now().items() if trial.before.get(path) != was}
    assert changed <= {str(machine.home / "oauth"), str(machine.token_file)}
    assert bool(changed) == is_expired
    done = trial.run("apply", *options)
    assert done.code == 0, done.err
    assert len(machine.server.chats()) == 2
    assert machine.data["default_model"] == OWN_MODEL
    new = {path.name for path in machine.home.iterdir() if str(path) not in trial.before}
    assert new <= {"oauth"}
    assert machine.ask().answered


@pytest.mark.parametrize("version", since("2.0.1"))
def test_a_key_is_read_from_its_variable(trial: Trial) -> None:
    """The client that is tried out sees the user's environment, and says what it misses there."""
    options = ("apply", "--yes", "--verify", "--key-env", "MY_KEY", "--route", "anthropic")
    unset = trial.run(*options)
    assert unset.code == 1
    assert "MY_KEY" in unset.err.rpartition("nothing written")[2]
    assert trial.machine.server.chats() == []
    trial.env["MY_KEY"] = KEY
    assert trial.run(*options).code == 0
    (chat,) = trial.machine.server.chats()
    assert chat.credential == KEY


@pytest.mark.parametrize("version", SHARING)
def test_a_refusal_changes_nothing(trial: Trial) -> None:
    """What the server says is explained, and config, home and state are as they were."""
    trial.machine.server.behaviour.chat_identities = frozenset()
    done = trial.run("apply", "--yes", "--verify")
    assert done.code == 1
    assert "nothing written" in done.err
    assert "only available for Coding Agents" in done.err
    assert trial.now() == trial.before


@pytest.mark.parametrize("version", SHARING)
def test_an_overload_is_told_after_few_requests(trial: Trial) -> None:
    """The client does not ask for minutes, whichever name its version has for the setting."""
    trial.machine.server.behaviour.overloaded = True
    done = trial.run("apply", "--yes", "--verify")
    assert done.code == 1
    assert "the server is overloaded" in done.err
    assert len(trial.machine.server.chats()) <= 3
    assert trial.now() == trial.before


@pytest.mark.parametrize("version", oldest_and_newest(SHARING))
def test_doctor_agrees_with_the_client(trial: Trial) -> None:
    """`doctor --verify` exits 0 where `kimi -p` answers and 1 where it does not."""
    machine = trial.machine
    for arguments in ((), ("apply", "--yes"), ("revert", "--yes")):
        if arguments:
            assert trial.run(*arguments).code == 0
        before = trial.now()
        done = trial.run("doctor", "--verify")
        assert trial.now() == before
        assert (done.code == 0) == machine.ask().answered == (arguments[:1] == ("apply",))


@pytest.mark.parametrize("version", NEWEST)
def test_what_starts_something_stays_out(trial: Trial, tmp_path: Path) -> None:
    """Hooks and MCP servers of the user do not run while a change is tried out."""
    witness = tmp_path / "witness"
    machine = trial.machine
    with machine.config.open("a", encoding="utf-8") as config:
        for event in ("SessionStart", "UserPromptSubmit", "Stop"):
            config.write(f'\n[[hooks]]\nevent = "{event}"\ncommand = "touch {witness}"\n')
    assert machine.ask().code == 1
    assert witness.exists()  # they would have run
    witness.unlink()
    done = trial.run("apply", "--yes", "--verify")
    assert done.code == 0, done.err
    assert not witness.exists()


@contextmanager
def started(trial: Trial) -> Iterator[subprocess.Popen[bytes]]:
    """Run `apply --verify` on a server that never answers the client's question."""
    command = [sys.executable, "-m", "kimifix", "apply", "--yes", "--verify"]
    env = {**os.environ, **trial.env}
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("version", NEWEST)
def test_killed_at_any_moment_it_has_changed_nothing(trial: Trial) -> None:
    """Config, home and state are as before, and the next run sweeps what the killed one left."""
    moments = random.Random(7)
    trial.machine.server.behaviour.chat_identities = frozenset()
    left = 0
    for _ in range(rounds(6)):
        with started(trial) as process:
            time.sleep(moments.uniform(0.1, 4.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
        left += len(list(trial.temporary.iterdir()))
        assert trial.now() == trial.before
    assert left > 0
    assert trial.run("apply", "--yes", "--verify").code == 1
    assert trial.now() == trial.before
