"""Which proxy a request goes through, by the rules of the client: pure.

As in the source of kimi-code 2.1.0 and the HTTP library that it brings (undici 7.27): a
lower-case name wins over its upper-case twin, `HTTP_PROXY` serves https where nothing else
does, and loopback is always asked directly.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from kimifix.secret import Secret, register

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_VARIABLES = {
    "https": ("https_proxy", "all_proxy", "http_proxy"),
    "http": ("http_proxy", "all_proxy"),
}
_SOCKS = ("socks", "socks4", "socks4a", "socks5", "socks5h")


class ProxyError(Exception):
    """The environment names a proxy that cannot be used."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; ``authorization`` is the value of its `Proxy-Authorization`."""

    host: str
    port: int
    authorization: Secret | None = None


def choose(scheme: str, host: str, port: int, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for ``scheme://host:port``, None where it is asked directly.

    Raises ``ProxyError`` for a proxy that kimifix cannot use.
    """
    if _is_excepted(host, port, env):
        return None
    socks = None
    for name in _VARIABLES[scheme]:
        value = _value(env, name)
        if value is None:
            continue
        if value.partition(":")[0].lower() not in _SOCKS:
            return _parsed(name, value)
        socks = socks or name
    if socks is not None:
        raise ProxyError(
            f"{socks.upper()} names a SOCKS proxy, through which kimifix cannot ask: "
            "set HTTPS_PROXY to an HTTP proxy for this run"
        )
    return None


def _value(env: Mapping[str, str], name: str) -> str | None:
    values = (env.get(spelling, "").strip() for spelling in (name, name.upper()))
    return next((value for value in values if value), None)


def _parsed(name: str, value: str) -> Proxy:
    wrong = ProxyError(f"{name.upper()} is not of the form http://host:port")
    try:
        url = urlsplit(value)
        host, port = url.hostname, url.port
    except ValueError:
        raise wrong from None
    if url.scheme != "http" or not host or not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise wrong
    authorization = None
    if url.username is not None:
        user, password = unquote(url.username), unquote(url.password or "")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        for secret in (url.password or "", password, pair):
            register(secret)
        authorization = Secret(f"Basic {pair}")
    return Proxy(host, port or 80, authorization)


def _is_excepted(host: str, port: int, env: Mapping[str, str]) -> bool:
    host = host.lower()
    exceptions = _value(env, "no_proxy") or ""
    if "*" in re.split(r"[,\s]+", exceptions):
        return True
    named = (*_exceptions(exceptions), *((name, None) for name in _LOOPBACK))
    return any(
        (only is None or only == port) and (host == name or host.endswith(f".{name}"))
        for name, only in named
    )


def _exceptions(text: str) -> Iterator[tuple[str, int | None]]:
    for entry in re.split(r"[,\s]+", text.lower()):
        match = re.fullmatch(r"(\[[^\]]+\]|[^:]+):(\d{1,5})", entry)
        name, port = (match[1], int(match[2])) if match else (entry, None)
        name = name.removeprefix("*").removeprefix(".").strip("[]")
        if name:
            yield name, port
