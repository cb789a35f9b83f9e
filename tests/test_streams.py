"""Exit codes and the config, whatever becomes of the streams, the keyboard, the home."""

from __future__ import annotations

import codecs
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config
from support.platforms import posix

KEY = "sk-kimi-piped-0123456789"
KIMIFIX = [sys.executable, "-m", "kimifix"]
FULL = Path("/dev/full")
full_disk = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
posix_shell = posix("there is no such shell")
ROOT = Path(__file__).parents[1]
# Generous: the wait ends as soon as there is what it waits for.
PATIENCE_SECONDS = 60.0


@pytest.fixture
def config(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client 2.1.0 that is on PATH."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    sign_in(home)
    return write_config(home)


def run(*arguments: str | Path, **options: Any) -> Any:
    """Run kimifix with streams of the test's own."""
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "timeout": 120} | options
    return subprocess.run([*KIMIFIX, *map(str, arguments)], check=False, **options)


def wait_until_written(config: Path) -> None:
    """Wait until the change is on disk."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b"providers.kimifix" not in config.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("arguments", [["apply", "--yes"], ["apply", "--yes", "--json"]])
def test_a_reader_that_is_gone_changes_no_exit_code(config: Path, arguments: list[str]) -> None:
    """What was agreed to is done, and done is 0."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = run(*arguments, stdout=theirs)
    os.close(theirs)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"[providers.kimifix]" in config.read_bytes()


@full_disk
def test_a_full_disk_under_stdout(config: Path) -> None:
    """Before the config is written nothing is; afterwards it does not count."""
    before = config.read_bytes()
    with FULL.open("wb") as full:
        for arguments in (["doctor"], ["apply", "--yes"], ["--help"], ["--version"]):
            done = run(*arguments, stdout=full)
            assert done.returncode == 1, arguments
            assert done.stderr.endswith(b"No space left on device\n"), arguments
            assert config.read_bytes() == before
        # JSON comes when all is done.
        assert run("apply", "--yes", "--json", stdout=full).returncode == 0
        assert b"[providers.kimifix]" in config.read_bytes()
        assert run("revert", "--yes", "--json", stdout=full).returncode == 0
    assert config.read_bytes() == before


@full_disk
def test_a_full_disk_under_stderr(config: Path) -> None:
    """There is nobody to tell it, and nothing depends on it."""
    with FULL.open("wb") as full:
        assert run("apply", "--yes", stdout=full, stderr=full).returncode == 1
        done = run("apply", "--yes", stdout=subprocess.PIPE, stderr=full)
        assert (done.returncode, b"applied" in done.stdout) == (0, True)
        assert run("revert", "--nonsense", stderr=full).returncode == 2


@posix("no process is interrupted by another")
def test_an_interruption_after_writing_comes_too_late(config: Path) -> None:
    """Ctrl-C while the result is being told neither cuts it off nor says that nothing was done."""
    config.write_text(LOGGED_IN.replace("Kimi For Coding", "K" * 200_000))
    with subprocess.Popen(
        [*KIMIFIX, "apply", "--yes", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        wait_until_written(config)
        # The first byte comes after the commit, and the pipe is too small for the rest.
        start = process.stdout.read(1)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err.count(b"interrupted")) == (0, 0)
    assert json.loads(start + out)["status"] == "applied"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("raise KeyboardInterrupt", id="bare"),
        pytest.param(
            "class Interrupted:\n"
            "        def __set_name__(self, *_): raise KeyboardInterrupt\n"
            "    class Asked:\n"
            "        name = Interrupted()",
            id="in-a-class",
        ),
        pytest.param(
            "try:\n        raise KeyboardInterrupt\n    except KeyboardInterrupt as error:\n"
            "        raise RuntimeError('wrapped') from error",
            id="wrapped",
        ),
        pytest.param(
            "import signal\n    from kimifix import terminal\n    put = terminal.put\n"
            "    def slow(*lines, **more):\n"
            "        signal.raise_signal(signal.SIGINT)\n        put(*lines, **more)\n"
            "    terminal.put = slow\n    raise KeyboardInterrupt",
            id="pressed-twice",
        ),
    ],
)
def test_an_interruption_is_no_bug_wherever_it_comes(kimifix: Kimifix, broken: str) -> None:
    """Also where Python or a library wraps it: 130 and no traceback."""
    result = kimifix.python(
        "import sys\nfrom kimifix import revert\n"
        f"def story(*_, **__):\n    {broken}\n"
        "revert.revert = story\nsys.argv[1:] = ['revert']\n"
        "from kimifix.__main__ import main\nmain()\n"
    )
    assert (result.code, result.err.strip()) == (130, "interrupted, nothing written")


def test_an_interruption_at_the_very_end(config: Path) -> None:
    """While Python takes itself down, Ctrl-C does not say that nothing was written."""
    code = (
        "import signal, sys\n"
        "class Late:\n"
        "    press = signal.raise_signal\n"
        "    def __del__(self): self.press(2)\n"
        "sys.late = Late()\nsys.argv[1:] = ['apply', '--yes']\n"
        "from kimifix.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, b"[providers.kimifix]" in config.read_bytes()) == (0, True)


def test_an_interruption_while_loading(kimifix: Kimifix, tmp_path: Path) -> None:
    """Before there is a command line to catch it, Ctrl-C is no traceback either."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    result = kimifix("doctor", env={"PYTHONPATH": str(tmp_path)})
    assert (result.code, result.out, result.err) == (130, "", "")


@posix_shell
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        pytest.param("doctor", {0}, id="doctor"),
        pytest.param("doctor --json", {0}, id="json"),
        pytest.param("apply", {1}, id="question"),
        pytest.param("apply --yes --key-stdin", {1}, id="key"),
        pytest.param("revert --yes", {0}, id="revert"),
        pytest.param("apply --nonsense", {2}, id="usage"),
        pytest.param("--help", {0}, id="help"),
    ],
)
def test_closed_streams(config: Path, closed: str, arguments: str, codes: set[int]) -> None:
    """A stream that is not there is no bug."""
    command = f'"{sys.executable}" -m kimifix {arguments} {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=b"", capture_output=True, timeout=120, check=False
    )
    assert done.returncode in codes, done.stderr
    assert b"Traceback" not in done.stderr
    assert config.read_text() == LOGGED_IN


@pytest.mark.parametrize(
    "piped",
    [
        pytest.param(KEY.encode(), id="bare"),
        pytest.param(KEY.encode() + b"\r\n", id="crlf"),
        pytest.param(codecs.BOM_UTF8 + KEY.encode() + b"\n", id="utf-8-bom"),
        pytest.param(KEY.encode("utf-16"), id="utf-16"),
        pytest.param(codecs.BOM_UTF16_BE + KEY.encode("utf-16-be"), id="utf-16-be"),
    ],
)
@pytest.mark.parametrize("env", [{}, {"PYTHONIOENCODING": "gbk"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_key_may_come_with_a_byte_order_mark(
    config: Path, piped: bytes, env: Mapping[str, str]
) -> None:
    """PowerShell 5.1 and Notepad write one; the key is the same, in any locale."""
    done = run(
        "apply", "--yes", "--key-stdin", input=piped, stdin=None, env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f'api_key = "{KEY}"' in config.read_text()


@pytest.mark.parametrize(
    "piped",
    [b"", b"\n", b"\xff\x00\xfe", "sk-kimi-é".encode("latin-1"), b"sk-\x00kimi", b"\xff\xfe"],
)
def test_what_is_no_key_is_refused(config: Path, piped: bytes) -> None:
    """Bytes of another encoding are an error that is said, not a crash."""
    done = run("apply", "--yes", "--key-stdin", input=piped, stdin=None, stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
    assert config.read_text() == LOGGED_IN


@posix("there is no /dev/zero")
def test_a_key_without_end_is_refused(config: Path) -> None:
    """No more is read than a key can have."""
    with Path("/dev/zero").open("rb") as zeros:
        done = run("apply", "--yes", "--key-stdin", stdin=zeros, stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert b"too long for an API key" in done.stderr


@pytest.mark.parametrize("verb", ["doctor", "apply", "revert"])
@pytest.mark.parametrize(
    "name", ["x" * 6000, "/".join(["x" * 200] * 30), "config/inside-a-file"], ids=len
)
def test_a_home_that_cannot_be(kimifix: Kimifix, config: Path, name: str, verb: str) -> None:
    """A name that the system does not take is an error with exit code 1, never a bug."""
    (config.parent / "config").touch()
    consent = () if verb == "doctor" else ("--yes",)
    result = kimifix(verb, *consent, "--home", config.parent / name)
    # For Windows there is nothing under such a name, so that there is nothing to revert.
    assert result.code == (0 if sys.platform == "win32" and verb == "revert" else 1)
    assert "Traceback" not in result.err
    assert "bug" not in result.out + result.err


def test_locales_that_know_few_letters(kimifix: Kimifix, config: Path) -> None:
    """Every name is printed in some form, whatever the code page, and nothing crashes."""
    config.write_text(LOGGED_IN.replace("Kimi For Coding", "Kimi 编程 🌙 é"), encoding="utf-8")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for env in (
        *([] if sys.platform == "win32" else [ascii_only]),
        {"PYTHONIOENCODING": "gbk:strict"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"PYTHONIOENCODING": "utf-16"},
    ):
        for arguments in (["doctor"], ["apply", "--dry-run"], ["apply", "--dry-run", "--json"]):
            done = run(*arguments, stdout=subprocess.PIPE, env={**os.environ, **env})
            assert done.returncode == 0, (env, arguments, done.stderr)
            assert b"Traceback" not in done.stderr
            encoding = env.get("PYTHONIOENCODING", "ascii").partition(":")[0]
            text = done.stdout.decode(encoding)
            if "--json" in arguments:
                assert "Kimi 编程 🌙 é" in json.loads(text)["diff"]
            elif arguments[0] == "apply":
                assert 'display_name = "Kimi ' in text


@posix_shell
@pytest.mark.parametrize("arguments", ["doctor", "apply --dry-run", "doctor --json", "--help"])
def test_head_closes_the_pipe(config: Path, arguments: str) -> None:
    """`| head -1` brings no traceback and nothing of Python's own."""
    command = f'"{sys.executable}" -m kimifix {arguments} | head -1'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.skipif("os.geteuid() != 0", reason="only root can become a user that is not listed")
@posix("users are not numbers")
def test_a_user_without_home(config: Path, tmp_path: Path) -> None:
    """With --home no other home is needed: what kimifix remembers lies in it."""
    unlisted: dict[str, Any] = {"user": 12345, "group": 12345, "extra_groups": []}
    env = {"PATH": "/usr/bin:/bin", "KIMIFIX_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    try:
        command = [sys.executable, "-c", "import kimifix"]
        subprocess.run(command, env=env, cwd="/", check=True, **unlisted)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("that user cannot start this Python")
    home = config.parent
    for folder in (home, *home.parents):
        if tmp_path.parents[2] in (folder, *folder.parents):
            folder.chmod(folder.stat().st_mode | 0o055)
    for path in (home, *home.rglob("*")):
        os.chown(path, 12345, 12345)
    options = {"env": env, "cwd": "/", "stdout": subprocess.PIPE, **unlisted}
    for arguments in (["doctor"], ["apply", "--yes", "--credential", "key"], ["revert", "--yes"]):
        done = run(*arguments, "--home", home, **options)
        assert done.returncode == (1 if arguments == ["doctor"] else 0), done.stderr
        assert b"could not check" not in done.stdout
    assert config.read_text() == LOGGED_IN
    assert (home / ".kimifix" / "README.txt").is_file()
    done = run("doctor", **options)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        b"hint: set HOME, or pass --home DIR",
    )
