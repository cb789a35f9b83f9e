"""The headers that the installed client really sends, recorded on loopback.

The client gets a home of its own with a decoy of the config and made-up credentials, and
is asked for one word by each provider in question. What it sends in return reaches this
process and nothing else. What keeps it on this machine, each measured alone with 0.10.0,
0.20.0, 0.38.0 and 2.1.0 under strace in a network namespace without a way out:

- `telemetry = false` in the decoy and `KIMI_CODE_NO_AUTO_UPDATE`: from 0.20.0 on the
  client then asks for no other host. (`KIMI_DISABLE_TELEMETRY` does not reach print mode
  of 0.38.0; 0.10.0 looks for updates all the same.)
- proxy variables that name the recorder, which passes nothing on: no name is looked up.
  The client reads them from 0.20.0 on, for 0.10.0 Node does (22.21, 24 and later).
- a preloaded script that lets Node connect to loopback only, for whatever does not ask a
  proxy; it also works in a single binary of Node.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kimifix.client.leash import Overlay, leash, write_private
from kimifix.client.login import slot_of
from kimifix.client.recorder import Captured, Recorder
from kimifix.client.shell import git_bash
from kimifix.errors import KimifixError
from kimifix.reader import shipped
from kimifix.secret import is_identity_header

_PROMPT = "say pong"
_DUMMY = "kimifix-dummy"
_BASE_PATH = "/coding/v1"
_FAR_FUTURE = 4_102_444_800  # 2100-01-01 in Unix seconds: nothing to refresh

# A request may still be on its way through the recorder when the client has ended.
_SECONDS_TO_ARRIVE = 0.2

# What a launcher, Node and a version manager need to start the client. All else stays
# behind: secrets, proxies, NODE_OPTIONS, and what would lead back to the user's files.
# KIMI_CODE_… are part of the truth: they rename the product in the User-Agent (2.1.0), or
# choose the older of two ways to talk to the server (0.33 to 0.43).
_PASSED_ON = """
PATH PATHEXT SYSTEMROOT WINDIR COMSPEC LANG LC_ALL LC_CTYPE
ASDF_DATA_DIR ASDF_DIR MISE_DATA_DIR NVM_DIR VOLTA_HOME
KIMI_CODE_IDENTITY_NAME KIMI_CODE_IDENTITY_SLUG KIMI_CODE_LEGACY_FLAG KIMI_SHELL_PATH
"""
_CUSTOM_HEADERS = "KIMI_CODE_CUSTOM_HEADERS"


def capture(
    program: Path,
    config_for: Callable[[str, str], str],
    asked: Iterable[Captured],
    *,
    env: Mapping[str, str],
    seconds: float,
    progress: Callable[[str], None],
) -> None:
    """Start ``program`` once for each of ``asked``, and fill in what it sent.

    ``config_for`` gives the text of the config for a recorder at `http://host:port/…` and
    a default model; it must lead nowhere else and hold no secret. ``seconds`` limits each
    start; the client and its children are ended then, and the folder it ran in is removed
    in any case, also when a signal ends this process.

    Raises ``KimifixError`` where loopback cannot be listened on, or the folder of the
    client cannot be made, filled or removed.
    """
    program = program.absolute()  # the client starts in another folder
    try:
        with leash() as overlay, Recorder() as recorder:
            for one in asked:
                progress(f"kimi-code on loopback: {one.mode} mode, `{one.provider}`")
                config = config_for(recorder.url, one.alias)
                place = overlay(config)
                variables = _prepare(place, recorder, env, tomllib.loads(config))
                recorder.captured = one
                one.problem = _run(place, program, variables, seconds, one)
    except OSError as error:
        raise KimifixError(f"kimi-code cannot be run on loopback: {error}") from error


_CREDENTIALS = json.dumps(
    {
        "access_token": _DUMMY,
        "refresh_token": _DUMMY,
        "expires_at": _FAR_FUTURE,
        "scope": "kimi-code",
        "token_type": "Bearer",
        "expires_in": 3600,
    }
)


def _prepare(
    place: Overlay, recorder: Recorder, env: Mapping[str, str], data: Mapping[str, Any]
) -> dict[str, str]:
    """Add a login in every slot, and return what the client may know of the environment.

    What keeps it on loopback is among it.
    """
    url = recorder.url
    hosts = {"KIMI_CODE_BASE_URL": url + _BASE_PATH, "KIMI_CODE_OAUTH_HOST": url}
    providers = data.get("providers", {}).values()
    credentials = place.home / "credentials"
    credentials.mkdir(mode=0o700)
    for slot in _slots([*providers, *data.get("models", {}).values()], hosts):
        write_private(credentials / f"{slot}.json", _CREDENTIALS)
    guard = place.user / "guard.cjs"
    guard.write_bytes(shipped("client/guard.cjs"))

    variables = {name: env[name] for name in _PASSED_ON.split() if name in env}
    for name in (entry.get("api_key_env") for entry in providers):
        if isinstance(name, str) and env.get(name):
            variables.setdefault(name, _DUMMY)
    lines = env.get(_CUSTOM_HEADERS, "").split("\n")
    identity = [line for line in lines if is_identity_header(line.partition(":")[0].strip())]
    if identity:
        variables[_CUSTOM_HEADERS] = "\n".join(identity)
    if bash := git_bash(env):  # the client shall not see the real LOCALAPPDATA
        variables.setdefault("KIMI_SHELL_PATH", str(bash))
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {
        **variables,
        **dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(place.user)),
        **dict.fromkeys(names, recorder.proxy),
        **hosts,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "NODE_USE_ENV_PROXY": "1",
        "NODE_OPTIONS": f"--require {json.dumps(str(guard))}",
    }


def _slots(entries: Iterable[Mapping[str, Any]], env: Mapping[str, str]) -> set[str]:
    """Return the names of the login slots that one of ``entries`` may come to use."""
    slots = {slot_of(entry, env, managed=m) for entry in entries for m in (False, True)}
    names = {slot.removeprefix("oauth/") for slot in slots if slot}
    return {name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+", name)}


def _run(
    place: Overlay, program: Path, variables: Mapping[str, str], seconds: float, one: Captured
) -> str | None:
    """Run the client until it has sent its request; return why it has not, if it has not."""
    arguments, reply = ["-p", _PROMPT, "-m", one.alias], None
    if one.mode == "ACP":
        arguments, reply = ["acp"], _editor(place.project)
    try:
        code = place.run(
            program, arguments, variables, seconds=seconds, enough=one.asked.is_set, reply=reply
        )
    except (OSError, ValueError) as error:
        return f"the client cannot be started: {getattr(error, 'strerror', None) or error}"
    if one.asked.wait(_SECONDS_TO_ARRIVE):
        return None
    end = f"within {seconds:g} seconds" if code is None else f"and ended with exit code {code}"
    words = place.last_words
    return f"the client sent no request {end}" + (f": {words}" if words else "")


def _editor(project: Path) -> Callable[[str], str]:
    """Return what an editor says that asks one question by ACP (run with 0.20.0 to 2.1.0)."""
    opening = _request("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
    opening += _request("session/new", {"cwd": str(project), "mcpServers": []})
    said: list[str] = []

    def reply(printed: str) -> str:
        session = re.search(r'"sessionId":"([^"]+)"', printed)
        words = "" if said else opening
        if session and len(said) == 1:
            prompt = [{"type": "text", "text": _PROMPT}]
            words = _request("session/prompt", {"sessionId": session[1], "prompt": prompt})
        said.extend([words] if words else [])
        return words

    return reply


def _request(method: str, params: Mapping[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}) + "\n"
