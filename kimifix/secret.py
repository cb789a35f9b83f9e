"""Values that must never be printed, and the net that catches them if they are.

Every secret that kimifix comes across is registered by ``register``; ``redact``
is applied by the only printer to all that leaves the process, tracebacks included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

MASK = "***"

# Shorter values ("none", "file") would blot out ordinary words; a secret of fewer
# characters is still masked where it stands as a value, see `config.redaction`.
_SHORTEST_REGISTERED = 6

_registered: set[str] = set()

_SECRET_NAME = re.compile(
    r"api[-_]?key|token|secret|passw|authori[sz]ation|cookie|credential|private[-_]?key",
    re.IGNORECASE,
)
# Names that the pattern above catches although their values are public: counts and
# the name of an environment variable or of a login slot.
_PUBLIC_NAME = re.compile(r"max_\w*tokens|\w*tokens|token_type|api_key_env|storage", re.IGNORECASE)

_LOOKS_SECRET = re.compile(
    r"\bsk-[A-Za-z0-9_-]{8,}"  # API keys of the Kimi platforms and most others
    r"|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){0,2}"  # JSON web tokens
    r"|(?<=Bearer )[^\s\"',}]{6,}"
    r"|(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"  # user:password in a URL
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
    """Have ``redact`` mask ``value`` from now on, where it is long enough to be told apart."""
    if len(value) >= _SHORTEST_REGISTERED:
        _registered.add(value)


def redact(text: str) -> str:
    """Return ``text`` with every registered secret, and all that looks like one, as ``***``."""
    for value in sorted(_registered, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _LOOKS_SECRET.sub(MASK, text)


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Tell whether a key of a table holds a secret, judged by its name."""
    return _SECRET_NAME.search(name) is not None and _PUBLIC_NAME.fullmatch(name) is None


def secrets_in(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secret values of a parsed config, however deep.

    A value counts when its key says so, when it stands in an ``env`` or
    ``custom_headers`` table (their keys are free), or when it looks like a secret.
    """
    for path, value in _strings(data, ()):
        if is_secret_path(path) or _LOOKS_SECRET.search(value):
            yield value


def is_secret_path(path: tuple[str, ...]) -> bool:
    """Tell whether the value at ``path`` of the config is a secret, judged by the path alone."""
    if not path:
        return False
    if is_secret_name(path[-1]) or (len(path) > 1 and is_secret_name(path[-2])):
        return True
    return "env" in path[:-1] or (
        "custom_headers" in path[:-1] and not is_identity_header(path[-1])
    )


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
