"""Asking the server, for `doctor --probe` and `apply --route auto`: who asks, with what, where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kimifix.client import features, identity
from kimifix.config import routes
from kimifix.config.document import MANAGED, OWN
from kimifix.config.routes import BUILT_IN_MODELS
from kimifix.credentials import checked_key
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.secret import Secret
from kimifix.server import judgement as judging
from kimifix.server.answers import Answer
from kimifix.server.judgement import Credential, Judgement
from kimifix.server.probe import ask
from kimifix.words import span


@dataclass(frozen=True)
class Probed:
    """The matrix of answers and what they say together."""

    answers: tuple[Answer, ...]
    judgement: Judgement


def probe(machine: Machine, progress: Callable[[str], None], key: Secret | None = None) -> Probed:
    """Ask the server that the config names, the honest identities first, as little as needed.

    The credential is ``key``, else the login, else the key of the own provider, else
    KIMIFIX_API_KEY. Raises ``KimifixError`` where there is none that can be used: an
    expired login is never refreshed here.
    """
    kind, credential = _credential(machine, key)
    version = str(machine.version or features.NEWEST_KNOWN)
    this = identity.this_machine()
    found: list[Answer] = []
    while (question := judging.next_probe(found, kind)) is not None:
        shown = question.platform or "no X-Msh-Platform"
        progress(f"asking the server ({question.surface} surface, {shown})")
        headers = identity.request_headers(
            question.surface,
            question.platform,
            version=version,
            home=machine.home.path,
            machine=this,
            custom=_custom_headers(machine),
        )
        found.append(
            ask(
                question,
                base_url=_base_url(machine),
                model=_model(machine),
                headers=headers,
                credential=credential,
                env=machine.env,
            )
        )
    judgement = judging.judge(
        found,
        patched=routes.route_of(machine.document),
        client_version_is_old=machine.version is not None
        and machine.version < features.NEWEST_KNOWN,
        shares_login=machine.version is None or features.SHARED_LOGIN.works_in(machine.version),
        credential=kind,
    )
    return Probed(tuple(found), judgement)


def _credential(machine: Machine, key: Secret | None) -> tuple[Credential, Secret]:
    if key is not None:
        return "key", Secret(checked_key(key)[0])
    login = machine.login
    expired = login is not None and login.expires_at is not None and login.expires_at <= machine.now
    if login is not None and login.token is not None and not expired:
        return "login", login.token
    own = machine.document.own or {}
    named = machine.env.get(str(own.get("api_key_env")))
    value = own.get("api_key") or named or machine.env.get("KIMIFIX_API_KEY")
    if value:
        return "key", Secret(checked_key(Secret(value))[0])
    if login is not None and login.expires_at is not None and expired:
        raise KimifixError(
            f"the login expired {span(machine.now - login.expires_at)} ago, and only kimi-code "
            "may renew it",
            "start `kimi` and send one message (an error is fine: it renews the login), "
            "then probe again",
        )
    raise KimifixError(
        "there is no credential to ask with", "sign in with `kimi login`, or set KIMIFIX_API_KEY"
    )


def _base_url(machine: Machine) -> str:
    base = machine.document.managed.get("base_url") or (machine.document.own or {}).get("base_url")
    if isinstance(base, str) and base:
        # An own provider of type anthropic has the base without the version.
        is_bare = base.rstrip("/").endswith("/coding")
        return f"{base.rstrip('/')}/v1" if is_bare else base
    return machine.home.region_base_url


def _custom_headers(machine: Machine) -> dict[str, str]:
    """Return the headers that the user has set, which a gateway in between may need."""
    headers = machine.document.managed.get("custom_headers")
    items = headers.items() if isinstance(headers, Mapping) else ()
    return {name: value for name, value in items if isinstance(value, str)}


def _model(machine: Machine) -> str:
    """Return the id of the default model, where it is one of this server, else of the first."""
    document = machine.document
    served = {**document.served_by(MANAGED), **document.served_by(OWN)}
    default = document.models.get(str(document.data.get("default_model")))
    for model in (default, *served.values()):
        if model is not None and model in served.values() and isinstance(model.get("model"), str):
            return str(model["model"])
    return str(BUILT_IN_MODELS[0]["model"])
