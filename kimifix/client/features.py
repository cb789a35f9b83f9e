"""Which version of kimi-code can do what; the facts and their sources are in `features.toml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from kimifix.reader import tables

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(rf"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?")
_LONGEST = 256  # npm takes no longer ones

Feature = Literal[
    "shared-login", "alias-protocol", "key-refresh", "thinking-enabled",
    "key-variable", "proxies", "alias-overrides", "keyless-model", "key-in-acp", "nameless-acp",
    "other-name", "lenient-config", "no-shell-key", "newer-node", "default-provider",
    "alias-base-url", "new-engine", "one-engine",
]  # fmt: skip


@dataclass(frozen=True, order=True)
class Version:
    """A version as npm writes it, ordered as semver.org says.

    A pre-release such as `1.0.0-next.3` comes before its release; what follows a `+` does
    not count. ``rank`` is the place among the pre-releases.
    """

    release: tuple[int, int, int]
    prerelease: str = field(default="", compare=False)
    rank: tuple[object, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = self.prerelease.split(".") if self.prerelease else []
        ranked = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)
        object.__setattr__(self, "rank", (not parts, ranked))

    def __str__(self) -> str:
        text = ".".join(map(str, self.release))
        return f"{text}-{self.prerelease}" if self.prerelease else text


def parse_version(text: str | None) -> Version | None:
    """Return the version in ``text``, None where it is no semantic version."""
    text = (text or "").strip()
    match = _SEMVER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    return Version((int(match[1]), int(match[2]), int(match[3])), match[4] or "")


NEWEST_KNOWN = Version((2, 1, 0))
_LAST_OF_THE_OLD = Version((0, 32, 0))
# The first chooses the newer engine before it is the default, the second the older one since.
ENGINE_FLAGS = ("KIMI_CODE_EXPERIMENTAL_FLAG", "KIMI_CODE_LEGACY_FLAG")
_TRUE = ("1", "true", "yes", "on")
_FACTS = tables("client/features.toml")
_SINCE = {n: v for n, fact in _FACTS.items() if (v := parse_version(fact["since"]))}


def since(feature: Feature) -> Version:
    """Return the first version that has ``feature``."""
    return _SINCE[feature]


def has(feature: Feature, version: Version | None) -> bool:
    """Tell whether ``version`` has ``feature``; an unknown version is not assumed to."""
    return version is not None and version >= since(feature)


def read_by(version: Version, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an entry of `[models]` what ``version`` reads."""
    later = (fact.get("fields", ()) for name, fact in _FACTS.items() if version < _SINCE[name])
    unread = set(chain.from_iterable(later))
    return {field: value for field, value in model.items() if field not in unread}


def engine(version: Version, env: Mapping[str, str]) -> Version:
    """Return the version whose rules a client of ``version`` follows.

    It has two engines, the old one by default before 0.33.0 and the new one since then, until
    the old one is gone; a variable of ``env`` names the other one.
    """
    is_new = has("new-engine", version)
    flag = env.get(ENGINE_FLAGS[is_new], "")
    if has("one-engine", version) or flag.strip().lower() not in _TRUE:
        return version
    return _LAST_OF_THE_OLD if is_new else since("new-engine")


def oldest_node(version: Version) -> Version:
    """Return the oldest Node on which ``version`` starts; it asks for a newer one, 22.19."""
    return Version((22, 15, 0) if has("newer-node", version) else (20, 0, 0))


def thinking_setting(version: Version | None) -> tuple[str, ...]:
    """Return the path of the setting that keeps thinking on in ``version``.

    An unknown version is treated like a new one: each side ignores the other's setting.
    """
    if version is None or has("thinking-enabled", version):
        return ("thinking", "enabled")
    return ("default_thinking",)
