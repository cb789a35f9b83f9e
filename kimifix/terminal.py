"""The streams: the one door through which text leaves the process, and what comes in by them."""

import errno
import os
import re
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, TextIO
from unicodedata import east_asian_width

import click

from kimifix import __version__
from kimifix.errors import KimifixError
from kimifix.language import translated
from kimifix.secret import Secret, is_invisible, redact

_READER_IS_GONE = (errno.EPIPE, errno.EINVAL)  # EINVAL: on Windows

_LONGEST_KEY = 4096
INDENT = 2  # of what continues a line: foreign text never begins one
# What a line break must not cut: a word, what stands in backticks, and a character that
# fills two columns, each with the punctuation before and behind it.
_WIDE = "\u2e80-\uffff"  # and little else
_OPENING, _CLOSING = "（「『《“", "，。、；：！？）」』》”"  # noqa: RUF001
_WORD = r"(\s*)((?:`[^`]*`|[^\s`])+|\S)"
# Compiled where there is more than ASCII, for that takes 4 ms.
_ANY_WORD = rf"(\s*)([{_OPENING}]*(?:(?:`[^`]*`|[^\s{_WIDE}`])+|\S)[{_CLOSING}]*)"


class OutputError(KimifixError):
    """Stdout does not take what is to be said, as on a full disk; a closed pipe is no error."""


class Styled(NamedTuple):
    """A part of a line that has a look."""

    text: str
    colour: str | None = None
    bold: bool = False


Line = tuple[str | Styled, ...]

_waiting = ExitStack()  # what ends the line that says what is waited for


def put(lines: Iterable[Line], *, err: bool = False, colour: bool | None = None) -> None:
    """Write ``lines``; nothing else lets text out of the process.

    No part can hold a secret, or do on a terminal what its author planned, whoever that was.
    Raises ``OutputError`` where stdout does not take it; on stderr nobody would read of it.
    """
    _waiting.close()
    stream = sys.stderr if err else sys.stdout
    lines = list(lines)
    if stream is None or not lines:  # None: closed before we came
        return
    encoding = stream.encoding or "utf-8"
    text = "\n".join("".join(_styled(part, encoding) for part in line) for line in lines)
    try:
        click.echo(text, err=err, color=colour)
    except OSError as error:
        _give_up(stream)
        if not err and error.errno not in _READER_IS_GONE:
            raise OutputError(f"could not write the report: {error.strerror}") from None


def _give_up(stream: TextIO) -> None:
    """Let nothing more come from ``stream``: Python would try again when it ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def wait(text: str) -> None:
    """Say what is waited for: on a terminal until something else is said, else in a line."""
    if not is_terminal(sys.stderr):
        put([(text,)], err=True)
        return
    _waiting.close()
    text = _styled(cut(text, screen()[0] - len(" (999 s) ")), sys.stderr.encoding)
    over = Event()
    thread = Thread(target=_count, args=(text, over), daemon=True)
    thread.start()
    _waiting.callback(thread.join)
    _waiting.callback(over.set)


def _count(text: str, over: Event) -> None:
    """Show ``text`` and the seconds on the terminal; leave no trace when it is over."""
    with suppress(OSError):  # nobody looks any more
        for seconds in count():
            line = f"{text} ({seconds} s)"
            click.echo(f"\r{line}", nl=False, err=True)
            if over.wait(1):
                break
        click.echo(f"\r{' ' * columns(line)}\r", nl=False, err=True)


def screen() -> tuple[int, int]:
    """Return columns and lines of the terminal, or what is usual where there is none."""
    from shutil import get_terminal_size

    return get_terminal_size((80, 24))


def width() -> int:
    """Return the columns of the terminal, within what can be read well."""
    return min(screen()[0], 100)


def columns(text: str) -> int:
    """Return how many columns of a terminal ``text`` fills."""
    return len(text) + sum(east_asian_width(character) in "WF" for character in text)


def padded(text: str, limit: int) -> str:
    """Return ``text`` with as many spaces behind it as fill ``limit`` columns."""
    return text + " " * (limit - columns(text))


def folded(text: str, limit: int) -> list[str]:
    """Return ``text`` in pieces of ``limit`` columns, indented behind the first."""
    lines, limit = [], max(limit, INDENT * 10)
    while columns(text) > limit:
        end = next(end for end in range(limit, 0, -1) if columns(text[:end]) <= limit)
        lines.append(text[:end])
        text = " " * INDENT + text[end:]
    return [*lines, text]


def cut(text: str, limit: int) -> str:
    """Return ``text``, or as much of it as ``limit`` columns can show."""
    return text if columns(text) <= limit else f"{folded(text, limit - 1)[0]}…"


def wrapped(text: str, limit: int) -> list[str]:
    """Return ``text`` in lines of at most ``limit`` columns; what is longer stays whole.

    Foreign text may stand in it: no run of blanks may look like one of our columns.
    """
    lines = [""]
    for space, word in re.findall(_WORD if text.isascii() else _ANY_WORD, text):
        more = f" {word}" if space else word
        if lines[-1] and columns(lines[-1] + more) > limit:
            lines.append(word)
        else:
            lines[-1] += more
    return lines


def require_free(path: Path, *, replace: bool) -> None:
    """Raise ``KimifixError`` where something is at ``path``, for ``replace`` but a plain file."""
    if os.path.lexists(path) and not (replace and path.is_file()):
        hint = "name another file, or pass --yes to overwrite it"
        raise KimifixError(f"there is something already: `{path}`", hint)


def save(path: Path, text: str, *, replace: bool) -> None:
    """Write ``text`` to ``path``, for this user alone; raises ``KimifixError``, see above."""
    from kimifix.config.files import PRIVATE_FILE, write_new

    require_free(path, replace=replace)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        write_new(aside, redact(text).encode(), PRIVATE_FILE)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise KimifixError(f"could not write the report: {error.strerror}: `{path}`") from None


def put_usage(error: click.ClickException) -> None:
    """Say what click could not understand."""
    from io import StringIO

    vars(error)["message"] = visible(error.message)
    text = StringIO()
    error.show(text)
    put(((translated(line),) for line in text.getvalue().rstrip("\n").split("\n")), err=True)


def is_unwritten(error: BaseException) -> bool:
    """Tell whether ``error`` is click's, which could not write its own help; and say so."""
    if not isinstance(error, OSError) or error.filename is not None:
        return False
    if sys.stdout is None or error.errno not in (*_READER_IS_GONE, errno.ENOSPC):
        return False
    _give_up(sys.stdout)
    if error.errno == errno.ENOSPC:
        put([(translated(f"error: could not write: {error.strerror}"),)], err=True)
    return True


def put_bug(error: BaseException) -> None:
    """Say that a bug ended the run, ready to paste; no line of it can be taken for ours."""
    import platform
    import traceback

    trace = "".join(traceback.format_exception(error)).rstrip().split("\n")
    report = (
        *(f"| {line}" for line in trace),
        f"kimifix {__version__}, Python {platform.python_version()}, {platform.platform()}",
        translated("error: this is a bug in kimifix; the config is as it was or as reported above"),
        translated("hint: please report it with the lines above"),
    )
    put(((line,) for line in report), err=True)


def read_key() -> Secret:
    """Return the API key on standard input.

    Raises ``KimifixError`` for what is no text: Windows writes a byte order mark before it.
    """
    stream = None if sys.stdin is None else sys.stdin.buffer
    try:
        content = b"" if stream is None else stream.read(_LONGEST_KEY + 1)
    except OSError as error:
        raise KimifixError(f"standard input cannot be read: {error.strerror}") from None
    if len(content) > _LONGEST_KEY:
        raise KimifixError("standard input is too long for an API key", "pipe the key alone")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return Secret(content.decode(encoding, "replace"))


def _styled(part: str | Styled, encoding: str) -> str:
    text, colour, bold = part if isinstance(part, Styled) else Styled(part)
    text = visible(redact(text)).encode(encoding, "backslashreplace").decode(encoding)
    return click.style(text, fg=colour, bold=bold) if colour or bold else text


def visible(text: str) -> str:
    """Return ``text`` with control and format characters and line breaks escaped.

    In a foreign name they could move the cursor, forge a line, or turn the reading order.
    """
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if is_invisible(c) else c for c in text)


def has_terminal() -> bool:
    """Tell whether somebody could see a question and answer it."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether ``stream`` is a terminal, and not closed."""
    return stream is not None and stream.isatty()
