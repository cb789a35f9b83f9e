"""A user's machine with the real kimi-code on it, its network ending at a loopback server."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.clients import Client
from support.command import Kimifix, Result
from support.kimi_server import ANSWER, KimiServer, Request
from support.terminal import Terminal

_SECONDS_FOR_A_RUN = 120


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

    @property
    def env(self) -> dict[str, str]:
        """The environment of a user's shell; the proxy keeps everything off the network."""
        return {
            "PATH": self.client.path,
            "HOME": str(self.user),
            "TERM": "xterm-256color",
            "KIMI_CODE_NO_AUTO_UPDATE": "1",
            "KIMI_DISABLE_TELEMETRY": "1",
            "HTTP_PROXY": self.server.url,
            "HTTPS_PROXY": self.server.url,
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def env_of_login(self) -> dict[str, str]:
        """``env`` with what leads a new login to the server."""
        variables = {
            "KIMI_CODE_BASE_URL": self.server.base_url,
            "KIMI_CODE_OAUTH_HOST": self.server.url,
        }
        return self.env | variables

    def install_login(self, template: Path) -> None:
        """Take over the home that a login has left in ``template``."""
        shutil.copytree(template, self.home, dirs_exist_ok=True)

    def kimi(self, *arguments: str | Path, login: bool = False, **env: str) -> Turn:
        """Run the client without a terminal; ``login`` leads a new login to the server."""
        earlier = len(self.server.chats())
        done = subprocess.run(
            [self.client.programs / "kimi", *map(str, arguments)],
            cwd=self.project,
            env=(self.env_of_login if login else self.env) | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_SECONDS_FOR_A_RUN,
            check=False,
        )
        return Turn(done.returncode, done.stdout, done.stderr, self.server.chats()[earlier:])

    def ask(self, *arguments: str | Path, **env: str) -> Turn:
        """Ask one question in print mode."""
        return self.kimi(*arguments, "-p", "What is the answer?", **env)

    def terminal(self, *arguments: str | Path) -> Terminal:
        """Start the client on a terminal."""
        command = [self.client.programs / "kimi", *arguments]
        return Terminal(command, self.env_of_login, self.project)

    def kimifix(self, *arguments: str | Path, stdin: str | None = None, **env: str) -> Result:
        """Run kimifix in the user's environment."""
        assert self._kimifix is not None
        return self._kimifix(*arguments, stdin=stdin, env={"PATH": self.client.path, **env})
