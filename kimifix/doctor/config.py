"""What the config says: readable, private, and which identity its default model sends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from kimifix.client import features
from kimifix.config import routes
from kimifix.config.document import MANAGED, OWN
from kimifix.config.routes import PLATFORM_HEADER
from kimifix.doctor.finding import Finding
from kimifix.errors import ConfigError
from kimifix.machine import Machine
from kimifix.secret import secrets_in
from kimifix.words import octal, quoted

_OFFICIAL = "kimi_code_cli"


def check_config(machine: Machine) -> Finding:
    """The config is there, readable and valid TOML."""
    path = machine.home.config
    try:
        content = machine.reading.snapshot.content
        if content is None:
            return Finding(
                "error",
                f"does not exist: {path}",
                "start `kimi` and sign in with /login; or `kimifix apply --credential key`",
                {"path": path, "exists": False},
            )
        document = machine.document
    except ConfigError as error:
        data = {"path": error.path, "line": error.line, "column": error.column}
        return Finding("error", str(error), error.hint, data)
    data = {"path": path, "bytes": len(content), "symlink_to": None}
    message = str(path)
    if path.is_symlink():
        data["symlink_to"] = machine.reading.snapshot.real
        message += (
            f", a symlink to {machine.reading.snapshot.real}; the client will make it a plain file"
        )
    if not content.strip():
        return Finding("warning", f"is empty: {message}", "sign in with `kimi login`", data)
    if document.bom:
        return Finding(
            "warning",
            f"begins with a byte order mark: {message}",
            "save it as UTF-8 without BOM",
            data,
        )
    return Finding("ok", message, data=data)


def check_config_mode(machine: Machine) -> Finding:
    """Nobody else can read a config that holds a key."""
    mode = machine.reading.snapshot.mode
    data = {"mode": octal(mode)}
    if machine.reading.snapshot.content is None or sys.platform == "win32":
        return Finding("skipped", "nothing to look at", data=data)
    if not any(secrets_in(machine.document.data)):
        return Finding("ok", f"mode {mode:04o}, holds no key", data=data)
    if mode & 0o077:
        return Finding(
            "warning",
            f"holds a key, and others can read it (mode {mode:04o})",
            f"chmod 600 {quoted(machine.home.config)}",
            data,
        )
    return Finding("ok", f"mode {mode:04o}, holds a key", data=data)


def check_default_model(machine: Machine) -> Finding:
    """`default_model` names an alias that exists."""
    default = machine.document.data.get("default_model")
    data = {"default_model": default}
    if default is None:
        return Finding(
            "warning",
            "not set: kimi-code will ask for a model",
            "choose one with /model, or run `kimifix apply`",
            data,
        )
    if default not in machine.document.models:
        hint = "choose one with /model"
        if str(default).startswith(f"{OWN}/"):
            hint = "run `kimifix apply` to write it again, or `kimifix revert`"
        return Finding("error", f"names an alias that does not exist: {default}", hint, data)
    return Finding("ok", str(default), data=data)


def check_managed_headers(machine: Machine) -> Finding:
    """The managed provider carries no header, which would not last."""
    headers = machine.document.managed.get("custom_headers")
    if not isinstance(headers, Mapping) or not headers:
        return Finding("ok", "none on the managed provider")
    names = ", ".join(headers)
    return Finding(
        "warning",
        f"on the managed provider, where they do not last: {names}",
        "login and model refresh drop them; `kimifix apply` carries them to a provider that stays",
        {"headers": list(headers)},
    )


def check_identity(machine: Machine) -> Finding:
    """What the default model says about the client, by the config alone."""
    default = machine.document.data.get("default_model")
    alias = machine.document.models.get(default) if isinstance(default, str) else None
    if alias is None:
        return Finding("skipped", "no default model to look at")
    name = machine.document.provider_of(str(default))
    provider = machine.document.providers.get(str(name))
    if provider is None:
        return Finding(
            "error",
            f"the provider of {default} does not exist: {name}",
            "choose another model with /model, or run `kimifix apply`",
            {"provider": name},
        )
    kind = provider.get("type")
    data: dict[str, Any] = {"provider": name, "type": kind}
    if kind not in ("kimi", "anthropic"):
        message = f"{default} sends no {PLATFORM_HEADER}, by the type of its provider ({kind})"
        return Finding("info", message, data=data)
    by_protocol = alias.get("protocol") == "anthropic" and features.ALIAS_PROTOCOL.works_in(
        machine.version
    )
    surface = "anthropic" if kind == "anthropic" or by_protocol else "openai"
    platform = routes.platform_of(provider) or (None if kind == "anthropic" else _OFFICIAL)
    data |= {"surface": surface, "platform": platform}
    sent = f"{PLATFORM_HEADER}: {platform}" if platform else f"no {PLATFORM_HEADER}"
    message = f"{default} sends {sent} ({surface} surface, provider {name})"
    headers = provider.get("custom_headers")
    spelled = [
        key
        for key in (headers if isinstance(headers, Mapping) else {})
        if key != PLATFORM_HEADER and key.lower() == PLATFORM_HEADER.lower()
    ]
    if spelled:
        data["spelled"] = spelled
        return Finding(
            "warning",
            f"{message} or what another spelling of it says: {', '.join(spelled)}",
            f"keep one, spelled exactly {PLATFORM_HEADER}: names merge case-sensitively in the "
            "config, and which one goes out depends on the version (--capture tells)",
            data,
        )
    if name == MANAGED and platform != _OFFICIAL:
        hint = "it will not last: run `kimifix apply`"
        return Finding("warning", message, hint, data)
    return Finding("info" if platform == _OFFICIAL else "ok", message, data=data)
