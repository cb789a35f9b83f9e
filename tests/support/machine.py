"""A user's machine with the real kimi-code on it, its network ending at a loopback server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from support import registry, rounds
from support.clients import Client
from support.command import Kimifix, Result
from support.kimi_server import ANSWER, KimiServer, Request
from support.terminal import ENTER, UP, Terminal

# Versions of the client, oldest first; the variable makes the same tests try others.
VERSIONS = os.environ.get("KIMIFIX_TEST_VERSIONS", "0.20.0,0.25.0,0.38.0,2.1.0").split(",")

MANAGED_MODEL = "kimi-code/kimi-for-coding"
OWN_MODEL = "kimifix/kimi-for-coding"

_SECONDS_FOR_A_RUN = 120
_SECONDS_FOR_A_LIST, _SECONDS_FOR_MORE = 10, 2

# Where Node keeps what it has made of the client's 20 MB of JavaScript, for the next run.
_COMPILED = {"NODE_COMPILE_CACHE": str(registry.folder("compiled"))}


def since(oldest: str) -> list[str]:
    """Return the versions to test from ``oldest`` on."""
    return [version for version in VERSIONS if _order(version) >= _order(oldest)]


def before(first: str) -> list[str]:
    """Return the versions to test that are older than ``first``."""
    return [version for version in VERSIONS if version not in since(first)]


def oldest_and_newest(versions: list[str]) -> list[str]:
    """Return the oldest and the newest of ``versions``; in a deep run all of them."""
    return versions if rounds.FACTOR > 1 else [*dict.fromkeys(versions[:1] + versions[-1:])]


def cells(*versions: str) -> list[Any]:
    """Return version and credential for every pair that works: a login can be shared since 0.20.2.

    For ``parametrize`` with these two names; without ``versions`` for all of them.
    """
    sharing = since("0.20.2")
    return [
        pytest.param(version, credential, id=f"{version}-{credential}")
        for version in versions or VERSIONS
        for credential in ("key", "login")
        if credential == "key" or version in sharing
    ]


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def wait_for(holds: Callable[[], object], seconds: float) -> bool:
    """Wait until ``holds`` returns something true, and tell whether it did in time."""
    deadline = time.monotonic() + seconds
    while not (held := bool(holds())) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def wait_until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until ``holds`` returns something true."""
    assert wait_for(holds, seconds), f"did not come about: {what}"


def has_ours(machine: Machine) -> bool:
    """Tell whether the config holds our provider."""
    return "kimifix" in machine.data.get("providers", {})


_OTHER_PROVIDER = """
[providers.other] # another vendor's
type = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-of-another-vendor"

[models."other/model"]
provider = "other"
model = "model"
max_context_size = 4096
"""


@dataclass(frozen=True)
class Turn:
    """One run of the client: exit code, stdout, stderr, and what it sent for an answer."""

    code: int
    out: str
    err: str
    chats: list[Request]

    @property
    def answered(self) -> bool:
        """Whether the user got to read the server's answer."""
        return ANSWER in self.out


class Machine:
    """A home of the client, the client itself, the server it talks to, and kimifix."""

    def __init__(
        self, client: Client, server: KimiServer, user: Path, kimifix: Kimifix | None = None
    ) -> None:
        self.client = client
        self.server = server
        self.user = user
        self.home = user / ".kimi-code"
        self.config = self.home / "config.toml"
        self.project = user / "project"
        self.project.mkdir(parents=True, exist_ok=True)
        self._kimifix = kimifix

    @property
    def data(self) -> dict[str, Any]:
        """The data of the config."""
        return tomllib.loads(self.config.read_text(encoding="utf-8"))

    def write(self, data: dict[str, Any]) -> None:
        """Write ``data`` as the config."""
        self.config.write_text(tomlkit.dumps(data), encoding="utf-8")

    @property
    def env(self) -> dict[str, str]:
        """The environment of a user's shell; the proxy keeps everything off the network."""
        return {
            "PATH": self.client.path,
            "HOME": str(self.user),
            "TERM": "xterm-256color",
            "KIMI_CODE_NO_AUTO_UPDATE": "1",
            "KIMI_DISABLE_TELEMETRY": "1",
            **_COMPILED,
            **self.proxies,
        }

    @property
    def proxies(self) -> dict[str, str]:
        """The variables by which nobody leaves this machine: the proxy passes nothing on."""
        url = self.server.url
        return {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "127.0.0.1"}

    @property
    def led_to_server(self) -> dict[str, str]:
        """The variables that lead a new login to the server; a config made so needs none."""
        return {"KIMI_CODE_BASE_URL": self.server.base_url, "KIMI_CODE_OAUTH_HOST": self.server.url}

    @property
    def token_file(self) -> Path:
        """The file that holds the login."""
        slot = self.data["providers"]["managed:kimi-code"]["oauth"]["key"]
        return self.home / "credentials" / f"{slot.removeprefix('oauth/')}.json"

    @property
    def login(self) -> dict[str, Any]:
        """The login: access_token, refresh_token, expires_at and more."""
        data = json.loads(self.token_file.read_text())
        assert isinstance(data, dict)
        return data

    def expire_login(self) -> None:
        """Let the access token have ended an hour ago."""
        login = self.login | {"expires_at": int(time.time()) - 3600}
        self.token_file.write_text(json.dumps(login))

    def take_over(self, template: Path) -> None:
        """Start with the home that a login has left in ``template``, and settings of the user."""
        shutil.copytree(template, self.home, dirs_exist_ok=True)
        text = self.config.read_text(encoding="utf-8")
        self.config.write_text(f"# My notes.\n{text}{_OTHER_PROVIDER}", encoding="utf-8")

    def kimi(self, *arguments: str | Path, **env: str) -> Turn:
        """Run the client without a terminal."""
        earlier = len(self.server.chats())
        done = subprocess.run(
            [self.client.programs / "kimi", *map(str, arguments)],
            cwd=self.project,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_SECONDS_FOR_A_RUN,
            check=False,
        )
        return Turn(done.returncode, done.stdout, done.stderr, self.server.chats()[earlier:])

    def log_in(self) -> Turn:
        """Run `kimi login`, which a server stands behind that approves at once."""
        return self.kimi("login", **self.led_to_server)

    def sign_in(self) -> None:
        """Run `kimi login` where it must succeed."""
        turn = self.log_in()
        assert turn.code == 0, turn

    def ask(self, *arguments: str | Path, **env: str) -> Turn:
        """Ask one question in print mode."""
        return self.kimi(*arguments, "-p", "What is the answer?", **env)

    @contextmanager
    def full_screen(self, *arguments: str) -> Iterator[Terminal]:
        """Start the client on a terminal and trust the project; ready for the first line."""
        env = self.env | self.led_to_server
        command: list[str | Path] = [self.client.programs / "kimi", *arguments]
        with Terminal(command, env, self.project) as terminal:
            self._trust(terminal)
            terminal.wait_for("context:")
            yield terminal

    def start(self) -> None:
        """Start the client on a terminal, and end it when it has written its models anew.

        It asks for the list of one provider after the other.
        """
        before, asked = self.config.read_bytes(), self.server.models_asked
        patience = _SECONDS_FOR_A_LIST
        asked.clear()

        def goes_on() -> bool:
            return asked.is_set() or self.config.read_bytes() != before

        with self.full_screen():
            while wait_for(goes_on, patience):
                asked.clear()
                before, patience = self.config.read_bytes(), _SECONDS_FOR_MORE

    def ask_on_terminal(self, *arguments: str) -> Request:
        """Ask one question on a terminal, and return what the client has sent."""
        earlier, question = len(self.server.chats()), "What is the answer?"
        with self.full_screen(*arguments) as terminal:
            # What is typed while it starts may be lost, and ENTER right behind a text is taken for
            # a new line of it; behind a question that was sent it does nothing.
            for _ in range(30):
                if question not in terminal.text:
                    terminal.write(question)
                    wait_for(lambda: question in terminal.text, 1)
                terminal.write(ENTER)
                if wait_for(lambda: self.server.chats()[earlier:], 0.5):
                    break
        return self.server.chats()[earlier]

    def _trust(self, terminal: Terminal) -> None:
        trust, refuse = "❯ Trust this folder", "❯ Don't trust"  # noqa: RUF001
        found = terminal.wait_for("context:", trust, refuse)
        if found == "context:":
            return
        if found == refuse:
            terminal.write(UP)
            terminal.wait_for(trust)
        terminal.write(ENTER)

    def kimifix(self, *arguments: str | Path, stdin: str | None = None, **env: str) -> Result:
        """Run kimifix in the user's environment."""
        assert self._kimifix is not None
        env = {"PATH": self.client.path, **_COMPILED, **env}
        return self._kimifix(*arguments, stdin=stdin, env=env)

    def kimifix_on_terminal(self, *arguments: str) -> Terminal:
        """Start kimifix in the user's environment, on a terminal."""
        command = [sys.executable, "-m", "kimifix", *arguments]
        return Terminal(command, {**os.environ, "PATH": self.client.path}, self.project)
