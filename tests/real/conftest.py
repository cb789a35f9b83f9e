"""What the tests of the real client share: the server, one login a version, a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.clients import client
from support.command import Kimifix
from support.kimi_server import KimiServer
from support.machine import Machine


@pytest.fixture(scope="session")
def _server() -> Iterator[KimiServer]:
    with KimiServer() as server:
        yield server


@pytest.fixture
def server(_server: KimiServer) -> KimiServer:
    """The server of the session without a memory of other tests."""
    _server.reset()
    return _server


@pytest.fixture(scope="session")
def _logins(_server: KimiServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the home which `kimi login` of a version has left."""
    made: dict[str, Path] = {}

    def login(version: str) -> Path:
        if version not in made:
            machine = Machine(client(version), _server, tmp_path_factory.mktemp("login"))
            machine.home.mkdir(mode=0o700)
            machine.config.write_text("telemetry = false\n")  # it costs seconds at the end of a run
            machine.sign_in()
            made[version] = machine.home
        return made[version]

    return login


@pytest.fixture
def machine(
    version: str,
    server: KimiServer,
    _logins: Callable[[str], Path],
    home: Path,
    kimifix: Kimifix,
) -> Machine:
    """A machine on which kimi-code of ``version`` is installed and signed in."""
    machine = Machine(client(version), server, home.parent, kimifix)
    machine.take_over(_logins(version))
    return machine
