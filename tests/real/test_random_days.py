"""What client, server and user do by chance, one thing after the other, and what holds then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from support.kimi_server import KEY, MODELS, model
from support.machine import Machine
from support.rounds import seeds
from support.verdicts import SERVERS, Ways, at_once, examined, lets_in

K3 = model("k3", "K3")
OFFERS = (
    *(MODELS, (*MODELS, K3), (K3, *MODELS), (K3,)),
    *(({**MODELS[0], "protocol": "anthropic"},), ({**MODELS[0], "display_name": "New"},)),
)
OPTIONS: tuple[tuple[str, ...], ...] = (
    *((), (), (), ("--no-default",), ("--default",), ("--services",)),
    *(("--route", "header"), ("--route", "anthropic"), ("--platform", "kimi_code_cli")),
    *(("--platform", "kimi_cli"), ("--credential", "key"), ("--credential", "login")),
)


@pytest.mark.parametrize("seed", seeds(1))
def test_promises_hold_whatever_the_day_has_brought(
    machines: dict[str, Machine], seed: int
) -> None:
    """What was written is not written again, what was taken out is gone, the verdict is true."""
    at_once(machines, partial(spend_a_day, seed=seed))


def spend_a_day(machine: Machine, *, seed: int) -> None:
    """Do two to six things, then hold the verdict against the client, server by server."""
    chance, server = Random(seed), machine.server
    things: list[Callable[[Machine, Random], object]] = [
        *(apply, apply, revert, sign_in_again, offer_other_models, look_in, expire),
        lambda machine, _: machine.ask(),
        lambda machine, _: machine.kimi("provider", "remove", "kimifix"),
    ]
    for _ in range(chance.randint(2, 6)):
        chance.choice(things)(machine, chance)
    models = server.behaviour.models
    turn = machine.ask()
    sent = turn.chats[0] if turn.chats else None
    env = machine.proxies
    ways = Ways(machine, env)
    for name, behaviour in SERVERS.items():
        server.behaviour = replace(behaviour, models=models)
        report, answered = examined(machine, env), lets_in(server, sent)
        assert report.verdict.works in (None, answered), (name, report.verdict)
        if not answered and chance.random() < 0.3:
            ways.lead_out(report, name)
    server.behaviour = replace(SERVERS["gate with both routes open"], models=models)
    if examined(machine, env).verdict.works:  # on a terminal, too
        assert lets_in(server, machine.ask_on_terminal())


def apply(machine: Machine, chance: Random) -> None:
    """Apply with an option or none; what is applied stays as it is the next time."""
    before = machine.config.read_bytes()
    words = ("apply", "--yes", "--home", machine.home)
    done = machine.kimifix(*words, *chance.choice(OPTIONS), KIMIFIX_API_KEY=KEY)
    assert done.code in (0, 1), done.err
    if done.code:
        assert machine.config.read_bytes() == before
    else:
        again = machine.kimifix(*words)
        assert again.out.startswith("already applied"), again


def revert(machine: Machine, _: Random) -> None:
    """Revert; nothing of ours is left, and nothing to revert."""
    words = ("revert", "--yes", "--home", machine.home)
    done = machine.kimifix(*words)
    assert done.code == 0, done.err
    assert "kimifix" not in machine.config.read_text(encoding="utf-8")
    assert machine.kimifix(*words).out.startswith("nothing to revert")


def sign_in_again(machine: Machine, _: Random) -> None:
    """Run `kimi login`, which writes its provider and its default anew."""
    machine.sign_in()
    assert "managed:kimi-code" in machine.data["providers"]


def offer_other_models(machine: Machine, chance: Random) -> None:
    """Let the server list other models from now on."""
    machine.server.behaviour = replace(machine.server.behaviour, models=chance.choice(OFFERS))


def look_in(machine: Machine, _: Random) -> None:
    """Start the client on a terminal, where it may refresh its models."""
    with machine.full_screen():
        pass


def expire(machine: Machine, _: Random) -> None:
    """Let the access token expire, which the client renews."""
    if machine.token_file.exists():
        machine.expire_login()
