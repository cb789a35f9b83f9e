"""The package as it is installed: what its metadata says, and that it can be imported."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import kimifix

FOLDER = Path(kimifix.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in FOLDER.rglob("*.py")
)


def test_installed_version_is_the_one_in_the_package() -> None:
    """The metadata and the package name the same version."""
    assert distribution("kimifix").version == kimifix.__version__


def test_command_is_installed() -> None:
    """`kimifix` is the only command, and it can be loaded."""
    commands = distribution("kimifix").entry_points
    assert [(c.group, c.name, c.value) for c in commands] == [
        ("console_scripts", "kimifix", "kimifix.__main__:main")
    ]
    assert all(callable(command.load()) for command in commands)


def test_depends_on_four_packages() -> None:
    """Nothing is installed beside kimifix but certifi, click, platformdirs and tomlkit."""
    requirements = distribution("kimifix").requires or []
    names = {match[0] for line in requirements if (match := re.match(r"[\w.-]+", line))}
    assert names == {"certifi", "click", "platformdirs", "tomlkit"}


def test_ships_its_types() -> None:
    """The installed package carries the marker that type checkers look for."""
    assert (FOLDER / "py.typed").is_file()


def test_describes_itself_by_its_readme() -> None:
    """What a package index shows is the README, with license and supported versions."""
    metadata = distribution("kimifix").metadata
    assert metadata["Description"].startswith("# kimifix\n")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"


@pytest.mark.parametrize("module", MODULES)
def test_module_can_be_imported_first(module: str) -> None:
    """Each module can be the first to be imported, and warns of nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {module}"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
