"""A program on a terminal of its own, with what its screen shows, for the client's full screen."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROWS, COLUMNS = 50, 120
ENTER, ESCAPE, DOWN, UP = "\r", "\x1b", "\x1b[B", "\x1b[A"

# Generous: a wait ends as soon as the screen shows what it is for.
PATIENCE_SECONDS = 30.0

_SEQUENCE = re.compile(
    r"\x1b\[([0-9;?<=>]*)[ -/]*([@-~])"  # CSI
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)"  # OSC and other strings
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)


class Screen:
    """The text on the screen, as far as the client needs it: lines, cursor moves, erasing.

    Lines that have scrolled out at the top are kept.
    """

    def __init__(self, rows: int = ROWS) -> None:
        self._rows = rows
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        self._rest = ""

    def feed(self, text: str) -> None:
        """Take in what the program has written; a sequence may be cut in two."""
        text, self._rest = self._rest + text, ""
        position = 0
        while position < len(text):
            character = text[position]
            if character == "\x1b":
                match = _SEQUENCE.match(text, position)
                if match is None:
                    self._rest = text[position:]
                    return
                if match[2]:
                    self._control(match[1], match[2])
                position = match.end()
                continue
            self._put(character)
            position += 1

    @property
    def text(self) -> str:
        """All lines, each without the blanks at its end."""
        return "\n".join("".join(line).rstrip() for line in self._lines)

    @property
    def beyond(self) -> int:
        """How many columns the cursor stands behind the last character of its line."""
        return self._column - len("".join(self._lines[self._row]).rstrip())

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._go(self._row + 1)
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " ":
            line = self._lines[self._row]
            line.extend(" " * (self._column + 1 - len(line)))
            line[self._column] = character
            self._column += 1

    def _go(self, row: int) -> None:
        self._row = max(0, row)
        self._lines.extend([] for _ in range(self._row + 1 - len(self._lines)))

    def _control(self, parameters: str, final: str) -> None:
        if parameters[:1] in ("?", ">", "<", "="):
            return
        numbers = [int(part) if part else 0 for part in parameters.split(";")]
        count = max(1, numbers[0])
        top = max(0, len(self._lines) - self._rows)
        match final:
            case "A":
                self._go(self._row - count)
            case "B":
                self._go(self._row + count)
            case "C":
                self._column += count
            case "D":
                self._column = max(0, self._column - count)
            case "G":
                self._column = count - 1
            case "H" | "f":
                self._go(top + count - 1)
                self._column = max(1, numbers[1] if len(numbers) > 1 else 1) - 1
            case "K":
                self._erase_in_line(numbers[0])
            case "J":
                self._erase_in_screen(numbers[0], top)

    def _erase_in_line(self, mode: int) -> None:
        line = self._lines[self._row]
        if mode == 0:
            del line[self._column :]
        elif mode == 1:
            line[: self._column + 1] = " " * min(len(line), self._column + 1)
        else:
            line.clear()

    def _erase_in_screen(self, mode: int, top: int) -> None:
        if mode == 0:
            self._erase_in_line(0)
            del self._lines[self._row + 1 :]
        else:
            first = 0 if mode == 3 else top
            for line in self._lines[first:]:
                line.clear()


class Terminal:
    """A running program with a terminal; leave it with ``with``, which ends the program."""

    def __init__(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str],
        cwd: Path,
        size: tuple[int, int] = (ROWS, COLUMNS),
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        os.close(theirs)
        self._screen = Screen(size[0])
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._reader.join(5)
        os.close(self._ours)

    @property
    def pid(self) -> int:
        """The process that runs in it."""
        return self._process.pid

    @property
    def text(self) -> str:
        """What the screen shows now."""
        with self._changed:
            return self._screen.text

    def wait_for(self, *texts: str) -> str:
        """Wait until the screen shows one of ``texts`` and return which."""
        found = self.wait_until(lambda shown: next((t for t in texts if t in shown), None))
        assert found is not None
        return found

    def wait_until(self, look: Callable[[str], str | None]) -> str | None:
        """Wait until ``look`` finds something on the screen, and return it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while True:
                found = look(self._screen.text)
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    state = "ended" if self._ended else "still runs"
                    raise AssertionError(
                        f"not on the screen (the program {state}):\n{self._screen.text}"
                    )
                self._changed.wait(left)

    def wait_for_question(self, look: Callable[[str], bool]) -> str:
        """Wait until ``look`` finds a question, and until it can be answered; return the screen.

        A program that asks writes the blank behind its question last; what is typed before
        that shows in front of the blank, and where nothing shall show it is lost.
        """
        text = self.wait_until(lambda shown: shown if look(shown) and self._screen.beyond else None)
        assert text is not None
        return text

    def wait(self) -> int:
        """Wait until the program ends by itself and return its exit code."""
        code = self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return code

    def write(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def command(self, name: str) -> None:
        """Give a slash command, such as `/model`."""
        self.write(name)
        self.wait_for(f"> {name}")
        self.write(ENTER)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:
                data = b""
            with self._changed:
                if data:
                    self._screen.feed(decoder.decode(data))
                else:
                    self._ended = True
                self._changed.notify_all()
            if not data:
                return
