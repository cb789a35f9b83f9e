"""What each command loads: start-up stays fast because nothing needless is imported.

No clock is involved: every test lists the modules that a process has loaded when it ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.configs import install_client, sign_in, write_config

# Notes the names of all loaded modules, imports nothing that is not built in, and then
# does what the console script does.
_DRIVER = """
import atexit, sys
def note(path=sys.argv.pop(1), modules=sys.modules):
    with open(path, "w", encoding="utf-8") as file:
        file.write("\\n".join(modules))
atexit.register(note)
"""
_KIMIFIX = "from kimifix.cli import run; run()"
# A program that does nothing but describe itself: what click alone needs for that.
_CLICK_ALONE = """
import click
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("0", message="%(version)s")
def main():
    "A group."
@main.command()
@click.option("--yes", is_flag=True, help="An option.")
def apply():
    "A command."
main(prog_name="kimifix")
"""

# What the packages load of their own accord that a command of ours cannot do without.
_PACKAGES_ALONE = "import click, platformdirs, platformdirs.api"

NETWORK = {"socket", "_socket", "ssl", "_ssl", "http", "urllib.request", "asyncio", "email"}
# Large modules that somebody might import for a small convenience.
LUXURIES = {
    "argparse",
    "concurrent",
    "importlib.metadata",
    "logging",
    "multiprocessing",
    "packaging",
    "random",
    "sqlite3",
    "tempfile",
    "tomlkit",
    "unittest",
    "xml",
}
# Finding running clients takes a process of `ps` or `tasklist` elsewhere.
if sys.platform == "linux":
    LUXURIES |= {"subprocess"}

Loaded = Callable[..., set[str]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Return a function that runs a program with arguments and returns what it has loaded."""

    def run(*arguments: str, program: str = _KIMIFIX, code: int = 0) -> set[str]:
        names = tmp_path / "modules.txt"
        done = subprocess.run(
            [sys.executable, "-c", _DRIVER + program, names, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return set(names.read_text(encoding="utf-8").split("\n"))

    return run


@pytest.fixture
def signed_in(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client on PATH, signed in, with the config of a fresh login."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    sign_in(home)
    return write_config(home)


@pytest.fixture
def ours(loaded: Loaded) -> Loaded:
    """Return a function like ``loaded`` that leaves out what the packages load themselves."""
    packages = loaded(program=_PACKAGES_ALONE)

    def run(*arguments: str) -> set[str]:
        return loaded(*arguments) - packages

    return run


def present(modules: set[str], unwanted: set[str]) -> set[str]:
    """Return the unwanted ones among loaded modules, packages with all that is in them."""
    return {
        name for name in modules for part in unwanted if name == part or name.startswith(f"{part}.")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--version"], id="version"),
        pytest.param(["--help"], id="help"),
        pytest.param(["-h"], id="h"),
        pytest.param(["apply", "--help"], id="apply-help"),
    ],
)
def test_describing_itself_takes_click_alone(loaded: Loaded, arguments: list[str]) -> None:
    """Version and help load the command line and not one module that click does not need."""
    alone = loaded(*arguments, program=_CLICK_ALONE)
    ours = {"kimifix", "kimifix.cli", "kimifix.language"}
    assert loaded(*arguments) - alone - {"__future__"} == ours


def test_help_command_takes_no_more_than_help(loaded: Loaded) -> None:
    """`kimifix help apply` loads what `kimifix apply --help` loads."""
    assert loaded("help", "apply") == loaded("apply", "--help")


def test_refusing_an_option_takes_no_verb(loaded: Loaded) -> None:
    """A mistyped option is refused before a verb or a floor is loaded."""
    modules = loaded("apply", "--rout", "header", code=2)
    needed = {f"kimifix.{name}" for name in ("cli", "errors", "language", "secret", "terminal")}
    assert present(modules, {"kimifix"}) == {"kimifix", *needed}


def test_doctor_reads_without_editor_and_network(ours: Loaded, signed_in: Path) -> None:
    """A doctor who asks nobody loads neither tomlkit nor any code that could reach a network."""
    modules = ours("doctor")
    assert present(modules, NETWORK | LUXURIES) == set()


def test_doctor_leaves_probe_and_capture_alone(loaded: Loaded, signed_in: Path) -> None:
    """What only --probe or --capture needs is not loaded without them, and no other verb is."""
    others = {
        "kimifix.apply",
        "kimifix.revert",
        "kimifix.ask",
        "kimifix.doctor.live",
    }
    others |= {"kimifix.server.probe", "kimifix.client.capture"}
    modules = loaded("doctor")
    assert "kimifix.doctor" in modules
    assert present(modules, others) == set()


def test_apply_loads_no_network_code(ours: Loaded, signed_in: Path) -> None:
    """Writing the change takes an editor of TOML and nothing that could reach a network."""
    for arguments in (["apply", "--dry-run"], ["apply", "--yes"], ["apply", "--yes"]):
        modules = ours(*arguments)
        assert "kimifix.apply" in modules
        assert present(modules, NETWORK | LUXURIES - {"tomlkit"}) == set()


def test_apply_takes_nothing_from_other_verbs(loaded: Loaded, signed_in: Path) -> None:
    """Neither the doctor nor what we know of the server is loaded."""
    modules = loaded("apply", "--dry-run")
    others = {"kimifix.doctor", "kimifix.revert", "kimifix.server"}
    assert present(modules, others) == set()


def test_revert_without_a_patch_loads_no_editor(ours: Loaded, signed_in: Path) -> None:
    """To find that there is nothing to revert takes neither tomlkit nor network code."""
    modules = ours("revert")
    assert "kimifix.revert" in modules
    assert present(modules, NETWORK | LUXURIES) == set()


def test_revert_loads_no_editor(ours: Loaded, signed_in: Path) -> None:
    """Taking the change back cuts and puts back text that is there: no tomlkit, no network."""
    ours("apply", "--yes")
    modules = ours("revert", "--yes")
    assert present(modules, NETWORK | LUXURIES) == set()
    others = {"kimifix.apply", "kimifix.doctor", "kimifix.server"}
    assert present(modules, others) == set()
