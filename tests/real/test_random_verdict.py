"""The verdict beside the real client, on configs, environments and logins made by chance.

Each case is a patch or none, and one to four changes of what decides where a request goes.
The client is asked once a case and version; what it has sent is then put to every server, and
in a deep run, now and then, what it sends on a terminal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

import pytest
import tomlkit
from support.kimi_server import KEY, Behaviour, Request
from support.machine import Machine
from support.rounds import seeds
from support.verdicts import BAD_KEY, SERVERS, Ways, at_once, examined, lets_in

MANAGED = "managed:kimi-code"

PATCHES: tuple[tuple[str, ...] | None, ...] = (
    *(None, None, ("--route", "header"), ("--route", "anthropic"), ("--no-default",)),
    *(("--key-stdin",), ("--key-stdin", "--route", "anthropic"), ("--platform", "foo")),
)
ENVIRONMENT = {
    "KIMI_MODEL_NAME": ("kimi-for-coding", "gone", " "),
    "KIMI_MODEL_API_KEY": (KEY, BAD_KEY, ""),
    "KIMI_MODEL_BASE_URL": ("{base}", "{elsewhere}"),
    "KIMI_MODEL_PROVIDER_TYPE": ("kimi", "anthropic", "openai", " KIMI ", "odd", ""),
    "KIMI_MODEL_MAX_CONTEXT_SIZE": ("1e3", "0", " 05 "),
    "KIMI_MODEL_ADAPTIVE_THINKING": ("2", " Yes "),
    "KIMI_MODEL_TEMPERATURE": ("abc", " .5 ", "0x1"),
    "KIMI_CODE_CUSTOM_HEADERS": ("X-Msh-Platform: kimi_cli", "x-msh-platform: foo", "X-Team: 7"),
    "KIMI_CODE_IDENTITY_NAME": ("Älter", " "),
    "KIMI_CODE_IDENTITY_SLUG": ("Acme!! x", "ü", " "),
    "KIMI_CODE_BASE_URL": ("{base}", "{elsewhere}"),
    "KIMI_CODE_OAUTH_HOST": ("{root}",),
    "KIMI_OAUTH_HOST": ("{root}",),
    "KIMI_API_KEY": (KEY, BAD_KEY),
    "KIMI_BASE_URL": ("{base}",),
    "THE_KEY": (KEY, BAD_KEY, " "),
    "KIMI_CODE_LEGACY_FLAG": ("1", "0"),
    "KIMI_CODE_EXPERIMENTAL_FLAG": ("true", "0"),
}
NAMES = (MANAGED, "kimifix", "other", "gone")
OAUTH: tuple[dict[str, Any], ...] = (
    {"storage": "file", "key": "oauth/kimi-code"},
    {"storage": "odd", "key": "x"},
    {"storage": "file", "key": ""},
    {},
)
PROVIDER: dict[str, tuple[Any, ...]] = {
    "type": ("kimi", "anthropic", "openai", "openai_responses", "google-genai", "odd", None),
    "base_url": ("{base}", "{base}/", " {base} ", "{elsewhere}", "{root}", ""),
    "api_key": (KEY, BAD_KEY, " ", "", None),
    "api_key_env": ("THE_KEY", "NOT_SET", ""),
    "oauth": (*OAUTH, None),
    "model_source": ("static", "odd"),
    "custom_headers": (
        *({"X-Msh-Platform": "kimi_cli"}, {"x-msh-platform": "kimi_code_cli"}, {"X-Team": "7"}),
        *({"X-Msh-Platform": "foo", "x-msh-platform": "kimi_cli"}, {}, None),
    ),
    "env": ({"KIMI_API_KEY": KEY}, {"KIMI_BASE_URL": "{base}"}, {"ANTHROPIC_API_KEY": KEY}),
}
MODEL: dict[str, tuple[Any, ...]] = {
    "provider": (*NAMES, None),
    "provider_id": NAMES,
    "model": ("kimi-for-coding", "another", "", None),
    "name": ("kimi-for-coding", ""),
    "protocol": ("anthropic", "openai", "openai_responses", "odd", ""),
    "base_url": ("{base}", "{elsewhere}", ""),
    "api_key": (KEY, BAD_KEY, ""),
    "oauth": OAUTH,
    "max_context_size": (262144, 1, 0, -1, 1.5, None),
    "max_output_size": (1, 0),
    "overrides": ({"max_output_size": 0}, {"display_name": "Mine"}),
    "support_efforts": (["low", "high"], []),
    "capabilities": (["thinking"], ["odd"], None),
}
LOGINS: tuple[dict[str, Any], ...] = (
    *({"access_token": ""}, {"access_token": None}, {"refresh_token": ""}, {"expires_at": 1}),
    *({"expires_at": 1, "refresh_token": ""}, {"expires_at": 1, "refresh_token": None}),
    # From now on: kimi-code renews a login before its end, or does without it.
    *({"expires_at": "+200", "refresh_token": ""}, {"expires_at": "+200"}),
    *({"expires_at": "+1000", "refresh_token": ""}, {"expires_at": "+2500", "refresh_token": ""}),
    *({"expires_at": None}, {"expires_at": "soon"}, {"expires_at": 0}, {"expires_at": -1}),
    *(
        {"expires_at": 1e15},
        {"expires_at": float("inf")},
        {"expires_in": 0},
        {"scope": None},
        {"token_type": 7},
    ),
)
# What else is in the home, and may keep the client from a session or a request.
FILES = {
    "device_id": ("\0" * 36, "\ufeffmine\u3000", "two\nlines", "gerät", "设备", ""),
    "workspaces.json": ("", "{", "\ufeff{}", "null", "\0" * 8, "{} {}"),
}
TOP: dict[str, tuple[Any, ...]] = {
    "default_model": ("kimi-code/kimi-for-coding", "kimifix/kimi-for-coding", "other/model", " "),
    "default_provider": NAMES,
    "identity": (
        {"slug": "My Tool!", "name": "Mine"},
        {"slug": " ", "name": "Mine 2"},
        {"slug": "no", "name": 7},
        {},
    ),
}
# Headers that are not of who asks: they go by the body, the Node, or when a token was renewed.
VOLATILE = ("content-length", "host", "authorization", "x-api-key", "anthropic-beta")


def change(data: Any, chance: Random) -> None:
    """Change, add or remove one setting that has a part in where a request goes."""
    section = chance.choice(["providers", "models", "models", "top"])
    if section == "top":
        table, fields = data, TOP
    else:
        entries = data[section]
        # What the default model leads to, most of the time: all else hides nothing.
        used = str(data.get("default_model"))
        if section == "providers":
            used = str(data["models"].get(used, {}).get("provider"))
        name = used if used in entries and chance.random() < 0.7 else chance.choice([*entries])
        table, fields = entries[name], PROVIDER if section == "providers" else MODEL
    field = chance.choice([*fields])
    value = chance.choice(fields[field])
    if value is None:
        table.pop(field, None)
    else:
        table[field] = value


def led(value: Any, places: Mapping[str, str]) -> Any:
    """Return ``value`` with the addresses that stand in it for a server."""
    if isinstance(value, dict):
        return {key: led(item, places) for key, item in value.items()}
    return value.format_map(places) if isinstance(value, str) and "{" in value else value


def told(request: Request) -> tuple[str, dict[str, str]]:
    """Return where a request goes, and its headers as far as they say who asks."""
    headers = {name.lower(): value for name, value in request.headers}
    left_out = [name for name in headers if name in VOLATILE or name.startswith("x-stainless-r")]
    return request.path, {name: headers[name] for name in headers.keys() - {*left_out}}


@pytest.mark.parametrize("seed", seeds(2))
def test_verdict_is_what_the_client_gets(
    machines: dict[str, Machine], seed: int, deep: bool
) -> None:
    """Whatever the config says, and what is to be typed then leads to an answer."""
    at_once(machines, partial(agree, seed=seed, deep=deep))


def agree(machine: Machine, *, seed: int, deep: bool) -> None:
    """Ask the client and kimifix in one case, and do what is said where there is no answer."""
    chance, server = Random(seed), machine.server
    places = {
        "base": server.base_url,
        "root": server.url,
        "elsewhere": server.base_url.replace("127.0.0.1", "localhost"),
    }
    if patch := chance.choice(PATCHES):
        stdin = KEY if "--key-stdin" in patch else None
        done = machine.kimifix("apply", "--yes", "--home", machine.home, *patch, stdin=stdin)
        assert done.code == 0, done.err
    data = tomlkit.parse(machine.config.read_text(encoding="utf-8")).unwrap()
    data["providers"]["other"]["base_url"] = "{root}"  # where somebody answers
    data["loop_control"] = {"max_retries_per_step": 1, "max_attempts_per_step": 1}
    for _ in range(chance.randint(1, 4)):
        change(data, chance)
    encoding = chance.choice(["utf-8"] * 9 + ["utf-8-sig"])
    machine.config.write_text(tomlkit.dumps(led(data, places)), encoding=encoding)
    if chance.random() < 0.2:
        for login in (machine.home / "credentials").glob("*.json"):
            changed = {**json.loads(login.read_text()), **chance.choice(LOGINS)}
            if str(changed["expires_at"]).startswith("+"):
                changed["expires_at"] = int(time.time()) + int(changed["expires_at"])
            login.write_text(json.dumps(changed))
            if chance.random() < 0.3:
                login.unlink()
    if chance.random() < 0.1:
        name = chance.choice([*FILES])
        (machine.home / name).write_text(chance.choice(FILES[name]), encoding="utf-8")
    # Nobody leaves this machine, whatever address is left out: the proxy passes nothing on.
    env = machine.proxies
    is_on_terminal = deep and chance.random() < 0.3
    if is_on_terminal:
        env |= machine.led_to_server
    elif chance.random() < 0.3:
        for name in chance.sample([*ENVIRONMENT], chance.randint(1, 3)):
            env[name] = led(chance.choice(ENVIRONMENT[name]), places)
    server.behaviour.chat_identities |= {"kimi_code_cli", "foo"}
    turn = machine.ask(**env)
    sent = turn.chats[0] if turn.chats else None
    assert turn.answered == lets_in(server, sent)
    ways, working, earlier = Ways(machine, env), list[Behaviour](), len(server.chats())
    for name, behaviour in SERVERS.items():
        server.behaviour = behaviour
        report = examined(machine, env)
        if sent and (asked := server.chats()[earlier:]):
            assert told(asked[0]) == told(sent)
        if report.verdict.works:
            working.append(behaviour)
        answered = lets_in(server, sent)
        if report.verdict.works not in (None, answered):
            given = {name: env[name] for name in ENVIRONMENT if name in env}
            config = machine.config.read_text(encoding="utf-8")
            known = (name, report.verdict, sent and sent.headers, turn.err, given, config)
            pytest.fail("\n".join(map(str, known)))
        if not answered and deep and chance.random() < 0.4:
            ways.lead_out(report, name)
    if deep:
        name, server.behaviour = chance.choice([*SERVERS.items()])
        report = examined(machine, env, verify=True)
        assert report.verdict.works is lets_in(server, sent), (name, report.findings["verify"])
    if is_on_terminal and working:
        there = machine.ask_on_terminal()
        for behaviour in working:
            server.behaviour = behaviour
            assert lets_in(server, there)
