"""The two ways round the gate, as changes of the data: provider entry, aliases, moved settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kimifix.config.change import Change, KeyPath
from kimifix.config.document import MANAGED, OWN, Document, same
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
# What others have added to our entries stays, but for what decides where a request goes.
_RULED = _NOT_COPIED | {"base_url", "protocol"}


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

    ``base_url`` is that of the OpenAI-compatible surface. ``by_protocol`` is whether our
    aliases choose the Anthropic-compatible one, else the type of our provider does.
    ``thinking`` is the setting with which this client version keeps thinking on.
    ``moving`` are the settings that may move to ours, None for all. ``present`` is the
    config as it is, ours included: its models of ours serve where there is no managed
    one, and its default where nothing else tells which.
    """

    route: Route
    credential: Credential
    platform: str
    base_url: str
    by_protocol: bool = True
    thinking: KeyPath = ("thinking", "enabled")
    moving: Collection[KeyPath] | None = None
    present: Document = field(default_factory=lambda: Document({}))

    def moves(self, path: KeyPath) -> bool:
        """Tell whether the setting at ``path`` may move."""
        return self.moving is None or path in self.moving


def change(document: Document, plan: Plan) -> Change:
    """Return the change that puts ``plan`` into ``document``, which has none of ours.

    Raises ``KimifixError`` where the login shall be shared and there is none to share.
    """
    twins = _twins(document, plan)
    tables: dict[KeyPath, dict[str, Any]] = {("providers", OWN): _provider(document, plan)}
    tables |= {("models", alias): twin for alias, twin in twins.entries.items()}
    values, keys = _moves(document, plan, twins)
    default = values.get(("default_model",))
    if plan.moves(plan.thinking) and _needs_thinking(
        document, plan, twins.entries.get(str(default))
    ):
        values[plan.thinking] = True
    return Change(tables, values, keys)


def with_additions(change: Change, present: Document, edited: Collection[KeyPath]) -> Change:
    """Return ``change`` with what others have added to our entries in ``present``.

    ``edited`` are the entries that are not as kimifix wrote them. The client loses headers
    of the managed provider (see `doctor`), so ours stay in any case.
    """
    tables = {path: dict(table) for path, table in change.tables.items()}
    for path, table in tables.items():
        now = present.data.get(path[0], {}).get(path[1], {})
        if path in edited:
            added = {k: v for k, v in now.items() if k not in _RULED and k != "custom_headers"}
            tables[path] = {**added, **table}
    own = tables[("providers", OWN)]
    is_header = PLATFORM_HEADER in own.get("custom_headers", {})
    kept = _free_headers(present.own or {}, "header" if is_header else "anthropic")
    if headers := {**kept, **own.get("custom_headers", {})}:
        own["custom_headers"] = headers
    return Change(tables, change.values, change.keys)


def matches(document: Document) -> bool:
    """Tell whether `providers.kimifix` has the shape of one of the routes, by structure alone.

    The way to recognise our own entries where the receipt is lost: aliases called
    `kimifix/…`, and the marks of a route. Additions by hand do not matter.
    """
    provider = document.own or {}
    by_protocol = _by_protocol(document)
    if not document.twins or provider.get("type") not in ("kimi", "anthropic"):
        return False
    return bool(platform_of(provider)) or provider["type"] == "anthropic" or by_protocol


def route_of(document: Document) -> Route | None:
    """Return the route that our entries take, None where there is no provider of ours."""
    provider = document.own
    if provider is None:
        return None
    if provider.get("type") == "anthropic":
        return "anthropic"
    return "anthropic" if _by_protocol(document) and not platform_of(provider) else "header"


def _by_protocol(document: Document) -> bool:
    return any(twin.get("protocol") == "anthropic" for twin in document.twins.values())


def credential_of(document: Document) -> Credential | None:
    """Return the credential that our provider uses, None where there is no provider of ours."""
    own = document.own
    if own is None:
        return None
    if own.get("api_key_env"):
        return KeyVariable(own["api_key_env"])
    return ApiKey(own["api_key"]) if own.get("api_key") else Login()


def base_url_of(document: Document, credential: Credential) -> str | None:
    """Return where ``credential`` belongs by ``document``: the OpenAI-compatible base, or None.

    That is where the managed provider sends, but our own key stays with our own server.
    """
    own = document.own or {}
    if isinstance(credential, Login) or credential != credential_of(document):
        return document.managed.get("base_url")
    base_url: str | None = own.get("base_url")
    if base_url is not None and own.get("type") == "anthropic":
        return base_url.rstrip("/") + "/v1"
    return base_url


class Drift(NamedTuple):
    """How our entries differ from what `apply` would write now; all empty when they do not.

    ``missing``, ``outdated`` and ``stale`` are aliases of ours, the last of models that the
    managed provider no longer has; ``provider`` tells whether the own provider no longer
    fits the managed one.
    """

    missing: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    provider: bool = False


def drift(document: Document) -> Drift:
    """Compare our entries in ``document`` with the managed ones that they stand in for."""
    route, credential = route_of(document), credential_of(document)
    if not (document.own and route and credential and document.served_by(MANAGED)):
        return Drift()
    own, managed = document.own, document.managed
    plan = Plan(route, credential, "", "", by_protocol=own.get("type") == "kimi")
    twins, present = _twins(document, plan).entries, document.twins
    shares = isinstance(credential, Login)
    base_url = managed.get("base_url", own.get("base_url"))
    return Drift(
        tuple(alias for alias in twins if alias not in present),
        tuple(a for a, twin in twins.items() if a in present and not _fits(present[a], twin)),
        tuple(alias for alias in present if alias not in twins),
        shares and (own.get("oauth"), own.get("base_url")) != (managed.get("oauth"), base_url),
    )


def _fits(present: Mapping[str, Any], twin: Mapping[str, Any]) -> bool:
    """Tell whether ``present`` is ``twin`` with nothing but additions that may stay."""
    ruled = _RULED & (present.keys() - twin.keys())
    return not ruled and all(k in present and same(present[k], v) for k, v in twin.items())


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
        # A `protocol` is of the Anthropic route that is in place, else of the server's list.
        dropped = "protocol" if route_of(plan.present) == "anthropic" else None
        ours = [{k: v for k, v in m.items() if k != dropped} for m in plan.present.twins.values()]
        known = [model for model in ours if "model" in model] or BUILT_IN_MODELS
        return _Twins({f"{OWN}/{model['model']}": _twin(model, plan) for model in known}, {})
    entries: dict[str, dict[str, Any]] = {}
    of: dict[str, str] = {}
    taken = document.models.keys() - document.twins.keys()
    # An own provider with a key at the managed URL has its aliases refreshed as
    # `<provider>/<model id>`, so that is what the alias that the client made becomes;
    # further aliases of the same model, made by the user, keep their own name.
    for alias, model in sorted(managed.items(), key=lambda item: not _is_canonical(*item)):
        name = f"{OWN}/{model.get('model', alias)}"
        if name in entries or name in taken:
            name = f"{OWN}/{alias}"
        while name in entries or name in taken:
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
    if plan.route == "anthropic" and plan.by_protocol:
        twin["protocol"] = "anthropic"
    elif plan.route == "anthropic":  # the provider's type says it, and its base_url is another
        twin = {k: v for k, v in twin.items() if k not in ("protocol", "base_url")}
    return twin


def _provider(document: Document, plan: Plan) -> dict[str, Any]:
    managed = document.managed
    provider: dict[str, Any] = {"type": "kimi", "base_url": plan.base_url}
    if plan.route == "anthropic" and not plan.by_protocol:
        # The one shape that every client version sends to `{base}/v1/messages`
        # (measured, 0.10.0 to 2.1.0), and which no model refresh rewrites.
        provider = {"type": "anthropic", "base_url": anthropic_base(plan.base_url)}
    match plan.credential:
        case ApiKey(value):
            provider["api_key"] = value
        case KeyVariable(variable):
            provider["api_key_env"] = variable
        case Login():
            if "oauth" not in managed:
                raise KimifixError(
                    "the config has no login to share",
                    "sign in with `kimi login`, or use an API key of the Kimi Code console",
                )
            provider["oauth"] = managed["oauth"]
    headers = _free_headers(managed, plan.route)
    if plan.route == "header":
        headers[PLATFORM_HEADER] = plan.platform
    return {**provider, "custom_headers": headers} if headers else provider


def anthropic_base(base_url: str) -> str:
    """Return the base of the Anthropic-compatible surface for an OpenAI-compatible one."""
    return base_url.rstrip("/").removesuffix("/v1")


def _free_headers(provider: Mapping[str, Any], route: Route) -> dict[str, Any]:
    """Return the custom headers of ``provider`` on which ``route`` has no say."""
    headers: Mapping[str, Any] = provider.get("custom_headers", {})
    if route == "anthropic":  # the client's own identity, unaltered
        return {k: v for k, v in headers.items() if not is_identity_header(k)}
    # Names merge case-sensitively: another spelling would stand beside ours, and on the
    # wire one of the two replaces the other (run: 0.20.0, 0.38.0, 2.1.0).
    return {k: v for k, v in headers.items() if k.lower() != PLATFORM_HEADER.lower()}


def _moves(
    document: Document, plan: Plan, twins: _Twins
) -> tuple[dict[KeyPath, str | bool], dict[KeyPath, str]]:
    values: dict[KeyPath, str | bool] = {}
    keys: dict[KeyPath, str] = {}
    for reference in document.references:
        twin = twins.of.get(reference.alias)
        if twin is None or not plan.moves(reference.place):
            continue
        if reference.is_key:
            keys[reference.path] = twin
        else:
            values[reference.path] = twin
    default, provider = ("default_model",), ("default_provider",)
    if default[0] not in document.data and plan.moves(default):
        chosen = plan.present.data.get(default[0])
        values[default] = chosen if chosen in twins.entries else next(iter(twins.entries))
    if document.data.get(provider[0]) == MANAGED and plan.moves(provider):
        values[provider] = OWN
    return values, keys


def _needs_thinking(document: Document, plan: Plan, default: Mapping[str, Any] | None) -> bool:
    """Tell whether thinking has to be set so that it stays as it was under ``default``.

    Where the default is a foreign alias and nothing is set, `/login` and some model
    refreshes write thinking off (measured, 0.20.0 and 2.1.0).
    """
    section = document.data.get("thinking", {})
    if default is None or not isinstance(section, Mapping):
        return False
    thinks = not {"thinking", "always_thinking"}.isdisjoint(default.get("capabilities", ()))
    if plan.thinking == ("default_thinking",):
        return thinks and "default_thinking" not in document.data and "mode" not in section
    return thinks and not {"enabled", "effort"} & section.keys()
