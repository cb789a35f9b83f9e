"""The verdict beside the real client: `doctor --probe` is content if and only if it answers."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support import catalogue
from support.kimi_server import KEY, Behaviour, KimiServer, Request
from support.machine import VERSIONS, Machine, since

from kimifix.doctor import Report, doctor

OWN, MANAGED = "kimifix/kimi-for-coding", "kimi-code/kimi-for-coding"
BAD_KEY = "sk-kimi-key-that-nobody-takes"

State = Callable[[Machine], Mapping[str, str] | None]
_SUSPENDED = catalogue.SUSPENDED

SERVERS: dict[str, Behaviour] = {
    "gate with both routes open": Behaviour(),
    "no gate": Behaviour(chat_identities=frozenset({"kimi_code_cli", "kimi_cli"})),
    "gate that takes no logins at messages": Behaviour(messages_take_login=False),
    "only the legacy identity": Behaviour(messages_open=False),
    "only messages": Behaviour(chat_identities=frozenset()),
    "nobody": Behaviour(chat_identities=frozenset(), messages_open=False),
    "suspended": Behaviour(
        refusal=(_SUSPENDED.status, str(_SUSPENDED.error_type), _SUSPENDED.message)
    ),
}


# Without --deep what is to be typed is typed on these alone.
FOLLOWED = ("gate with both routes open", "only the legacy identity", "nobody")


def apply(machine: Machine, *options: str, key: str | None = None) -> None:
    """Run `apply`, with a key where there is one."""
    stdin = ("--key-stdin",) if key else ()
    done = machine.kimifix("apply", "--yes", *options, *stdin, stdin=key)
    assert done.code == 0, done.err


def edit(machine: Machine, old: str, new: str) -> None:
    """Replace text in the config."""
    text = machine.config.read_text(encoding="utf-8")
    assert old in text
    machine.config.write_text(text.replace(old, new), encoding="utf-8")


def unpatched(_: Machine) -> None:
    """Leave it as `kimi login` has left it."""


def header(machine: Machine) -> None:
    """Take the header route with the login."""
    apply(machine, "--route", "header")


def header_with_key(machine: Machine) -> None:
    """Take the header route with a key."""
    apply(machine, "--route", "header", key=KEY)


def header_with_key_signed_out(machine: Machine) -> None:
    """Take the header route with a key and no login."""
    header_with_key(machine)
    machine.token_file.unlink()


def anthropic(machine: Machine) -> None:
    """Take the Anthropic route with the login."""
    apply(machine, "--route", "anthropic")


def anthropic_with_key(machine: Machine) -> None:
    """Take the Anthropic route with a key."""
    apply(machine, "--route", "anthropic", key=KEY)


def other_platform(machine: Machine) -> None:
    """Send a platform that nobody lets in."""
    apply(machine, "--platform", "foo")


def header_by_hand(machine: Machine) -> None:
    """Set the header by hand on the managed provider."""
    text = machine.config.read_text(encoding="utf-8")
    table = '[providers."managed:kimi-code".custom_headers]\nX-Msh-Platform = "kimi_cli"\n'
    machine.config.write_text(f"{text}\n{table}", encoding="utf-8")


def default_moved_back(machine: Machine) -> None:
    """Have the default model moved back from ours."""
    header(machine)
    edit(machine, f'default_model = "{OWN}"', f'default_model = "{MANAGED}"')


def default_gone(machine: Machine) -> None:
    """Have no default model any more."""
    header(machine)
    edit(machine, f'default_model = "{OWN}"\n', "")


def default_dangling(machine: Machine) -> None:
    """Have a default model that does not exist."""
    edit(machine, f'default_model = "{MANAGED}"', 'default_model = "kimifix/gone"')


def provider_gone(machine: Machine) -> None:
    """Lose our provider and keep its models."""
    header(machine)
    edit(machine, "[providers.kimifix", "[providers.lost")


def bad_key(machine: Machine) -> None:
    """Take the header route with a key that the server refuses."""
    apply(machine, "--route", "header", key=BAD_KEY)


def signed_out(machine: Machine) -> None:
    """Have no login."""
    machine.token_file.unlink()


def signed_out_with_patch(machine: Machine) -> None:
    """Have a patch that shares a login which is not there."""
    header(machine)
    machine.token_file.unlink()


def by_protocol(machine: Machine) -> None:
    """Have the server's list lead the managed model to the other surface."""
    edit(machine, 'model = "kimi-for-coding"', 'model = "kimi-for-coding"\nprotocol = "anthropic"')


def of_the_environment(machine: Machine) -> Mapping[str, str]:
    """Ask a model that the environment names."""
    return {
        "KIMI_MODEL_NAME": "kimi-for-coding",
        "KIMI_MODEL_API_KEY": KEY,
        "KIMI_MODEL_BASE_URL": machine.server.base_url,
        "KIMI_CODE_CUSTOM_HEADERS": "X-Msh-Platform: kimi_cli\nX-Team: 7",
    }


def login_moved(machine: Machine) -> Mapping[str, str]:
    """Let the environment lead the login elsewhere."""
    return {"KIMI_CODE_BASE_URL": machine.server.base_url.replace("127.0.0.1", "localhost")}


def led_elsewhere(machine: Machine) -> None:
    """Lead the managed provider to another server, whose login it is not."""
    edit(machine, "//127.0.0.1", "//localhost")


STATES: tuple[State, ...] = (
    unpatched,
    header,
    header_with_key,
    header_with_key_signed_out,
    anthropic,
    anthropic_with_key,
    other_platform,
    header_by_hand,
    default_moved_back,
    default_gone,
    default_dangling,
    provider_gone,
    bad_key,
    signed_out,
    signed_out_with_patch,
    by_protocol,
    of_the_environment,
    login_moved,
    led_elsewhere,
)


def examined(machine: Machine, env: Mapping[str, str]) -> Report:
    """Run `doctor --probe` in this process: a process for each would take minutes."""
    variables = {**os.environ, "PATH": machine.client.path, **env}
    return doctor(machine.home, variables, lambda _: None, probe=True)


def lets_in(server: KimiServer, request: Request | None) -> bool:
    """Tell whether the server, as it behaves now, answers what the client has sent."""
    return request is not None and server.answer(request)[0] == 200


def served(server: KimiServer, behaviour: Behaviour) -> None:
    """Have the server behave so from now on."""
    server.behaviour = replace(behaviour, refused_tokens=set())


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("version", since("0.25.0"))
def test_verdict_is_what_the_client_gets(
    machine: Machine, state: State, version: str, deep: bool
) -> None:
    """In every state and on every server, and what is to be typed then leads to an answer."""
    env = dict(state(machine) or {})
    machine.server.behaviour.chat_identities |= {"kimi_code_cli", "foo"}
    turn = machine.ask(**env)
    sent = turn.chats[0] if turn.chats else None
    assert turn.answered == lets_in(machine.server, sent)
    for name, behaviour in SERVERS.items():
        served(machine.server, behaviour)
        report = examined(machine, env)
        answered = lets_in(machine.server, sent)
        assert (report.worst != "error") == answered, (name, report.verdict)
        # Where the login goes nowhere else, a 401 leaves open whether a renewed one were taken.
        untold = state is by_protocol and not behaviour.messages_take_login
        assert report.verdict.works is (None if untold else answered), (name, report.verdict)
        if not answered and version == VERSIONS[-1] and (deep or name in FOLLOWED):
            assert_led_out(machine, env, report, name)


def assert_led_out(machine: Machine, env: Mapping[str, str], report: Report, server: str) -> None:
    """Type what `next` says, at most three times, on copies of the home and of our state."""
    places = [
        place for place in (machine.home, Path(os.environ["XDG_STATE_HOME"])) if place.exists()
    ]
    kept = {place: place.rename(f"{place}-kept") for place in places}
    for place, copy in kept.items():
        shutil.copytree(copy, place)
    try:
        for _ in range(3):
            if not report.verdict.next:
                break
            if report.verdict.next == ("kimi upgrade",):
                return  # which no test can do
            for command in report.verdict.next:
                typed(machine, command, env)
            report = examined(machine, env)
            if report.verdict.works:
                return
        assert report.verdict.next == (), (server, report.verdict)
        assert says_what_else(report), (server, report.verdict)
    finally:
        for place, copy in kept.items():
            shutil.rmtree(place)
            copy.rename(place)


def typed(machine: Machine, command: str, env: Mapping[str, str]) -> None:
    """Run a command as a user would type it, and agree to what it asks."""
    words = shlex.split(command)
    if words[0].startswith("KIMI_CODE_HOME="):
        words = words[1:]
    if words[:2] == ["kimi", "login"]:
        machine.sign_in()
        return
    assert words[0] == "kimifix", command
    consent = ["--yes"] if words[1] in ("apply", "revert") else []
    done = machine.kimifix(*words[1:], *consent, **env)
    assert done.code in (0, 1), done.err


def says_what_else(report: Report) -> bool:
    """Tell whether the verdict says what to do where there is no command for it."""
    said = ("write to", "/model", "a key of", "`base_url`", "unset", "KIMI_MODEL_NAME")
    told = f"{report.verdict.sentence}: {report.verdict.advice}"
    return any(words in told for words in said)
