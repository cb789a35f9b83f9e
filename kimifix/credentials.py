"""Which credential the own provider shall use, and what makes an API key plainly wrong."""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from kimifix.client import features
from kimifix.client.features import Version
from kimifix.config.routes import LOGIN, Credential
from kimifix.errors import KimifixError
from kimifix.secret import Secret
from kimifix.words import UPDATE

Wanted = Literal["auto", "login", "key"]

# Takes why the login does not serve, and what to do instead of giving a key, or None.
AskKey = Callable[[str | None, str | None], Secret | None]

_CONSOLE = "the Kimi Code console (https://www.kimi.com/code/console)"

_USE_KEY = f"use an API key of {_CONSOLE}: --credential key"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Available(NamedTuple):
    """What there is to choose from.

    ``no_login`` says why there is no login to share, None where there is one.
    ``key`` came by --key-stdin, ``key_in_env`` by KIMIFIX_API_KEY, ``own`` is what our
    provider has already, and ``ask`` gets a key from the user, or None. ``key_variable``
    is the argument of --key-env.
    """

    version: Version | None
    no_login: str | None
    ask: AskKey
    key: Secret | None = None
    key_in_env: Secret | None = None
    own: Credential | None = None
    key_variable: str | None = None


class Choice(NamedTuple):
    """The credential to write, and what the user should know about it."""

    credential: Credential
    warnings: tuple[str, ...] = ()


def choose(wanted: Wanted | None, available: Available) -> Choice:
    """Return the credential for ``wanted``, None for what our provider has, else `auto`.

    Raises ``KimifixError`` that names the ways out where there is none.
    """
    own, version, variable = available.own, available.version, available.key_variable
    if own is not None and wanted is None and available.key is None and variable is None:
        if own.name == "key":
            return Choice(own)
        variable = own.value or None
        wanted = "login"
    if variable is not None:
        return _key_variable(variable, version)
    if wanted == "key" or (wanted != "login" and available.key):
        return _key(available, None, "")
    since, obstacle, way_out = features.since("shared-login"), None, UPDATE
    if version is None:
        obstacle = "the version of kimi-code is unknown, and old ones cannot share their login"
    elif version < since:
        obstacle = f"kimi-code {version} cannot share its login, only {since} and later can"
    if available.no_login and (wanted == "login" or not obstacle):
        obstacle, way_out = available.no_login, "run `kimi login`"
    if obstacle is None:
        return Choice(LOGIN)
    if wanted != "login":
        return _key(available, obstacle, way_out)
    if version is None and not available.no_login:  # the user may know better
        return Choice(LOGIN, (f"{obstacle}: {since} or later is needed",))
    raise KimifixError(obstacle, f"{way_out}, or {_USE_KEY}")


def _key(available: Available, obstacle: str | None, way_out: str) -> Choice:
    """Return the user's key; ``obstacle`` is why the login does not serve, if it was wanted."""
    own = available.own
    key = available.key or available.key_in_env
    key = key or (Secret(own.value) if own and own.name == "key" else None)
    key = key or available.ask(obstacle, f"{way_out}, or enter a key of {_CONSOLE}")
    if key is not None:
        value, warnings = checked_key(key)
        return Choice(Credential("key", value), warnings)
    if obstacle is None:
        ways = "pass it by --key-stdin, at the prompt, or in KIMIFIX_API_KEY"
        raise KimifixError("no API key was given", ways)
    raise KimifixError(obstacle, f"{way_out}, or {_USE_KEY}")


def _key_variable(name: str, version: Version | None) -> Choice:
    if not _VARIABLE.fullmatch(name):
        raise KimifixError(f"not the name of an environment variable: `{name}`")
    if version is not None and not features.has("key-variable", version):
        since = features.since("key-variable")
        raise KimifixError(
            f"kimi-code {version} cannot read its API key from a variable, only {since} and later",
            f"{UPDATE}, or write the key into the config: --credential key",
        )
    warning = f"{name} must be set wherever kimi-code is started"
    if version is None:
        warning += f", which must be {features.since('key-variable')} or later"
    return Choice(Credential("key-env", name), (warning,))


def checked_key(key: Secret) -> tuple[str, tuple[str, ...]]:
    """Return the key without white space around it, and warnings.

    Raises ``KimifixError`` for what cannot be an API key. Keys of the console begin with
    `sk-kimi-`, those of the pay-as-you-go Open Platform with `sk-` alone.
    """
    value = key.reveal().strip()
    if not value:
        raise KimifixError("the API key is empty", f"copy one from {_CONSOLE}")
    if not re.fullmatch(r"[!-~]+", value):
        raise KimifixError(
            "the API key holds white space, a control character or a non-ASCII character",
            f"copy it again from {_CONSOLE}",
        )
    Secret(value)
    if value.startswith("sk-kimi-"):
        return value, ()
    return value, (
        "this does not look like a key of the Kimi Code console (sk-kimi-…): "
        "a key of the Open Platform does not work with a coding plan",
    )
