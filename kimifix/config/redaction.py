"""A config with its secrets masked, fit to be shown, and the difference of two of them."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from kimifix.config.change import KeyPath
from kimifix.config.document import load
from kimifix.config.scan import Bounds, Statement, comments, inside, statements
from kimifix.secret import MASK, is_secret, is_secret_path, redact

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def diff(before: str, after: str, name: str) -> str:
    """Return a unified diff of two configs without context lines and without secrets."""
    a, b = (_LINE.findall(masked(text)) for text in (before, after))
    lines = []
    for i, i_end, j, j_end in _changes(a, b):
        lines.append(f"@@ -{_range(i, i_end)} +{_range(j, j_end)} @@\n")
        lines += ["-" + line for line in a[i:i_end]] + ["+" + line for line in b[j:j_end]]
    if lines:
        lines[:0] = [f"--- a/{name}\n", f"+++ b/{name}\n"]
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def _range(start: int, end: int) -> str:
    size = end - start
    return f"{start + 1}" if size == 1 else f"{start + (size > 0)},{size}"


def _changes(a: list[str], b: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the bounds of each run of lines of ``a`` and of what stands in ``b`` in its place.

    In one pass, for `difflib` takes a minute where 4,000 models change: an edit leaves foreign
    lines in their order, so where the texts differ, a line goes that is in one of them alone,
    else one of which there are too many.
    """
    too_many = Counter(a)
    too_many.subtract(b)
    a, b = [*a, ""], [*b, ""]  # no line is empty, so both end alike
    in_a, in_b = set(a), set(b)
    i = j = first_i = first_j = 0
    while i < len(a):
        if a[i] == b[j]:
            if (first_i, first_j) != (i, j):
                yield first_i, i, first_j, j
            i, j = first_i, first_j = i + 1, j + 1
        elif a[i] not in in_b or (b[j] in in_a and (too_many[a[i]] > 0 or too_many[b[j]] >= 0)):
            too_many[a[i]] -= 1
            i += 1
        else:
            too_many[b[j]] += 1
            j += 1


def masked(text: str) -> str:
    """Return a valid TOML text with the value of every secret as ``***``, and all comments.

    A secret is told by its place, whatever its spelling, and by what `kimifix.secret`
    knows. Empty values stay: "no key" is worth knowing. In a comment nothing tells one.
    """
    pieces = []
    position = 0
    for start, end, shown in sorted(_hidden(text)):
        if start >= position:
            pieces += [text[position:start], shown]
            position = end
    return redact("".join(pieces) + text[position:], whole_lines=True)


def _hidden(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the bounds of all that is not to be seen, and what is shown instead."""
    position = 0
    for statement in statements(text):
        yield from _hidden_comments(text, position, statement.end)
        position = statement.end
        source = text[statement.start : statement.end]
        # Without a table or an escape inside, the place alone decides: nearly always.
        if "{" in source or "\\" in source or "@" in source or is_secret_path(statement.path):
            within = (members for _, members in inside(text, statement))
            for part in (statement, *chain.from_iterable(within)):
                yield from ((*bounds, f'"{MASK}"') for bounds in _secret_parts(text, part))
    yield from _hidden_comments(text, position, len(text))


def _hidden_comments(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    for bounds in comments(text, start, end):
        if text[slice(*bounds)].strip("# \t"):
            yield *bounds, f"# {MASK}"


def _secret_parts(text: str, part: Statement) -> Iterator[Bounds]:
    for bounds, name in zip(part.keys, part.path[part.base :], strict=True):
        if "\\" in text[slice(*bounds)] and redact(name) != name:
            yield bounds
    if not part.is_header and _is_secret(part.path, text[slice(*part.value)]):
        yield part.value


def _is_secret(path: KeyPath, source: str) -> bool:
    if source[0] == "{":  # its members decide
        return False
    if source[0] not in "\"'":
        return is_secret_path(path) and source.strip("[\"'] ") != ""
    value: str = load(f"v = {source}")["v"] if "\\" in source else source.strip("\"'\r\n")
    is_known = "\\" in source and redact(value) != value  # escapes hide it from a search
    return value != "" and (is_known or is_secret(path, value))
