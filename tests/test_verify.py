"""`--verify` of `apply` and `doctor`, with a stand-in for the client that answers as told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config
from support.platforms import lacking_in_wine

from kimifix import verify as verifying
from kimifix.client import leash
from kimifix.errors import KimifixError
from kimifix.machine import observe

IDENTITY = (
    "error: failed to run prompt: provider.api_error: 403 Kimi For Coding is currently only "
    "available for Coding Agents such as Kimi CLI"
)
HOOK = '\n[[hooks]]\nevent = "Stop"\ncommand = "steal"\n[mcp.servers.x]\ncommand = "steal"\n'

# Writes down what it finds, then does what `behaviour.json` says.
STAND_IN = f"""#!{sys.executable}
import json, os, stat, sys, time
from pathlib import Path

beside, home = Path(__file__).resolve().parent, Path(os.environ["KIMI_CODE_HOME"])
told = json.loads((beside / "behaviour.json").read_text())
(beside / "seen.json").write_text(json.dumps({{
    "argv": sys.argv[1:],
    "env": dict(os.environ),
    "home": sorted(path.name for path in home.iterdir()),
    "links": {{path.name: os.readlink(path) for path in home.iterdir() if path.is_symlink()}},
    "modes": [oct(stat.S_IMODE(p.stat().st_mode)) for p in (home, home / "config.toml")],
    "config": (home / "config.toml").read_text(),
    "project": [path.name for path in Path.cwd().iterdir()],
}}))
print(told["out"])
print(told["err"], file=sys.stderr)
time.sleep(told["seconds"])
sys.exit(told["code"])
"""


class Client:
    """The stand-in: ``behave`` says what it does, ``seen`` what it found."""

    def __init__(self, folder: Path) -> None:
        self.path = f"{install_client(folder)}{os.pathsep}/usr/bin:/bin"
        main = next(folder.rglob("main.mjs"))
        main.write_text(STAND_IN)
        self._folder = main.parent
        self.behave()

    def behave(self, out: str = "pong", err: str = "", code: int = 0, seconds: float = 0) -> None:
        """Say what it shall do from now on."""
        told = {"out": out, "err": err, "code": code, "seconds": seconds}
        (self._folder / "behaviour.json").write_text(json.dumps(told))

    @property
    def seen(self) -> dict[str, Any] | None:
        """What it found when it was last started, None where it was not."""
        path = self._folder / "seen.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The stand-in on PATH; temporary files go to a folder of the test."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a script with a shebang")
    found = Client(tmp_path / "npm")
    monkeypatch.setenv("PATH", found.path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return found


@pytest.fixture
def config(home: Path, client: Client) -> Path:
    """The config of a signed-in client, with hooks."""
    sign_in(home)
    (home / "device_id").write_text("device-of-the-user")
    return write_config(home, LOGGED_IN + HOOK)


@pytest.fixture
def left(tmp_path: Path, kimifix: Kimifix) -> Callable[[], list[Path]]:
    """Return a function that lists what a run has left behind."""
    return lambda: [*(tmp_path / "temporary").iterdir(), *kimifix.state.glob("*")]


def test_an_answer_is_asked_for_in_a_private_home(
    kimifix: Kimifix, client: Client, config: Path, home: Path
) -> None:
    """The client gets the new config without what starts something, and the login by a link."""
    done = kimifix("apply", "--yes", "--verify", "--json", env={"FOO": "bar"})
    assert done.code == 0, done.err
    assert "kimi-code got an answer" in done.err
    seen = client.seen
    assert seen is not None
    assert seen["argv"] == ["-p", "Reply with one word: pong", "-m", "kimifix/kimi-for-coding"]
    assert seen["home"] == ["config.toml", "credentials", "device_id"]
    assert seen["links"] == {"credentials": str(home / "credentials")}
    assert seen["modes"] == ["0o700", "0o600"]
    assert seen["project"] == [".git"]
    assert seen["env"]["FOO"] == "bar"
    assert seen["env"]["KIMI_CODE_HOME"] != str(home)
    assert 'base_url = "https://api.kimi.com/coding/v1"' in seen["config"]
    assert "max_attempts_per_step = 1" in seen["config"]
    assert "steal" in config.read_text()
    assert "steal" not in seen["config"]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        pytest.param({"code": 1, "err": IDENTITY}, "does not let this client in", id="refused"),
        pytest.param({"out": " • "}, "exit code 0", id="empty"),
        pytest.param({"code": 1}, "exit code 1", id="answer-and-failure"),
        pytest.param({"code": 1, "err": "error: auth.login_required: x"}, "kimi login", id="login"),
    ],
)
def test_without_an_answer_nothing_is_written(
    kimifix: Kimifix,
    client: Client,
    config: Path,
    left: Callable[[], list[Path]],
    behaviour: dict[str, Any],
    said: str,
) -> None:
    """Config and state stay as they are, and the client's error is explained."""
    client.behave(**behaviour)
    before = config.read_bytes(), sorted(config.parent.rglob("*"))
    done = kimifix("apply", "--yes", "--verify")
    assert done.code == 1
    assert "nothing written" in done.err
    assert said in done.err
    assert (config.read_bytes(), sorted(config.parent.rglob("*"))) == before
    assert left() == []


def test_a_client_that_hangs_is_not_waited_for(
    client: Client, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time limit the client is ended, and that is told with its last words."""
    client.behave(err="thinking", seconds=600)
    monkeypatch.setattr(verifying, "SECONDS", 1.0)
    machine = observe(None, dict(os.environ))
    with pytest.raises(KimifixError, match="no answer: nothing within 1 seconds: thinking"):
        verifying.verify(machine, machine.document, None, lambda _: None)
    assert client.seen is not None
    assert client.seen["argv"][2:] == []


def test_a_dry_run_verifies_and_writes_nothing(
    kimifix: Kimifix, client: Client, config: Path, left: Callable[[], list[Path]]
) -> None:
    """The answer decides the exit code; in both cases the config stays."""
    before = config.read_bytes()
    assert kimifix("apply", "--dry-run", "--verify").code == 0
    assert client.seen is not None
    client.behave(code=1)
    assert kimifix("apply", "--dry-run", "--verify").code == 1
    assert config.read_bytes() == before
    assert left() == []


def test_what_is_applied_already_is_verified_all_the_same(
    kimifix: Kimifix, client: Client, config: Path
) -> None:
    """Where there is nothing to write, the client is asked, too."""
    assert kimifix("apply", "--yes").code == 0
    assert client.seen is None
    client.behave(code=1, err=IDENTITY)
    assert kimifix("apply", "--yes", "--verify").code == 1
    assert client.seen is not None


def test_nobody_is_asked_without_consent(kimifix: Kimifix, client: Client, config: Path) -> None:
    """The cost is said first, and without a yes the client is not started."""
    done = kimifix("apply", "--verify")
    assert done.code == 1
    assert "your plan counts" in done.err
    assert client.seen is None


def test_a_copy_cannot_be_verified(kimifix: Kimifix, config: Path) -> None:
    """A sandbox has no login; the two options exclude each other."""
    assert kimifix("apply", "--sandbox", "--verify").code == 2


@pytest.mark.parametrize(
    ("behaviour", "code", "status", "said"),
    [
        pytest.param({}, 0, "ok", "kimi-code got an answer", id="answered"),
        pytest.param({"code": 1, "err": IDENTITY}, 1, "error", "Coding Agents", id="refused"),
    ],
)
def test_doctor_lets_the_client_judge_what_is_configured(
    kimifix: Kimifix,
    client: Client,
    config: Path,
    left: Callable[[], list[Path]],
    behaviour: dict[str, Any],
    code: int,
    status: str,
    said: str,
) -> None:
    """The default model is asked; its answer decides over verdict and exit code."""
    client.behave(**behaviour)
    done = kimifix("doctor", "--verify", "--json")
    assert done.code == code
    (finding,) = [found for found in done.json["findings"] if found["check"] == "verify"]
    assert finding["status"] == status
    assert said in finding["message"]
    assert client.seen is not None
    assert "-m" not in client.seen["argv"]
    assert left() == []


def test_doctor_without_a_client_says_that_it_could_not_ask(
    kimifix: Kimifix, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That nobody could be asked is an error."""
    monkeypatch.setenv("PATH", "/nonexistent")
    done = kimifix("doctor", "--verify")
    assert done.code == 1
    assert "there is no kimi-code that could be asked" in done.out


@lacking_in_wine("junction")
def test_login_is_linked_and_stays_when_the_link_goes(home: Path, tmp_path: Path) -> None:
    """What the client writes lands in the real folder, and removing the overlay leaves it."""
    sign_in(home)
    (home / "device_id").write_text("device-of-the-user")
    folder = tmp_path / "overlay"
    place = folder / "made" / "home"
    place.mkdir(parents=True)
    verifying._sign_in(place, home)
    (place / "credentials" / "renewed.json").write_text("renewed")
    assert (place / "device_id").read_text() == "device-of-the-user"
    leash._remove(folder)
    assert not folder.exists()
    assert (home / "credentials" / "renewed.json").read_text() == "renewed"
    assert (home / "credentials" / "kimi-code.json").exists()
