"""Starting a client on loopback; `fake_client.py` stands in for it, as a process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.platforms import lacking_in_wine, posix

from kimifix.client.capture import capture
from kimifix.client.recorder import Captured
from kimifix.config.decoy import decoy
from kimifix.config.document import Document
from kimifix.errors import KimifixError

signals = posix("a process is ended, and not by a signal that it could take")
ends_children = lacking_in_wine("`taskkill /t`")

CONFIG = """
default_model = "kimi-code/k"

[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
oauth = { storage = "file", key = "oauth/kimi-code" }

[providers.kimifix]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
api_key = "sk-kimi-real-secret"
custom_headers = { X-Msh-Platform = "kimi_cli", X-Gate = "gate-real-secret" }

[providers.shared]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
oauth = { storage = "file", key = "oauth/another-slot" }

[providers.other]
type = "anthropic"
base_url = "https://api.kimi.com/coding"
api_key_env = "MY_REAL_KEY"

[models."kimi-code/k"]
provider = "managed:kimi-code"
model = "k"

[models."kimifix/k"]
provider = "kimifix"
model = "k"

[models."other/k"]
provider = "other"
model = "k"
"""
DATA = tomllib.loads(CONFIG)
OWN = {"kimifix": "kimifix/k"}

# Longer than a test may take, and as long as it may take where the limit is the point.
NO_HURRY = 60.0
SHORT = 1.5

# Without it Windows' programs do not start.
OF_THE_SYSTEM = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder for temporary files; a test can see what is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that lays out the stand-in with a behaviour and gives its program."""

    def lay_out(**behaviour: Any) -> Path:
        folder = tmp_path / "my programs"
        folder.mkdir()
        (folder / "behaviour.json").write_text(json.dumps(behaviour))
        source = Path(__file__).parent / "fake_client.py"
        if sys.platform == "win32":
            shutil.copy(source, folder)
            program = folder / "kimi.cmd"
            program.write_text(f'@"{sys.executable}" "%~dp0{source.name}" %*\n')
            return program
        program = folder / "kimi"
        program.write_text(f"#!{sys.executable}\n{source.read_text()}")
        program.chmod(0o755)
        return program

    return lay_out


def run(
    program: Path,
    providers: dict[str, str] | None = None,
    *,
    seconds: float = NO_HURRY,
    env: dict[str, str] | None = None,
) -> list[Captured]:
    """Capture with a decoy of ``CONFIG``."""
    asked = [Captured(*one) for one in (providers or OWN).items()]
    capture(
        program,
        lambda url, _: decoy(Document(DATA), url),
        asked,
        env=OF_THE_SYSTEM | (env or {}),
        seconds=seconds,
        progress=lambda _: None,
    )
    return asked


def is_gone(pid: int) -> bool:
    """Tell whether the process has ended, waiting a little for it to be swept up."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            state = ""
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_what_is_sent_is_told_as_it_was_on_the_wire(
    client: Callable[..., Path], temporary: Path
) -> None:
    """Method, path, the identity in its spelling, and the header of the credential."""
    (seen,) = run(client())
    assert (seen.provider, seen.alias, seen.problem) == ("kimifix", "kimifix/k", None)
    assert (seen.method, seen.path) == ("POST", "/coding/v1/chat/completions")
    assert seen.identity == (("user-agent", "fake/1"), ("X-Msh-Platform", "kimi_cli"))
    assert seen.credential == "authorization"
    assert not list(temporary.iterdir())


def test_the_anthropic_surface_is_answered_too(
    client: Callable[..., Path], temporary: Path
) -> None:
    """A request to `/messages` is told with its query and its own credential header."""
    (seen,) = run(client(), {"other": "other/k"})
    assert seen.problem is None
    assert seen.path == "/coding/v1/messages?beta=true"
    assert seen.credential == "X-Api-Key"


def test_every_spelling_is_told(client: Callable[..., Path], temporary: Path) -> None:
    """Two spellings of one header are both there, in their order."""
    program = client(spellings=[["x-msh-platform", "kimi_code_cli"], ["X-MSH-Tag", "t"]])
    (seen,) = run(program)
    assert seen.spelled("X-Msh-Platform") == (
        ("X-Msh-Platform", "kimi_cli"),
        ("x-msh-platform", "kimi_code_cli"),
    )
    assert ("X-MSH-Tag", "t") in seen.identity


def test_each_provider_gets_a_run_of_its_own(client: Callable[..., Path], temporary: Path) -> None:
    """The results come in the order of the providers, each with its own headers."""
    told: list[str] = []
    seen = [Captured("managed:kimi-code", "kimi-code/k"), Captured("kimifix", "kimifix/k")]
    capture(
        client(),
        lambda url, _: decoy(Document(DATA), url),
        seen,
        env=OF_THE_SYSTEM,
        seconds=NO_HURRY,
        progress=told.append,
    )
    assert [captured.provider for captured in seen] == ["managed:kimi-code", "kimifix"]
    assert [captured.spelled("x-msh-platform") for captured in seen] == [
        (),
        (("X-Msh-Platform", "kimi_cli"),),
    ]
    assert [text.count("managed:kimi-code") for text in told] == [1, 0]


@ends_children
@pytest.mark.parametrize("alias", ["kimifix/k", "other/k"])
def test_an_editor_s_request_is_told(
    client: Callable[..., Path], temporary: Path, alias: str
) -> None:
    """In ACP mode the default model is asked, once there is a session."""
    one = Captured(alias.partition("/")[0], alias, "ACP")
    capture(
        client(),
        lambda url, default: decoy(Document({**DATA, "default_model": default}), url),
        [one],
        env=OF_THE_SYSTEM,
        seconds=NO_HURRY,
        progress=lambda _: None,
    )
    assert one.problem is None
    assert (
        one.path
        == {
            "kimifix/k": "/coding/v1/chat/completions",
            "other/k": "/coding/v1/messages?beta=true",
        }[alias]
    )
    assert not list(temporary.iterdir())


@ends_children
def test_a_client_that_stays_after_its_request_is_not_waited_for(
    client: Callable[..., Path], temporary: Path
) -> None:
    """Once it has sent its request, the client is ended."""
    started = time.monotonic()
    (seen,) = run(client(after=["hang"]))
    assert seen.problem is None
    assert time.monotonic() - started < NO_HURRY / 2
    assert not list(temporary.iterdir())


@signals
def test_a_client_that_hangs_is_ended_with_its_children(
    client: Callable[..., Path], temporary: Path
) -> None:
    """Neither a deaf client nor its child outlives the time limit, and the folder goes."""
    program = client(before=["ignore-signals", "start-child", "hang"])
    (seen,) = run(program, seconds=SHORT)
    assert seen.problem == "the client sent no request within 1.5 seconds"
    assert seen.identity == ()
    assert is_gone(int((program.parent / "child").read_text()))
    assert not list(temporary.iterdir())


@signals
def test_a_child_left_behind_is_ended(client: Callable[..., Path], temporary: Path) -> None:
    """A child whose client has ended by itself is ended, too."""
    program = client(before=["start-child"])
    (seen,) = run(program)
    assert seen.problem is None
    assert is_gone(int((program.parent / "child").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a process is")
def test_a_child_that_leaves_the_group_is_ended(
    client: Callable[..., Path], temporary: Path
) -> None:
    """A child in a session of its own is known by its environment."""
    program = client(before=["leave-group", "hang"])
    run(program, seconds=SHORT)
    assert is_gone(int((program.parent / "child").read_text()))


def test_a_crash_is_told_in_the_client_s_words(
    client: Callable[..., Path], temporary: Path
) -> None:
    """The exit code and the line of stderr that says most, fit to be printed."""
    (seen,) = run(client(before=["crash"]))
    assert seen.problem == (
        "the client sent no request and ended with exit code 7: error: failed: no luck"
    )
    assert not list(temporary.iterdir())


@signals
def test_a_killed_client_is_told(client: Callable[..., Path], temporary: Path) -> None:
    """A client that somebody else kills leaves a problem in words and no folder."""
    (seen,) = run(client(before=["kill-itself"]))
    assert seen.problem == "the client sent no request and ended with exit code -9"
    assert not list(temporary.iterdir())


def test_a_client_without_request_is_told(client: Callable[..., Path], temporary: Path) -> None:
    """A program that does something else is no client."""
    (seen,) = run(client(before=["quit"]))
    assert seen.problem == "the client sent no request and ended with exit code 0"


@pytest.mark.parametrize("kind", ["missing", "no program"])
def test_what_cannot_be_started_is_told(kind: str, tmp_path: Path, temporary: Path) -> None:
    """A program that is gone or is none is a problem, not an exception."""
    program = tmp_path / "kimi"
    if kind == "no program":
        program.write_text("nothing to run")
    (seen,) = run(program)
    assert seen.problem is not None
    assert seen.problem.startswith("the client cannot be started: ")
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("name", ["a & b.cmd", "%PATH%.CMD", "kimi^.bat"])
def test_a_batch_file_that_the_shell_would_take_for_another_is_not_started(
    name: str, tmp_path: Path, temporary: Path
) -> None:
    """Windows' shell starts batch files, and reads some characters even in quotes."""
    (seen,) = run(tmp_path / name)
    assert seen.problem is not None
    assert seen.problem.startswith("the client cannot be started: it cannot be passed to")


def test_a_failing_config_leaves_no_folder(temporary: Path) -> None:
    """An error of the caller's own passes through, and nothing stays behind."""

    def fail(url: str, _: str) -> str:
        raise ZeroDivisionError(url)

    asked = [Captured("kimifix", "kimifix/k")]
    with pytest.raises(ZeroDivisionError):
        capture(Path("/nonexistent"), fail, asked, env={}, seconds=SHORT, progress=print)
    assert not list(temporary.iterdir())


def test_signal_handlers_are_put_back(client: Callable[..., Path], temporary: Path) -> None:
    """After a capture signals do what they did before."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = [signal.getsignal(number) for number in numbers]
    run(client())
    assert [signal.getsignal(number) for number in numbers] == before


@signals
@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("SIGINT", 130, id="ctrl-c"),
        pytest.param("SIGTERM", 143, id="sigterm"),
        pytest.param("SIGHUP", 129, id="closed-terminal"),
        pytest.param("SIGQUIT", 131, id="ctrl-backslash"),
    ],
)
def test_an_interrupted_capture_leaves_nothing(
    name: str, code: int, client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """Whoever ends kimifix in the middle leaves no client, no child and no folder."""
    program = client(before=["ignore-signals", "start-child", "hang"])
    with hanging(program, tmp_path) as process:
        assert list(temporary.iterdir())
        process.send_signal(signal.Signals[name])
        process.send_signal(signal.Signals[name])  # an impatient user does not get in the way
        assert process.wait(NO_HURRY) == code
    assert is_gone(int((program.parent / "child").read_text()))
    assert not list(temporary.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a process is")
def test_the_next_run_sweeps_what_a_killed_one_left(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """Folder and client of a killed run go, those of a run that goes on stay."""
    program = client(before=["start-child", "hang"])
    with hanging(program, tmp_path) as killed:
        killed.kill()
        killed.wait()
    (left,) = temporary.iterdir()
    (program.parent / "hangs").unlink()
    child = int((program.parent / "child").read_text())
    foreign = temporary / "kimifix-run-of-somebody"
    foreign.mkdir()
    with hanging(program, tmp_path):
        assert is_gone(child)
        going_on = {*temporary.iterdir()} - {left, foreign}
        (seen,) = run(Path("/bin/true"))
        assert {*temporary.iterdir()} == {*going_on, foreign}
        assert len(going_on) == 1
        assert seen.problem == "the client sent no request and ended with exit code 0"


def test_a_run_killed_while_it_removes_its_folder_is_swept(
    client: Callable[..., Path], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could hold a secret goes before the mark by which the next run knows the folder."""
    calls: list[str] = []

    def killed(path: object, **_: object) -> None:
        calls.append(str(path))
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(ZeroDivisionError):
            run(client())
    (left,) = temporary.iterdir()
    assert calls == [str(path) for path in left.iterdir() if path.is_dir()]
    run(Path("/bin/true"))
    assert not list(temporary.iterdir())


@contextmanager
def hanging(program: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that captures what ``program`` sends, from when that hangs."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import signal, sys, tomllib
            from pathlib import Path
            from kimifix.client.capture import capture
            from kimifix.client.recorder import Captured
            from kimifix.config.decoy import decoy
            from kimifix.config.document import Document

            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in (signal.SIGHUP, signal.SIGQUIT):  # ignored in the background
                signal.signal(number, signal.SIG_DFL)
            data = tomllib.loads(Path(sys.argv[2]).read_text())
            try:
                capture(
                    Path(sys.argv[1]), lambda url, _: decoy(Document(data), url),
                    [Captured("kimifix", "kimifix/k")],
                    env={}, seconds=600, progress=print,
                )
            except KeyboardInterrupt:
                sys.exit(130)
            """
        )
    )
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    command = [sys.executable, str(script), str(program), str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not (program.parent / "hangs").exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


def test_no_secret_reaches_the_client(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """Config, environment and arguments of the client hold no secret of the user's."""
    report = tmp_path / "report.json"
    env = {
        "PATH": f"/usr/bin{os.pathsep}/bin",
        "MY_REAL_KEY": "key-real-secret",
        "OPENAI_API_KEY": "openai-real-secret",
        "HTTPS_PROXY": "http://user:proxy-real-secret@proxy.example",
        "NODE_OPTIONS": "--require /real-secret.js",
        "KIMI_CODE_HOME": "/real-secret",
        "KIMI_CODE_CUSTOM_HEADERS": "X-Gate: header-real-secret\nx-msh-tag: tag\nnothing",
        "HOME": "/home/real-secret",
    }
    (seen,) = run(client(report=str(report)), env=env)
    assert seen.problem is None
    text = report.read_text()
    assert "real-secret" not in text
    assert ".example" not in text
    data = json.loads(text)
    assert data["argv"] == ["-p", "say pong", "-m", "kimifix/k"]
    assert data["env"]["KIMI_CODE_CUSTOM_HEADERS"] == "x-msh-tag: tag"
    assert data["env"]["MY_REAL_KEY"] == "kimifix-dummy"
    assert data["env"]["PATH"].split(os.pathsep)[1:] == ["/usr/bin", "/bin"]


def test_a_key_variable_that_is_not_set_stays_so(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """Where the user has not set the variable, the client shall not find it either."""
    report = tmp_path / "report.json"
    run(client(report=str(report)), env={"PATH": "/usr/bin"})
    assert "MY_REAL_KEY" not in json.loads(report.read_text())["env"]


def test_everything_of_the_client_lies_in_one_private_folder(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """Home, project and temporary files are in the folder, which nobody else may enter."""
    report = tmp_path / "report.json"
    run(client(report=str(report)))
    data = json.loads(report.read_text())
    for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "KIMI_CODE_HOME"):
        assert data["env"][name].startswith(str(temporary))
    assert data["cwd"].startswith(str(temporary))
    if sys.platform != "win32":
        assert set(data["folders"].values()) == {"0o700"}
        assert {mode for mode, _ in data["files"].values()} == {"0o600"}


@pytest.mark.parametrize("given", [{}, {"KIMI_SHELL_PATH": "chosen"}], ids=["found", "chosen"])
def test_on_windows_the_client_gets_to_know_git_bash(
    given: dict[str, str],
    client: Callable[..., Path],
    temporary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It needs one, and looks in the real LOCALAPPDATA, which it does not get to see."""
    monkeypatch.setattr("kimifix.client.shell.sys", SimpleNamespace(platform="win32"))
    bash = tmp_path / "Local" / "Programs" / "Git" / "bin" / "bash.exe"
    bash.parent.mkdir(parents=True)
    bash.touch()
    report = tmp_path / "report.json"
    run(client(report=str(report)), env={"LOCALAPPDATA": str(tmp_path / "Local"), **given})
    env = json.loads(report.read_text())["env"]
    assert env["KIMI_SHELL_PATH"] == given.get("KIMI_SHELL_PATH", str(bash))
    assert env["LOCALAPPDATA"].startswith(str(temporary))


def test_every_login_that_may_be_asked_for_is_made_up(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """There is a login in each slot of the config and in the one for the recorder's address."""
    report = tmp_path / "report.json"
    run(client(report=str(report)))
    files = json.loads(report.read_text())["files"]
    slots = sorted(name for name in files if name.startswith("credentials/"))
    assert "credentials/another-slot.json" in slots
    assert "credentials/kimi-code.json" in slots
    assert sum(slot.startswith("credentials/kimi-code-env-") for slot in slots) == 1
    login = json.loads(files["credentials/kimi-code.json"][1])
    assert login["access_token"] == "kimifix-dummy"
    assert login["expires_at"] > 4_000_000_000


def test_slots_that_lead_elsewhere_are_not_written(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """A slot name with a path in it writes no file outside the folder."""
    data = tomllib.loads(CONFIG.replace("oauth/another-slot", "oauth/../../../../escaped"))
    capture(
        client(),
        lambda url, _: decoy(Document(data), url),
        [Captured("kimifix", "kimifix/k")],
        env=OF_THE_SYSTEM,
        seconds=NO_HURRY,
        progress=lambda _: None,
    )
    assert list(tmp_path.rglob("escaped*")) == []


def test_the_recorder_is_the_only_way_out(
    client: Callable[..., Path], temporary: Path, tmp_path: Path
) -> None:
    """Proxies and Kimi hosts lead to the recorder, which refuses others and tells of them."""
    report = tmp_path / "report.json"
    (seen,) = run(client(report=str(report), before=["use-proxy"]))
    env = json.loads(report.read_text())["env"]
    recorder = env["KIMI_CODE_OAUTH_HOST"]
    found = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/([0-9a-f]{32})", recorder)
    assert found is not None
    address, secret = found.groups()
    proxy = f"http://kimifix:{secret}@{address}"
    assert {env[f"{kind}_PROXY"] for kind in ("HTTP", "HTTPS")} == {proxy}
    assert env["KIMI_CODE_BASE_URL"] == f"{recorder}/coding/v1"
    assert env["NO_PROXY"] == "127.0.0.1"
    assert seen.refused == ["telemetry.example:443", "updates.example"]
    assert seen.problem is None


def test_nobody_else_can_speak_to_the_recorder(
    client: Callable[..., Path], temporary: Path
) -> None:
    """What does not know the secret in the address leaves no trace in the result."""
    (seen,) = run(client(before=["forge"]))
    assert seen.spelled("X-Msh-Platform") == (("X-Msh-Platform", "kimi_cli"),)
    assert seen.refused == []


def test_without_a_folder_for_temporary_files_it_says_so(
    client: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary folder that cannot be made is told as that."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(KimifixError, match="no temporary folder can be made"):
        run(client())


def test_a_capture_from_another_thread_works(client: Callable[..., Path], temporary: Path) -> None:
    """Signals are a matter of the main thread; elsewhere the capture does without."""
    import threading

    results: list[Captured] = []
    program = client()
    thread = threading.Thread(target=lambda: results.extend(run(program)))
    thread.start()
    thread.join()
    assert [result.problem for result in results] == [None]
