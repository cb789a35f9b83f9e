"""The real kimi-code where npm has put it, as the search for installs sees it."""

from __future__ import annotations

from pathlib import Path

from support.clients import client

from kimifix.client import installs
from kimifix.client.home import Home


def test_install_from_the_registry_is_found() -> None:
    """The package that npm has installed from the registry is recognised with its version."""
    real = client("2.1.0")
    home = Home(Path("/nowhere"), "default")
    found = installs.find({"PATH": str(real.programs), "HOME": "/nowhere"}, home)[0]
    assert (found.kind, found.version, found.origin) == ("client", "2.1.0", "npm")
    assert (found.path, found.on_path) == (real.programs / "kimi", 0)
