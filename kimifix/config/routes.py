"""The two ways round the gate, as changes of the data: provider entry, aliases, moved settings."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kimifix import reader
from kimifix.config.change import Change, KeyPath
from kimifix.config.document import MANAGED, OWN, Document, get, same
from kimifix.errors import KimifixError
from kimifix.secret import is_identity_header

Route = Literal["header", "anthropic"]
PLATFORM_HEADER = "X-Msh-Platform"
OWN_PLATFORM = "kimi_code_cli"  # what the client sends of its own accord

# A twin keeps all fields of its managed alias but these: who serves it, and
# credentials of the alias itself, which would win over ours (kimi-code 2.1.0).
_NOT_COPIED = {"provider", "provider_id", "oauth", "api_key", "api_key_env"}
# What others have added to our entries stays, but for what decides where a request goes.
_RULED = _NOT_COPIED | {"base_url", "protocol", "custom_headers"}


@dataclass(frozen=True)
class Credential:
    """What the own provider signs in with.

    A `login` is that of the managed provider. ``value`` is the API key of a `key`, to be
    written into the config, and of a `key-env` the variable from which the client takes it.
    """

    name: Literal["login", "key", "key-env"]
    value: str = field(default="", repr=False)


LOGIN = Credential("login")


@dataclass(frozen=True)
class Plan:
    """What `apply` was asked to write.

    ``base_url`` is that of the OpenAI-compatible surface. ``thinking`` is the setting with
    which this client version keeps thinking on. ``moving`` are the settings that may move to
    ours, None for all. ``services`` is whether web search and fetch shall name the platform,
    too. ``identity`` are the other headers that say who the client is, empty where it sends
    them itself. ``present`` is the config as it is, ours included: its models of ours serve
    where there is no managed one, and its default where nothing else tells which.
    """

    route: Route
    credential: Credential
    platform: str
    base_url: str
    thinking: KeyPath = ("thinking", "enabled")
    moving: Collection[KeyPath] | None = None
    services: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    present: Document = field(default_factory=lambda: Document({}))

    def moves(self, path: KeyPath) -> bool:
        """Tell whether the setting at ``path`` may move."""
        return self.moving is None or path in self.moving


def change(document: Document, plan: Plan) -> Change:
    """Return the change that puts ``plan`` into ``document``, which has none of ours.

    Raises ``KimifixError`` where the login shall be shared and there is none to share.
    """
    twins, of = _twins(document, plan)
    moving = [r for r in document.references if r.alias in of and plan.moves(r.place)]
    # A table has a key once. Of several that share one of ours, that of the client comes first.
    pool = {ref.alias: ref.path for ref in moving if ref.is_key}
    first = {of[alias]: pool[alias] for alias in reversed(of) if alias in pool}
    keys = {path: name for name, path in first.items()}
    values: dict[KeyPath, str | bool] = {r.path: of[r.alias] for r in moving if not r.is_key}
    default, provider = ("default_model",), ("default_provider",)
    if document.default_leads_nowhere and default not in values and plan.moves(default):
        chosen = plan.present.data.get("default_model")
        values[default] = chosen if chosen in twins else next(iter(twins))
    if document.data.get("default_provider") == MANAGED and plan.moves(provider):
        values[provider] = OWN
    moved = twins.get(str(values.get(default)), {})
    if plan.moves(plan.thinking) and _needs_thinking(document.data, plan, moved):
        values[plan.thinking] = True
    if plan.services:
        values |= dict.fromkeys(service_platforms(document), plan.platform)
    tables = {("providers", OWN): _provider(document, plan)}
    return Change(tables | {("models", a): twin for a, twin in twins.items()}, values, keys)


def with_additions(change: Change, present: Document, edited: Collection[KeyPath]) -> Change:
    """Return ``change`` with what others have added to our entries in ``present``.

    ``edited`` are the entries that are not as kimifix wrote them. The client loses headers
    of the managed provider (see `doctor`), so ours stay in any case.
    """
    tables = {}
    for path, table in change.tables.items():
        now = present.data[path[0]][path[1]] if path in edited else {}
        tables[path] = {k: v for k, v in now.items() if k not in _RULED} | dict(table)
    own = tables[("providers", OWN)]
    was_whole = platform_of(present.own or {}) == OWN_PLATFORM  # all of it is ours then
    route: Route = "header" if platform_of(own) and not was_whole else "anthropic"
    kept = _free_headers(present.own or {}, route)
    if headers := kept | own.get("custom_headers", {}):
        own["custom_headers"] = headers
    return Change(tables, change.values, change.keys)


def matches(document: Document) -> bool:
    """Tell whether `providers.kimifix` has the shape of one of the routes, by structure alone.

    The way to recognise our own entries where the receipt is lost: aliases called
    `kimifix/…`, and the marks of a route. Additions by hand do not matter.
    """
    provider = document.own or {}
    kind = provider.get("type") if document.twins else None
    marked = platform_of(provider) is not None or _by_protocol(document)
    return kind == "anthropic" or (kind == "kimi" and marked)


def route_of(document: Document) -> Route | None:
    """Return the route that our entries take, None where there is no provider of ours."""
    provider = document.own
    if provider is None:
        return None
    by_protocol = _by_protocol(document) and not platform_of(provider)
    return "anthropic" if provider.get("type") == "anthropic" or by_protocol else "header"


def _by_protocol(document: Document) -> bool:
    return any(twin.get("protocol") == "anthropic" for twin in document.twins.values())


def credential_of(document: Document) -> Credential | None:
    """Return the credential that our provider uses, None where there is no provider of ours."""
    own = document.own
    if own is None:
        return None
    if own.get("api_key_env"):
        return Credential("key-env", own["api_key_env"])
    return Credential("key", own["api_key"]) if own.get("api_key") else LOGIN


def base_url_of(document: Document, credential: Credential) -> str | None:
    """Return where ``credential`` belongs by ``document``: the OpenAI-compatible base, or None.

    That is where the managed provider sends, but our own key stays with our own server.
    """
    own = document.own or {}
    if credential == LOGIN or credential != credential_of(document):
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
    own, managed = document.own, document.managed
    route, credential = route_of(document), credential_of(document)
    if own is None or route is None or credential is None or not document.served_by(MANAGED):
        return Drift()
    plan = Plan(route, credential, "", "")
    twins, present = _twins(document, plan)[0], document.twins
    fits = own.get("oauth") == managed.get("oauth") and own.get("base_url") == managed.get(
        "base_url", own.get("base_url")
    )
    return Drift(
        tuple(alias for alias in twins if alias not in present),
        tuple(a for a, twin in twins.items() if a in present and not _fits(present[a], twin)),
        tuple(alias for alias in present if alias not in twins),
        credential == LOGIN and not fits,
    )


def _fits(present: Mapping[str, Any], twin: Mapping[str, Any]) -> bool:
    """Tell whether ``present`` is ``twin`` with nothing but additions that may stay."""
    ruled = _RULED & (present.keys() - twin.keys())
    return not ruled and all(k in present and same(present[k], v) for k, v in twin.items())


def platform_of(provider: Mapping[str, Any]) -> str | None:
    """Return the `X-Msh-Platform` that the custom headers of ``provider`` set, if any."""
    platform: str | None = provider.get("custom_headers", {}).get(PLATFORM_HEADER)
    return platform


def service_platforms(document: Document) -> dict[KeyPath, Any]:
    """Return the `X-Msh-Platform` of web search and fetch, by its path; None is the client's own.

    Where the config has them, they take nothing from any provider (source of 2.1.0).
    """
    services = (("services", name) for name in ("moonshot_search", "moonshot_fetch"))
    there = (path for path in services if isinstance(get(document.data, path), Mapping))
    paths = ((*path, "custom_headers", PLATFORM_HEADER) for path in there)
    return {path: get(document.data, path) for path in paths}


def _twins(document: Document, plan: Plan) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return our aliases, and which of them stands in for which managed one."""
    managed = document.served_by(MANAGED)
    if not managed:
        # A `protocol` is of the Anthropic route that is in place, else of the server's list.
        dropped = "protocol" if route_of(plan.present) == "anthropic" else None
        ours = [{k: v for k, v in m.items() if k != dropped} for m in plan.present.twins.values()]
        known = [model for model in ours if "model" in model] or reader.tables(
            "config/built_in.toml"
        )["model"]
        return {f"{OWN}/{model['model']}": _twin(model, plan) for model in known}, {}
    of: dict[str, str] = {}
    first: dict[str, str] = {}
    taken = document.models.keys() - document.twins.keys()
    # Of an own provider with a key the client, on a terminal, keeps no `<provider>/…` but
    # `<provider>/<model id>` (run: 0.31.0, 0.38.0, 2.1.0; 0.25.0 keeps all), so that is what the
    # alias that the client made becomes; further aliases of the same model, made by the user,
    # keep their own name, or share this one. The order in the file has no say, for the client
    # may change it.
    is_listed = plan.route == "header" and plan.credential.name == "key"
    for alias in sorted(
        managed, key=lambda a: (a.rpartition("/")[2] != managed[a].get("model"), a)
    ):
        name = f"{OWN}/{managed[alias].get('model', alias)}"
        is_shared = is_listed and name in first
        if name in taken and not is_shared:
            name = f"{OWN}/{alias}"
        while name in taken and not is_shared:
            name = f"{OWN}/{name}"
        of[alias] = name
        first.setdefault(name, alias)
        taken.add(name)
    made = ((alias, model) for alias, model in managed.items() if first[of[alias]] == alias)
    return {of[alias]: _twin(model, plan) for alias, model in made}, of


def _twin(model: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    twin = {"provider": OWN}
    if "provider_id" in model:
        twin["provider_id"] = OWN
    twin |= {name: value for name, value in model.items() if name not in _NOT_COPIED}
    if plan.route == "anthropic" and plan.credential == LOGIN:
        twin["protocol"] = "anthropic"
    elif plan.route == "anthropic":  # the provider's type says it, and its base_url is another
        twin = {k: v for k, v in twin.items() if k not in ("protocol", "base_url")}
    return twin


def _provider(document: Document, plan: Plan) -> dict[str, Any]:
    managed = document.managed
    provider: dict[str, Any] = {"type": "kimi", "base_url": plan.base_url}
    if plan.route == "anthropic" and plan.credential != LOGIN:
        # The one shape that every client version sends to `{base}/v1/messages` (measured, 0.10.0
        # to 2.1.0). Beside a key a `protocol` of our aliases does not last: from 0.27.0 on the
        # client takes it away, in the config or, from 0.33.0 on, for as long as it is on a
        # terminal, where it goes by the server's list (run: 0.27.0 to 2.1.0).
        provider = {"type": "anthropic", "base_url": anthropic_base(plan.base_url)}
    if plan.credential == LOGIN and "oauth" not in managed:
        raise KimifixError(
            "the config has no login to share",
            "sign in with `kimi login`, or use an API key of the Kimi Code console",
        )
    field_of = {"login": "oauth", "key": "api_key", "key-env": "api_key_env"}
    value = managed["oauth"] if plan.credential == LOGIN else plan.credential.value
    provider[field_of[plan.credential.name]] = value
    headers = _free_headers(managed, plan.route)
    if plan.route == "header":
        headers |= {**plan.identity, PLATFORM_HEADER: plan.platform}
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


def _needs_thinking(data: Mapping[str, Any], plan: Plan, default: Mapping[str, Any]) -> bool:
    """Tell whether thinking has to be set so that it stays as it was under ``default``.

    Where the default is a foreign alias and nothing is set, `/login` and some model
    refreshes write thinking off (measured, 0.20.0 and 2.1.0).
    """
    section = data.get("thinking", {})
    thinks = {"thinking", "always_thinking"} & set(default.get("capabilities", ()))
    if not thinks or not isinstance(section, Mapping):
        return False
    if plan.thinking == ("default_thinking",):
        return "default_thinking" not in data and "mode" not in section
    return not {"enabled", "effort"} & section.keys()
