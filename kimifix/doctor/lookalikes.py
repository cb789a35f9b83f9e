"""What looks like a lockout and is not: a server with a type, a login or a key not made for it."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kimifix.client.home import DEFAULT_BASE_URL
from kimifix.client.login import DEFAULT_HOST
from kimifix.doctor.finding import Finding, Status
from kimifix.machine import Machine
from kimifix.outgoing import DEFAULT_BASES, describe

# The servers of a coding plan, each with the only host whose login it takes, and those of the
# pay-as-you-go platform (source of 2.1.0).
_LOGIN_HOSTS = {"api.kimi.com": "auth.kimi.com", "api.kimi.ai": "auth.kimi.ai"}
_OPEN_PLATFORM = ("api.moonshot.cn", "api.moonshot.ai")
_HOST = re.compile(r"https?://(?:[^/?#@]*@)?([^/?#:@]+)")  # urllib.parse takes 5 ms to load
_Found = tuple[str, str, str]  # of which kind, what is the case, and what to do
_OUTAGE, _RECENT = timedelta(minutes=10), timedelta(days=1)


def check_look_alikes(machine: Machine) -> Finding:
    """Nothing is the matter that only looks like a lockout."""
    providers, used = machine.document.providers, describe(machine).provider
    found = list(_in_logs(machine))
    found += _in_provider(machine, str(used), providers.get(str(used), {}))
    status: Status = "warning" if found else "info"
    for name in sorted(providers.keys() - {used}):  # not in use: said, but no warning
        found += _in_provider(machine, name, providers[name])
    if not found:
        return Finding("ok", "none: servers, types, logins and keys fit together")
    kinds, facts, remedies = zip(*found, strict=True)
    hint = "; ".join(dict.fromkeys(remedies))
    return Finding(status, "; ".join(facts), hint, {"found": facts, "alike": kinds})


def _in_logs(machine: Machine) -> Iterator[_Found]:
    """Yield what the newest errors say, each with its remedy."""
    errors, thinking = machine.log_errors, machine.document.data.get("thinking")
    hard = isinstance(thinking, Mapping) and thinking.get("effort") == "max"
    now = datetime.fromtimestamp(machine.now, UTC)
    # A steady 429, as some users report.
    if hard and errors and errors[0].status == 429 and now - errors[0].time < _RECENT:
        remedy = "lower it, or choose another model, before anything else"
        yield "effort", 'a 429, and `effort = "max"` in [thinking]', remedy
    failed = [t for error in errors if (error.status or 0) >= 499 for t in error.incidents]
    if len([t for t in failed if now - t < _OUTAGE]) > 1:
        fact = "the server failed more than once within minutes: an outage"
        yield "outage", fact, "wait some minutes"


def _in_provider(machine: Machine, name: str, provider: Mapping[str, Any]) -> Iterator[_Found]:
    """Yield what does not fit together in ``provider``, each with its remedy."""
    kind, oauth = provider.get("type"), provider.get("oauth")
    url = provider.get("base_url") or (
        DEFAULT_BASES["kimi"] if kind == "kimi" and not oauth else ""
    )
    host, env = _host_of(url), provider.get("env")
    named = [provider.get("api_key"), machine.env.get(str(provider.get("api_key_env")))]
    named += env.values() if isinstance(env, Mapping) else ()
    key = next((n for n in named if isinstance(n, str) and n.startswith("sk-")), "")
    if host in _LOGIN_HOSTS and kind not in ("kimi", "anthropic"):
        # Run with `openai` and `openai_responses`: 0.20.0, 0.25.0, 0.33.0, 0.38.0, 2.1.0.
        fact = f"`{name}` is of type `{kind}`, with which kimi-code sends no X-Msh header"
        yield "type", fact, f'set `type = "kimi"` in the provider `{name}`'
    if host in _LOGIN_HOSTS and isinstance(oauth, Mapping):
        login = _host_of(oauth.get("oauth_host") or DEFAULT_HOST)
        if login != _LOGIN_HOSTS[host] and login in _LOGIN_HOSTS.values():
            # Reported by users; a login of 2.1.0 writes both hosts of one region (its source).
            fact = f"`{name}` has a login of {login}, and asks {host}"
            yield "region", fact, "sign in with `kimi login`"
    # How keys begin: the vendor's error reference, text of May 2026.
    if host in _LOGIN_HOSTS and key and not key.startswith("sk-kimi-"):
        fact = f"`{name}` has a key of the pay-as-you-go Open Platform, and asks {host}"
        yield "platform-key", fact, "use the login, or a key of the Kimi Code console"
    if host in _OPEN_PLATFORM and key.startswith("sk-kimi-"):
        fact = f"`{name}` has a key of the Kimi Code console, and asks the Open Platform, {host}"
        yield "coding-key", fact, f"set the `base_url` of `{name}` to {DEFAULT_BASE_URL}"


def _host_of(url: object) -> str:
    """Return the host of ``url``, empty where it has none."""
    found = _HOST.match(str(url))
    return found[1].lower() if found else ""
