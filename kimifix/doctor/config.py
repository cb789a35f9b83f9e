"""What the config says: readable, private, and which identity its default model sends."""

import sys
from collections.abc import Mapping
from typing import Any

from kimifix.client import features
from kimifix.config.document import MANAGED
from kimifix.config.routes import OWN_PLATFORM, PLATFORM_HEADER, service_platforms
from kimifix.doctor.finding import Finding, Status
from kimifix.errors import ConfigError
from kimifix.machine import Machine
from kimifix.outgoing import describe, goes_by_environment, server_warnings
from kimifix.secret import secrets_in
from kimifix.words import API, octal, quoted


def check_config(machine: Machine) -> Finding:
    """The config is there, readable and valid TOML."""
    path, content = machine.home.config, None
    try:
        content = machine.reading.snapshot.content
        if content is None:
            key = machine.kimifix("apply", "--credential", "key")
            hint = f"start `{machine.kimi()}` and sign in with /login; or `{key}`"
            data = {"path": path, "exists": False}
            status: Status = "info" if goes_by_environment(machine) else "error"
            return Finding(status, f"there is no config: `{path}`", hint, data)
        document = machine.document
    except ConfigError as error:
        # Before, kimi-code drops the one entry that has a value of a wrong type, which has no line.
        is_old = not features.has("alias-overrides", machine.engine)
        may = error.client_can or (is_old and content is not None and error.line is None)
        data = {"path": error.path, "line": error.line, "column": error.column, "client_can": may}
        status = "warning" if goes_by_environment(machine) else "error"
        return Finding(status, str(error), error.hint, data)
    data = {"path": path, "bytes": len(content), "symlink_to": None}
    message = str(path)
    if path.is_symlink():
        data["symlink_to"] = real = machine.reading.snapshot.real
        message += f", a symlink to {real}; the client will make it a plain file"
    if not content.strip():
        return Finding("warning", f"is empty: {message}", "sign in with `kimi login`", data)
    if wrong := document.login_misfit:
        message = f"`kimi login` refuses the config: {wrong}"
        mend = "save it as UTF-8 without BOM" if document.bom else "mend it before you sign in"
        return Finding("warning", message, mend, data)
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
        message = f"holds a key, and others can read it (mode {mode:04o})"
        return Finding("warning", message, f"chmod 600 {quoted(machine.home.config)}", data)
    return Finding("ok", f"mode {mode:04o}, holds a key", data=data)


def check_default_model(machine: Machine) -> Finding:
    """The default model is one that exists."""
    out = describe(machine)
    data = {"default_model": machine.document.data.get("default_model")}
    if out.obstacle is not None and out.obstacle.about == "default":
        return Finding("error", out.obstacle.message, out.obstacle.hint, data)
    if out.is_of_environment:
        return Finding("info", "replaced by KIMI_MODEL_NAME", data=data)
    return Finding("ok", out.alias, data=data)


def check_managed_headers(machine: Machine) -> Finding:
    """The managed provider carries no header, which would not last."""
    headers = machine.document.managed.get("custom_headers")
    if not isinstance(headers, Mapping) or not headers:
        return Finding("ok", "none on the managed provider")
    message = f"on the managed provider, where they do not last: {', '.join(headers)}"
    ours = machine.kimifix("apply")
    hint = f"login and model refresh drop them; `{ours}` carries them to a provider that stays"
    return Finding("warning", message, hint, {"headers": list(headers)})


def check_identity(machine: Machine) -> Finding:
    """What the default model says about the client, and that it says it to the right server."""
    out = describe(machine)
    obstacle = out.obstacle
    if obstacle is not None and obstacle.about == "default":
        return Finding("skipped", "no default model to look at")
    data: dict[str, Any] = {"provider": out.provider, "type": out.kind}
    if obstacle is not None and obstacle.about == "provider":
        status: Status = "info" if obstacle.client_can else "error"
        return Finding(status, obstacle.message, obstacle.hint, data)
    custom = out.custom or {}
    data |= {"surface": out.surface, "platform": out.platform}
    message = f"{out.alias} sends {_named(out.platform)} ({API[out.surface]}, {out.provider})"
    if features.has("nameless-acp", machine.engine) and out.own_platform:
        data["platform_in_editors"] = custom.get(PLATFORM_HEADER)
        message += f"; in editors, by ACP, {_named(custom.get(PLATFORM_HEADER))}"
    if obstacle is not None and obstacle.about == "credential":
        return Finding("error", f"{message}, but {obstacle.message}", obstacle.hint, data)
    known = PLATFORM_HEADER.lower()
    if spelled := [name for name in custom if name != PLATFORM_HEADER and name.lower() == known]:
        data["spelled"] = spelled
        hint = (
            f"keep one, spelled exactly {PLATFORM_HEADER}: which one goes out depends on the order"
        )
        return Finding("warning", f"{message}; also spelled {', '.join(spelled)}", hint, data)
    if out.provider == MANAGED and out.platform != OWN_PLATFORM and out.own_platform:
        return Finding(
            "warning", message, f"it will not last: run `{machine.kimifix('apply')}`", data
        )
    if warnings := list(server_warnings(out.base_url)):
        return Finding("warning", "; ".join([message, *warnings]), "check `base_url`", data)
    if "platform_in_editors" in data and not data["platform_in_editors"]:
        ours = machine.kimifix("apply", "--platform", OWN_PLATFORM)
        hint = f"if an editor is refused: `{ours}` gives it the name that the terminal has"
        return Finding("ok", message, hint, data)
    return Finding("ok", message, data=data)


def check_services(machine: Machine) -> Finding:
    """Web search and fetch say what they like of the client: it is listed, and no fault."""
    named = service_platforms(machine.document).items()
    says = {path[1]: str(platform or OWN_PLATFORM) for path, platform in named}
    message = ", ".join(f"{name} is sent as {platform}" for name, platform in says.items())
    return Finding("ok", message or "none in the config", data={"services": says})


def _named(platform: str | None) -> str:
    return f"{PLATFORM_HEADER}: {platform}" if platform else f"no {PLATFORM_HEADER}"
