"""Copies of the config for a run of the client that starts nothing else.

``decoy`` is for one whose requests are recorded: it sends the same identity to another
place. Every address in it leads to the recorder, and no secret is in it. ``essence`` is
for one that asks the real servers. Only what we know to have a part in what goes out is
copied, so that a setting unknown to us can neither run nor leak.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kimifix import reader
from kimifix.config.change import KeyPath
from kimifix.config.document import MANAGED, Document
from kimifix.config.edit import text_of
from kimifix.secret import ADDRESS_NAME, MASK, is_secret_path, redact
from kimifix.words import filled

DUMMY = "kimifix-dummy"

_COPIED = reader.tables("config/copied.toml")
_FREE_TABLES = ("env", "custom_headers")

# The types that talk to the Kimi API, and where each goes that has no `base_url`, as a path;
# providers of other vendors go, with their models.
_TYPES = {"kimi": "/v1", "anthropic": ""}
_MANAGED_PATH = "/coding/v1"

_PLAIN_SEGMENT = re.compile(r"[a-z]{1,16}|v\d{1,2}")


def decoy(document: Document, base_url: str) -> str:
    """Return the TOML text of a copy of ``document`` that leads to ``base_url``.

    ``base_url`` is `http://host:port` without a path. Addresses keep their path, as far as
    it is made of plain words, so that the routes can be told apart. An alias that nothing
    in the copy serves, and a `default_model` that names one, are left out.
    """
    base_url = base_url.rstrip("/")
    named = document.providers.items()
    providers = [n for n, entry in named if entry.get("type") in [*_TYPES] and redact(n) == n]
    aliases = [alias for name in providers for alias in document.served_by(name)]
    return _source(document, providers, [a for a in aliases if redact(a) == a], base_url)


def essence(document: Document, more: Mapping[str, Any]) -> str:
    """Return the TOML text of a copy of ``document`` with ``more`` settings.

    It asks the same models of the same servers with the same secrets, and does nothing else.
    """
    return _source(document, document.providers, document.models, None, more)


def _source(
    document: Document,
    providers: Iterable[str],
    aliases: Collection[str],
    base_url: str | None,
    more: Mapping[str, Any] | None = None,
) -> str:
    data = document.data
    names = [name for name in _COPIED["settings"] if name in data]
    if base_url is None or data.get("default_model") in aliases:
        names += {"default_model"} & data.keys()
    # Source: all versions read `telemetry`; print mode of 0.38.0 obeys nothing else.
    copy = {"telemetry": False, **{name: _copy(data[name], (name,), base_url) for name in names}}
    made = {}
    for name in providers:
        entry = document.providers[name]
        made[name] = _copy(entry, ("provider",), base_url)
        if base_url and not filled(entry.get("base_url")):
            usual = _MANAGED_PATH if name == MANAGED else _TYPES[entry["type"]]
            made[name]["base_url"] = base_url + usual
    models = {alias: _copy(document.models[alias], ("model",), base_url) for alias in aliases}
    return text_of({**copy, **(more or {}), "providers": made, "models": models})


def _copy(value: Any, path: KeyPath, base_url: str | None = None) -> Any:
    """Return what we know of ``value``, which stands at ``path`` of a setting or an entry.

    With a ``base_url`` it holds no secret, and no address but that.
    """
    name = path[-1]
    if isinstance(value, Mapping):
        keys: Iterable[str] = (
            value if name in _FREE_TABLES else _COPIED["keys"].get(name, "").split()
        )
        if name == "experimental":
            keys = [key for key, item in value.items() if isinstance(item, bool)]
        copy = {key: _copy(value[key], (*path, key), base_url) for key in keys if key in value}
        return {**copy, "oauth_host": base_url} if name == "oauth" and base_url else copy
    if isinstance(value, list):
        words = (item for item in value if not isinstance(item, Mapping | list))
        return [_copy(word, path, base_url) for word in words]
    if base_url is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, str):
        if "://" in value or ADDRESS_NAME.search(name):
            return base_url + _plain_path(value)
        value = redact(value).replace(MASK, DUMMY)
    return DUMMY if is_secret_path(path) else value


def _plain_path(address: str) -> str:
    """Return the path of ``address``; what may be somebody's own in it becomes `x`."""
    try:
        path = urlsplit(address).path if "://" in address else ""
    except ValueError:
        path = ""
    segments = [part for part in path.split("/") if part]
    return "".join(f"/{part if _PLAIN_SEGMENT.fullmatch(part) else 'x'}" for part in segments)
