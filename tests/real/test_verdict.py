"""The verdict beside the real client: `doctor --probe` is content if and only if it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import pytest
from support.kimi_server import KEY
from support.machine import Machine
from support.verdicts import BAD_KEY, SERVERS, Ways, at_once, examined, lets_in

from kimifix.client.features import parse_version

OWN, MANAGED = "kimifix/kimi-for-coding", "kimi-code/kimi-for-coding"
NAME = "managed:kimi-code"

State = Callable[[Machine], Mapping[str, str] | None]

# Without --deep what is to be typed is typed on these alone.
FOLLOWED = ("gate with both routes open", "only the legacy identity", "nobody")


def apply(machine: Machine, *options: str, key: str | None = None) -> None:
    """Run `apply`, with a key where there is one."""
    stdin = ("--key-stdin",) if key else ()
    home = ("--home", machine.home)
    done = machine.kimifix("apply", "--yes", *home, *options, *stdin, stdin=key)
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


def default_blank(machine: Machine) -> None:
    """Have a default model without a name."""
    edit(machine, f'default_model = "{MANAGED}"', 'default_model = " "')


def default_dangling(machine: Machine) -> None:
    """Have a default model that does not exist."""
    edit(machine, f'default_model = "{MANAGED}"', 'default_model = "kimifix/gone"')


def provider_gone(machine: Machine) -> None:
    """Lose our provider and keep its models."""
    header(machine)
    edit(machine, "[providers.kimifix", "[providers.lost")


def default_kept(machine: Machine) -> None:
    """Have asked for a patch that leaves the default model where it is."""
    apply(machine, "--no-default", key=KEY)


def default_elsewhere(machine: Machine) -> None:
    """Have a default model of nobody, beside a patch."""
    header(machine)
    edit(machine, f'default_model = "{OWN}"', 'default_model = "gone"')


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


def key_of_the_alias(machine: Machine) -> None:
    """Give the managed model a key of its own, which from 0.33.0 on replaces the login."""
    edit(machine, 'model = "kimi-for-coding"', f'model = "kimi-for-coding"\napi_key = "{KEY}"')


def size_gone(machine: Machine) -> None:
    """Have a default model that is not complete."""
    edit(machine, "max_context_size = ", "context_size = ")


def odd_protocol(machine: Machine) -> None:
    """Have a default model with a protocol that does not exist."""
    edit(machine, 'model = "kimi-for-coding"', 'model = "kimi-for-coding"\nprotocol = "kimi"')


def provider_by_default(machine: Machine) -> None:
    """Leave it to `default_provider` who serves the model."""
    edit(machine, f'provider = "{NAME}"\nmodel = "kimi-for-coding"', 'model = "kimi-for-coding"')
    text = machine.config.read_text(encoding="utf-8")
    machine.config.write_text(f'default_provider = "{NAME}"\n{text}', encoding="utf-8")


def login_incomplete(machine: Machine) -> None:
    """Have another provider with half a login, which from 0.33.0 on spoils all of them."""
    text = machine.config.read_text(encoding="utf-8")
    machine.config.write_text(f'{text}\n[providers.other.oauth]\nstorage = "file"\n')


def name_empty(machine: Machine) -> None:
    """Have a model with an empty `name`: it counts from 0.33.0 on, as none from 0.40.0 on."""
    edit(machine, 'model = "kimi-for-coding"', 'model = "kimi-for-coding"\nname = ""')


def provider_id_of_nobody(machine: Machine) -> None:
    """Have a model with a `provider_id` that leads nowhere, which counts from 0.33.0 on."""
    edit(machine, 'model = "kimi-for-coding"', 'model = "kimi-for-coding"\nprovider_id = "nobody"')


def model_of_nobody_behind_ours(machine: Machine) -> None:
    """Have the fix, and since then a managed model that leads nowhere."""
    anthropic(machine)
    name = 'provider = "managed:kimi-code"'
    edit(machine, name, f'{name}\nprovider_id = "nobody"')


def older_engine(machine: Machine) -> Mapping[str, str]:
    """Have the same, and the older engine where there is one, for which it does not count."""
    provider_id_of_nobody(machine)
    return {"KIMI_CODE_LEGACY_FLAG": "1"}


def key_of_the_shell(machine: Machine) -> Mapping[str, str]:
    """Have a provider without a credential, and a key in the shell, taken before 0.33.0."""
    edit(machine, f'provider = "{NAME}"\nmodel', 'provider = "mine"\nmodel')
    table = f'[providers.mine]\ntype = "kimi"\nbase_url = "{machine.server.base_url}"\n'
    text = machine.config.read_text(encoding="utf-8")
    machine.config.write_text(f"{text}\n{table}", encoding="utf-8")
    return {"KIMI_API_KEY": KEY}


def of_the_environment(machine: Machine) -> Mapping[str, str]:
    """Ask a model that the environment names."""
    return {
        "KIMI_MODEL_NAME": "kimi-for-coding",
        "KIMI_MODEL_API_KEY": KEY,
        "KIMI_MODEL_BASE_URL": machine.server.base_url,
        "KIMI_CODE_CUSTOM_HEADERS": "X-Msh-Platform: kimi_cli\nX-Team: 7",
    }


def of_the_environment_alone(_: Machine) -> Mapping[str, str]:
    """Name a model in the environment, and no key for it."""
    return {"KIMI_MODEL_NAME": "kimi-for-coding"}


def login_moved(machine: Machine) -> Mapping[str, str]:
    """Let the environment lead the login elsewhere."""
    return {"KIMI_CODE_BASE_URL": machine.server.base_url.replace("127.0.0.1", "localhost")}


def led_elsewhere(machine: Machine) -> None:
    """Lead the managed provider to another server, whose login it is not."""
    edit(machine, "//127.0.0.1", "//localhost")


def own_led_elsewhere(machine: Machine) -> None:
    """Lead our provider to another server, whose login it is not."""
    header(machine)
    head, mark, ours = machine.config.read_text(encoding="utf-8").rpartition("[providers.kimifix]")
    ours = ours.replace("//127.0.0.1", "//localhost", 1)
    machine.config.write_text(head + mark + ours, encoding="utf-8")


def login_expired(machine: Machine) -> None:
    """Have a login that has expired, as it does every quarter of an hour."""
    machine.expire_login()


def login_refused(machine: Machine) -> None:
    """Have a login that the server refuses before its time."""
    machine.server.behaviour.refused_tokens = {machine.login["access_token"]}


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
    default_blank,
    default_dangling,
    default_kept,
    default_elsewhere,
    provider_gone,
    bad_key,
    signed_out,
    signed_out_with_patch,
    by_protocol,
    key_of_the_alias,
    size_gone,
    odd_protocol,
    login_incomplete,
    name_empty,
    provider_id_of_nobody,
    model_of_nobody_behind_ours,
    older_engine,
    provider_by_default,
    key_of_the_shell,
    of_the_environment,
    of_the_environment_alone,
    login_moved,
    led_elsewhere,
)
# Here kimi-code alone can tell: it would renew the login, or send it where it does not belong.
UNTOLD: tuple[State, ...] = (own_led_elsewhere, login_expired, login_refused)
# On a terminal it writes its models anew when it starts: the first version with which that leads
# to an answer, and the first with which the state is none any more.
RESTORED: Mapping[State, tuple[str, str]] = {
    size_gone: ("0.33.0", ""),
    odd_protocol: ("0.33.0", ""),
    name_empty: ("0.40.0", ""),
    provider_by_default: ("0.33.0", "0.40.0"),
    key_of_the_shell: ("0.0.0", ""),
}


def is_untold(state: State, version: str) -> bool:
    """Tell whether kimi-code alone can tell in ``state``, whatever the server."""
    since, until = map(parse_version, RESTORED.get(state, ("", "")))
    now = parse_version(version)
    assert now is not None
    is_restored = since is not None and since <= now and (until is None or now < until)
    return state in UNTOLD or is_restored


@pytest.mark.parametrize("state", [*STATES, *UNTOLD], ids=lambda state: state.__name__)
def test_verdict_is_what_the_client_gets(
    machines: dict[str, Machine], state: State, deep: bool
) -> None:
    """In every state and server, and what is to be typed then leads to an answer.

    On the newest version and, by turns, on one of the others; in a deep run on all of them.
    """
    *others, newest = machines
    if others and not deep:
        other = others[[*STATES, *UNTOLD].index(state) % len(others)]
        machines = {name: machines[name] for name in (other, newest)}
    at_once(machines, partial(agree, state=state, deep=deep))


def agree(machine: Machine, state: State, *, deep: bool) -> None:
    """Ask the client and kimifix in ``state``, and do what is said where there is no answer."""
    server = machine.server
    env = dict(state(machine) or {})
    refused = server.behaviour.refused_tokens
    server.behaviour.chat_identities |= {"kimi_code_cli", "foo"}
    sent = None
    untold = is_untold(state, machine.client.version)
    if not untold:
        turn = machine.ask(**env)
        sent = turn.chats[0] if turn.chats else None
        assert turn.answered == lets_in(server, sent)
    ways = Ways(machine, env)
    for name, behaviour in SERVERS.items():
        server.behaviour = replace(behaviour, refused_tokens=refused)
        report = examined(machine, env)
        answered = lets_in(server, sent)
        # Where the login goes nowhere else, a 401 leaves open whether a renewed one were taken.
        # On a terminal a `protocol` that the server does not list does not count.
        is_open = untold and (state, name) != (login_refused, "suspended")
        if state is by_protocol:
            is_one = answered and "kimi_code_cli" not in behaviour.chat_identities
            is_open = is_one or not behaviour.messages_take_login
        works = None if is_open else answered
        assert report.verdict.works is works, (name, report.verdict)
        assert (report.worst != "error") == bool(works), (name, report.verdict)
        if not works and (deep or name in FOLLOWED[: 1 if is_open else None]):
            ways.lead_out(report, name)
