"""Which version of kimi-code can do what: the one table of version facts."""

import re
from dataclasses import dataclass, field

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(rf"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?")
_LONGEST = 256  # npm takes no longer ones


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


@dataclass(frozen=True)
class Feature:
    """Something that the client can do from ``since`` on, and how we know."""

    name: str
    since: Version
    source: str

    def works_in(self, version: Version | None) -> bool:
        """Tell whether ``version`` can do it; an unknown version is not assumed to."""
        return version is not None and version >= self.since


NEWEST_KNOWN = Version((2, 1, 0))

SHARED_LOGIN = Feature(
    "an own provider can share the login",
    Version((0, 20, 2)),
    "run against a loopback server: 0.20.1 asks for a login, 0.20.2, 0.25.0, 0.38.0, 2.1.0 answer",
)
ALIAS_PROTOCOL = Feature(
    "an alias with `protocol` chooses the Anthropic-compatible surface",
    Version((0, 20, 2)),
    "run against a loopback server: 0.20.0 ignores it, 0.25.0, 0.38.0, 2.1.0 obey",
)
KEY_REFRESH = Feature(
    "the model refresh writes the aliases of an own provider with a key at the managed URL anew",
    Version((0, 27, 0)),
    "run: 0.25.0 leaves them alone; 0.27.0 and 0.30.0 add new models and take `protocol` away",
)
PROTOCOL_MERGED = Feature(
    "and leaves `protocol` as it is",
    Version((0, 33, 0)),
    "run: 0.33.0, 0.38.0, 0.43.1, 2.0.2, 2.1.0; models that are new come without it",
)
THINKING_ENABLED = Feature(
    "`[thinking] enabled` replaces `default_thinking`",
    Version((0, 21, 0)),
    "changelog of 0.21.0; run: 0.20.0 reads only the old one, 0.25.0 only the new one",
)
KEY_VARIABLE = Feature(
    "`api_key_env` names the environment variable of the API key",
    Version((2, 0, 1)),
    "source of 2.0.1; run: 2.0.2 and 2.1.0 read it, 0.43.1 does not",
)
PROXIES = Feature(
    "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY lead through a proxy, a SOCKS proxy too",
    Version((0, 12, 0)),
    "source of 0.12.0; run: 0.10.0 ignores them, 0.20.0 to 2.1.0 obey",
)

ALIAS_OVERRIDES = Feature(
    "`base_url`, `api_key` and `oauth` of an alias win over those of its provider",
    Version((0, 33, 0)),
    "source of 0.33.0; run: 0.25.0 ignores them, 0.38.0 and 2.1.0 obey",
)
KEYLESS_MODEL = Feature(
    "KIMI_MODEL_NAME without KIMI_MODEL_API_KEY replaces the default model, too",
    Version((0, 33, 0)),
    "run: 0.20.0, 0.25.0 and 0.32.0 ignore the name then, 0.33.0, 0.38.0 and 2.1.0 lack a key",
)
KEY_IN_ACP = Feature(
    "in an editor, by ACP, an API key is enough, without a login",
    Version((0, 28, 1)),
    "source of 0.28.1; run: 0.25.0 answers `Authentication required`, 0.38.0 and 2.1.0 do not",
)
NAMELESS_ACP = Feature(
    "in an editor, by ACP, the client says nothing of its own about who it is",
    Version((0, 33, 0)),
    "run: 0.30.0 sends the full identity there, 0.33.0, 0.38.0, 0.43.1 and 2.1.0 none",
)

FEATURES = tuple(fact for fact in list(vars().values()) if isinstance(fact, Feature))


def protocol_lasts(version: Version | None) -> bool:
    """Tell whether an alias keeps its `protocol` in ``version`` where its provider has a key."""
    erased = KEY_REFRESH.works_in(version) and not PROTOCOL_MERGED.works_in(version)
    return ALIAS_PROTOCOL.works_in(version) and not erased


def thinking_setting(version: Version | None) -> tuple[str, ...]:
    """Return the path of the setting that keeps thinking on in ``version``.

    An unknown version is treated like a new one: each side ignores the other's setting.
    """
    if version is None or THINKING_ENABLED.works_in(version):
        return ("thinking", "enabled")
    return ("default_thinking",)
