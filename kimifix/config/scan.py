"""Where each statement, key and value of a TOML text stands.

tomllib gives data without places and tomlkit gives no places either, cannot read a
byte order mark, adds LF lines to a CRLF file and needs about ten times as long. An
edit that leaves every foreign byte alone needs places and nothing else, so this is
a scanner, not a parser: it takes a text that tomllib has accepted and relies on it.

Each pattern is a run of one class of characters, or a few of them that cannot overlap:
nothing is looked at twice, however odd the text. Possessive and atomic groups would say
so more simply, but CPython before 3.11.5 matches them wrongly.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from kimifix.config.change import KeyPath

Bounds = tuple[int, int]

# A whole line of the kind of which a config is full: a bare key, and a string without
# escapes, strings like that in brackets, or another value without any.
_EASY_STRING = r"\"[^\"\\\n]*\"(?!\")"
_EASY_LINE = re.compile(
    rf"([A-Za-z0-9_-]+)[ \t]*=[ \t]*({_EASY_STRING}|[A-Za-z0-9+-][^\s#]*"
    rf"|\[[ \t]*(?:{_EASY_STRING}[ \t]*(?:,[ \t]*)?)*\])[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)"
)
_COMMENT = re.compile(r"[^\r\n]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]*")
_SCALAR = re.compile(r"[^,\]}#\r\n]*")
_SIGN = re.compile(r"[\"'#\[\]{}]")


class Statement(NamedTuple):
    """A table header or a `key = value`, somewhere in the text, or an element of an array.

    ``path`` leads from the root to what it defines; ``start`` and ``end`` bound its
    whole lines (within a value: the member or element alone). ``keys`` bounds each part
    of its own key, ``value`` the value; that of a header is empty, and an element has no
    key of its own. ``array`` marks a `[[header]]`, and all that stands in an array: its path says
    nothing about an index; nor does a path below such a header.
    """

    path: KeyPath
    start: int
    end: int
    keys: tuple[Bounds, ...]
    value: Bounds
    array: bool = False

    @property
    def is_header(self) -> bool:
        """Whether this is a `[table]` or `[[table]]` line."""
        return self.value[0] == self.value[1]

    @property
    def base(self) -> int:
        """How much of the path the header or inline table gives in which this stands."""
        return len(self.path) - len(self.keys)


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of ``text`` in order; values are not entered, see ``inside``.

    ``text`` is valid TOML without a byte order mark.
    """
    header: KeyPath = ()
    position = _past_space(text, 0)
    while position < len(text):
        start = text.rfind("\n", 0, position) + 1
        if text[position] == "[":
            array = text.startswith("[[", position)
            header, keys, _ = _key(text, position + (2 if array else 1), ())
            end = _line_end(text, keys[-1][1])
            yield Statement(header, start, end, keys, (keys[-1][1], keys[-1][1]), array)
        elif easy := _EASY_LINE.match(text, position):
            end = easy.end()
            yield Statement((*header, easy[1]), start, end, (easy.span(1),), easy.span(2))
        else:
            path, keys, first = _key(text, position, header)
            value = (first, _value_end(text, first))
            end = _line_end(text, value[1])
            yield Statement(path, start, end, keys, value)
        position = _past_space(text, end)


def inside(text: str, statement: Statement) -> Iterator[tuple[Statement, list[Statement]]]:
    """Yield each inline table and array in the value of ``statement``, with what is in it.

    That is what stands directly in it: the members or elements in order. The inner tables
    and arrays come before the outer ones, and the value itself comes last.
    """
    opening = statement.value[0]
    if text[opening] not in "[{":
        return
    opened: list[tuple[Statement, int, list[Statement]]] = [(statement, opening, [])]
    position = opening + 1
    while opened:
        container, opening, found = opened[-1]
        start = position = _past_space(text, position)
        if text[start] == ",":
            position += 1
        elif text[start] in "]}":
            position += 1
            del opened[-1]
            if opened:
                container = container._replace(end=position, value=(opening, position))
                opened[-1][2].append(container)
            yield container, found
        else:
            path, in_array = container.path, text[opening] == "["
            keys: tuple[Bounds, ...] = ()
            if not in_array:
                path, keys, position = _key(text, start, path)
            value = position
            is_nested = text[value] in "[{"
            position = value + 1 if is_nested else _value_end(text, value)
            array = container.array or in_array
            inner = Statement(path, start, position, keys, (value, position), array)
            if is_nested:
                opened.append((inner, value, []))
            else:
                found.append(inner)


def comments(text: str, start: int, end: int) -> Iterator[Bounds]:
    """Yield the bounds of each comment from ``start`` to ``end``, which stand in no string."""
    if "#" in text[start:end]:
        signs = takewhile(lambda sign: sign[1] < end, _signs(text, start))
        yield from ((first, last) for sign, first, last in signs if sign == "#")


def _end(run: re.Pattern[str], text: str, position: int) -> int:
    """Return where a run of characters, empty perhaps, ends that begins at ``position``."""
    match = run.match(text, position)
    return match.end() if match else position


def _line_end(text: str, position: int) -> int:
    """Return where the line ends, its line end included."""
    return text.find("\n", position) + 1 or len(text)


def _past_space(text: str, position: int) -> int:
    """Return the first place from ``position`` on that is no space, line end or comment."""
    position = _end(_SPACE, text, position)
    while text.startswith("#", position):
        position = _end(_SPACE, text, _end(_COMMENT, text, position))
    return position


def _key(text: str, position: int, above: KeyPath) -> tuple[KeyPath, tuple[Bounds, ...], int]:
    """Return the path of a dotted key, the bounds of its parts, and where its value begins."""
    parts = list(above)
    bounds = []
    while True:
        start = _end(_BLANK, text, position)
        end = _string_end(text, start) if text[start] in "\"'" else _end(_BARE_KEY, text, start)
        parts.append(_plain(text[start:end]))
        bounds.append((start, end))
        position = _end(_BLANK, text, end) + 1
        if text[position - 1] != ".":
            return tuple(parts), tuple(bounds), _end(_BLANK, text, position)


@lru_cache(maxsize=4096)
def _plain(part: str) -> str:
    if part[0] not in "\"'":
        return part
    if "\\" not in part or part[0] == "'":
        return part[1:-1]
    (key,) = tomllib.loads(f"{part} = 0")
    return key


def _value_end(text: str, start: int) -> int:
    if text[start] in "\"'":
        return _string_end(text, start)
    if text[start] in "[{":
        return _nested_end(text, start)
    return start + len(text[start : _end(_SCALAR, text, start)].rstrip())


def _string_end(text: str, start: int) -> int:
    quote = text[start]
    closing = quote * 3 if text.startswith(quote * 3, start) else quote
    position = start + len(closing)
    while True:
        end = text.find(closing, position)
        piece = text[position:end]
        escapes = len(piece) - len(piece.rstrip("\\"))
        if quote == "'" or escapes % 2 == 0:
            break
        position = end + 1
    end += len(closing)
    for _ in closing[1:]:  # up to two quotes before the closing ones belong to the text
        end += text.startswith(quote, end)
    return end


def _nested_end(text: str, start: int) -> int:
    depth = 0
    for sign, _, end in _signs(text, start):
        depth += (sign in "[{") - (sign in "]}")
        if depth == 0:
            return end
    return len(text)


def _signs(text: str, position: int) -> Iterator[tuple[str, int, int]]:
    """Yield all strings, comments and brackets from ``position`` on: first character, bounds."""
    while sign := _SIGN.search(text, position):
        start, position = sign.span()
        if sign[0] in "\"'":
            position = _string_end(text, start)
        elif sign[0] == "#":
            position = _end(_COMMENT, text, start)
        yield sign[0], start, position
