"""A config with its secrets masked, fit to be shown, and the difference of two of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from kimifix.config.change import KeyPath
from kimifix.config.document import load
from kimifix.config.scan import Statement, elements, members, statements
from kimifix.secret import MASK, is_secret_path, redact


def diff(before: str, after: str, name: str) -> str:
    """Return a unified diff of two configs without context lines and without secrets."""
    if before == after:
        return ""
    lines = difflib.unified_diff(
        masked(before).splitlines(keepends=True),
        masked(after).splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
        n=0,
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def masked(text: str) -> str:
    """Return a valid TOML text with the value of every secret as ``***``.

    A secret is told by its place, whatever its spelling, and by what is registered in
    `kimifix.secret`. Empty values stay: "no key" is worth knowing.
    """
    pieces = []
    position = 0
    for start, end in _secret_values(text):
        pieces += [text[position:start], f'"{MASK}"']
        position = end
    return redact("".join(pieces) + text[position:])


def _secret_values(text: str) -> Iterator[tuple[int, int]]:
    for statement in statements(text):
        if statement.value is None:
            continue
        source = text[slice(*statement.value)]
        # Without a table or an escape inside, the place alone decides: nearly always.
        if "{" in source or "\\" in source or is_secret_path(statement.path):
            yield from _within(text, statement)


def _within(text: str, statement: Statement) -> Iterator[tuple[int, int]]:
    if statement.value is None:
        return
    inside = members(text, statement)
    if not inside and _is_secret(text, statement.path, statement.value):
        yield statement.value
        return
    for inner in inside or elements(text, statement):
        yield from _within(text, inner)


def _is_secret(text: str, path: KeyPath, value: tuple[int, int]) -> bool:
    source = text[slice(*value)]
    if is_secret_path(path):
        return source.strip("\"'[]{} ") != ""
    if source[0] not in "\"'" or "\\" not in source:
        return False
    plain: str = load(f"v = {source}")["v"]  # escapes hide it from a search in the text
    return redact(plain) != plain
