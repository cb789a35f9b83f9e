"""The OAuth login of the client: is it there, when does it end; its value only for the probe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kimifix.client.home import Home
from kimifix.secret import Secret

_DEFAULT_HOST = "https://auth.kimi.com"
_DEFAULT_BASE = "https://api.kimi.com/coding/v1"
_HOST_VARIABLES = ("KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST")


@dataclass(frozen=True)
class Login:
    """The login in one slot.

    ``slot`` is the key of the `oauth` table, such as `oauth/kimi-code`. ``token`` is None
    where there is none; ``problem`` then says why if it is anything but absence.
    ``expires_at`` is in Unix seconds, None where the file does not say.
    """

    slot: str
    path: Path
    token: Secret | None = None
    expires_at: float | None = None
    renewable: bool = False
    problem: str | None = None

    @property
    def present(self) -> bool:
        """Whether the client has something to sign in with: a token, or one to renew it."""
        return self.token is not None or self.renewable


def slot_of(provider: Mapping[str, Any], env: Mapping[str, str], *, managed: bool) -> str | None:
    """Return the slot that ``provider`` uses, None where it has no `oauth` table.

    An own provider's table is taken as it is. For the managed provider the client works
    the slot out again from host and base URL as soon as one of its variables sets them
    (source of 2.1.0; both forms of the name reproduced there).
    """
    oauth = provider.get("oauth")
    if not isinstance(oauth, Mapping):
        return None
    slot = oauth.get("key")
    slot = slot if isinstance(slot, str) and slot else "oauth/kimi-code"
    host = next((env[name] for name in _HOST_VARIABLES if env.get(name)), None)
    base = env.get("KIMI_CODE_BASE_URL")
    if not managed or not (host or base):
        return slot
    host = (host or oauth.get("oauth_host") or _DEFAULT_HOST).rstrip("/")
    base = (base or provider.get("base_url") or _DEFAULT_BASE).rstrip("/")
    if (host, base) == (_DEFAULT_HOST, _DEFAULT_BASE):
        return "oauth/kimi-code"
    pair = json.dumps({"oauthHost": host, "baseUrl": base}, separators=(",", ":"))
    return "oauth/kimi-code-env-" + sha256(pair.encode()).hexdigest()[:16]


def read(home: Home, slot: str) -> Login:
    """Return the login in ``slot``; never raises, never refreshes, never writes."""
    name = slot.removeprefix("oauth/")
    path = home.path / "credentials" / f"{name}.json"
    if "/" in name or "\\" in name or name.startswith("."):
        return Login(slot, path, problem="the slot is no file name")
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Login(slot, path)
    except OSError as error:
        return Login(slot, path, problem=f"it cannot be read, {error.strerror or error}")
    except ValueError:
        return Login(slot, path, problem="it is not valid JSON")
    if not isinstance(data, dict):
        return Login(slot, path, problem="it is not a JSON object")
    token, refresh = data.get("access_token"), data.get("refresh_token")
    expires = data.get("expires_at")
    if isinstance(refresh, str):
        Secret(refresh)
    return Login(
        slot,
        path,
        Secret(token) if isinstance(token, str) and token else None,
        float(expires) if isinstance(expires, int | float) else None,
        bool(refresh),
        None if isinstance(token, str) else "it holds no access token",
    )
