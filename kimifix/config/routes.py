"""The two ways round the gate, as changes of the data: provider entry, aliases, moved settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from kimifix.config.change import Change, KeyPath
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.errors import KimifixError
from kimifix.secret import is_identity_header

Route = Literal["header", "anthropic"]
PLATFORM_HEADER = "X-Msh-Platform"

# The models that the vendor's documentation names for a coding plan, for a config
# that has no managed provider to copy from. The first one becomes the default.
BUILT_IN_MODELS: tuple[dict[str, Any], ...] = (
    {
        "model": "kimi-for-coding",
        "max_context_size": 262144,
        "capabilities": ["thinking", "image_in", "video_in", "tool_use"],
        "display_name": "Kimi For Coding",
    },
    {
        "model": "k3",
        "max_context_size": 262144,
        "capabilities": ["thinking", "always_thinking", "image_in", "video_in", "tool_use"],
        "display_name": "K3",
    },
)

# A twin keeps all fields of its managed alias but these: who serves it, and
# credentials of the alias itself, which would win over ours (kimi-code 2.1.0).
_NOT_COPIED = {"provider", "provider_id", "oauth", "api_key", "api_key_env"}


@dataclass(frozen=True)
class Login:
    """Share the login of the managed provider."""

    name = "login"


@dataclass(frozen=True)
class ApiKey:
    """An API key of the Kimi Code console, to be written into the config."""

    value: str
    name = "key"

    def __repr__(self) -> str:
        return "ApiKey(***)"


@dataclass(frozen=True)
class KeyVariable:
    """The environment variable from which the client shall take its API key."""

    variable: str
    name = "key-env"


Credential = Login | ApiKey | KeyVariable


@dataclass(frozen=True)
class Plan:
    """What `apply` was asked to write.

    ``base_url`` serves where there is no managed provider to take it from.
    ``thinking`` is the setting with which this client version keeps thinking on.
    ``known_models`` are model entries to offer where there is no managed one.
    """

    route: Route
    credential: Credential
    platform: str
    base_url: str
    thinking: KeyPath = ("thinking", "enabled")
    move_default: bool = True
    known_models: tuple[Mapping[str, Any], ...] = ()


def change(document: Document, plan: Plan) -> Change:
    """Return the change that puts ``plan`` into ``document``, which has none of ours.

    Raises ``KimifixError`` where the login shall be shared and there is none to share.
    """
    twins = _twins(document, plan)
    tables: dict[KeyPath, dict[str, Any]] = {("providers", OWN): _provider(document, plan)}
    tables |= {("models", alias): twin for alias, twin in twins.entries.items()}
    if not plan.move_default:
        return Change(tables)
    values, keys = _moves(document, twins)
    if _needs_thinking(document.data, plan, values, tables):
        values[plan.thinking] = True
    return Change(tables, values, keys)


def matches(document: Document) -> bool:
    """Tell whether `providers.kimifix` has the shape of one of the routes, by structure alone.

    The way to recognise our own entries where the receipt is lost: aliases called
    `kimifix/…` and nothing else, and the marks of a route. Additions by hand do not matter.
    """
    provider = document.own or {}
    aliases = document.aliases_of(OWN)
    named = bool(aliases) and all(alias.startswith(f"{OWN}/") for alias in aliases)
    if not named or provider.get("type") not in ("kimi", "anthropic"):
        return False
    by_protocol = all(model.get("protocol") == "anthropic" for model in aliases.values())
    return bool(platform_of(provider)) or provider["type"] == "anthropic" or by_protocol


def route_of(document: Document) -> Route | None:
    """Return the route that our entries take, None where there is no provider of ours."""
    provider = document.own
    if provider is None:
        return None
    if provider.get("type") == "anthropic":
        return "anthropic"
    aliases = document.aliases_of(OWN).values()
    by_protocol = any(model.get("protocol") == "anthropic" for model in aliases)
    return "anthropic" if by_protocol and not platform_of(provider) else "header"


class Drift(NamedTuple):
    """How our entries differ from what `apply` would write now; all empty when they do not.

    ``missing`` and ``outdated`` are aliases of ours; ``provider`` tells whether the own
    provider no longer fits the managed one.
    """

    missing: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    provider: bool = False


def drift(document: Document) -> Drift:
    """Compare our entries in ``document`` with the managed ones that they stand in for."""
    plan = _plan_of(document)
    managed = document.served_by(MANAGED)
    if plan is None or not managed:
        return Drift()
    twins = _twins(document, plan).entries
    present = document.models
    return Drift(
        tuple(alias for alias in twins if alias not in present),
        tuple(alias for alias, twin in twins.items() if present.get(alias, twin) != twin),
        _outdated_provider(document, plan),
    )


def _plan_of(document: Document) -> Plan | None:
    """Return the plan that would write our entries as they are, None without own provider."""
    route = route_of(document)
    if route is None:
        return None
    own = document.providers[OWN]
    credential: Credential = Login()
    if own.get("api_key_env"):
        credential = KeyVariable(own["api_key_env"])
    elif own.get("api_key"):
        credential = ApiKey(own["api_key"])
    return Plan(route, credential, platform_of(own) or "", _url(own))


def _outdated_provider(document: Document, plan: Plan) -> bool:
    own, managed = document.providers[OWN], document.managed
    base_url = _url(managed) or _url(own)
    if own.get("type") == "anthropic":
        base_url = anthropic_base(base_url)
    if isinstance(plan.credential, Login) and own.get("oauth") != managed.get("oauth"):
        return True
    return bool(own.get("base_url") != base_url)


def credential_of(document: Document) -> Credential | None:
    """Return the credential that our provider uses, None where there is no provider of ours."""
    plan = _plan_of(document)
    return plan.credential if plan else None


def platform_of(provider: Mapping[str, Any]) -> str | None:
    """Return the `X-Msh-Platform` that the custom headers of ``provider`` set, if any."""
    headers = provider.get("custom_headers")
    value = headers.get(PLATFORM_HEADER) if isinstance(headers, Mapping) else None
    return value if isinstance(value, str) else None


class _Twins(NamedTuple):
    """Our aliases, and which managed alias each of them stands in for."""

    entries: dict[str, dict[str, Any]]
    of: dict[str, str]


def _twins(document: Document, plan: Plan) -> _Twins:
    managed = document.served_by(MANAGED)
    if not managed:
        known = [m for m in plan.known_models if "model" in m] or BUILT_IN_MODELS
        built_in = {f"{OWN}/{model['model']}": model for model in known}
        return _Twins({a: _twin(model, plan) for a, model in built_in.items()}, {})
    entries: dict[str, dict[str, Any]] = {}
    of: dict[str, str] = {}
    # An own provider with a key at the managed URL has its aliases refreshed as
    # `<provider>/<model id>`, so that is what the alias that the client made becomes;
    # further aliases of the same model, made by the user, keep their own name.
    for alias, model in sorted(managed.items(), key=lambda item: not _is_canonical(*item)):
        name = f"{OWN}/{model.get('model', alias)}"
        if name in entries:
            name = f"{OWN}/{alias}"
        while name in entries:
            name = f"{OWN}/{name}"
        entries[name] = _twin(model, plan)
        of[alias] = name
    order = {of[alias]: entries[of[alias]] for alias in managed}
    return _Twins(order, of)


def _is_canonical(alias: str, model: Mapping[str, Any]) -> bool:
    return alias.rpartition("/")[2] == model.get("model")


def _twin(model: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    twin = {"provider": OWN}
    if "provider_id" in model:
        twin["provider_id"] = OWN
    twin |= {name: value for name, value in model.items() if name not in _NOT_COPIED}
    if plan.route == "anthropic" and isinstance(plan.credential, Login):
        twin["protocol"] = "anthropic"
    elif plan.route == "anthropic":  # the provider's type says it, and its base_url is another
        twin = {k: v for k, v in twin.items() if k not in ("protocol", "base_url")}
    return twin


def _provider(document: Document, plan: Plan) -> dict[str, Any]:
    managed = document.managed
    base_url = _url(managed) or plan.base_url
    provider: dict[str, Any] = {"type": "kimi", "base_url": base_url}
    if plan.route == "anthropic" and not isinstance(plan.credential, Login):
        # The one shape that every client version sends to `{base}/v1/messages`
        # (measured, 0.10.0 to 2.1.0), and which no model refresh rewrites.
        provider = {"type": "anthropic", "base_url": anthropic_base(base_url)}
    match plan.credential:
        case ApiKey(value):
            provider["api_key"] = value
        case KeyVariable(variable):
            provider["api_key_env"] = variable
        case Login():
            if not isinstance(managed.get("oauth"), dict):
                raise KimifixError(
                    "the config has no login to share",
                    "sign in with `kimi login`, or use an API key of the Kimi Code console",
                )
            provider["oauth"] = managed["oauth"]
    headers = _headers(managed, plan)
    if headers:
        provider["custom_headers"] = headers
    return provider


def _url(provider: Mapping[str, Any]) -> str:
    base_url = provider.get("base_url")
    return base_url if isinstance(base_url, str) else ""


def anthropic_base(base_url: str) -> str:
    """Return the base of the Anthropic-compatible surface for an OpenAI-compatible one."""
    return base_url.rstrip("/").removesuffix("/v1")


def _headers(managed: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    carried = managed.get("custom_headers")
    headers = dict(carried) if isinstance(carried, Mapping) else {}
    if plan.route == "anthropic":  # the client's own identity, unaltered
        return {k: v for k, v in headers.items() if not is_identity_header(k)}
    # Names merge case-sensitively: another spelling would stand beside ours, and on the
    # wire one of the two replaces the other (run: 0.20.0, 0.38.0, 2.1.0).
    headers = {k: v for k, v in headers.items() if k.lower() != PLATFORM_HEADER.lower()}
    return {**headers, PLATFORM_HEADER: plan.platform}


def _moves(
    document: Document, twins: _Twins
) -> tuple[dict[KeyPath, str | bool], dict[KeyPath, str]]:
    values: dict[KeyPath, str | bool] = {}
    keys: dict[KeyPath, str] = {}
    for reference in document.references:
        twin = twins.of.get(reference.alias)
        if twin is None:
            continue
        if reference.is_key:
            keys[reference.path] = twin
        else:
            values[reference.path] = twin
    if "default_model" not in document.data:
        values[("default_model",)] = next(iter(twins.entries))
    if document.data.get("default_provider") == MANAGED:
        values[("default_provider",)] = OWN
    return values, keys


def _needs_thinking(
    data: Mapping[str, Any],
    plan: Plan,
    values: Mapping[KeyPath, object],
    tables: Mapping[KeyPath, Mapping[str, Any]],
) -> bool:
    """Tell whether thinking has to be set so that it stays as it was.

    Where the default is a foreign alias and nothing is set, `/login` and some model
    refreshes write thinking off (measured, 0.20.0 and 2.1.0).
    """
    default = values.get(("default_model",))
    twin = tables.get(("models", str(default)), {})
    capabilities = twin.get("capabilities")
    if not isinstance(capabilities, list) or not isinstance(data.get("thinking", {}), Mapping):
        return False
    thinks = "thinking" in capabilities or "always_thinking" in capabilities
    section = data.get("thinking", {}).keys()
    if plan.thinking == ("default_thinking",):
        return thinks and "default_thinking" not in data and "mode" not in section
    return thinks and not {"enabled", "effort"} & section
