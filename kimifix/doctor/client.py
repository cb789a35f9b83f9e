"""What there is of kimi-code on this machine: copies, home, login, environment, logs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kimifix.client import environment, features, sessions, shell
from kimifix.client.installs import Install
from kimifix.doctor.finding import Finding, Status
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.outgoing import describe, goes_by_environment
from kimifix.steps import by_itself
from kimifix.words import UPDATE, octal, quoted, span, utc

INSTALL = "npm install -g @moonshot-ai/kimi-code"


def check_client(machine: Machine) -> Finding:
    """Kimi-code is installed, can start, and its version can be told."""
    install = machine.install
    if install is None:
        extension = next((i for i in machine.installs if i.origin == "vscode"), None)
        if extension:
            message = f"only the VS Code extension was found: {extension.path}"
            hint = "its kimi-code cannot be examined; `apply` needs --credential login or key"
            return Finding("warning", message, hint, _install_data(extension))
        hint = f"run `{INSTALL}`"
        return Finding("error", "kimi-code was not found", hint, {"found": False})
    data = _install_data(install) | {"node": str(machine.node) if machine.node else None}
    if obstacle := next(_obstacles(machine, install), None):
        return Finding("error", *obstacle, data)
    if machine.version is None:
        message = f"kimi-code of unknown version ({install.origin}): {install.path}"
        hint = "`apply` then needs --credential login or key, since old versions differ"
        return Finding("warning", message, hint, data)
    message = f"kimi-code {install.version} ({install.origin}): {install.path}"
    if machine.version > features.NEWEST_KNOWN:
        message += f", newer than {features.NEWEST_KNOWN}, the last one that kimifix knows"
        hint = f"it may send something else: `{by_itself(machine)}` lets it ask by itself"
        return Finding("info", message, hint, data)
    if install.on_path is None:
        return Finding("info", f"{message}, not on PATH", data=data)
    if not features.has("shared-login", machine.version):
        hint = f"{UPDATE}; before {features.since('shared-login')}, `apply` needs an API key"
        return Finding("warning", f"{message}, old", hint, data)
    return Finding("ok", message, data=data)


def _obstacles(machine: Machine, install: Install) -> Iterator[tuple[str, str]]:
    """Yield what keeps kimi-code from starting, or ends it before it asks, and what to do."""
    node, version, home = machine.node, machine.version, machine.home.path
    if install.on_node and machine.node_program is None:
        yield "kimi-code does not start: no Node is on PATH", "install Node 22.19 or later"
    if node and version and node < features.oldest_node(version):
        told = f"Node {node} is too old, and kimi-code {version} does not start on it"
        yield told, "update Node to 22.19 or later"
    if gone := shell.lost_preload(machine.env):
        told = f"NODE_OPTIONS names a file that is not there, and Node does not start: `{gone}`"
        yield told, "open a new terminal, or unset NODE_OPTIONS"
    if shell.is_lacking(machine.env):
        hint = "install Git for Windows, or set KIMI_SHELL_PATH to its bash.exe"
        yield "kimi-code does not start without Git Bash", hint
    if sessions.is_full(home):
        yield f"the disk is full, and kimi-code ends: `{home}`", "free some space on it"
    if path := sessions.obstacle(home, machine.rules):
        yield f"kimi-code cannot write here, and ends: `{path}`", _way_in(path, home)
    if path := sessions.unreadable(home, machine.rules):
        yield f"kimi-code cannot read this, and ends: `{path}`", _way_in(path, home)


def _way_in(path: Path, home: Path) -> str:
    if os.access(path, os.R_OK | os.W_OK):
        return "mend it, or move it away: kimi-code does without"
    if sys.platform == "win32":
        return "give yourself the right to read and write there"
    user = os.geteuid()
    words: tuple[str, ...] = ("chmod", "-R", "u+rwX")
    words = words if path.lstat().st_uid == user else ("sudo", "chown", "-R", str(user))
    return " ".join((*words, quoted(home.resolve())))


def check_other_copies(machine: Machine) -> Finding:
    """The `kimi` that a shell starts is the only one, or at least the right one."""
    others = [i for i in machine.installs if i is not machine.install and i.origin != "vscode"]
    first = machine.first
    data = {"others": [_install_data(install) for install in others]}
    if first is not None and first.kind == "legacy":
        message = f"a shell starts the legacy Python client, not kimi-code: {first.path}"
        hint = (
            "uninstall it (`uv tool uninstall kimi-cli`, `pipx uninstall kimi-cli`) "
            "or put kimi-code first on PATH"
        )
        return Finding("warning", message, hint, data)
    if first is not None and first.kind == "unrelated":
        message = f"a shell starts `{first.origin}` of npm, which is not kimi-code: {first.path}"
        return Finding("warning", message, f"npm uninstall -g {quoted(first.origin)}", data)
    if not others:
        return Finding("ok", "no other program called `kimi`", data=data)
    listed = ", ".join(f"{i.path} ({i.version or i.kind})" for i in others)
    used = machine.install.version if machine.install else None
    clients = [i for i in others if i.kind == "client" and i.version != used]
    status: Status = "warning" if clients else "info"
    keep = "keep one of them, so that you know which version you run" if clients else None
    return Finding(status, f"also there: {listed}", keep, data)


def check_running(machine: Machine) -> Finding:
    """No client runs that could undo a change of the config."""
    running, older = machine.running, machine.older
    data = {"pids": running.pids, "older": older}
    pids = ", ".join(map(str, older or running.pids))
    if older:
        message = f"kimi-code runs since before the last `apply` or `revert` (process {pids})"
        hint = "quit it and start it again: until then it may send what was configured before"
        return Finding("warning", message, hint, data)
    if running.pids:
        message = f"kimi-code is running on this home (process {pids})"
        hint = "quit it before `apply` or `revert`: a running client may undo an edit"
        return Finding("info", message, hint, data)
    if not running.checked:
        hint = "quit kimi-code before `apply` or `revert`"
        return Finding("skipped", "cannot be told on this system", hint, data)
    return Finding("ok", "kimi-code is not running", data=data)


def check_home(machine: Machine) -> Finding:
    """The client's home is a private folder."""
    home = machine.home
    told = "" if home.source == "default" else f", from {home.source}"
    data = {"path": home.path, "source": home.source, "mode": None}
    try:
        mode = machine.home_mode
    except KimifixError as error:
        return Finding("error", f"{error.message}{told}", error.hint, data)
    data["mode"] = octal(mode)
    if mode is None:
        hint = "start `kimi` once and sign in; if its data lies elsewhere, pass --home DIR"
        message = f"kimi-code has no data here yet: `{home.path}`{told}"
        status: Status = "info" if goes_by_environment(machine) else "error"
        return Finding(status, message, hint, data)
    message = f"{home.path}{told}"
    if home.path.is_symlink():
        message += f", a symlink to {home.path.resolve()}"
    if sys.platform != "win32" and mode & 0o022:
        hint = f"chmod go-w {quoted(home.path)}"
        return Finding("warning", f"others can write to it: {message}", hint, data)
    return Finding("ok", message, data=data)


def check_login(machine: Machine) -> Finding:
    """The client is signed in, as far as what it asks with needs that."""
    login, with_key = machine.login, describe(machine).credential == "key"
    if login is None and with_key:
        version, hint = machine.version, None
        if version and not features.has("key-in-acp", version):
            hint = f"in an editor, kimi-code {version} asks for a login all the same: {UPDATE}"
        return Finding("info", "none, but the default model has an API key", hint)
    hint = f"run `{machine.kimi('login')}`"
    if machine.document.own_entries:
        hint += f", then `{machine.kimifix('apply')}`"
    if login is None:
        return Finding("warning", "the config knows no login", hint)
    missing: Status = "info" if with_key else "error"
    data = {"slot": login.slot, "present": login.present, "expires_at": utc(login.expires_at)}
    if not login.present:
        why = f", {login.problem}: `{login.path}`" if login.problem else ""
        return Finding(missing, f"it is not signed in{why}", hint, data)
    if login.ends_at is None:
        return Finding("info", "signed in, without an end", data=data)
    left = login.ends_at - machine.now
    if left > 0:
        return Finding("ok", f"signed in; the token is good for {span(left)}", data=data)
    message = f"the login expired {span(-left)} ago, as usual"
    if login.renewable:
        return Finding("info", message, "nothing to do: `kimi` renews it at its next message", data)
    return Finding(missing, message, hint, data)


# Measured on 0.20.0, 0.25.0, 0.38.0 and 2.1.0.
_ENVIRONMENT = {
    "KIMI_CODE_BASE_URL": "makes kimi-code use another login, and another server's list of models",
    "KIMI_CODE_OAUTH_HOST": "makes kimi-code use another login",
    "KIMI_OAUTH_HOST": "makes kimi-code use another login",
    "KIMI_CODE_CUSTOM_HEADERS": "adds headers to every request, below all others",
    "KIMI_CODE_IDENTITY_NAME": "renames kimi-code where it sends no X-Msh header",
    "KIMI_CODE_IDENTITY_SLUG": "renames kimi-code where it sends no X-Msh header",
    "KIMI_MODEL_NAME": "replaces the default model, whatever the config says",
    "KIMI_SECONDARY_MODEL": "replaces the model of subagents",
}
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def check_environment(machine: Machine) -> Finding:
    """No environment variable changes what the client sends, or by which way."""
    others = [name for name in sorted(machine.env) if name.startswith("KIMI_MODEL_")]
    known = {**dict.fromkeys(others, "changes the parameters of requests"), **_ENVIRONMENT}
    effects = {name: effect for name, effect in known.items() if machine.env.get(name)}
    if "KIMI_MODEL_NAME" in effects and not describe(machine).is_of_environment:
        effect = "is ignored by this version without KIMI_MODEL_API_KEY"
        if unfit := environment.ignored_for(machine.env, machine.rules):
            effect = f"is ignored, for kimi-code does not take that {unfit}"
        effects["KIMI_MODEL_NAME"] = effect
    if machine.engine != machine.version:
        flags = [name for name in features.ENGINE_FLAGS if machine.env.get(name)]
        effects |= dict.fromkeys(flags, "makes kimi-code use its other engine")
    proxies = [n for n in sorted(machine.env) if n.upper() in _PROXIES and machine.env[n].strip()]
    status: Status = "warning" if effects else "info" if proxies else "ok"
    hint = "unset what you do not need, then look again" if effects else None
    if machine.version and not features.has("proxies", machine.version):
        effects |= dict.fromkeys(proxies, f"a proxy that kimi-code {machine.version} ignores")
    elif proxies and all(machine.env[n].strip().lower().startswith("socks") for n in proxies):
        effects |= dict.fromkeys(proxies, "leads through a SOCKS proxy, which --probe cannot use")
    else:
        effects |= dict.fromkeys(proxies, "leads through a proxy, which may refuse by itself")
    listed = "; ".join(f"{name}: {effect}" for name, effect in effects.items())
    message = listed or "nothing set that changes requests"
    return Finding(status, message, hint, {"variables": sorted(effects)})


def check_recent_errors(machine: Machine) -> Finding:
    """The errors that the client has logged in the last days, by what they mean."""
    if not (errors := machine.log_errors):
        return Finding("ok", "none in the client's logs of the last days", None, {"errors": []})
    from kimifix.server import answers  # only a few homes have errors to tell of

    meanings = [(error, answers.classify(error.status, None, error.message)) for error in errors]
    entries = [
        {
            "time": utc(error.time.timestamp()),
            "status": error.status,
            "verdict": meaning.verdict,
            "message": error.message,
            "times": error.times,
        }
        for error, meaning in meanings
    ]
    listed = "; ".join(
        f"{error.time:%Y-%m-%d %H:%M}Z {error.status or ''} {error.message} ({meaning.verdict}"
        + (f", {error.times} times)" if error.times > 1 else ")")
        for error, meaning in meanings[:3]
    )
    more = f"; and {len(meanings) - 3} more" if len(meanings) > 3 else ""
    hint = f"newest: {meanings[0][1].advice}"
    return Finding("info", f"{listed}{more}", hint, {"errors": entries})


def _install_data(install: Install) -> dict[str, Any]:
    named = ("path", "version", "origin", "kind")
    return {"found": True, **{name: getattr(install, name) for name in named}}
