"""Copies of the config for a run of the client that starts nothing else.

``decoy`` is for one whose requests are recorded: it sends the same identity to another
place. Every address in it leads to the recorder, and no secret is in it. ``essence`` is
for one that asks the real servers. What cannot change the identity is not copied at all,
so that a setting unknown to us can neither run nor leak.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kimifix.config.change import KeyPath
from kimifix.config.document import MANAGED, Document
from kimifix.config.edit import Edit, source_of
from kimifix.secret import is_secret_path, redact

DUMMY = "kimifix-dummy"

# Top-level settings that can have a part in what goes out, read in kimi-code 0.10.0 to
# 2.1.0: `identity` renames the product in the User-Agent (2.1.0), `experimental` switches
# code paths; the others decide which model is asked and how.
_COPIED = ("default_provider", "default_thinking", "thinking", "identity", "experimental")

# The types that talk to the Kimi API; providers of other vendors go, with their models.
_TYPES = ("kimi", "anthropic")
_PROVIDER_KEYS = (
    "type",
    "base_url",
    "api_key",
    "api_key_env",
    "oauth",
    "env",
    "custom_headers",
    "default_model",
)

# Where each kind of provider goes when it has no `base_url`, as a path.
_DEFAULT_PATHS = {"kimi": "/v1", "anthropic": ""}
_MANAGED_PATH = "/coding/v1"

_ADDRESS_NAME = re.compile(r"(?:url|uri|host|endpoint|proxy)$", re.IGNORECASE)
_STARTS_PROCESS = re.compile(r"hook|mcp|command|exec|script|helper|plugin", re.IGNORECASE)
_PLAIN_SEGMENT = re.compile(r"[a-z]{1,16}|v\d{1,2}")


def decoy(document: Document, base_url: str) -> str:
    """Return the TOML text of a copy of ``document`` that leads to ``base_url``.

    ``base_url`` is `http://host:port` without a path. Addresses keep their path, as far as
    it is made of plain words, so that the routes can be told apart. An alias that nothing
    in the copy serves, and a `default_model` that names one, are left out.
    """
    data = document.data
    base_url = base_url.rstrip("/")
    served = {
        name: _provider(name, entry, base_url)
        for name, entry in document.providers.items()
        if entry.get("type") in _TYPES
    }
    aliases = {
        alias: _entry(entry, ("models", "*"), base_url)
        for name in served
        for alias, entry in document.served_by(name).items()
    }
    settings = {name: _clean(data[name], (name,), base_url) for name in _COPIED if name in data}
    default = data.get("default_model")
    if isinstance(default, str) and default in aliases:
        settings["default_model"] = default
    return _source(settings, served, aliases)


def essence(document: Document, more: Mapping[str, Any]) -> str:
    """Return the TOML text of a copy of ``document`` with ``more`` settings.

    It asks the same models of the same servers with the same secrets, and does nothing else.
    """
    data = document.data
    settings = {name: data[name] for name in (*_COPIED, "default_model") if name in data}
    return _source({**settings, **more}, document.providers, document.models)


def _source(
    settings: Mapping[str, Any], providers: Mapping[str, Any], models: Mapping[str, Any]
) -> str:
    """Return a config as TOML text, without what starts a process."""
    # An empty text has no line that could be in the way: everything lands where it belongs.
    edit = Edit("")
    # Source: all versions read `telemetry`; print mode of 0.38.0 obeys nothing else.
    edit.set(("telemetry",), "false")
    values: dict[KeyPath, Any] = {(name,): value for name, value in settings.items()}
    values |= {("providers", name): entry for name, entry in providers.items()}
    values |= {("models", alias): entry for alias, entry in models.items()}
    for path, value in values.items():
        harmless = _harmless(value)
        if isinstance(harmless, Mapping):
            edit.add_table(path, harmless)
        else:
            edit.set(path, source_of(harmless))
    return edit.result()


def _harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _harmless(v) for k, v in value.items() if not _STARTS_PROCESS.search(k)}
    return [_harmless(item) for item in value] if isinstance(value, list) else value


def _provider(name: str, entry: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    kept = {key: entry[key] for key in _PROVIDER_KEYS if key in entry}
    copy = _entry(kept, ("providers", "*"), base_url)
    if not isinstance(entry.get("base_url"), str) or not entry["base_url"]:
        path = _MANAGED_PATH if name == MANAGED else _DEFAULT_PATHS[entry["type"]]
        copy["base_url"] = base_url + path
    return copy


def _entry(entry: Mapping[str, Any], path: KeyPath, base_url: str) -> dict[str, Any]:
    copy: dict[str, Any] = _clean(entry, path, base_url)
    if isinstance(copy.get("oauth"), dict):
        copy["oauth"]["oauth_host"] = base_url
    return copy


def _clean(value: object, path: KeyPath, base_url: str) -> Any:
    """Return a copy of ``value`` that holds no secret and no address but ours."""
    if isinstance(value, Mapping):
        return {key: _clean(item, (*path, key), base_url) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, path, base_url) for item in value]
    if isinstance(value, str) and value:
        if "://" in value or _ADDRESS_NAME.search(path[-1]):
            return base_url + _plain_path(value)
        return DUMMY if is_secret_path(path) or redact(value) != value else value
    if is_secret_path(path) and not isinstance(value, bool | str):
        return DUMMY
    return value


def _plain_path(address: str) -> str:
    """Return the path of ``address``; what may be somebody's own in it becomes `x`."""
    try:
        path = urlsplit(address).path if "://" in address else ""
    except ValueError:
        path = ""
    segments = [part for part in path.split("/") if part]
    return "".join(f"/{part if _PLAIN_SEGMENT.fullmatch(part) else 'x'}" for part in segments)
