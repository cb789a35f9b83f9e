"""The exit codes, and what a bug leaves on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import Kimifix
from support.configs import write_config

from kimifix.cli import main

_BUG = """
import sys
from kimifix import revert
from kimifix.secret import Secret

def broken(*arguments, **options):
    Secret("planted-secret-000000")
    raise KeyError("planted-secret-000000 and sk-planted-11111111")

revert.revert = broken
sys.argv[1:] = ["revert", *{arguments!r}]
from kimifix.cli import run
run()
"""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_bug_is_reported_without_secrets(kimifix: Kimifix, arguments: list[str]) -> None:
    """A bug ends in exit code 3, with traceback and versions on stderr and no secret."""
    result = kimifix.python(_BUG.format(arguments=arguments))
    assert result.code == 3
    assert result.out == ""
    assert "Traceback" in result.err
    assert "in broken" in result.err
    assert "kimifix 0." in result.err
    assert "planted" not in result.err.replace('Secret("planted-secret-000000")', "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["appply"],
        ["apply", "--rout", "x"],
        ["apply", "--route", "sideways"],
        ["apply", "--credential", "password"],
        ["apply", "--key-env", "NAME", "--key-stdin"],
        ["apply", "--key-env", "NAME", "--credential", "login"],
        ["doctor", "extra"],
        ["revert", "--key-stdin"],
    ],
)
def test_wrong_usage_is_exit_code_two(kimifix: Kimifix, arguments: list[str]) -> None:
    """What click cannot understand is usage, and nothing else happens."""
    result = kimifix(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Error: " in result.err


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)], ids=" ".join)
def test_help_is_a_command_too(kimifix: Kimifix, command: list[str]) -> None:
    """`kimifix help [COMMAND]` prints what `kimifix [COMMAND] --help` prints."""
    result = kimifix("help", *command)
    assert (result.code, result.err) == (0, "")
    assert result.out == kimifix(*command, "--help").out
    assert result.out.startswith(" ".join(["Usage: kimifix", *command]) + " [OPTIONS]")


def test_help_knows_no_other_command(kimifix: Kimifix) -> None:
    """Help for a command that does not exist is wrong usage."""
    result = kimifix("help", "repair")
    assert (result.code, result.out) == (2, "")
    assert "No such command 'repair'" in result.err


def test_home_wins_over_the_variable(kimifix: Kimifix, tmp_path: Path) -> None:
    """`--home` wins over KIMI_CODE_HOME, which wins over the default."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write_config(one, "oops one")
    write_config(two, "oops two")
    env = {"KIMI_CODE_HOME": str(one)}
    assert str(one) in kimifix("revert", "--json", env=env).json["error"]["path"]
    assert str(two) in kimifix("revert", "--json", "--home", two, env=env).json["error"]["path"]


def test_text_abbreviates_the_users_home_and_json_does_not(kimifix: Kimifix, home: Path) -> None:
    """Text is made to be pasted, JSON to be used."""
    write_config(home, "")
    assert kimifix("revert").out == f"nothing to revert: {Path('~/.kimi-code/config.toml')}\n"
    assert kimifix("revert", "--json").json["config"] == str(home / "config.toml")
