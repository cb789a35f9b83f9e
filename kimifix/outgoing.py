"""What the client sends for a model: where to, as whom, with what; or why it sends nothing.

The one description, for what the findings say, the probe asks and `--route auto` chooses.
It follows the client's own rules (source of 0.25.0 to 2.1.0; run: 0.25.0, 0.38.0, 2.1.0).
It is stricter in one: a login goes to the server that it was made for and to no other.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from kimifix.client import environment, features, login
from kimifix.client.features import NEWEST_KNOWN, Version
from kimifix.client.login import Login
from kimifix.config import routes
from kimifix.config.document import MANAGED, OWN, Document, misfit
from kimifix.config.routes import OWN_PLATFORM, PLATFORM_HEADER
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.secret import Secret
from kimifix.steps import again, applying, by_itself, login_first, signing_in, starting
from kimifix.words import RENEW, UPDATE, span, trimmed

DEFAULT_BASES = {"kimi": "https://api.moonshot.ai/v1", "anthropic": "https://api.anthropic.com"}
_CREDENTIALS = ("api_key", "api_key_env", "oauth")
_LOOPBACK = re.compile(r"https?://(localhost|127(\.\d+){3}|\[::1\])([:/].*)?")
_VENDOR = re.compile(
    r"https?://([\w-]+\.)*(kimi\.(com|ai)|moonshot\.(cn|ai))([:/][^@]*)?", re.ASCII
)
_NO_SECRET = Secret("")
_Surface = Literal["openai", "anthropic"]
_Entry = Mapping[str, Any]  # of `[providers]` or `[models]`


class UnsentError(KimifixError):
    """Why nothing goes out.

    ``about`` is what it is about. ``client_can`` is whether it keeps kimifix alone from
    asking, and the client itself may get an answer.
    """

    def __init__(
        self,
        about: Literal["default", "provider", "credential", "login"],
        fact: str,
        advice: str,
        *next_: str,
        client_can: bool = False,
    ) -> None:
        super().__init__(fact, advice, *next_)
        self.about, self.client_can = about, client_can


@dataclass(frozen=True)
class Outgoing:
    """What goes out for ``alias``; where there is an ``obstacle``, as far as it can be told.

    ``own_platform`` is the `X-Msh-Platform` that the client sends of its own accord, None
    where it sends none. ``lowest`` and ``custom`` are headers below and above its own.
    ``renewable`` is whether it would renew the login if the server refused it.
    """

    alias: str
    model: str = ""
    provider: str | None = None
    kind: str | None = None
    surface: _Surface = "openai"
    base_url: str = ""
    own_platform: str | None = None
    lowest: Mapping[str, str] | None = None
    custom: Mapping[str, str] | None = None
    credential: Literal["login", "key"] | None = None
    secret: Secret = _NO_SECRET
    renewable: bool = False
    obstacle: UnsentError | None = None

    @property
    def is_of_environment(self) -> bool:
        """Whether KIMI_MODEL_NAME has replaced the default model, whatever the config says."""
        return self.alias == environment.ALIAS

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
    told = Outgoing("")
    try:
        for told in _described(machine, document, alias):  # noqa: B007
            pass
    except UnsentError as obstacle:
        return replace(told, obstacle=obstacle)
    return told


def document_read(machine: Machine, document: Document | None = None) -> Document:
    """Return ``document``, by default the config, as kimi-code reads it.

    Raises ``ConfigError`` where kimifix cannot read it and that matters, and ``UnsentError``
    where kimi-code cannot.
    """
    if goes_by_environment(machine):
        return Document({})
    document, version = document or machine.document, machine.rules
    fact, advice = f"`{document.too_large}` is a number too large for kimi-code", "mend it"
    if document.bom and not features.has("lenient-config", version):
        fact = f"kimi-code {version} cannot read a config with a byte order mark"
        advice = "save it as UTF-8 without BOM"
    elif document.too_large is None:
        return document
    raise UnsentError("default", fact, advice)


def goes_by_environment(machine: Machine) -> bool:
    """Tell whether KIMI_MODEL_NAME makes the default model, and the config need not be read."""
    version = machine.rules
    is_free = features.has("lenient-config", version) or not os.path.exists(machine.home.config)  # noqa: PTH110
    return is_free and environment.config(machine.env, version) is not None


def _described(
    machine: Machine, document: Document | None, alias: str | None
) -> Iterator[Outgoing]:
    """Yield the description, each time with more in it; raises ``UnsentError`` where it ends."""
    version = machine.rules
    document = document or document_read(machine)
    if alias is None and (made := environment.config(machine.env, version)):
        document, alias = Document(made), environment.ALIAS
    alias = alias or document.default
    yield (told := Outgoing(alias))
    model = document.models.get(alias)
    if model is None:
        raise _no_model(machine, document, alias)
    model = features.read_by(version, model)
    server = model.get("provider_id", model.get("provider"))
    if server is None and features.has("default-provider", version):
        server = document.data.get("default_provider")
    name, sent = str(server), model.get("name", model.get("model"))
    yield (told := replace(told, model=str(sent), provider=name))
    fact = f"`{alias}` leads to the provider `{name}`" if server else f"`{alias}` has no provider"
    is_read = "model" in model and (server or features.has("alias-overrides", version))
    is_made = (name, alias) == (MANAGED, f"kimi-code/{model.get('model')}")
    if is_read and not is_made and _is_restored(machine, alias, model):
        fact = fact if name != MANAGED else f"`{alias}` stands for the model `{sent}`"
        raise _changing(machine, "provider", fact)
    _require_usable(machine, version, document, told, model)
    provider = document.providers.get(name)
    if provider is None:
        fact += ", which does not exist" if server else ""
        is_ours = name == OWN and (document.own_entries or machine.reading.receipt)
        steps = again(machine) if is_ours else ()
        raise UnsentError(
            "provider", fact, "choose another model with /model, or apply again", *steps
        )
    kind = str(provider.get("type"))
    yield (told := replace(told, kind=kind))
    if kind not in DEFAULT_BASES:
        raise _unasked(told, kind, provider)
    surface: _Surface = "anthropic" if "anthropic" in (kind, model.get("protocol")) else "openai"
    is_old = not features.has("no-shell-key", version)
    shell = machine.env if is_old and surface == "openai" else {}
    holder, provider = _with_credential(shell, provider, told, model)
    vendor = "anthropic" if is_old and surface == "anthropic" else kind
    base_url = _base_url(vendor, model, provider, shell)
    if is_old and kind == "anthropic" and base_url.removesuffix("/").endswith("/v1"):
        base_url = base_url.removesuffix("/") + "/v1"  # the client takes off none of its own
    told = replace(
        told,
        surface=surface,
        base_url=base_url,
        own_platform=OWN_PLATFORM if kind == "kimi" else None,
        lowest=environment.headers(machine.env),
        custom=_renamed(machine, kind) | _strings(provider.get("custom_headers")),
    )
    yield told
    secret = _key(machine, version, provider, holder)
    if secret is not None:
        yield replace(told, credential="key", secret=secret)
        return
    yield (told := replace(told, credential="login"))
    found = _login(machine, version, provider, told, holder)
    yield replace(told, secret=found.token or _NO_SECRET, renewable=found.renewable)


def _require_usable(
    machine: Machine, version: Version, document: Document, told: Outgoing, model: _Entry
) -> None:
    """Raise ``UnsentError`` where the client leaves ``model`` out, or kimifix cannot ask it."""
    wrong, alias = document.misfit, told.alias
    provider = document.providers.get(str(told.provider), {})
    is_new = features.has("alias-overrides", version)
    if not is_new:
        used = {told.provider: provider} if provider else {}
        entries = {"providers": used, "models": {alias: document.models[alias]}}
        wrong = Document(entries).login_misfit
        if not wrong and not model.get("base_url", alias).strip():  # run: 0.29.0 to 0.32.0
            wrong = f"`models.{alias}` has an empty `base_url`, and kimi-code uses it"
        is_kimi = provider.get("type") == "kimi" and model.get("protocol") != "anthropic"
        if not wrong and is_kimi and (name := environment.unfit(machine.env, environment.SAMPLING)):
            wrong = f"{name} is no number, which ends kimi-code"
    sent = model.get("name", model.get("model"))
    has_name = bool(sent) if features.has("default-provider", version) else sent is not None
    if not wrong and not (has_name and "max_context_size" in model):
        place, missing = f"models.{alias}", "max_context_size" if has_name else "model"
        wrong = f"`{place}` lacks `{missing}`"
    if wrong:
        gets_along = "model" in model and is_new and is_remade(machine, alias)
        if gets_along:
            wrong = f"{wrong}, and on a terminal alone kimi-code gets along with that"
        # A newer client may take more, and the older engine of a newer one does.
        is_known = machine.version == version <= NEWEST_KNOWN
        advice = "mend it, or choose another model with /model"
        raise UnsentError("default", wrong, advice, client_can=gets_along or not is_known)
    protocol, is_anthropic = model.get("protocol"), provider.get("type") == "anthropic"
    if protocol in ("openai_responses", "google-genai", *(("openai",) if is_anthropic else ())):
        fact = f"`{alias}` has the protocol `{protocol}`, by which kimifix cannot ask"
        raise UnsentError("default", fact, "choose another model with /model", client_can=True)


def _with_credential(
    shell: Mapping[str, str], provider: _Entry, told: Outgoing, model: _Entry
) -> tuple[str, dict[str, Any]]:
    """Return who has the credential, and ``provider`` with what the client makes part of it.

    A credential of the model takes the place of all that the provider has; without any, a key
    comes from ``shell``.
    """
    variable = f"{str(told.kind).upper()}_API_KEY"
    key = trimmed(provider.get("api_key")) or _strings(provider.get("env")).get(variable)
    provider = {**provider, "api_key": key}
    if own := {name: model[name] for name in ("api_key", "oauth") if model.get(name)}:
        return told.alias, {**provider, **dict.fromkeys(_CREDENTIALS), **own}
    if not any(map(provider.get, _CREDENTIALS)):
        provider["api_key"] = shell.get(variable)
    return str(told.provider), provider


def _is_restored(machine: Machine, alias: str, model: _Entry) -> bool:
    """Tell whether this entry is lost when kimi-code, on a terminal, writes its own anew."""
    is_its_own = alias.startswith("kimi-code/") and "provider_id" not in model
    return is_its_own and is_remade(machine, alias)


def is_remade(machine: Machine, alias: str) -> bool:
    """Tell whether kimi-code, on a terminal, makes this model by the server's list when it starts.

    It does for its own provider, and from 0.27.0 on for one that has a key for the same server,
    whatever keeps the models of the config from being read; `kimi -p` does not (run, each with
    what does not last: 0.25.0, 0.27.0, 0.33.0, 0.38.0, 2.1.0).
    """
    document, (owner, slash, _) = machine.document, alias.partition("/")
    managed, other = document.managed, document.providers.get(owner, {})
    if not slash or Document({"providers": document.providers}).misfit:
        return False
    if owner == "kimi-code":
        is_asked = managed.get("type") == "kimi" and not managed.get("api_key_env")
        return is_asked and machine.login is not None and machine.login.serves(machine.now)
    is_same = trimmed(other.get("base_url")) == trimmed(managed.get("base_url"))
    has_key = other.get("type") == "kimi" and trimmed(other.get("api_key")) is not None
    return is_same and has_key and features.has("key-refresh", machine.rules)


def _changing(machine: Machine, about: Literal["default", "provider"], fact: str) -> UnsentError:
    fact += ", and on a terminal kimi-code writes its own models anew when it starts"
    advice = "start it once, then ask again; under a name outside `kimi-code/` a model stays yours"
    return UnsentError(about, fact, advice, *starting(machine), client_can=True)


def _unasked(told: Outgoing, kind: str, provider: _Entry) -> UnsentError:
    ours = _VENDOR.fullmatch(str(provider.get("base_url")))
    way = "out without the identity of kimi-code" if ours else "to another vendor's API"
    fact = f"`{told.alias}` goes {way}, `{kind}`, which kimifix does not ask"
    fact = fact if "type" in provider else f"the provider `{told.provider}` has no `type`"
    return UnsentError("provider", fact, "choose a model of Kimi with /model", client_can=True)


def _base_url(vendor: str, model: _Entry, provider: _Entry, shell: Mapping[str, str]) -> str:
    """Return where the request goes, by the first that says so."""
    variable = f"{vendor.upper()}_BASE_URL"
    named = trimmed(model.get("base_url")) or trimmed(provider.get("base_url"))
    named = named or _strings(provider.get("env")).get(variable) or shell.get(variable)
    return (named or DEFAULT_BASES[vendor]).strip()


def _no_model(machine: Machine, document: Document, alias: str) -> UnsentError:
    ours = alias.startswith(f"{OWN}/")
    if ours and not document.own_entries and not machine.reading.receipt:
        fact = f"`default_model` still names `{alias}`, which `revert` has taken out"
        advice = "quit every running kimi-code, which wrote it back, then revert again"
        return UnsentError("default", fact, advice, machine.kimifix("revert"))
    steps = again(machine) if ours or (document.own_entries and not alias) else ()
    if not alias and not document.models:
        fact = "kimi-code has no model: it is not signed in"
        return UnsentError("default", fact, "sign in", *login_first(machine, *steps))
    fact = f"`default_model` names a model that does not exist: `{alias}`"
    if _is_restored(machine, alias, {}):
        return _changing(machine, "default", fact)
    fact = fact if alias else "`default_model` is not set"
    return UnsentError("default", fact, "choose a model with /model in `kimi`", *steps)


def _key(machine: Machine, version: Version, provider: _Entry, holder: str) -> Secret | None:
    """Return the API key that goes out, None where it is the login; raises ``UnsentError``.

    ``holder`` is the provider or the alias that has the credential.
    """
    key, variable = trimmed(provider.get("api_key")), trimmed(provider.get("api_key_env"))
    oauth = isinstance(provider.get("oauth"), Mapping)
    if variable and not features.has("key-variable", version):
        if not key and not oauth:
            fact = f"kimi-code {version} does not read `api_key_env`"
            step = applying(machine, "--credential", "key")
            raise UnsentError("credential", fact, f"{UPDATE}, or use a key", step)
        variable = None
    if sum(map(bool, (key, oauth, variable))) > 1:
        fact = f"`{holder}` has more than one credential, and kimi-code refuses that"
        raise UnsentError(
            "credential", fact, "leave one of `api_key`, `api_key_env`, `env` and `oauth`"
        )
    given = trimmed(machine.env.get(variable)) if variable else None
    if variable and not given:
        fact = f"{variable} is not set, from which kimi-code takes its key"
        raise UnsentError("credential", fact, f"set {variable} where kimi-code is started")
    value = key or given
    if not value and not oauth:
        fact = f"the provider `{holder}` has neither a login nor a key"
        advice = "sign in, or give it a key"
        if holder == environment.PROVIDER:
            advice = "set KIMI_MODEL_API_KEY, or unset KIMI_MODEL_NAME"
        raise UnsentError("credential", fact, advice)
    return Secret(value) if value else None


def _login(
    machine: Machine, version: Version, provider: _Entry, told: Outgoing, holder: str
) -> Login:
    """Return the login that goes out; raises ``UnsentError``."""
    name, managed = told.provider, told.provider == MANAGED
    found = machine.login_in(login.slot_of(provider, machine.env, managed=managed) or "")
    if not managed and not features.has("shared-login", version):
        fact, advice = f"kimi-code {version} cannot share its login", f"{UPDATE}, or use a key"
        raise UnsentError("login", fact, advice, applying(machine, "--credential", "key"))
    if not login.is_at_home(provider, told.base_url, machine.env, managed=managed):
        steps: tuple[str, ...] = ()
        if managed and "KIMI_CODE_BASE_URL" in machine.env:
            fact = "KIMI_CODE_BASE_URL names another server than the config, and so another login"
            advice = "unset it, or sign in with it set"
        else:
            fact = f"the login of `{name}` was made for another server than `{told.alias}` asks: "
            fact += "kimi-code sends it there all the same, kimifix does not"
            advice = "correct `base_url`, or the `oauth` table of the provider"
            if name == OWN and routes.drift(machine.document).provider:
                steps = (applying(machine),) if found.present else signing_in(machine, name)
        raise UnsentError("login", fact, advice, *steps, client_can=found.present)
    if found.serves(machine.now):
        if found.ends_at is None or found.ends_at > machine.now:
            return found
        ago = span(machine.now - found.ends_at)
        fact = f"the login expired {ago} ago, as usual, and only kimi-code may renew it"
        raise UnsentError("login", fact, RENEW, by_itself(machine), client_can=True)
    if holder != name:
        fact = f"`{holder}` has a login of its own, with which nobody is signed in"
        raise UnsentError("login", fact, "take the `oauth` table out of this model")
    why = f", {found.problem}: `{found.path}`" if found.problem else ""
    fact = "the login has expired for good" if found.present else f"it is not signed in{why}"
    advice = "sign in" if managed else "sign in, then apply again"
    raise UnsentError("login", fact, advice, *signing_in(machine, name))


def server_warnings(base_url: str) -> Iterator[str]:
    """Yield why a credential should better not go to ``base_url``."""
    if base_url and not _LOOPBACK.fullmatch(base_url):
        if not _VENDOR.fullmatch(base_url):
            yield f"login or key go to a server that is not the vendor's: `{base_url}`"
        if not base_url.startswith("https://"):
            yield f"login or key go unencrypted to `{base_url}`"


def _renamed(machine: Machine, kind: str) -> dict[str, str]:
    """Return the `User-Agent` by the name that the user has given to the client, if any.

    It says no more of itself with `type = "anthropic"`, and with `kimi` it keeps its own name
    (run: 0.32.0, which knows no other, 0.33.0, 0.38.0, 0.43.1, 2.1.0; with a value of a wrong
    type in the section: 0.33.0, 2.1.0).
    """
    if kind != "anthropic" or not features.has("other-name", machine.rules):
        return {}
    section = {}
    with suppress(KimifixError):  # one that cannot be read has no say
        section = machine.document.data.get("identity", {})
    is_fit = not misfit(section, {"name": "", "slug": ""})  # else none of it counts
    slug = environment.slug(machine.env, section if is_fit else {})
    return {"User-Agent": f"{slug}/{machine.version or NEWEST_KNOWN}"} if slug else {}


def _strings(table: object) -> dict[str, str]:
    items = table.items() if isinstance(table, Mapping) else ()
    return {key: value for key, value in items if isinstance(value, str)}
