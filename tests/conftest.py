"""What every test gets: an empty environment of its own, and kimifix as a process."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import translations
from support import clients, rounds
from support.command import STATE_VARIABLES, Kimifix

from kimifix import __file__ as package

# What a process needs to run at all; everything else that could lead a test to the
# developer's own files or network is taken away.
_KEPT = (
    *("PATH", "LANG", "LC_ALL", "LOCPATH", "TMPDIR", "VIRTUAL_ENV"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "TEMP", "TMP"),  # of Windows
)
_KEPT_FAMILIES = ("PYTEST", "COVERAGE", "COV_", "KIMIFIX_TEST", "WINE")

# Where the tests are started in the background, SIGINT may be ignored, and the processes
# that they start would inherit that: tests of Ctrl-C could not press it.
if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--deep`."""
    parser.addoption(
        "--deep", action="store_true", help="try ten times as many cases, and all versions"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use one process more than there are processors, for tests wait much."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Say how many cases are tried before modules ask for it, which they do at import.

    End before the first test where the real client could not run; where tests run side by
    side, no worker could end all. In a checkout compile the catalogue of sentences, too.
    """
    if config.getoption("--deep"):
        rounds.FACTOR = 10
    if _asks_for(config, Path(__file__).with_name("real")) and not clients.can_install():
        raise pytest.UsageError(
            "npm is missing, which installs the real kimi-code for tests/real: "
            "install Node.js with npm, or pass --ignore=tests/real"
        )
    if Path(package).is_relative_to(translations.ROOT / "kimifix"):
        translations.compile_catalogue()  # nobody has built what is tested


def _asks_for(config: pytest.Config, folder: Path) -> bool:
    """Tell whether the command line leads to ``folder``; a test's own id may stand there."""
    asked = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    left_out = [Path(ignored).resolve() for ignored in config.getoption("ignore") or ()]
    return folder not in left_out and any(
        folder.is_relative_to(path) or path.is_relative_to(folder) for path in asked
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first, what takes long then, and the real client last."""
    items.sort(
        key=lambda item: (item.path.parent.name == "real", bool(item.get_closest_marker("slow")))
    )


@pytest.fixture
def deep(request: pytest.FixtureRequest) -> bool:
    """Whether `--deep` was given."""
    return bool(request.config.getoption("--deep"))


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper() not in _KEPT and not name.startswith(_KEPT_FAMILIES):
            monkeypatch.delenv(name)
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("USERPROFILE", str(user))
    for name in STATE_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing-on-path"))
    monkeypatch.setenv("KIMIFIX_LANG", "en")
    if sys.platform == "win32":  # where the client needs one
        bash = tmp_path / "bash.exe"
        bash.touch()
        monkeypatch.setenv("KIMI_SHELL_PATH", str(bash))
    monkeypatch.chdir(user)


@pytest.fixture(autouse=True, scope="session")
def _without_names() -> Iterator[None]:
    """No resolver is asked: what it says, and when, is different on each machine."""
    resolve = socket.getaddrinfo

    def known(host: str, *arguments: Any, **named: Any) -> Any:
        flags = 0 if host == "localhost" else socket.AI_NUMERICHOST
        return resolve(host, *arguments, **{"flags": flags, **named})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", known)
        yield


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The client's home in the place where kimifix looks for it by default."""
    folder = tmp_path / "user" / ".kimi-code"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def kimifix(tmp_path: Path) -> Kimifix:
    """The command, run as a process of its own in the isolated environment."""
    return Kimifix()
