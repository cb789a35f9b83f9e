"""Which version of kimi-code can do what: the one table of version facts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(rf"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?")
_LONGEST = 256  # npm takes no longer ones


@total_ordering
@dataclass(frozen=True, eq=False)
class Version:
    """A version as npm writes it, ordered as semver.org says.

    A pre-release such as `1.0.0-next.3` comes before its release; what follows a `+` does
    not count.
    """

    release: tuple[int, int, int]
    prerelease: str = ""

    def __str__(self) -> str:
        text = ".".join(map(str, self.release))
        return f"{text}-{self.prerelease}" if self.prerelease else text

    def _order(self) -> tuple[object, ...]:
        parts = self.prerelease.split(".") if self.prerelease else []
        ranked = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)
        return (self.release, not parts, ranked)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order() == other._order()

    def __lt__(self, other: Version) -> bool:
        return self._order() < other._order()

    def __hash__(self) -> int:
        return hash(self._order())


def parse_version(text: str | None) -> Version | None:
    """Return the version in ``text``, None where it is no semantic version."""
    text = (text or "").strip()
    match = _SEMVER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    return Version((int(match[1]), int(match[2]), int(match[3])), match[4] or "")


@dataclass(frozen=True)
class Feature:
    """Something that the client can do from ``since`` on, and how we know."""

    name: str
    since: Version
    source: str

    def works_in(self, version: Version | None) -> bool:
        """Tell whether ``version`` can do it; an unknown version is not assumed to."""
        return version is not None and version >= self.since


def _version(text: str) -> Version:
    version = parse_version(text)
    if version is None:
        raise ValueError(text)
    return version


NEWEST_KNOWN = _version("2.1.0")

SHARED_LOGIN = Feature(
    "an own provider can share the login",
    _version("0.20.2"),
    "run against a loopback server: 0.20.1 asks for a login, 0.20.2, 0.25.0, 0.38.0, 2.1.0 answer",
)
ALIAS_PROTOCOL = Feature(
    "an alias with `protocol` chooses the Anthropic-compatible surface",
    _version("0.20.2"),
    "run against a loopback server: 0.20.0 ignores it, 0.25.0, 0.38.0, 2.1.0 obey",
)
THINKING_ENABLED = Feature(
    "`[thinking] enabled` replaces `default_thinking`",
    _version("0.21.0"),
    "changelog of 0.21.0; run: 0.20.0 reads only the old one, 0.25.0 only the new one",
)
KEY_VARIABLE = Feature(
    "`api_key_env` names the environment variable of the API key",
    _version("2.0.1"),
    "source of 2.0.1; run: 2.0.2 and 2.1.0 read it, 0.43.1 does not",
)

FEATURES = (SHARED_LOGIN, ALIAS_PROTOCOL, THINKING_ENABLED, KEY_VARIABLE)


def thinking_setting(version: Version | None) -> tuple[str, ...]:
    """Return the path of the setting that keeps thinking on in ``version``.

    An unknown version is treated like a new one: each side ignores the other's setting.
    """
    if version is None or THINKING_ENABLED.works_in(version):
        return ("thinking", "enabled")
    return ("default_thinking",)
