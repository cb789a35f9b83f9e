"""Changes to a TOML text by path that leave every other byte alone.

New tables go to the end of the text; a value or key is replaced where it stands; a
table that the file keeps inline gets its new member inline. What is added here is
written by tomlkit, one value at a time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, NamedTuple

from kimifix.config.change import KeyPath
from kimifix.config.scan import Bounds, Statement, inside, statements
from kimifix.errors import UnsupportedShapeError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# A string without need of an escape; the others are left to tomlkit.
_PLAIN_STRING = re.compile(r"[ !#-\[\]-~]*")


class Replaced(NamedTuple):
    """What stood at a path before: its TOML source, or None and whether its table is new too."""

    source: str | None
    new_table: bool = False


class _Splice(NamedTuple):
    start: int
    end: int
    text: str


class Edit:
    """A set of changes to one text, collected by path and carried out together by ``result``.

    The text is valid TOML without a byte order mark. Every method raises
    ``UnsupportedShapeError`` where the text has no place for the change.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if text.rpartition("\n")[0].endswith("\r") else "\n"
        self._splices: list[_Splice] = []
        self._block: list[str] = []
        self._pairs: dict[Statement, list[str]] = {}
        self._statements = list(statements(text))
        self._headers = {s.path: s for s in self._statements if s.is_header and not s.array}
        # The members of each inline table that no array holds, by where the table begins.
        self._members = {
            table.value[0]: found
            for statement in self._statements
            if self._is_table(statement)
            for table, found in inside(text, statement)
            if table.value and self._is_table(table) and not table.array
        }
        self._all = [*self._statements, *chain(*self._members.values())]
        self._values = {s.path: s for s in self._all if not s.is_header}

    @property
    def completes_last_line(self) -> bool:
        """Whether the result gives the last line of the text the line end that it lacks."""
        added = self._block or any(splice.start == len(self._text) for splice in self._splices)
        return bool(added) and bool(self._text) and not self._text.endswith("\n")

    @property
    def cuts_last_line(self) -> bool:
        """Whether the result loses the last line of the text."""
        return any(s.start < s.end == len(self._text) and not s.text for s in self._splices)

    def set(self, path: KeyPath, source: str) -> Replaced:
        """Set the value at ``path``, given as TOML source, whether or not there is one."""
        statement, container = self._find(path)
        if statement is not None and statement.value is not None:
            self._replace(statement.value, source)
            return Replaced(self._slice(statement.value))
        if container is not None:
            self._add_pair(container, path, source)
            return Replaced(None)
        line = self._line_for(path, source)
        if line is None:
            self._block += ["", f"[{dotted(path[:-1])}]", f"{key_source(path[-1])} = {source}"]
            return Replaced(None, new_table=True)
        self._splices.append(line)
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
        for n, bounds in enumerate(places):
            self._replace(bounds, names[n if len(names) == len(places) else 0])
        old = [self._slice(bounds) for bounds in places]
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
        above = {path[:n] for path in paths for n in range(1, len(path))}
        for statement in self._statements:
            alone = statement.is_header and statement.path in headers
            if alone or _covered(statement.path, paths):
                start = statement.start
                if statement.is_header:
                    start -= self._empty_line_before(start)
                self._splices.append(_Splice(start, statement.end, ""))
            elif statement.path in above and not statement.is_header:
                self._remove_members(statement, paths, above)

    def is_alone(self, path: KeyPath) -> bool:
        """Tell whether the value at ``path`` is all that stands below the header of its table."""
        table = path[:-1]
        below = (s for s in self._statements if s.base == len(table) and _below(s.path, table))
        return all(s.path == path for s in below)

    def result(self) -> str:
        """Return the text with all changes made."""
        for container, pairs in self._pairs.items():
            self._splices.append(self._into_inline_table(container, pairs))
        pieces = []
        position = 0
        size = len(self._text)
        line_end_owed = self.completes_last_line
        for splice in sorted(self._splices, key=lambda splice: splice.start):
            pieces.append(self._text[position : splice.start])
            if splice.start == size and line_end_owed:
                pieces.append(self._newline)
                line_end_owed = False
            pieces.append(splice.text)
            position = max(position, splice.end)
        pieces.append(self._text[position:])
        text = "".join(pieces)
        if line_end_owed:
            text += self._newline
        block = self._block if text else self._block[1:]
        return text + "".join(line + self._newline for line in block)

    def _find(self, path: KeyPath) -> tuple[Statement | None, Statement | None]:
        """Return the statement of ``path``, or else the inline table it would have to be in."""
        for n in range(len(path), 0, -1):
            found = self._values.get(path[:n])
            if found is None:
                continue
            if n == len(path):
                return found, None
            if not self._is_table(found):
                raise UnsupportedShapeError(f"`{dotted(found.path)}` is not a table")
            return None, found
        return None, None

    def _is_table(self, statement: Statement) -> bool:
        return statement.value is not None and self._text[statement.value[0]] == "{"

    def _inside(self, table: Statement) -> list[Statement]:
        return self._members.get(table.value[0], []) if table.value else []

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

    def _line_for(self, path: KeyPath, source: str) -> _Splice | None:
        """Return a new line for the value at ``path``, None where its table does not exist."""
        table = path[:-1]
        if not table:
            return self._line(self._end_of_root(), path, source)
        header = self._headers.get(table)
        if header is not None:
            return self._line(header.end, path[-1:], source)
        last = self._last_below.get(table)
        if last is None or last.base >= len(table):
            return None
        return self._line(last.end, path[last.base :], source)

    def _line(self, position: int, key: KeyPath, source: str) -> _Splice:
        return _Splice(position, position, f"{dotted(key)} = {source}{self._newline}")

    def _end_of_root(self) -> int:
        """Return where a line of the root table can be added: behind its last one."""
        first = next((i for i, s in enumerate(self._statements) if s.is_header), None)
        if first is None:
            return self._statements[-1].end if self._statements else len(self._text)
        if first > 0:
            return self._statements[first - 1].end
        position = self._statements[0].start
        while position > 0:  # a comment right above a header belongs to it
            line = self._text.rfind("\n", 0, position - 1) + 1
            if not self._text[line:position].lstrip().startswith("#"):
                break
            position = line
        return position

    def _empty_line_before(self, position: int) -> int:
        """Return the length of the empty line that ends at ``position``, 0 where there is none."""
        for newline in ("\r\n", "\n"):
            line = position - len(newline)
            if self._text[max(line, 0) : position] == newline:
                return len(newline) if line == 0 or self._text[line - 1] == "\n" else 0
        return 0

    def _add_pair(self, container: Statement, path: KeyPath, source: str) -> None:
        pair = f"{dotted(path[len(container.path) :])} = {source}"
        self._pairs.setdefault(container, []).append(pair)

    def _into_inline_table(self, container: Statement, pairs: list[str]) -> _Splice:
        if there := self._inside(container):
            return _Splice(there[-1].end, there[-1].end, "".join(f", {p}" for p in pairs))
        start = container.value[0] + 1 if container.value else 0
        return _Splice(start, start, ", ".join(pairs))

    def _remove_members(
        self, container: Statement, paths: Collection[KeyPath], above: Collection[KeyPath]
    ) -> None:
        there = self._inside(container)
        kept_end: int | None = None
        run: Statement | None = None
        for member in there:
            if _covered(member.path, paths):
                run = run or member
                if kept_end is not None:
                    self._splices.append(_Splice(kept_end, member.end, ""))
                    kept_end = member.end
                continue
            if run is not None and kept_end is None:
                self._splices.append(_Splice(run.start, member.start, ""))
            run = None
            kept_end = member.end
            if member.path in above:
                self._remove_members(member, paths, above)
        if run is not None and kept_end is None:
            self._splices.append(_Splice(run.start, there[-1].end, ""))

    def _replace(self, bounds: tuple[int, int], source: str) -> None:
        self._splices.append(_Splice(*bounds, source))

    def _slice(self, bounds: tuple[int, int]) -> str:
        return self._text[slice(*bounds)]


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


def _inline(table: Mapping[str, Any]) -> str:
    if not table:
        return "{}"
    pairs = (f"{key_source(name)} = {source_of(value)}" for name, value in table.items())
    return "{ " + ", ".join(pairs) + " }"


def _table_lines(path: KeyPath, table: Mapping[str, Any]) -> list[str]:
    # Sub-tables get headers of their own: an inline table makes kimi-code 0.40 and
    # later rewrite the whole file, comments lost, at the next small change.
    lines = [f"[{dotted(path)}]"]
    below: list[str] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            below += ["", *_table_lines((*path, name), value)]
        else:
            lines.append(f"{key_source(name)} = {source_of(value)}")
    return lines + below


def _covered(path: KeyPath, paths: Collection[KeyPath]) -> bool:
    return any(path[:n] in paths for n in range(1, len(path) + 1))


def _below(path: KeyPath, ancestor: KeyPath) -> bool:
    return len(path) > len(ancestor) and path[: len(ancestor)] == ancestor
