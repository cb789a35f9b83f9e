"""Where each statement, key and value of a TOML text stands.

tomllib gives data without places and tomlkit gives no places either, cannot read a
byte order mark, adds LF lines to a CRLF file and needs about ten times as long. An
edit that leaves every foreign byte alone needs places and nothing else, so this is
a scanner, not a parser: it takes a text that tomllib has accepted and relies on it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from kimifix.config.change import KeyPath

_STRING = (
    r'"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
)
_BLANK = re.compile(r"(?:[ \t]*+(?:#[^\n]*+)?\r?\n)*+[ \t]*+(?:#[^\n]*+\Z)?+")
_KEY_PART = re.compile(r"""[ \t]*+([A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+""")
_REST_OF_LINE = re.compile(r"[^\n]*+(?:\n|\Z)")
# A whole line of the kind of which a config is full: a bare key, and a string without
# escapes or another value without brackets.
_EASY_LINE = re.compile(
    r"([A-Za-z0-9_-]++)[ \t]*+=[ \t]*+"
    r"(\"[^\"\\\n]*+\"(?!\")|[A-Za-z0-9+-][^\s#]*+)[ \t]*+(?:#[^\n]*+)?+(?:\r?\n|\Z)"
)
_STRING_VALUE = re.compile(_STRING)
_SCALAR = re.compile(r"[^,\]}#\r\n]*+")
_NESTED = re.compile(rf"(?:{_STRING})|#[^\n]*+|([\[{{])|([\]}}])|[^\"'#\[\]{{}}]++")
_SPACE = re.compile(r"[ \t\r\n]*+(?:#[^\n]*+\n[ \t\r\n]*+)*+")


class Statement(NamedTuple):
    """A table header or a `key = value`, somewhere in the text.

    ``path`` leads from the root to what it defines; ``start`` and ``end`` bound its
    whole lines (for a member of an inline table: the member alone). ``key`` bounds
    the last part of the key, ``value`` the value; a header has no value. ``array``
    marks a `[[header]]`; a path below one says nothing about its index.
    """

    path: KeyPath
    start: int
    end: int
    key: tuple[int, int]
    value: tuple[int, int] | None
    base: int = 0
    array: bool = False

    @property
    def is_header(self) -> bool:
        """Whether this is a `[table]` or `[[table]]` line."""
        return self.value is None


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of ``text`` in order; inline tables are not entered, see ``members``.

    ``text`` is valid TOML without a byte order mark.
    """
    header: KeyPath = ()
    position = _past_blank(text, 0)
    while position < len(text):
        start = text.rfind("\n", 0, position) + 1
        if text[position] == "[":
            array = text.startswith("[[", position)
            path, key, _ = _key(text, position + (2 if array else 1))
            end = _line_end(text, key[1])
            header = path
            yield Statement(path, start, end, key, None, array=array)
        elif easy := _EASY_LINE.match(text, position):
            end = easy.end()
            path = (*header, easy[1])
            yield Statement(path, start, end, easy.span(1), easy.span(2), len(header))
        else:
            path, key, after = _key(text, position)
            value = _value(text, after + 1)
            end = _line_end(text, value[1])
            yield Statement(header + path, start, end, key, value, len(header))
        position = _past_blank(text, end)


def members(text: str, statement: Statement) -> list[Statement]:
    """Return the members of the inline table that is the value of ``statement``, one level deep.

    Empty when the value is no inline table.
    """
    if statement.value is None or text[statement.value[0]] != "{":
        return []
    found = []
    position = _past_space(text, statement.value[0] + 1)
    while text[position] != "}":
        path, key, after = _key(text, position)
        value = _value(text, after + 1)
        found.append(Statement(statement.path + path, position, value[1], key, value))
        position = _past_space(text, value[1])
        if text[position] == ",":
            position = _past_space(text, position + 1)
    return found


def elements(text: str, statement: Statement) -> list[Statement]:
    """Return the elements of the array that is the value of ``statement``, one level deep.

    Each has the path and key of the array. Empty when the value is no array.
    """
    if statement.value is None or text[statement.value[0]] != "[":
        return []
    found = []
    position = _past_space(text, statement.value[0] + 1)
    while text[position] != "]":
        value = _value(text, position)
        found.append(statement._replace(start=value[0], end=value[1], value=value))
        position = _past_space(text, value[1])
        if text[position] == ",":
            position = _past_space(text, position + 1)
    return found


def newline_at(text: str, position: int) -> str:
    """Return the line end in use before ``position``, or the first one after it, or LF."""
    end = text.rfind("\n", 0, position)
    if end < 0:
        end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _past_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _past_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _line_end(text: str, position: int) -> int:
    match = _REST_OF_LINE.match(text, position)
    return match.end() if match else len(text)


def _key(text: str, position: int) -> tuple[KeyPath, tuple[int, int], int]:
    """Return a dotted key, the bounds of its last part, and where it ends."""
    parts = []
    while True:
        match = _KEY_PART.match(text, position)
        if match is None:  # not reached on a text that tomllib accepts
            raise ValueError(f"no key at {position}")
        parts.append(_plain(match[1]))
        if text[match.end() : match.end() + 1] != ".":
            return tuple(parts), match.span(1), match.end()
        position = match.end() + 1


@lru_cache(maxsize=4096)
def _plain(part: str) -> str:
    if part[0] not in "\"'":
        return part
    if "\\" not in part or part[0] == "'":
        return part[1:-1]
    (key,) = tomllib.loads(f"{part} = 0")
    return key


def _value(text: str, position: int) -> tuple[int, int]:
    start = _past_space(text, position)
    if text[start] in "\"'":
        match = _STRING_VALUE.match(text, start)
        return start, match.end() if match else len(text)
    if text[start] in "[{":
        return start, _nested_end(text, start)
    match = _SCALAR.match(text, start)
    end = match.end() if match else len(text)
    return start, start + len(text[start:end].rstrip())


def _nested_end(text: str, start: int) -> int:
    depth = 0
    for match in _NESTED.finditer(text, start):
        if match[1]:
            depth += 1
        elif match[2]:
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)
