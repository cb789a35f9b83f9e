"""Which running clients are found: real processes that look like kimi-code to the system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import verbs
from support.command import Kimifix
from support.configs import sign_in, write_config
from support.nobody import as_nobody, give_to_nobody, open_folder

from kimifix.client import processes

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user"
)

# Takes the name of the client (PR_SET_NAME is 15), as Node does for `process.title`, and
# becomes another user, one that has not changed as far as /proc shows (PR_SET_DUMPABLE is 4).
_NAMED = """
import ctypes, os, sys
prctl = ctypes.CDLL(None).prctl
assert prctl(15, sys.argv[1].encode()) == 0
if sys.argv[2:]:
    os.setuid(int(sys.argv[2]))
    assert prctl(4, 1) == 0
print("ready", flush=True)
sys.stdin.read()
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a process which ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **options,  # type: ignore[call-overload]
        )
        assert isinstance(process, subprocess.Popen)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def kimi(start: Start, home: Path) -> Start:
    """Return a function that starts something called kimi-code with these variables."""

    def kimi(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
        options.setdefault("env", {"KIMI_CODE_HOME": str(home)})
        return start([sys.executable, "-c", _NAMED, *(arguments or ["kimi-code"])], **options)

    return kimi


@linux
def test_nobody_runs(home: Path, tmp_path: Path) -> None:
    """Where no client runs there is none, and that is certain."""
    assert processes.running(home).checked
    assert processes._from_proc(home, proc=tmp_path) == processes.Running(())


@linux
@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"KIMI_CODE_HOME": "{home}"}, id="by variable"),
        pytest.param({"HOME": "{user}"}, id="by default"),
        pytest.param({"HOME": "{user}", "KIMI_CODE_HOME": ""}, id="empty variable"),
        pytest.param({"HOME": "/nowhere", "KIMI_CODE_HOME": "{home}"}, id="variable first"),
        pytest.param({"KIMI_CODE_HOME": "{link}"}, id="through a symlink"),
        pytest.param({"KIMI_CODE_HOME": "../user/.kimi-code"}, id="from its own folder"),
        pytest.param({}, id="no word about it"),
    ],
)
def test_client_on_the_home_is_found(
    kimi: Start, home: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    """A process called kimi-code counts when its environment leads to the same folder."""
    (tmp_path / "link").symlink_to(home)
    (tmp_path / "project").mkdir()
    names = {"home": home, "user": home.parent, "link": tmp_path / "link"}
    env = {name: value.format_map(names) for name, value in variables.items()}
    process = kimi(env=env, cwd=tmp_path / "project")
    assert process.pid in processes.running(home).pids
    assert process.pid in processes.running(tmp_path / "link").pids


@linux
@pytest.mark.parametrize(
    ("name", "variables"),
    [
        pytest.param("kimi-code", {"KIMI_CODE_HOME": "/elsewhere"}, id="another home"),
        pytest.param("kimi-code", {"KIMI_CODE_HOME": ".kimi-code"}, id="relative to elsewhere"),
        pytest.param("kimi-code", {"HOME": "/elsewhere"}, id="another user home"),
        pytest.param("kimi-code-x", {}, id="longer name"),
        pytest.param("kimi", {}, id="shorter name"),
        pytest.param("Kimi-Code", {}, id="spelled otherwise"),
    ],
)
def test_others_are_not(
    kimi: Start, home: Path, tmp_path: Path, name: str, variables: dict[str, str]
) -> None:
    """A client on another home, and another program, do not count."""
    process = kimi(name, env=variables, cwd=tmp_path)
    assert process.pid not in processes.running(home).pids


@linux
def test_all_are_found_in_order(kimi: Start, home: Path) -> None:
    """Several clients are listed by their number."""
    pids = {kimi().pid for _ in range(3)}
    found = processes.running(home).pids
    assert pids <= set(found)
    assert list(found) == sorted(found)


@linux
def test_ended_client_does_not_count(kimi: Start, home: Path) -> None:
    """A client that has ended, but whose parent has not asked yet, cannot write any more."""
    process = kimi()
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}/comm").read_text() == "kimi-code\n"
    assert process.pid not in processes.running(home).pids
    assert process.pid not in as_nobody(lambda: processes.running(Path("/")).pids)


@linux
@root
def test_another_user_counts_by_the_environment(kimi: Start, home: Path) -> None:
    """Somebody else's client counts where its environment says that it uses this home."""
    process = kimi("kimi-code", "65534", env={"HOME": str(home.parent)})
    other = kimi("kimi-code", "65534", env={})
    assert Path(f"/proc/{process.pid}").stat().st_uid == 65534
    assert process.pid in processes.running(home).pids
    assert other.pid not in processes.running(home).pids


@linux
@root
def test_client_of_root_counts_on_a_home_of_root(kimi: Start) -> None:
    """A client whose environment may not be read counts on a home of its own user alone."""
    process = kimi()
    with open_folder() as folder:
        assert process.pid in as_nobody(lambda: processes.running(folder).pids)
        give_to_nobody(folder)
        assert process.pid not in as_nobody(lambda: processes.running(folder).pids)
        assert process.pid not in as_nobody(lambda: processes.running(folder / "none").pids)


@linux
def test_client_that_ends_meanwhile(tmp_path: Path) -> None:
    """A process of which less and less can be read is gone, not unknown."""
    for pid, text in (("1", None), ("2", ""), ("3", "3 (kimi-code) S 1")):
        (tmp_path / pid).mkdir()
        if text is not None:
            (tmp_path / pid / "stat").write_text(text)
    (tmp_path / "self").mkdir()
    assert processes._from_proc(tmp_path, proc=tmp_path) == processes.Running(())


@linux
def test_without_proc_it_cannot_be_told(tmp_path: Path) -> None:
    """Where /proc is missing the answer is that there is none."""
    nowhere = tmp_path / "nowhere"
    assert processes._from_proc(tmp_path, proc=nowhere) == processes.Running((), checked=False)


@linux
def test_many_processes_come_and_go(kimi: Start, home: Path) -> None:
    """Processes that start and end all the time do no harm."""
    process = kimi()
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            subprocess.run(["/bin/true"], check=True)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            assert process.pid in processes.running(home).pids
    finally:
        stop.set()
        thread.join()


# --- macOS -----------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="needs ps")
def test_ps_lists_no_other_programs(start: Start) -> None:
    """Other programs, though they name kimi-code, are not taken for it."""
    code = "import sys; print('ready', flush=True); sys.stdin.read()"
    process = start([sys.executable, "-c", code, "kimi-code"])
    found = processes._from_ps(Path("/"))
    assert found.checked
    assert process.pid not in found.pids
    assert os.getpid() not in found.pids


@pytest.mark.skipif(sys.platform == "win32", reason="there are no user numbers there")
def test_lines_of_ps() -> None:
    """Of the lines of ps those of a living client count, if its user may write the home."""
    text = (
        "    1     0 Ss   /sbin/launchd\n"
        "  501   501 S+   kimi-code\n"
        "  502   501 R    kimi-code                       \n"
        "  503   501 S+   kimi-code -p hello\n"
        "  504   501 S+   node /opt/homebrew/bin/kimi\n"
        "  505     0 S+   kimi-code\n"
        "  506 49999 S+   kimi-code\n"
        "  507   501 S+   vim kimi-code\n"
        "  508   501 S+\n"
        "  509   501 Z+   kimi-code\n"
        "  \N{REPLACEMENT CHARACTER}\n"
        "\n"
    )
    assert list(processes._in_ps(text, {"501", "0"})) == [501, 502, 505]


def test_macos_asks_ps(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS ps answers; where it does not, nothing can be told."""
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(processes, "_users", lambda _: set())
    monkeypatch.setattr(processes, "_in_ps", lambda output, _: iter((7,) if output else ()))
    if Path("/bin/ps").exists():
        assert processes.running(home) == processes.Running((7,))
    monkeypatch.setattr(processes, "_output", lambda _: "")
    assert processes.running(home) == processes.Running((), checked=False)


# --- Windows ---------------------------------------------------------------------------------

TASKLIST = """\
"kimi.exe","12345","Console","1","123,456 K"
"kimi.exe","678","RDP-Tcp#12","2","9,876 K"
"""


@pytest.mark.parametrize(
    ("text", "pids"),
    [
        pytest.param(TASKLIST, (12345, 678), id="two"),
        pytest.param(TASKLIST.replace("\n", "\r\n"), (12345, 678), id="CRLF"),
        pytest.param(
            "INFO: No tasks are running which match the specified criteria.\r\n", (), id="none"
        ),
        pytest.param("信息: 没有运行的任务匹配指定标准。\r\n", (), id="none, in Chinese"),
        pytest.param('"kimi.exe","N/A"\n"\n""\n', (), id="nonsense"),
        pytest.param("", (), id="silence"),
    ],
)
def test_lines_of_tasklist(text: str, pids: tuple[int, ...]) -> None:
    """The second column of the CSV is the process; words instead of it mean none."""
    assert processes._in_tasklist(text) == pids


def test_windows_finds_the_native_binary_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a `kimi.exe` is certain to run, its absence says nothing about Node."""
    answers = {"text": TASKLIST}
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(processes, "system_program", lambda name: name)
    monkeypatch.setattr(processes, "_output", lambda _: answers["text"])
    assert processes.running(home) == processes.Running((12345, 678))
    answers["text"] = "INFO: No tasks are running which match the specified criteria."
    assert processes.running(home) == processes.Running((), checked=False)


# --- the programs of the system ----------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere they are started by their paths")
@pytest.mark.parametrize("name", ["cmd.exe", "taskkill.exe", "tasklist.exe"])
def test_programs_of_windows_are_its_own(name: str) -> None:
    """One of that name in the working folder is not started in their place."""
    Path(name).touch()
    program = Path(processes.system_program(name))
    assert program.is_file()
    assert program.parent != Path.cwd()


def test_output_of_a_program() -> None:
    """What is printed comes back, bytes that are no text included; failure is None."""
    python = sys.executable
    shown = processes._output([python, "-c", r"import sys; sys.stdout.buffer.write(b'a\xff')"])
    assert shown == "a\N{REPLACEMENT CHARACTER}"
    assert processes._output([python, "-c", "print('half'); raise SystemExit(1)"]) == ""
    assert processes._output(["/no/such/program"]) == ""


def test_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the system that does not answer is not waited for."""
    monkeypatch.setattr(processes, "_SECONDS_FOR_PROGRAM", 0.2)
    assert processes._output([sys.executable, "-c", "import time; time.sleep(60)"]) == ""


@linux
def test_linux_needs_no_other_program(kimifix: Kimifix) -> None:
    """Finding running clients reads files and does not even load `subprocess`."""
    result = kimifix.python(
        "import sys\n"
        "from pathlib import Path\n"
        "from kimifix.client import processes\n"
        "processes.running(Path('/nowhere'))\n"
        "print('subprocess' in sys.modules)"
    )
    assert (result.out, result.err) == ("False\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_start_of_a_process(start: Start) -> None:
    """It was started between two looks at the clock; that of none is not known."""
    before = time.time()
    process = start([sys.executable, "-c", "print('ready', flush=True); input()"])
    found = processes.started(process.pid)
    assert found is not None
    assert before - 2 < found < time.time() + 2
    assert processes.started(2**31 - 1) is None


@pytest.mark.parametrize(
    ("elapsed", "seconds"),
    [(" 00:07\n", 7), ("12:00", 720), ("01:00:01", 3601), ("2-03:00:00", 183_600)],
)
def test_elapsed_time_of_ps(elapsed: str, seconds: int) -> None:
    """Minutes and seconds are always there, hours and days where they are needed."""
    assert processes._seconds(elapsed) == seconds


@linux
def test_a_client_from_before_the_change_is_told(
    kimi: Start, home: Path, kimifix: Kimifix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor` sees a client that has not read the config since `apply`, and no younger one."""
    monkeypatch.setattr("kimifix.consent.WATCH_SECONDS", 0.2)
    sign_in(home)
    write_config(home)
    verbs.apply(home, credential="key")
    state = next(kimifix.state.glob("*/backups")).parent
    process = kimi()
    finding = running_of(kimifix)
    assert (finding["status"], finding["data"]["older"]) == ("info", [])
    os.utime(state, (time.time() + 5, time.time() + 5))
    finding = running_of(kimifix)
    assert (finding["status"], finding["data"]["older"]) == ("warning", [process.pid])


def running_of(kimifix: Kimifix) -> dict[str, Any]:
    """Return what `doctor` says about running clients."""
    findings: list[dict[str, Any]] = kimifix("doctor", "--json").json["findings"]
    return next(found for found in findings if found["check"] == "running")
