"""A private folder and the clients that run in it: all are gone behind the block they serve."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kimifix.client.processes import system_program
from kimifix.errors import KimifixError
from kimifix.reader import read_end
from kimifix.secret import SEQUENCE, redact

_SECONDS_TO_OBEY = 2.0
_SECONDS_TO_REMOVE = 5.0
_TICK = 0.05

_PREFIX = "kimifix-run-"
_MARK = "made-by-kimifix"
_ENDINGS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
]
_OWN_GROUP: dict[str, Any] = {"start_new_session": True}
if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    _OWN_GROUP = {"creationflags": _FLAGS}
_UNFIT_FOR_CMD = re.compile(r'[&|<>^%!"\x00-\x1f]')

_OUTPUT_BYTES = 8192
_LONGEST_WORDS = 300
_SAYS_NOTHING = re.compile(r"kimi version |Warning: |See log: |To resume this session")


class Overlay:
    """Where one run of the client lives: ``user`` is its user's folder, ``home`` its home."""

    def __init__(self, folder: Path, config: str, signals: list[int]) -> None:
        self._folder = folder
        self._signals = signals
        self.user = Path(tempfile.mkdtemp(dir=folder))
        self.home, self.project, self._temporary = new = [
            self.user / name for name in ("home", "project", "tmp")
        ]
        for path in new:
            path.mkdir(mode=0o700)
        # The client looks for instructions and settings of a project upwards, up to this.
        (self.project / ".git").mkdir()
        write_private(self.home / "config.toml", config)

    def run(
        self,
        program: Path,
        arguments: Iterable[str],
        env: Mapping[str, str],
        *,
        seconds: float,
        enough: Callable[[], bool] = lambda: False,
        reply: Callable[[str], str] | None = None,
    ) -> int | None:
        """Run ``program`` and return its exit code, None if it was ended.

        It is ended behind ``seconds``, when ``enough`` says so, and when a signal asks this
        process to end. Its children end with it; on Linux those, too, that have left its
        group. ``reply`` gets what it has printed so far and returns what to say to it next.

        Raises ``OSError`` where it cannot be started, ``ValueError`` where Windows' shell
        would read the command otherwise.
        """
        if self._signals:
            return None
        folders = env.get("PATH", "").split(os.pathsep)
        if str(program.parent) not in folders:  # its Node lies beside it, as nvm does
            folders = [str(program.parent), *filter(None, folders)]
        variables = {
            **env,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self._temporary)),
            "PATH": os.pathsep.join(folders),
            "KIMI_CODE_HOME": str(self.home),
            "KIMI_CODE_NO_AUTO_UPDATE": "1",
            "KIMI_DISABLE_TELEMETRY": "1",
            "TERM": "dumb",
        }
        command = [str(program), *arguments]
        is_batch = program.suffix.lower() in (".cmd", ".bat")
        with (self.user / "out").open("wb") as out, (self.user / "err").open("wb") as err:
            process = subprocess.Popen(
                _for_windows(command) if is_batch else command,
                stdin=subprocess.PIPE if reply else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                bufsize=0,
                cwd=self.project,
                env=variables,
                **_OWN_GROUP,
            )
        deadline = time.monotonic() + seconds
        try:
            while not (enough() or self._signals) and time.monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_TICK)
                if reply and process.stdin and (words := reply(self._printed("out"))):
                    with suppress(OSError):  # it has ended meanwhile
                        process.stdin.write(words.encode())
            return None
        finally:
            _end(process)
            _end_strays(self._folder)

    @property
    def has_answer(self) -> bool:
        """Whether the client has written a word to stdout."""
        return any(map(str.isalnum, self._printed("out")))

    @property
    def last_words(self) -> str:
        """The line of stderr that says most: the last error, else the last line."""
        lines = [line.strip() for line in self._printed("err").split("\n")]
        lines = [line for line in lines if line and not _SAYS_NOTHING.match(line)]
        errors = [line for line in lines if re.match(r"\w*error\b", line, re.IGNORECASE)]
        return (errors or lines or [""])[-1][:_LONGEST_WORDS]

    def _printed(self, stream: str) -> str:
        text = read_end(self.user / stream, _OUTPUT_BYTES).decode("utf-8", errors="replace")
        text = SEQUENCE.sub("", redact(text))
        return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def write_private(path: Path, text: str) -> None:
    """Write a new file for this user alone; raises ``OSError`` where that fails."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", newline="")


@contextmanager
def leash() -> Iterator[Callable[[str], Overlay]]:
    """Give a function that makes an overlay with a config; remove them all behind the block.

    A signal that asks this process to end is noted, lets ``Overlay.run`` return, and acts
    behind the block: ``KeyboardInterrupt`` for SIGINT, ``SystemExit`` for the others.
    Outside the main thread Python handles none. What an earlier run left because it was
    killed goes first.

    Raises ``KimifixError`` where the folder cannot be made or removed; the function raises
    ``OSError``.
    """
    signals: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDINGS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, lambda n, _: signals.append(n))
    try:
        _sweep()
        with _private_folder() as folder:
            yield lambda config: Overlay(folder, config, signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signals:
            raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])


@contextmanager
def _private_folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    except OSError as error:
        reason = error.strerror or error
        raise KimifixError(
            f"no temporary folder can be made: {reason}", "set TMPDIR to a folder you can write to"
        ) from error
    try:
        with _held(folder):
            yield folder
    finally:
        _remove(folder)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder until this process ends, however that comes about, and mark it as ours.

    Raises ``OSError`` where somebody else holds it.
    """
    mark = folder / _MARK
    if sys.platform == "win32":
        mark.unlink(missing_ok=True)  # fails while another process has it open
        with mark.open("x"):
            yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mark.touch()
        yield
    finally:
        os.close(handle)


def _sweep() -> None:
    """Remove the folders of runs that were killed, and end what still runs in them."""
    for folder in Path(tempfile.gettempdir()).resolve().glob(f"{_PREFIX}*"):
        with suppress(OSError, KimifixError):
            status = folder.lstat()
            ours = sys.platform == "win32" or status.st_uid == os.geteuid()
            if ours and stat.S_ISDIR(status.st_mode) and (folder / _MARK).is_file():
                with _held(folder):
                    _end_strays(folder)
                _remove(folder)


def _for_windows(command: list[str]) -> str:
    """Return the command line that starts a batch file, which only Windows' shell can.

    The shell takes the outermost quotes away (`/s`); inside the others it reads nothing
    but what is refused here.
    """
    unfit = next((part for part in command if _UNFIT_FOR_CMD.search(part)), None)
    if unfit is not None:
        raise ValueError(f"it cannot be passed to `{Path(command[0]).name}`: `{unfit}`")
    quoted = " ".join(f'"{part}"' for part in command)
    return f'"{system_program("cmd.exe")}" /d /s /c "{quoted}"'


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, kindly at first."""
    if process.stdin:
        process.stdin.close()
    if sys.platform == "win32":
        tree = [system_program("taskkill.exe"), "/pid", str(process.pid), "/t", "/f"]
        subprocess.run(tree, capture_output=True, check=False)
        process.kill()
    else:
        running = process.poll() is None
        for number in (signal.SIGTERM, signal.SIGKILL) if running else (signal.SIGKILL,):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_OBEY)
    process.wait()


def _end_strays(folder: Path) -> None:
    """End what has left the group: its environment names the folder, whose name nobody guesses."""
    if sys.platform != "linux":
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(folder) in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove the folder, its mark last, also while a killed process still lets go of it."""
    deadline = time.monotonic() + _SECONDS_TO_REMOVE
    while True:
        inside = [path for path in folder.glob("*") if path.name != _MARK]
        for path in inside or [folder]:
            shutil.rmtree(path, ignore_errors=True)
        if not folder.exists():
            return
        if time.monotonic() > deadline:
            raise KimifixError(
                f"a temporary folder could not be removed: `{folder}`",
                "remove it by hand: a copy of the config may be in it",
            )
        time.sleep(_TICK)
