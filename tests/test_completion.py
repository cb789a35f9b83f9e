"""`kimifix completion`: the scripts for the shells, and what they then ask kimifix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig

import pytest
from click.shell_completion import get_completion_class
from support.command import Kimifix

SHELLS = ("bash", "zsh", "fish", "powershell")
# The completion of PowerShell came with click 8.5; `kimifix` runs with older ones, too.
KNOWN = [shell for shell in SHELLS if get_completion_class(shell)]


@pytest.mark.parametrize("shell", KNOWN)
def test_prints_a_script_for_the_command(kimifix: Kimifix, shell: str) -> None:
    """Each script registers the command `kimifix` and calls it by the variable of click."""
    result = kimifix("completion", shell)
    assert result.code == 0  # on stderr click may warn of the bash of macOS, or of none
    assert re.search(f"_KIMIFIX_COMPLETE( = ')?=?{shell}_complete", result.out)
    assert re.search(r"(complete|compdef|CommandName) .*kimifix", result.out)


@pytest.mark.parametrize("shell", KNOWN)
def test_answers_the_script(kimifix: Kimifix, shell: str) -> None:
    """What a script asks when somebody presses Tab is answered with commands and options."""
    env = {"_KIMIFIX_COMPLETE": f"{shell}_complete"}
    word = "app" if shell == "fish" else "1"
    commands = kimifix(env={**env, "COMP_WORDS": "kimifix app", "COMP_CWORD": word})
    assert (commands.code, commands.err) == (0, "")
    assert "apply" in commands.out
    assert "revert" not in commands.out
    word = "--ro" if shell == "fish" else "2"
    options = kimifix(env={**env, "COMP_WORDS": "kimifix apply --ro", "COMP_CWORD": word})
    assert "--route" in options.out


def test_knows_four_shells(kimifix: Kimifix) -> None:
    """Another shell is wrong usage, and the message names those there are."""
    result = kimifix("completion", "tcsh")
    assert (result.code, result.out) == (2, "")
    assert all(shell in result.err for shell in SHELLS)


def test_says_what_an_old_click_lacks(kimifix: Kimifix) -> None:
    """A click that does not know a shell gives an error that says what to do, not a traceback."""
    result = kimifix.python(
        "import sys, click.shell_completion as c; c._available_shells.pop('powershell', None);"
        "sys.argv[1:] = ['completion', 'powershell']; from kimifix.cli import run; run()"
    )
    assert (result.code, result.out) == (1, "")
    assert result.err == "Error: completion in powershell needs click 8.5 or later\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the bash of macOS is too old for click")
def test_bash_completes_a_command() -> None:
    """A real bash, told to by the one line of the README, completes what somebody types."""
    script = (
        'eval "$(kimifix completion bash)"\n'
        "COMP_WORDS=(kimifix doc) COMP_CWORD=1\n"
        "_kimifix_completion kimifix doc kimifix\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    path = f"{sysconfig.get_path('scripts')}:/usr/bin:/bin"
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("doctor\n", "")
