"""Changes to a TOML text by path that leave every other byte alone.

New tables go to the end of the text; a value or key is replaced where it stands; a
table that the file keeps inline gets its new member inline. What is added here is
written by tomlkit, one value at a time.
"""

import re
from collections.abc import Collection, Mapping
from functools import cached_property, lru_cache
from itertools import chain, takewhile
from typing import Any, NamedTuple

from kimifix.config.change import KeyPath
from kimifix.config.scan import Bounds, Statement, inside, statements
from kimifix.errors import UnsupportedShapeError

_EMPTY_LINE = re.compile(r"(?:\A|\n)(\r?\n)\Z")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# A string without need of an escape; the others are left to tomlkit.
_PLAIN_STRING = re.compile(r"[ !#-\[\]-~]*")


class Replaced(NamedTuple):
    """What stood at a path before: its TOML source, or None and whether its table is new too."""

    source: str | None
    new_table: bool = False


class Edit:
    """A set of changes to one text, collected by path and carried out together by ``result``.

    The text is valid TOML without a byte order mark. Every method raises
    ``UnsupportedShapeError`` where the text has no place for the change.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if text.rpartition("\n")[0].endswith("\r") else "\n"
        self._splices: list[tuple[int, int, str]] = []
        self._block: list[str] = []
        self._pairs: dict[Statement, list[str]] = {}
        self._statements = list(statements(text))
        self._headers = {s.path: s for s in self._statements if s.is_header and not s.array}
        # The members of each inline table that no array holds, by where the table begins.
        self._members = {
            table.value[0]: found
            for statement in filter(self._is_table, self._statements)
            for table, found in inside(text, statement)
            if self._is_table(table) and not table.array
        }
        self._all = [*self._statements, *chain(*self._members.values())]
        self._values = {s.path: s for s in self._all if not s.is_header}

    @property
    def completes_last_line(self) -> bool:
        """Whether the result gives the last line of the text the line end that it lacks."""
        added = self._block or any(start == len(self._text) for start, _, _ in self._splices)
        return bool(added) and bool(self._text) and not self._text.endswith("\n")

    @property
    def cuts_last_line(self) -> bool:
        """Whether the result loses the last line of the text."""
        size = len(self._text)
        return any(start < end == size and not text for start, end, text in self._splices)

    def set(self, path: KeyPath, source: str) -> Replaced:
        """Set the value at ``path``, given as TOML source, whether or not there is one."""
        statement, table = self._find(path)
        if statement is not None:
            return Replaced(self._replace(*statement.value, source))
        if table is not None:
            self._add_pair(table, path, source)
            return Replaced(None, new_table=len(path) - len(table.path) > 1)
        if (place := self._place_for(path)) is not None:
            position, key = place
            self._replace(position, position, f"{dotted(key)} = {source}{self._newline}")
        else:
            self._block += ["", f"[{dotted(path[:-1])}]", f"{key_source(path[-1])} = {source}"]
            return Replaced(None, new_table=True)
        return Replaced(None)

    def rename(self, path: KeyPath, source: str) -> Replaced:
        """Give the last part of ``path`` another name, given as TOML source.

        Where several keys spell that part, the result has the source of each, a line for
        each, unless they are the same; and such a result is taken as ``source``, too.
        """
        places = self._keys.get(path)
        if places is None:
            raise UnsupportedShapeError(f"`{dotted(path)}` has no key of its own")
        names = source.split("\n")
        if len(names) != len(places):
            names = names[:1] * len(places)
        old = [self._replace(*at, name) for at, name in zip(places, names, strict=True)]
        return Replaced("\n".join(old) if len(set(old)) > 1 else old[0])

    def add_table(self, path: KeyPath, table: Mapping[str, Any]) -> None:
        """Add a table where there is none."""
        _, container = self._find(path)
        if container is None:
            self._block += ["", *_table_lines(path, table)]
        else:
            self._add_pair(container, path, _inline(table))

    def remove(self, paths: Collection[KeyPath], headers: Collection[KeyPath] = ()) -> None:
        """Remove all that stands at or below ``paths``, and the empty line before each header.

        ``headers`` are tables that lose their header line alone. Comments stay, but for
        those at the end of a removed line.
        """
        for statement in self._statements:
            alone = statement.is_header and statement.path in headers
            if alone or _covered(statement.path, paths):
                start = statement.start
                empty = _EMPTY_LINE.search(self._text[max(start - 3, 0) : start])
                if statement.is_header and empty:
                    start -= len(empty[1])
                self._replace(start, statement.end, "")
            else:
                self._remove_members(statement, paths)

    def is_alone(self, path: KeyPath) -> bool:
        """Tell whether the value at ``path`` is all that stands below the header of its table."""
        return all(s.path == path for s in self._statements if s.path[: s.base] == path[:-1])

    def result(self) -> str:
        """Return the text with all changes made."""
        for table, pairs in self._pairs.items():
            there = self._members[table.value[0]]
            place = there[-1].end if there else table.value[0] + 1
            self._replace(place, place, ", ".join(["", *pairs] if there else pairs))
        owed = self._newline if self.completes_last_line else ""
        pieces = []
        position = 0
        for start, end, text in sorted(self._splices, key=lambda splice: splice[0]):
            pieces.append(self._text[position:start])
            if start == len(self._text):
                pieces.append(owed)
                owed = ""
            pieces.append(text)
            position = max(position, end)
        text = "".join([*pieces, self._text[position:], owed])
        block = self._block if text else self._block[1:]
        return text + "".join(line + self._newline for line in block)

    def _find(self, path: KeyPath) -> tuple[Statement | None, Statement | None]:
        """Return the statement of ``path``, or else the inline table it would have to be in."""
        for n in range(len(path), 0, -1):
            if found := self._values.get(path[:n]):
                if n == len(path):
                    return found, None
                if not self._is_table(found):
                    raise UnsupportedShapeError(f"`{dotted(found.path)}` is not a table")
                return None, found
        return None, None

    def _is_table(self, statement: Statement) -> bool:
        return self._text[statement.value[0]] == "{"

    @cached_property
    def _keys(self) -> dict[KeyPath, list[Bounds]]:
        """Where the last part of each path is spelled."""
        places: dict[KeyPath, list[Bounds]] = {}
        for statement in self._all:
            for n, bounds in enumerate(statement.keys, statement.base + 1):
                places.setdefault(statement.path[:n], []).append(bounds)
        return places

    @cached_property
    def _last_below(self) -> dict[KeyPath, Statement]:
        """The last value below each table."""
        values = (s for s in self._statements if not s.is_header)
        return {s.path[:n]: s for s in values for n in range(1, len(s.path))}

    def _place_for(self, path: KeyPath) -> tuple[int, KeyPath] | None:
        """Return where a line for the value at ``path`` can be added, and the key in it.

        None where its table does not exist.
        """
        table = path[:-1]
        if not table:
            return self._end_of_root(), path
        if header := self._headers.get(table):
            return header.end, path[-1:]
        last = self._last_below.get(table)
        return (last.end, path[last.base :]) if last and last.base < len(table) else None

    def _end_of_root(self) -> int:
        """Return where a line of the root table can be added: behind its last one."""
        if not self._statements:
            return len(self._text)
        root = list(takewhile(lambda statement: not statement.is_header, self._statements))
        if root:
            return root[-1].end
        position = self._statements[0].start
        while position > 0:  # a comment right above a header belongs to it
            line = self._text.rfind("\n", 0, position - 1) + 1
            if not self._text[line:position].lstrip().startswith("#"):
                break
            position = line
        return position

    def _add_pair(self, table: Statement, path: KeyPath, source: str) -> None:
        pair = f"{dotted(path[len(table.path) :])} = {source}"
        self._pairs.setdefault(table, []).append(pair)

    def _remove_members(self, table: Statement, paths: Collection[KeyPath]) -> None:
        there = self._members.get(table.value[0], [])
        is_first = True
        for n, member in enumerate(there):
            if not _covered(member.path, paths):
                is_first = False
                self._remove_members(member, paths)
            elif is_first:  # the comma behind it goes with it, later on the one before
                is_last = n + 1 == len(there)
                self._replace(member.start, member.end if is_last else there[n + 1].start, "")
            else:
                self._replace(there[n - 1].end, member.end, "")

    def _replace(self, start: int, end: int, source: str) -> str:
        """Have ``source`` stand there, and return what does now."""
        self._splices.append((start, end, source))
        return self._text[start:end]


def dotted(path: KeyPath) -> str:
    """Return ``path`` as a TOML key, each part quoted where TOML needs it."""
    return ".".join(map(key_source, path))


@lru_cache(maxsize=4096)
def key_source(name: str) -> str:
    """Return one part of a key as TOML source."""
    return name if _BARE_KEY.fullmatch(name) else source_of(name)


def source_of(value: object) -> str:
    """Return a value as TOML source on one line; ``value`` is what tomllib gives."""
    if isinstance(value, Mapping):
        return _inline(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(source_of, value)) + "]"
    if isinstance(value, str) and _PLAIN_STRING.fullmatch(value):
        return f'"{value}"'
    if isinstance(value, int):
        # Python prints no decimal number of more than 4,300 digits.
        return str(value).lower() if value < 2**63 else hex(value)
    import tomlkit

    return tomlkit.item(value).as_string()


def text_of(data: Mapping[str, Any]) -> str:
    """Return a TOML text with ``data``."""
    return "\n".join([*_table_lines((), data), ""])


def _inline(table: Mapping[str, Any]) -> str:
    if not table:
        return "{}"
    pairs = (f"{key_source(name)} = {source_of(value)}" for name, value in table.items())
    return "{ " + ", ".join(pairs) + " }"


def _table_lines(path: KeyPath, table: Mapping[str, Any]) -> list[str]:
    # Sub-tables get headers of their own: an inline table makes kimi-code 0.40 and
    # later rewrite the whole file, comments lost, at the next small change.
    lines = [f"[{dotted(path)}]"] if path else []
    below: list[str] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            below += ["", *_table_lines((*path, name), value)]
        else:
            lines.append(f"{key_source(name)} = {source_of(value)}")
    return lines + below


def _covered(path: KeyPath, paths: Collection[KeyPath]) -> bool:
    return any(path[:n] in paths for n in range(1, len(path) + 1))
