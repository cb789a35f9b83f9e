"""`kimifix apply` and `kimifix revert` on a terminal, in pipes, and where little can be shown."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config

if sys.platform == "win32":
    pytest.skip("there are no such terminals", allow_module_level=True)

import pty
import termios

KEY = "sk-kimi-typed-on-a-terminal"
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"
ESCAPE = "\x1b["
COMMANDS = ("apply", "revert", "doctor")
INTERRUPTED = 130
ROWS, COLUMNS = 60, 80

# Generous: a wait ends as soon as there is what it waits for.
_PATIENCE_SECONDS = 60.0

# Makes the terminal the one that Ctrl-C and the hidden prompt belong to, then goes on as
# the program.
_ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Session:
    """Kimifix on a terminal of its own; ``out`` is all that it has shown."""

    def __init__(self, arguments: tuple[str, ...], env: Mapping[str, str], **files: int) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, (ROWS, COLUMNS))
        self._settings = termios.tcgetattr(self._theirs)
        self.out = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, sys.executable, "-m", "kimifix", *arguments],
            stdin=self._theirs,
            stdout=files.get("stdout", self._theirs),
            stderr=files.get("stderr", self._theirs),
            env={**os.environ, "TERM": "xterm-256color", **env},
            start_new_session=True,
        )

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def see(self, text: str) -> None:
        """Wait until ``text`` is shown."""
        self._read_until(lambda: text in self.out)

    def interrupt(self, keys: str = CTRL_C) -> int:
        """Press keys that end the program, return its exit code.

        Python misses the signal of a Ctrl-C that comes just before it starts to wait for
        a key, until the next one is pressed: do as a user does, and press again.
        """
        for attempt in range(30):
            self.type(CTRL_C if attempt else keys)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
                break
        return self.end()

    def end(self) -> int:
        """Wait until the program has ended and return its exit code."""
        self._read_until(lambda: self._process.poll() is not None)
        while self._readable(0):
            self._read()
        return self._process.returncode

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._theirs)[3] & termios.ECHO)

    @property
    def as_before(self) -> bool:
        """Whether the terminal has the settings that it had before."""
        return termios.tcgetattr(self._theirs) == self._settings

    def close(self) -> None:
        """End the program and take the terminal away."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not done():
            if self._readable(0.02):
                self._read()
            elif self._process.poll() is not None and not done():
                raise AssertionError(f"ended with {self._process.returncode}: {self.out}")
            assert time.monotonic() < deadline, self.out

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._ours], [], [], seconds)[0])

    def _read(self) -> None:
        self.out += os.read(self._ours, 1 << 16).decode()


Open = Callable[..., Session]


@pytest.fixture
def terminal() -> Iterator[Open]:
    """Return a function that starts kimifix on a terminal."""
    sessions: list[Session] = []

    def terminal(*arguments: str, env: Mapping[str, str] | None = None, **files: int) -> Session:
        sessions.append(Session(arguments, env or {}, **files))
        return sessions[-1]

    yield terminal
    for session in sessions:
        session.close()


@pytest.fixture
def config(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client 2.1.0 that is on PATH."""
    monkeypatch.setenv("PATH", str(install_client(tmp_path / "npm")))
    sign_in(home)
    return write_config(home)


@pytest.fixture
def old_config(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a client that cannot share its login, so that a key is asked for."""
    monkeypatch.setenv("PATH", str(install_client(tmp_path / "npm", "0.20.0")))
    return write_config(home)


# --- prompts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["y", "yes", "Y"])
def test_yes_writes(terminal: Open, config: Path, answer: str) -> None:
    """The change is shown and asked for; with a yes it is written, and so is the way back."""
    session = terminal("apply")
    session.see("[y/N]")
    assert "+[providers.kimifix]" in session.out
    assert config.read_text() == LOGGED_IN
    session.type(answer + ENTER)
    assert session.end() == 0
    assert "kimifix" in config.read_text()

    session = terminal("revert")
    session.see("[y/N]")
    assert "-[providers.kimifix]" in session.out
    session.type(answer + ENTER)
    assert session.end() == 0
    assert config.read_text() == LOGGED_IN


@pytest.mark.parametrize("answer", ["n", "no", ""])
def test_no_declines(terminal: Open, kimifix: Kimifix, config: Path, answer: str) -> None:
    """A no, or Enter alone, writes nothing and is exit code 1."""
    session = terminal("apply")
    session.see("[y/N]")
    session.type(answer + ENTER)
    assert session.end() == 1
    assert config.read_text() == LOGGED_IN
    assert not kimifix.state.exists()

    kimifix("apply", "--yes")
    applied = config.read_text()
    session = terminal("revert")
    session.see("[y/N]")
    session.type(answer + ENTER)
    assert session.end() == 1
    assert config.read_text() == applied


def test_nonsense_is_asked_again(terminal: Open, config: Path) -> None:
    """An answer that is neither is no consent; the question comes again."""
    session = terminal("apply")
    session.see("[y/N]")
    session.type("perhaps" + ENTER)
    session.see("neither y nor n")
    session.type("n" + ENTER)
    assert session.end() == 1
    assert config.read_text() == LOGGED_IN


@pytest.mark.parametrize("keys", [CTRL_C, f"y{CTRL_C}", CTRL_D], ids=["ctrl-c", "late", "ctrl-d"])
@pytest.mark.parametrize("command", ["apply", "revert"])
def test_interrupt_at_the_question(
    terminal: Open, kimifix: Kimifix, config: Path, command: str, keys: str
) -> None:
    """Ctrl-C, and the end of input, leave the config alone: exit code 130, no traceback."""
    if command == "revert":
        kimifix("apply", "--yes")
    before = config.read_bytes()
    session = terminal(command)
    session.see("[y/N]")
    assert session.interrupt(keys) == INTERRUPTED
    assert "nothing written" in session.out
    assert "Traceback" not in session.out
    assert config.read_bytes() == before
    assert session.as_before


def test_hidden_prompt_does_not_echo(terminal: Open, old_config: Path) -> None:
    """The key is asked for and written, but never shown, neither typed nor in the diff."""
    session = terminal("apply")
    session.see("not shown")
    session._read_until(lambda: not session.echoes)
    session.type(KEY + ENTER)
    session.see("[y/N]")
    assert session.echoes
    session.type("y" + ENTER)
    assert session.end() == 0
    assert f'api_key = "{KEY}"' in old_config.read_text()
    assert KEY not in session.out
    assert session.as_before


@pytest.mark.parametrize(
    "keys", [CTRL_C, f"half-a-key{CTRL_C}", CTRL_D], ids=["ctrl-c", "late", "ctrl-d"]
)
def test_interrupt_at_the_hidden_prompt(
    terminal: Open, kimifix: Kimifix, old_config: Path, keys: str
) -> None:
    """Ctrl-C there leaves neither a changed config nor a terminal that stays mute."""
    session = terminal("apply", "--credential", "key")
    session.see("not shown")
    session._read_until(lambda: not session.echoes)
    assert session.interrupt(keys) == INTERRUPTED
    assert "Traceback" not in session.out
    assert "half-a-key" not in session.out
    assert old_config.read_text() == LOGGED_IN
    assert not kimifix.state.exists()
    assert session.as_before


def test_no_key_at_the_hidden_prompt(terminal: Open, old_config: Path) -> None:
    """Enter alone gives no key: an error that says what else can be done."""
    session = terminal("apply", "--credential", "key")
    session.see("not shown")
    session._read_until(lambda: not session.echoes)
    session.type(ENTER)
    assert session.end() == 1
    assert "error:" in session.out
    assert "hint:" in session.out
    assert old_config.read_text() == LOGGED_IN


def test_key_is_asked_for_once(terminal: Open, old_config: Path) -> None:
    """With --yes the key is the only question."""
    session = terminal("apply", "--yes", "--credential", "key")
    session.see("not shown")
    session._read_until(lambda: not session.echoes)
    session.type(KEY + ENTER)
    assert session.end() == 0
    assert session.out.count("not shown") == 1
    assert "[y/N]" not in session.out


def test_interrupt_after_writing(terminal: Open, config: Path) -> None:
    """Ctrl-C while a running client is watched does not say that nothing was written."""
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    named = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'kimi-code'); "
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", named]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as kimi_code:
        assert kimi_code.stdout is not None
        assert kimi_code.stdout.readline() == b"ready\n"
        session = terminal("apply", "--yes")
        session._read_until(lambda: "kimifix" in config.read_text())
        session.see("watching")
        session.interrupt()
        kimi_code.send_signal(signal.SIGKILL)
    assert "nothing written" not in session.out
    assert "Traceback" not in session.out
    assert "kimifix" in config.read_text()


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_without_a_terminal_nobody_is_asked(
    terminal: Open, kimifix: Kimifix, config: Path, tmp_path: Path, stream: str
) -> None:
    """Where the question could not be seen or answered, --yes is needed."""
    if stream == "stdin":
        result = kimifix("apply", stdin="y\n")
        code, said = result.code, result.err
    else:
        with (tmp_path / "stderr").open("w+b") as file:
            code = terminal("apply", stderr=file.fileno()).end()
            said = (tmp_path / "stderr").read_text()
    assert code == 1
    assert "--yes" in said
    assert config.read_text() == LOGGED_IN


def test_report_can_be_piped_while_the_question_is_asked(
    terminal: Open, config: Path, tmp_path: Path
) -> None:
    """With stdout in a file the question is still on the terminal."""
    with (tmp_path / "report").open("w+b") as file:
        session = terminal("apply", stdout=file.fileno())
        session.see("[y/N]")
        session.type("y" + ENTER)
        assert session.end() == 0
    assert "applied" in (tmp_path / "report").read_text()


def test_json_never_asks(terminal: Open, config: Path) -> None:
    """A program cannot answer: with --json it takes --yes to write, and a key comes otherwise."""
    session = terminal("apply", "--json")
    assert session.end() == 1
    assert "--yes" in session.out
    session = terminal("apply", "--json", "--yes", "--credential", "key")
    assert session.end() == 1
    assert "--key-stdin" in session.out
    assert config.read_text() == LOGGED_IN


def test_reason_comes_before_the_prompt_for_a_key(terminal: Open, old_config: Path) -> None:
    """Who is asked for a key knows why, and what could be done instead."""
    session = terminal("apply")
    session.see("not shown")
    reason, remedy, prompt = (
        session.out.index(text) for text in ("cannot share its login", "npm install", "not shown")
    )
    assert reason < remedy < prompt


# --- colours -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        pytest.param({}, True, id="terminal"),
        pytest.param({"NO_COLOR": ""}, True, id="NO_COLOR empty"),
        pytest.param({"NO_COLOR": "1"}, False, id="NO_COLOR"),
        pytest.param({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, id="NO_COLOR wins"),
    ],
)
def test_colours_on_a_terminal(
    terminal: Open, config: Path, env: dict[str, str], coloured: bool
) -> None:
    """A terminal shows colours unless `NO_COLOR` is set to something."""
    session = terminal("apply", "--dry-run", env=env)
    assert session.end() == 0
    assert (ESCAPE in session.out) is coloured


@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        pytest.param({}, False, id="pipe"),
        pytest.param({"FORCE_COLOR": "1"}, True, id="FORCE_COLOR"),
        pytest.param({"FORCE_COLOR": ""}, False, id="FORCE_COLOR empty"),
        pytest.param({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, id="NO_COLOR wins"),
    ],
)
def test_colours_in_a_pipe(
    kimifix: Kimifix, config: Path, env: dict[str, str], coloured: bool
) -> None:
    """A pipe gets none, neither on stdout nor on stderr, unless `FORCE_COLOR` asks for it."""
    result = kimifix("apply", "--dry-run", env=env)
    error = kimifix("apply", "--home", "/nowhere", "--dry-run", env=env)
    assert (ESCAPE in result.out) is coloured
    assert (ESCAPE in error.err) is coloured


def test_colours_carry_no_meaning(kimifix: Kimifix, config: Path) -> None:
    """Without its colours the text is the same."""
    plain = kimifix("apply", "--dry-run")
    coloured = kimifix("apply", "--dry-run", env={"FORCE_COLOR": "1"})
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.out) == plain.out


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}])
def test_json_has_no_colours(kimifix: Kimifix, config: Path, env: dict[str, str]) -> None:
    """JSON is for programs, whatever the environment says."""
    result = kimifix("apply", "--dry-run", "--json", env=env)
    assert ESCAPE not in result.out
    assert result.json["status"] == "dry-run"


# --- poor terminals ----------------------------------------------------------------------------

ASCII = [
    pytest.param({"PYTHONIOENCODING": "ascii"}, id="PYTHONIOENCODING"),
    pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="LC_ALL=C"),
]


@pytest.fixture
def foreign(tmp_path: Path, config: Path) -> Path:
    """A home and a config that hold what ASCII has no letters for."""
    folder = tmp_path / "Jürgens 数据"
    folder.mkdir()
    write_config(folder, LOGGED_IN.replace("Kimi For Coding", "Kimi 编程"))
    sign_in(folder)
    return folder


@pytest.mark.parametrize("env", ASCII)
def test_ascii_is_enough(kimifix: Kimifix, foreign: Path, env: dict[str, str]) -> None:
    """Where only ASCII can be shown, the rest is escaped, and the file gets its true letters."""
    before = (foreign / "config.toml").read_bytes()
    result = kimifix("apply", "--yes", "--home", foreign, env=env)
    assert (result.code, result.out.isascii(), result.err.isascii()) == (0, True, True)
    assert (foreign / "config.toml").read_text(encoding="utf-8").count("Kimi 编程") == 2
    result = kimifix("revert", "--yes", "--home", foreign, env=env)
    assert (result.code, result.out.isascii(), result.err.isascii()) == (0, True, True)
    assert (foreign / "config.toml").read_bytes() == before


@pytest.mark.parametrize("env", ASCII)
def test_json_in_ascii(kimifix: Kimifix, foreign: Path, env: dict[str, str]) -> None:
    """There, too, the JSON is valid and means the same."""
    result = kimifix("apply", "--dry-run", "--json", "--home", foreign, env=env)
    assert result.out.isascii()
    # Python reads such an argument byte by byte under LC_ALL=C.
    named = result.json["config"].encode("utf-8", "surrogateescape")
    assert named == os.fsencode(foreign / "config.toml")
    assert "Kimi 编程" in result.json["diff"]


@pytest.mark.parametrize("env", ASCII)
def test_errors_in_ascii(kimifix: Kimifix, tmp_path: Path, env: dict[str, str]) -> None:
    """An error that names a foreign path is an error, not a crash."""
    result = kimifix("apply", "--yes", "--home", tmp_path / "数据", env=env)
    assert (result.code, result.err.isascii()) == (1, True)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_foreign_letters_in_usage_errors(kimifix: Kimifix, command: str) -> None:
    """A usage error that quotes what ASCII lacks is one all the same."""
    result = kimifix(command, "--数据", env={"PYTHONIOENCODING": "ascii"})
    assert result.code == 2
    assert "Traceback" not in result.err


def test_nobody_reads_on(kimifix: Kimifix, config: Path) -> None:
    """A reader that goes away early (`| head`) brings no traceback."""
    config.write_text(LOGGED_IN + "# x\n" * 50_000)
    command = [sys.executable, "-m", "kimifix", "apply", "--dry-run", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert "bug in kimifix" not in said


# --- the habits of command lines ---------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=str)
def test_help(kimifix: Kimifix, command: tuple[str, ...], flag: str) -> None:
    """Help is there for each command under both names, and goes to stdout."""
    result = kimifix(*command, flag)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Usage:")
    assert "-h, --help" in result.out


@pytest.mark.parametrize("columns", ["40", "200"])
def test_help_on_narrow_and_wide_terminals(kimifix: Kimifix, columns: str) -> None:
    """Help fits the terminal and keeps every option."""
    result = kimifix("apply", "--help", env={"COLUMNS": columns})
    assert result.code == 0
    assert "--credential" in result.out


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=str)
def test_version(kimifix: Kimifix, command: tuple[str, ...]) -> None:
    """`--version` prints name and version, for each command."""
    result = kimifix(*command, "--version")
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(r"kimifix \d+\.\d+\.\d+\S*\n", result.out)


def test_no_command_is_a_call_for_help(kimifix: Kimifix) -> None:
    """Without a command the help is shown."""
    result = kimifix()
    assert result.code in (0, 2)  # by the version of click
    assert "Usage:" in result.out + result.err
    assert all(name in result.out + result.err for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("apply", "--dry-rum"), "--dry-run"),
        (("apply", "--rout", "header"), "--route"),
        (("apply", "--no-defaults"), "--no-default"),
        (("revert", "--ye"), "--yes"),
        (("doctor", "--probes"), "--probe"),
    ],
)
def test_mistyped_option(
    kimifix: Kimifix, config: Path, arguments: tuple[str, ...], suggestion: str
) -> None:
    """A mistyped option is a usage error that suggests the right one."""
    result = kimifix(*arguments)
    assert (result.code, result.out) == (2, "")
    assert suggestion in result.err.partition("Error: ")[2]
    assert config.read_text() == LOGGED_IN


@pytest.mark.parametrize(
    "arguments",
    [
        ("aply",),
        ("apply", "now"),
        ("apply", "--route", "headers"),
        ("apply", "--route"),
        ("apply", "--platform", ""),
        ("apply", "--platform", "two words"),
        ("apply", "--platform", "line\nbreak"),
        ("apply", "--key-env", "A", "--key-stdin"),
        ("apply", "--credential", "login", "--key-stdin"),
        ("revert", "--sandbox"),
        ("--home", "/nowhere", "apply"),
    ],
    ids=" ".join,
)
def test_wrong_usage(kimifix: Kimifix, config: Path, arguments: tuple[str, ...]) -> None:
    """What the command line does not know is refused before anything happens."""
    result = kimifix(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "Error:" in result.err
    assert config.read_text() == LOGGED_IN
    assert not kimifix.state.exists()
