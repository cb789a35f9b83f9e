"""How times, lengths of time and modes are put into words, and phrases that recur."""

from __future__ import annotations

from datetime import UTC, datetime

UPDATE = "update kimi-code (`npm install -g @moonshot-ai/kimi-code@latest`)"


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


def span(seconds: float) -> str:
    """Return a length of time in the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} seconds"
