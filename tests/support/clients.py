"""Copies of the real kimi-code and of Node, installed from the npm registry by the tests."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "@moonshot-ai/kimi-code"

# kimi-code wants Node 22.19 or later; the packages that the npm package `node` brings
# in by an install script of its own, named here directly so that no script has to run.
_NODE = "24"
_SECONDS_FOR_NPM = 600

# Taken at import: a test gets an environment in which there is no npm.
_ENVIRONMENT = dict(os.environ)


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
    """Return kimi-code of ``version``, installed if need be; fails the test where that fails."""
    programs = _installed(f"{PACKAGE}@{version}", f"kimi-code-{version}")
    node = _installed(f"{_node_package()}@{_NODE}", f"node-{_NODE}")
    return Client(version, programs, node)


def _installed(package: str, name: str) -> Path:
    """Return the folder of the programs of ``package``; an install in the cache is whole."""
    cache_folder = _cache_folder()
    folder = cache_folder / name
    programs = folder / "node_modules" / ".bin"
    if programs.is_dir():
        return programs
    cache_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache_folder) as temporary:
        new = Path(temporary) / "install"
        new.mkdir()
        _npm_install(package, new)
        try:
            new.rename(folder)
        except OSError:
            if not programs.is_dir():  # otherwise somebody else was faster
                raise
    return programs


def _npm_install(package: str, folder: Path) -> None:
    npm = shutil.which("npm", path=_ENVIRONMENT.get("PATH"))
    if npm is None:
        pytest.fail(f"npm is needed to install {package}, and there is none on PATH")
    (folder / "package.json").write_text('{"private": true}\n')
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", package]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS_FOR_NPM,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"npm did not install {package} within {_SECONDS_FOR_NPM} s")
    if done.returncode != 0 or not (folder / "node_modules" / ".bin").is_dir():
        pytest.fail(f"npm could not install {package}:\n{done.stdout}")


def _cache_folder() -> Path:
    option = _ENVIRONMENT.get("KIMIFIX_TEST_CACHE")
    if option:
        return Path(option).absolute()
    return Path(__file__).parents[2] / ".cache" / "clients"


def _node_package() -> str:
    system = {"win32": "win"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    prefix = "node-bin" if (system, machine) == ("darwin", "arm64") else "node"
    return f"{prefix}-{system}-{machine}"
