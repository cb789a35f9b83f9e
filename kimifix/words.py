"""Words that more than one module says: a remedy, quoted commands, modes and times."""

import re
import sys
from datetime import UTC, datetime

UPDATE = "update kimi-code (`npm install -g @moonshot-ai/kimi-code@latest`)"
RENEW = "send one message in `kimi` (an error is fine: it renews the login), then ask again"
# What users are told of the two surfaces of the server.
API = {"openai": "OpenAI-style API", "anthropic": "Anthropic-style API"}

# What JavaScript takes for blank at the ends of a text; a key is copied with all kinds of it.
_BLANK = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def filled(value: object) -> str | None:
    """Return a text as it is, None where it is empty or no text."""
    return value if isinstance(value, str) and value else None


def trimmed(value: object) -> str | None:
    """Return a text without the blanks at its ends, as JavaScript does; None for nothing left."""
    return filled(value.strip(_BLANK)) if isinstance(value, str) else None


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


def typed(program: object, *words: object) -> str:
    """Return a command to be pasted into a shell."""
    first = quoted(program)
    if sys.platform == "win32" and first.startswith('"'):
        # PowerShell takes what begins with a quote for a text, and no command.
        drive, colon, path = str(program).rpartition(":")
        first = drive + colon + path[:1] + quoted(path[1:])
    return " ".join([first, *map(quoted, words)])


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
    if seconds >= 2 * 86400:
        return f"{int(seconds // 86400)} days"
    if seconds >= 2 * 3600:
        return f"{int(seconds // 3600)} hours"
    if seconds >= 2 * 60:
        return f"{int(seconds // 60)} minutes"
    return f"{int(seconds)} seconds"
