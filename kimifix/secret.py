"""Values that must never be printed, and the net that catches them if they are.

A value is a secret by the place where it stands in the config, by its look, or because
it was met before and registered. ``redact`` is applied by the only printer to all that
leaves the process, tracebacks included.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from unicodedata import category

MASK = "***"

# Shorter values ("none", "file") would blot out ordinary words; a secret of fewer
# characters is still masked where it stands as a value, see `config.redaction`.
_SHORTEST = 6
# A longer value is known by its pieces: no text takes more look-ups than this at any place.
_LONGEST = 64

# What is registered, by its first character, its beginning and its length.
_registered: dict[str, dict[str, dict[int, set[str]]]] = {}

_SECRET_NAME = re.compile(
    r"api[-_]?key|token|secret|passw|authori[sz]ation|cookie|credential|private[-_]?key",
    re.IGNORECASE,
)
# Names that the pattern above catches although their values are public: counts and
# the name of an environment variable or of a login slot.
_PUBLIC_NAME = re.compile(r"max_\w*tokens|\w*tokens|token_type|api_key_env|storage", re.IGNORECASE)
# Tables with keys of the user's own: all in them may be secret.
_FREE_TABLE = re.compile(r"env|.*(?:headers?|query|params|body)", re.IGNORECASE | re.DOTALL)
# What may stand in them and is known elsewhere: masked there, and nowhere else.
_PLAIN_VALUE = re.compile(r"[a-z]*|[^:]*://.*", re.DOTALL)
ADDRESS_NAME = re.compile(r"(?:proxy|url|uri|host|endpoint)$", re.IGNORECASE)

# What looks like a secret: a word that must be there, and a pattern in which nothing is
# looked at twice, for a text may be long and odd.
_LOOKS_SECRET = (
    # API keys of the Kimi platforms and most others, JSON web tokens
    ("sk-", re.compile(r"\b(sk-[A-Za-z0-9_\0-]{8,})")),
    ("eyj", re.compile(r"\b(eyJ[A-Za-z0-9_\0-]{8,}(?:\.[A-Za-z0-9_\0-]+){0,2})")),
    ("bearer ", re.compile(r"(?i:bearer) ([^\s\"',}]{6,})")),
    # as in `Basic dTpw`, and not in "basic settings"
    ("basic ", re.compile(r"(?i:basic) (?=\S[a-z+/_-]*[A-Z0-9=])([A-Za-z0-9+/_-]{5,}=*)")),
    # the user in a URL, and what follows the path
    ("://", re.compile(r"://([^/\s\"'?#]+)@")),
    ("://", re.compile(r"://[^\s\"'`?#]*(?:(?:\?|#(?=[^\s\"'`=]*=))([^\s\"'`]+))?")),
)
_SPACES = dict.fromkeys(map(ord, "\t\r\n"), " ")
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")
# What a terminal takes as one command, whole.
SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC and the like
    r"|\x1b[ -/]*[0-~]"
)


class Secret:
    """A value that prints as ``***``; ``reveal`` gives the value itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        register(value)

    def reveal(self) -> str:
        """Return the value, to be sent or written and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def register(value: str) -> None:
    """Have ``redact`` mask each line of ``value`` from now on, where it can be told apart."""
    lines = ("".join(c for c in line if not is_invisible(c)) for line in value.splitlines())
    for line in map(str.strip, lines):
        last = max(len(line) - _LONGEST, 0)
        for start in (*range(0, last, _LONGEST), last):
            piece = line[start : start + _LONGEST]
            if len(piece) >= _SHORTEST:
                of_beginning = _registered.setdefault(piece[0], {})
                of_length = of_beginning.setdefault(piece[:_SHORTEST], {})
                of_length.setdefault(len(piece), set()).add(piece)


def redact(text: str, *, whole_lines: bool = False) -> str:
    """Return ``text`` with every registered secret, and all that looks like one, as ``***``.

    Those as well that something invisible cuts in two, as an escape sequence does, or the
    end of a line unless these are ``whole_lines``.
    """
    seen = text.translate(_SPACES) if whole_lines else text
    if seen.isprintable():
        found = _secrets(seen)
    else:
        hidden = SEQUENCE.sub(lambda match: "\0" * len(match[0]), seen)
        hidden = "".join("\0" if is_invisible(c) else c for c in hidden)
        places = [place for place, c in enumerate(hidden) if c != "\0"]
        joined = _secrets(hidden.replace("\0", ""))
        found = [(places[start], places[end - 1] + 1) for start, end in joined]
        found += _secrets(hidden)
    pieces: list[str] = []
    position = 0
    for start, end in sorted(found):
        if start > position or not pieces:
            pieces += [text[position:start], MASK]
        position = max(position, end)
    return "".join(pieces) + text[position:]


def is_invisible(character: str) -> bool:
    """Tell whether a character controls or formats a text, or breaks its lines."""
    return category(character) in _INVISIBLE


def _secrets(text: str) -> list[tuple[int, int]]:
    found = _look_alikes(text)
    initials = "".join(map(re.escape, _registered))
    for first in re.finditer(f"[{initials}]", text) if initials else ():
        start = first.start()
        of_length = _registered[first[0]].get(text[start : start + _SHORTEST], {})
        for length, pieces in of_length.items():
            if text[start : start + length] in pieces:
                found.append((start, start + length))
    return found


def _look_alikes(text: str) -> list[tuple[int, int]]:
    lower = text.lower()
    patterns = (pattern for word, pattern in _LOOKS_SECRET if word in lower)
    matches = (match for pattern in patterns for match in pattern.finditer(text))
    return [match.span(1) for match in matches if match[1]]


def is_secret_name(name: str) -> bool:
    """Tell whether a key of a table holds a secret, judged by its name."""
    return _SECRET_NAME.search(name) is not None and _PUBLIC_NAME.fullmatch(name) is None


def secrets_in(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secret values of a parsed config, however deep.

    A value counts when its place says so, unless that is a table of free keys and the
    value an ordinary one; and of the others what looks like a secret.
    """
    for path, value in _strings(data, ()):
        if is_secret(path, value) and (
            _is_named(_place(path)) or not _PLAIN_VALUE.fullmatch(value)
        ):
            yield value
        for start, end in _look_alikes(value):
            yield value[start:end]
            yield from re.split("[:=&]", value[start:end])[1:]


def is_secret(path: tuple[str, ...], value: str) -> bool:
    """Tell whether ``value`` at ``path`` of the config is a secret, whatever it looks like."""
    has_user = "@" in value and "://" not in value
    return is_secret_path(path) or (has_user and ADDRESS_NAME.search(path[-1]) is not None)


def is_secret_path(path: tuple[str, ...]) -> bool:
    """Tell whether the value at ``path`` of the config is a secret, judged by the path alone."""
    place = _place(path)
    return _is_named(place) or _is_free(place)


@lru_cache(maxsize=1024)
def _is_named(place: tuple[str, ...]) -> bool:
    return any(map(is_secret_name, place[-2:]))


@lru_cache(maxsize=1024)
def _is_free(place: tuple[str, ...]) -> bool:
    return any(map(_FREE_TABLE.fullmatch, place)) and not is_identity_header(place[-1])


def _place(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``path`` below the entry that it leads to: a provider may have any name."""
    return path[2:] if path[0] in ("providers", "models") else path


def is_identity_header(header: str) -> bool:
    """Tell whether an HTTP header says which client is talking: public, and not to be altered."""
    return header.lower().startswith("x-msh-") or header.lower() == "user-agent"


def _strings(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, path)
