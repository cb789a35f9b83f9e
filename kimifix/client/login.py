"""The OAuth login of the client: is it there, when does it end; its value only for the probe."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kimifix.client.home import DEFAULT_BASE_URL, Home
from kimifix.reader import parsed
from kimifix.reader import read as read_file
from kimifix.secret import Secret, register
from kimifix.words import filled

DEFAULT_HOST = "https://auth.kimi.com"
_DEFAULT_SLOT = "oauth/kimi-code"
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MAX_BYTES = 1024 * 1024
_EARLIEST = 300.0  # seconds before its end, or half its time, whichever is more
_END_OF_TIME = 253_402_300_800  # the year 10000, in Unix seconds


@dataclass(frozen=True)
class Login:
    """The login in one slot.

    ``slot`` is the key of the `oauth` table, such as `oauth/kimi-code`. ``token`` is None
    where there is none; ``problem`` then says why if it is anything but absence.
    ``expires_at`` is in Unix seconds, None where the file does not say. ``renewable`` is
    whether there is a refresh token, and ``early`` how long before the end the client takes it.
    """

    slot: str
    path: Path
    token: Secret | None = None
    expires_at: float | None = None
    renewable: bool = False
    problem: str | None = None
    early: float = 0.0

    @property
    def ends_at(self) -> float | None:
        """When the client no longer sends the token as it is, None for never.

        One that it cannot renew is none from when it would (run: 0.25.0, 0.38.0, 2.1.0).
        """
        early = 0.0 if self.renewable else self.early
        return self.expires_at - early if self.expires_at else None

    @property
    def present(self) -> bool:
        """Whether the client counts as signed in: without an access token, it does not renew."""
        return self.token is not None

    def serves(self, now: float) -> bool:
        """Tell whether the client can use it at ``now`` (Unix seconds), renewed if need be."""
        is_over = self.ends_at is not None and self.ends_at <= now
        return self.present and (self.renewable or not is_over)


def slot_of(provider: Mapping[str, Any], env: Mapping[str, str], *, managed: bool) -> str | None:
    """Return the slot that ``provider`` uses, None where it has no `oauth` table.

    An own provider's table is taken as it is. For the managed provider the client works
    the slot out from OAuth host and base URL, whatever the table names; its environment
    variables replace both at once, so with one of the two set the other is the default
    host or the base URL of the config (source of 0.10.0 to 2.1.0, run: 0.25.0 and 2.1.0).
    """
    oauth = provider.get("oauth")
    if not isinstance(oauth, Mapping):
        return None
    if not managed:
        return filled(oauth.get("key")) or _DEFAULT_SLOT
    host = env.get("KIMI_CODE_OAUTH_HOST", env.get("KIMI_OAUTH_HOST"))
    base = env.get("KIMI_CODE_BASE_URL")
    if host is None and base is None:
        host = filled(oauth.get("oauth_host"))
    host = (DEFAULT_HOST if host is None else host).strip().rstrip("/")
    base = base if base is not None else filled(provider.get("base_url"))
    base = (DEFAULT_BASE_URL if base is None else base).rstrip("/")
    if (host, base) == (DEFAULT_HOST, DEFAULT_BASE_URL):
        return _DEFAULT_SLOT
    pair = json.dumps(
        {"oauthHost": host, "baseUrl": base}, separators=(",", ":"), ensure_ascii=False
    )
    return f"{_DEFAULT_SLOT}-env-{sha256(pair.encode(errors='replace')).hexdigest()[:16]}"


def is_shareable(provider: Mapping[str, Any], env: Mapping[str, str]) -> bool:
    """Tell whether an own provider with the `oauth` table of ``provider`` gets the same login."""
    slot = slot_of(provider, env, managed=False)
    return all(slot == slot_of(provider, one, managed=True) for one in ({}, env))


def is_at_home(
    provider: Mapping[str, Any], base_url: str, env: Mapping[str, str], *, managed: bool
) -> bool:
    """Tell whether the login that ``provider`` uses was made for ``base_url``, where it goes.

    For the managed provider the client sees to that, but for what moves the login alone
    (KIMI_CODE_BASE_URL) or the requests (`base_url` of an alias, or none at all); an own
    provider's table it takes as it is (run: 0.25.0, 0.38.0, 2.1.0).
    """
    if not managed:
        to = {**provider, "base_url": base_url}
        return slot_of(provider, {}, managed=False) == slot_of(to, {}, managed=True)
    made_for = env.get("KIMI_CODE_BASE_URL", filled(provider.get("base_url")) or DEFAULT_BASE_URL)
    return made_for.strip().rstrip("/") == base_url.rstrip("/")


def read(home: Home, slot: str) -> Login:
    """Return the login in ``slot``; never raises, never refreshes, never writes."""
    name = slot.removeprefix("oauth/")
    path = home.path / "credentials" / f"{name}.json"
    if not _FILE_NAME.fullmatch(name):
        return Login(slot, path, problem="the `key` of its login is no file name")
    try:
        data = parsed(read_file(path, _MAX_BYTES))
    except FileNotFoundError:
        return Login(slot, path)
    except OSError as error:
        return Login(slot, path, problem=f"it cannot be read, {error.strerror or error}")
    except (ValueError, RecursionError):
        return Login(slot, path, problem="it is not valid JSON")
    if not isinstance(data, dict):
        return Login(slot, path, problem="it is not a JSON object")
    token, refresh = filled(data.get("access_token")), filled(data.get("refresh_token"))
    if refresh:
        register(refresh)
    return Login(
        slot,
        path,
        Secret(token) if token else None,
        _moment(data.get("expires_at")),
        renewable=refresh is not None,
        problem=None if token else "it is revoked, without an access token",
        early=max(_EARLIEST, (_moment(data.get("expires_in")) or 0.0) / 2),
    )


def _moment(value: object) -> float | None:
    """Return Unix seconds, None for what is no moment in time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _END_OF_TIME else None
