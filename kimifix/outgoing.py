"""What the client sends for a model: where to, as whom, with what; or why it sends nothing.

The one description, for what the findings say, the probe asks and `--route auto` chooses.
It follows the client's own rules (source of 0.25.0 to 2.1.0; run: 0.25.0, 0.38.0, 2.1.0).
It is stricter in one: a login goes to the server that it was made for and to no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kimifix.client import features, login
from kimifix.client.features import Version
from kimifix.config import routes
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.config.routes import OWN_PLATFORM, PLATFORM_HEADER, Credential, KeyVariable, Login
from kimifix.machine import Machine
from kimifix.secret import Secret, register
from kimifix.words import UPDATE, span

# With KIMI_MODEL_NAME the client puts an alias and a provider of these names before all others.
_ENV_ALIAS, _ENV_PROVIDER = "__kimi_env_model__", "__kimi_env__"
_DEFAULT_BASES = {"kimi": "https://api.moonshot.ai/v1", "anthropic": "https://api.anthropic.com"}
_ENV_PREFIXES = {"kimi": "KIMI", "anthropic": "ANTHROPIC"}  # of names in `[providers.X.env]`
_OVER_PROVIDER = ("api_key", "oauth", "base_url")
_LOOPBACK = re.compile(r"https?://(localhost|127(\.\d+){3}|\[::1\])([:/].*)?")
_VENDOR = re.compile(r"https?://([\w-]+\.)*kimi\.(com|ai)([:/][^@]*)?", re.ASCII)
_NO_SECRET = Secret("")


@dataclass(frozen=True)
class Obstacle:
    """Why nothing goes out: what is the case, what to do about it, and what to type for that.

    ``about`` is what it is about. ``client_can`` is whether it keeps kimifix alone from
    asking, and the client itself may get an answer.
    """

    about: Literal["default", "provider", "credential", "login"]
    fact: str
    advice: str
    next: tuple[str, ...] = ()
    client_can: bool = False


@dataclass(frozen=True)
class Outgoing:
    """What goes out for ``alias``; where there is an ``obstacle``, as far as it can be told.

    ``platform`` is the `X-Msh-Platform` on the wire, None without one, ``own_platform`` the
    one that the client sends of its own accord. ``lowest`` and ``custom`` are the headers
    below and above the client's own; ``others`` the ways in which they spell the platform's.
    """

    alias: str
    model: str = ""
    provider: str | None = None
    kind: str | None = None
    surface: Literal["openai", "anthropic"] = "openai"
    base_url: str = ""
    own_platform: str | None = None
    lowest: Mapping[str, str] | None = None
    custom: Mapping[str, str] | None = None
    credential: Literal["login", "key"] | None = None
    secret: Secret = _NO_SECRET
    obstacle: Obstacle | None = None

    @property
    def platform(self) -> str | None:
        """The `X-Msh-Platform` on the wire, None where none is sent."""
        own = {PLATFORM_HEADER: self.own_platform} if self.own_platform else {}
        sent = {**(self.lowest or {}), **own, **(self.custom or {})}
        values = [v for name, v in sent.items() if name.lower() == PLATFORM_HEADER.lower()]
        return values[-1] if values else None  # a later spelling replaces an earlier one


def describe(
    machine: Machine, document: Document | None = None, alias: str | None = None
) -> Outgoing:
    """Return what the client sends for ``alias`` of ``document``.

    That is by default what it sends now: the config as it is, its default model, which the
    environment may replace. Raises ``ConfigError`` where the config cannot be read.
    """
    document = document or machine.document
    version = machine.version or features.NEWEST_KNOWN
    if alias is None and _text(machine.env.get("KIMI_MODEL_NAME")):
        document, alias = _of_environment(machine.env), _ENV_ALIAS
    alias = alias or _text(document.data.get("default_model")) or ""
    model = document.models.get(alias)
    if model is None:
        return Outgoing(alias, obstacle=_no_model(machine, document, alias))
    name = document.provider_of(alias)
    provider = document.providers.get(str(name))
    told = Outgoing(alias, _text(model.get("name", model.get("model"))) or "", str(name))
    if provider is None:
        again = (machine.kimifix("apply"),) if document.aliases_of(OWN).get(alias) else ()
        advice = "choose another model with /model, or write the provider again"
        fact = f"the provider of `{alias}` does not exist: `{name}`"
        return replace(told, obstacle=Obstacle("provider", fact, advice, again))
    if features.ALIAS_OVERRIDES.works_in(version):
        provider = {**provider, **{key: model[key] for key in _OVER_PROVIDER if model.get(key)}}
    told = replace(told, kind=_text(provider.get("type")))
    if told.kind not in _ENV_PREFIXES:
        ours = _VENDOR.fullmatch(str(provider.get("base_url")))
        way = "out without the identity of kimi-code" if ours else "to another vendor's API"
        fact = f"`{alias}` goes {way}, `{told.kind}`, which kimifix does not ask"
        advice = "choose a model of Kimi with /model"
        return replace(told, obstacle=Obstacle("provider", fact, advice, client_can=True))
    by_protocol = model.get("protocol") == "anthropic" and features.ALIAS_PROTOCOL.works_in(version)
    prefix = _ENV_PREFIXES[told.kind]
    env = _strings(provider.get("env"))
    base_url = _text(provider.get("base_url")) or env.get(f"{prefix}_BASE_URL")
    told = replace(
        told,
        surface="anthropic" if by_protocol or told.kind == "anthropic" else "openai",
        base_url=base_url or _DEFAULT_BASES[told.kind],
        own_platform=OWN_PLATFORM if told.kind == "kimi" else None,
        lowest=_of_variable(machine.env.get("KIMI_CODE_CUSTOM_HEADERS", "")),
        custom=_strings(provider.get("custom_headers")),
    )
    return _with_credential(told, machine, version, provider, env.get(f"{prefix}_API_KEY"))


def _of_environment(env: Mapping[str, str]) -> Document:
    provider = {
        "type": (_text(env.get("KIMI_MODEL_PROVIDER_TYPE")) or "kimi").lower(),
        "base_url": _text(env.get("KIMI_MODEL_BASE_URL")),
        "api_key": _text(env.get("KIMI_MODEL_API_KEY")),
    }
    model = {"provider": _ENV_PROVIDER, "model": _text(env.get("KIMI_MODEL_NAME"))}
    return Document({"providers": {_ENV_PROVIDER: provider}, "models": {_ENV_ALIAS: model}})


def _no_model(machine: Machine, document: Document, alias: str) -> Obstacle:
    choose = "choose a model with /model in `kimi`"
    if alias.startswith(f"{OWN}/") and not document.own_entries and not machine.reading.receipt:
        fact = f"`default_model` still names `{alias}`, which `revert` has taken out"
        advice = "quit every running kimi-code, which wrote it back, then revert again"
        return Obstacle("default", fact, advice, (machine.kimifix("revert"),))
    again = (
        (machine.kimifix("apply"),) if document.own_entries or alias.startswith(f"{OWN}/") else ()
    )
    if alias:
        fact = f"`default_model` names a model that does not exist: `{alias}`"
        return Obstacle("default", fact, choose, again)
    if not document.models:
        fact, advice = "kimi-code has no model: it is not signed in", "sign in"
        return Obstacle("default", fact, advice, (machine.kimi("login"), *again))
    return Obstacle("default", "`default_model` is not set", choose, again)


def _with_credential(
    told: Outgoing,
    machine: Machine,
    version: Version,
    provider: Mapping[str, Any],
    env_key: str | None,
) -> Outgoing:
    key, oauth = _text(provider.get("api_key")), isinstance(provider.get("oauth"), Mapping)
    variable = _text(provider.get("api_key_env"))
    if variable and not features.KEY_VARIABLE.works_in(version):
        fact = f"kimi-code {version} does not read `api_key_env`"
        advice = f"{UPDATE}, or write the key into the config"
        return replace(
            told,
            obstacle=Obstacle(
                "credential", fact, advice, (machine.kimifix("apply", "--credential", "key"),)
            ),
        )
    if sum(map(bool, (key or env_key, oauth, variable))) > 1:
        fact = f"the provider `{told.provider}` has a login and a key, and kimi-code refuses both"
        return replace(told, obstacle=Obstacle("credential", fact, "take one of them out"))
    if variable and not machine.env.get(variable):
        fact = f"{variable} is not set, from which kimi-code takes its key"
        advice = f"set {variable} where kimi-code is started"
        return replace(told, credential="key", obstacle=Obstacle("credential", fact, advice))
    value = key or env_key or (machine.env[variable].strip() if variable else None)
    if value:
        return replace(told, credential="key", secret=Secret(value))
    if not oauth:
        fact = f"the provider `{told.provider}` has neither a login nor a key"
        return replace(told, obstacle=Obstacle("credential", fact, "sign in, or give it a key"))
    managed = told.provider == MANAGED
    found = machine.login_in(login.slot_of(provider, machine.env, managed=managed) or "")
    obstacle = _no_login(machine, version, provider, found, managed=managed)
    return replace(told, credential="login", secret=found.token or _NO_SECRET, obstacle=obstacle)


def _no_login(
    machine: Machine,
    version: Version,
    provider: Mapping[str, Any],
    found: login.Login,
    *,
    managed: bool,
) -> Obstacle | None:
    if not managed and not features.SHARED_LOGIN.works_in(version):
        fact = f"kimi-code {version} cannot share its login"
        return Obstacle(
            "login",
            fact,
            f"{UPDATE}, or use a key",
            (machine.kimifix("apply", "--credential", "key"),),
        )
    if not login.is_at_home(provider, machine.env, managed=managed):
        fact = "the login of this provider was made for another server than its `base_url`"
        advice = "correct its `base_url` or its `oauth` table"
        if managed:
            fact = "KIMI_CODE_BASE_URL names another server than the config, and so another login"
            advice = "unset it, or sign in with it set"
        return Obstacle("login", fact, advice, client_can=found.present)
    if found.present and (found.expires_at is None or found.expires_at > machine.now):
        return None
    if found.present and found.renewable:
        ago = span(machine.now - (found.expires_at or 0))
        fact = f"the login expired {ago} ago, as usual, and only kimi-code may renew it"
        return Obstacle("login", fact, RENEW, renewing(machine), client_can=True)
    why = f", {found.problem}: `{found.path}`" if found.problem else ""
    fact = "the login has expired for good" if found.present else f"it is not signed in{why}"
    if managed:
        return Obstacle("login", fact, "sign in", (machine.kimi("login"),))
    # A login from scratch makes the managed model the default again.
    steps = (machine.kimi("login"), machine.kimifix("apply"))
    return Obstacle("login", fact, "sign in, then apply again", steps)


RENEW = "send one message in `kimi` (an error is fine: it renews the login), then ask again"


def renewing(machine: Machine) -> tuple[str, ...]:
    """Return the command by which kimi-code renews its login and answers."""
    return (machine.kimifix("doctor", "--verify"),)


def server_warnings(base_url: str) -> Iterator[str]:
    """Yield why a credential should better not go to ``base_url``."""
    if base_url and not _LOOPBACK.fullmatch(base_url):
        if not _VENDOR.fullmatch(base_url):
            yield f"login or key go to a server that is not the vendor's: `{base_url}`"
        if not base_url.startswith("https://"):
            yield f"login or key go unencrypted to `{base_url}`"


def apply_command(
    machine: Machine, route: str, credential: Credential, platform: str | None
) -> str:
    """Return the `apply` that leads to this, whatever is applied now."""
    document = machine.document
    present = routes.credential_of(document) or Login()
    words = ["apply", "--route", route]
    if isinstance(credential, KeyVariable):
        words += ["--key-env", credential.variable]
    elif credential.name != present.name:
        words += ["--credential", credential.name]
    if route == "header" and platform != (routes.platform_of(document.own or {}) or "kimi_cli"):
        words += ["--platform", str(platform)]
    return machine.kimifix(*words)


def _of_variable(text: str) -> dict[str, str]:
    """Return the headers in KIMI_CODE_CUSTOM_HEADERS: lines of `Name: value`."""
    pairs = (line.partition(":") for line in text.strip().split("\n"))
    headers = {
        name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()
    }
    for value in headers.values():
        register(value)
    return headers


def _strings(table: object) -> dict[str, str]:
    items = table.items() if isinstance(table, Mapping) else ()
    return {key: value for key, value in items if isinstance(value, str)}


def _text(value: object) -> str | None:
    """Return a string without white space around it, None where that leaves nothing."""
    return value.strip() or None if isinstance(value, str) else None
