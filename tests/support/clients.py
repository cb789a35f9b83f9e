"""Copies of the real kimi-code and of Node, installed from the npm registry by the tests."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support import registry

PACKAGE = "@moonshot-ai/kimi-code"

# kimi-code wants Node 22.19 or later; the packages that the npm package `node` brings
# in by an install script of its own, named here directly so that no script has to run.
_NODE = "24"
_PARSER = "1.9.1"


@dataclass(frozen=True)
class Client:
    """One installed kimi-code: its version, and the folders of `kimi` and `node` for PATH."""

    version: str
    programs: Path
    node: Path

    @property
    def path(self) -> str:
        """PATH for a process that starts this client."""
        return os.pathsep.join([str(self.programs), str(self.node), "/usr/bin", "/bin"])


@cache
def client(version: str) -> Client:
    """Return kimi-code of ``version``, installed if need be."""
    programs = _installed(f"{PACKAGE}@{version}", f"kimi-code-{version}")
    return Client(version, programs, node())


@cache
def node(version: str = _NODE) -> Path:
    """Return the folder of a Node of ``version``."""
    return _installed(f"{_node_package()}@{version}", f"node-{version}")


@cache
def toml_parser() -> tuple[Path, Path]:
    """Return Node, and a folder where it finds smol-toml, which kimi-code reads its config with."""
    return node() / "node", _installed(f"smol-toml@{_PARSER}", f"smol-toml-{_PARSER}").parents[1]


def can_install() -> bool:
    """Tell whether npm is there."""
    return _npm() is not None


def _npm() -> str | None:
    return shutil.which("npm", path=registry.ENVIRONMENT.get("PATH"))


def _installed(package: str, name: str) -> Path:
    """Return the folder of the programs of ``package``."""
    npm = _npm()
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", "."]
    folder = registry.downloaded(package, name, [str(npm), "install", *options, package])
    return folder / "node_modules" / ".bin"


def _node_package() -> str:
    system = {"win32": "win"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    prefix = "node-bin" if (system, machine) == ("darwin", "arm64") else "node"
    return f"{prefix}-{system}-{machine}"
