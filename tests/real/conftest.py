"""What the tests of the real client share: the server, one login a version, a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.clients import client
from support.command import Kimifix
from support.kimi_server import KimiServer
from support.machine import VERSIONS, Machine, since
from support.verdicts import at_once


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


@pytest.fixture(scope="session")
def _signed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    with ExitStack() as stack:
        machines = {
            version: Machine(
                client(version), stack.enter_context(KimiServer()), tmp_path_factory.mktemp("login")
            )
            for version in VERSIONS
        }
        for machine in machines.values():
            machine.home.mkdir(mode=0o700)
            machine.config.write_text("telemetry = false\n")
        at_once(machines, Machine.sign_in)
        yield machines


@pytest.fixture
def all_machines(
    _signed_in: dict[str, Machine], tmp_path: Path, kimifix: Kimifix
) -> dict[str, Machine]:
    """For each version a machine that is signed in to a server of its own."""
    machines = {}
    for version, signed_in in _signed_in.items():
        signed_in.server.reset()
        machine = Machine(signed_in.client, signed_in.server, tmp_path / version, kimifix)
        machine.take_over(signed_in.home)
        machines[version] = machine
    return machines


@pytest.fixture
def machines(all_machines: dict[str, Machine]) -> dict[str, Machine]:
    """Those of the versions that can share a login, but the first of them."""
    return {version: all_machines[version] for version in since("0.25.0")}


@pytest.fixture
def ends(machines: dict[str, Machine], deep: bool) -> dict[str, Machine]:
    """The oldest and the newest version; all of them in a deep run."""
    versions = [*machines]
    return machines if deep else {name: machines[name] for name in (versions[0], versions[-1])}
