"""What kimifix says: sentences that can be said in English and in Chinese, times and modes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime


class Text(str):
    """A sentence in English that remembers how it was made, so that it can be translated.

    It is an ordinary string to everything but ``translated``: JSON and comparisons see
    the English. ``template`` is a format string and what the catalogue knows; ``values``
    fill it, and may be sentences themselves.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]


def say(template: str, **values: object) -> Text:
    """Return the sentence that ``values`` make of ``template``, which must be a literal."""
    text = Text(template.format_map(values))
    text.template, text.values = template, values
    return text


def joined(separator: str, parts: Iterable[str]) -> Text:
    """Return sentences in a row, with a ``separator`` between them, as one."""
    values = {f"part{number}": part for number, part in enumerate(parts)}
    return say(separator.join(f"{{{name}}}" for name in values), **values)


def translated(text: str, look_up: Callable[[str], str]) -> str:
    """Return ``text`` in the language of ``look_up``, which gives the template in it."""
    if not isinstance(text, Text):
        return text
    values = {
        name: translated(value, look_up) if isinstance(value, str) else value
        for name, value in text.values.items()
    }
    return look_up(text.template).format_map(values)


UPDATE = say("update kimi-code (`npm install -g @moonshot-ai/kimi-code@latest`)")


def quoted(word: object) -> str:
    """Return ``word`` as a shell takes it: to be pasted, whoever has chosen it."""
    text = str(word)
    if sys.platform != "win32":
        import shlex

        return shlex.quote(text)
    if re.fullmatch(r"[\w@+=:,./\\~-]+", text):
        return text
    # In double quotes PowerShell expands $ and ` and cmd expands %; what neither takes as it
    # is cannot be pasted anywhere, so it loses what is dangerous.
    return '"' + re.sub(r"[\"$`%\u201c-\u201f]", "?", text) + '"'


def octal(mode: int | None) -> str | None:
    """Return permission bits as `ls` users write them, such as 0600."""
    return None if mode is None else f"{mode:04o}"


def utc(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC in ISO 8601, None for what is no time."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None


def span(seconds: float) -> Text:
    """Return a length of time in the largest unit of which there are two."""
    if seconds >= 2 * 86400:
        return say("{number} days", number=int(seconds // 86400))
    if seconds >= 2 * 3600:
        return say("{number} hours", number=int(seconds // 3600))
    if seconds >= 2 * 60:
        return say("{number} minutes", number=int(seconds // 60))
    return say("{number} seconds", number=int(seconds))
