"""What the tests of the real client share: for each version a server and one login to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.clients import client
from support.command import Kimifix
from support.kimi_server import KimiServer
from support.machine import VERSIONS, Machine, oldest_and_newest, since
from support.verdicts import at_once

# Makes a machine of a version, with the user's folder, signed in to the version's own server.
_Make = Callable[[str, Path], Machine]


@pytest.fixture(scope="session")
def _logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Machine]]:
    """Return a function that gives the machine on which `kimi login` of a version was run."""
    made: dict[str, Machine] = {}

    def login(version: str) -> Machine:
        if version not in made:
            server = servers.enter_context(KimiServer())
            folder = tmp_path_factory.mktemp(f"login-{version}", numbered=False)
            machine = Machine(client(version), server, folder)
            machine.home.mkdir(mode=0o700)
            machine.config.write_text("telemetry = false\n")  # it costs seconds at the end of a run
            machine.sign_in()
            made[version] = machine
        return made[version]

    with ExitStack() as servers:
        yield login


@pytest.fixture
def _make(_logins: Callable[[str], Machine], kimifix: Kimifix) -> _Make:
    def make(version: str, user: Path) -> Machine:
        signed_in = _logins(version)
        signed_in.server.reset()
        machine = Machine(signed_in.client, signed_in.server, user, kimifix)
        machine.take_over(signed_in.home)
        return machine

    return make


@pytest.fixture
def machine(version: str, _make: _Make, home: Path) -> Machine:
    """A machine on which kimi-code of ``version`` is installed and signed in."""
    return _make(version, home.parent)


@pytest.fixture
def all_machines(
    _logins: Callable[[str], Machine], _make: _Make, tmp_path: Path
) -> dict[str, Machine]:
    """For each version a machine that is signed in to a server of its own."""
    at_once(dict(zip(VERSIONS, VERSIONS, strict=True)), _logins)
    return {version: _make(version, tmp_path / version) for version in VERSIONS}


@pytest.fixture
def machines(all_machines: dict[str, Machine]) -> dict[str, Machine]:
    """Those of the versions from 0.25.0 on, all of which can share their login."""
    return {version: all_machines[version] for version in since("0.25.0")}


@pytest.fixture
def ends(machines: dict[str, Machine]) -> dict[str, Machine]:
    """The oldest and the newest version; all of them in a deep run."""
    return {version: machines[version] for version in oldest_and_newest([*machines])}
