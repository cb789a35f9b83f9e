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

from __future__ import annotations

import json
import pkgutil
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kimifix.client.leash import Leash, leash
from kimifix.client.login import slot_of
from kimifix.client.overlay import Overlay, write_private
from kimifix.client.recorder import Notes, Recorder
from kimifix.errors import KimifixError
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
# choose the older of two ways to talk to the server (0.33 to 0.43). For KIMI_SHELL_PATH
# see ``_git_bash``.
_PASSED_ON = """
PATH PATHEXT SYSTEMROOT WINDIR COMSPEC LANG LC_ALL LC_CTYPE
ASDF_DATA_DIR ASDF_DIR MISE_DATA_DIR NVM_DIR VOLTA_HOME
KIMI_CODE_IDENTITY_NAME KIMI_CODE_IDENTITY_SLUG KIMI_CODE_LEGACY_FLAG KIMI_SHELL_PATH
"""
_GUARD = "guard.cjs"
_CUSTOM_HEADERS = "KIMI_CODE_CUSTOM_HEADERS"


@dataclass(frozen=True)
class Captured:
    """What the client sent when it was asked to use ``provider`` by way of ``alias``.

    ``method`` and ``path`` are those of its request to a model. ``identity`` has every
    header that says who is talking (`User-Agent`, `X-Msh-*`), in order and exactly as
    spelled on the wire; `X-Msh-Device-Name` is the name of this machine. ``credential``
    names the header that held the credential, as spelled. ``refused`` are the hosts that
    it tried to reach besides. ``problem`` says in words why there is no request, and is
    None where there is one.
    """

    provider: str
    alias: str
    method: str | None = None
    path: str | None = None
    identity: tuple[tuple[str, str], ...] = ()
    credential: str | None = None
    refused: tuple[str, ...] = ()
    problem: str | None = None

    def spelled(self, header: str) -> tuple[tuple[str, str], ...]:
        """Return the identity headers of this name in every spelling that was sent."""
        return tuple(pair for pair in self.identity if pair[0].lower() == header.lower())


def capture(
    program: Path,
    config_for: Callable[[str], str],
    providers: Mapping[str, str],
    *,
    env: Mapping[str, str],
    seconds: float,
    progress: Callable[[str], None],
) -> list[Captured]:
    """Start ``program`` once for each of ``providers`` (provider -> alias) and return what it sent.

    ``config_for`` gives the text of the config for a recorder at `http://host:port/…`; it
    must lead nowhere else and hold no secret. ``seconds`` limits each start; the client
    and its children are ended then, and the folder it ran in is removed in any case, also
    when a signal ends this process. ``progress`` is told what is waited for.

    Raises ``KimifixError`` where loopback cannot be listened on, or the folder of the
    client cannot be made, filled or removed.
    """
    captured = []
    program = program.absolute()  # the client starts in another folder
    try:
        with leash() as held, Recorder() as recorder:
            config = config_for(recorder.url)
            for number, (provider, alias) in enumerate(providers.items()):
                progress(f"starting kimi-code on loopback to see what it sends for `{provider}`")
                place = Overlay.make(held.folder / str(number), config)
                _prepare(place, config, recorder.url)
                variables = _environment(env, place, recorder, config)
                notes = recorder.start_over()
                problem = _run(held, program, alias, place, variables, seconds, notes)
                captured.append(_captured(provider, alias, notes, problem))
    except OSError as error:
        raise KimifixError(f"kimi-code cannot be run on loopback: {error}") from error
    return captured


def _captured(provider: str, alias: str, notes: Notes, problem: str | None) -> Captured:
    refused = tuple(notes.refused)
    if not notes.asked.is_set():
        return Captured(provider, alias, refused=refused, problem=problem)
    identity = tuple(pair for pair in notes.headers if is_identity_header(pair[0]))
    names = (name for name, _ in notes.headers)
    credential = next((n for n in names if n.lower() in ("authorization", "x-api-key")), None)
    return Captured(provider, alias, notes.method, notes.path, identity, credential, refused)


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


def _prepare(place: Overlay, config: str, url: str) -> None:
    """Add to the home of the client what keeps it on loopback, and a login in every slot."""
    guard = pkgutil.get_data("kimifix.client", _GUARD)
    (place.user / _GUARD).write_bytes(guard or b"")
    credentials = place.home / "credentials"
    credentials.mkdir(mode=0o700)
    for slot in _slots(config, url):
        write_private(credentials / f"{slot}.json", _CREDENTIALS)


def _slots(config: str, url: str) -> set[str]:
    """Return the names of the login slots that an entry of ``config`` may come to use."""
    data = tomllib.loads(config)
    entries = [*_tables(data, "providers"), *_tables(data, "models")]
    hosts = _hosts(url)
    slots = {slot_of(entry, hosts, managed=m) for entry in entries for m in (False, True)}
    names = {slot.removeprefix("oauth/") for slot in slots if slot}
    return {name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+", name)}


def _tables(data: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    entries = data.get(section)
    values = entries.values() if isinstance(entries, dict) else ()
    return [entry for entry in values if isinstance(entry, dict)]


def _hosts(url: str) -> dict[str, str]:
    """Return the variables that lead the managed provider and its login to ``url``."""
    return {"KIMI_CODE_BASE_URL": url + _BASE_PATH, "KIMI_CODE_OAUTH_HOST": url}


def _environment(
    env: Mapping[str, str], place: Overlay, recorder: Recorder, config: str
) -> dict[str, str]:
    """Return what the client may know of the environment, and what keeps it on loopback."""
    variables = {name: env[name] for name in _PASSED_ON.split() if name in env}
    for entry in _tables(tomllib.loads(config), "providers"):
        name = entry.get("api_key_env")
        if isinstance(name, str) and env.get(name) and name not in variables:
            variables[name] = _DUMMY
    identity = [line for line in env.get(_CUSTOM_HEADERS, "").split("\n") if _is_identity(line)]
    if identity:
        variables[_CUSTOM_HEADERS] = "\n".join(identity)
    bash = _git_bash(env)
    if bash is not None:
        variables.setdefault("KIMI_SHELL_PATH", str(bash))
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {
        **variables,
        **dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(place.user)),
        **dict.fromkeys(names, recorder.proxy),
        **_hosts(recorder.url),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "NODE_USE_ENV_PROXY": "1",
        "NODE_OPTIONS": f"--require {json.dumps(str(place.user / _GUARD))}",
    }


def _git_bash(env: Mapping[str, str]) -> Path | None:
    """Return the Git Bash of this user alone, which lies where the real LOCALAPPDATA points.

    The client finds all others (source of 2.1.0): by PATH and below `Program Files`.
    """
    if sys.platform != "win32" or not env.get("LOCALAPPDATA"):
        return None
    git = Path(env["LOCALAPPDATA"], "Programs", "Git")
    places = (git / "bin" / "bash.exe", git / "usr" / "bin" / "bash.exe")
    return next((place for place in places if place.is_file()), None)


def _is_identity(line: str) -> bool:
    name, colon, _ = line.partition(":")
    return bool(colon) and is_identity_header(name.strip())


def _run(
    held: Leash,
    program: Path,
    alias: str,
    place: Overlay,
    variables: Mapping[str, str],
    seconds: float,
    notes: Notes,
) -> str | None:
    """Run the client until it has sent its request; return why it has not, if it has not."""
    try:
        code = place.run(
            held, program, _PROMPT, alias, variables, seconds=seconds, enough=notes.asked.is_set
        )
    except (OSError, ValueError) as error:
        return f"the client cannot be started: {getattr(error, 'strerror', None) or error}"
    if notes.asked.wait(_SECONDS_TO_ARRIVE):
        return None
    last = place.last_words()
    if code is None:
        problem = f"the client sent no request within {seconds:g} seconds"
    else:
        problem = f"the client sent no request and ended with exit code {code}"
    return f"{problem}: {last}" if last else problem
