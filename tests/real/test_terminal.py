"""Kimi-code on a terminal gets what print mode gets, but where it writes its models anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.kimi_server import KEY, MODELS
from support.machine import MANAGED_MODEL, OWN_MODEL, Machine, before
from support.verdicts import at_once, examined, in_turn, lets_in, run

Model = dict[str, Any]


@pytest.mark.parametrize(
    "options",
    [
        None,
        *product(("--route=header", "--route=anthropic"), ("--key-stdin", "--credential=login")),
    ],
)
def test_both_get_the_same(ends: dict[str, Machine], options: tuple[str, ...] | None) -> None:
    """They send the same identity to the same surface, and the verdict is that of both."""

    def agree(machine: Machine) -> None:
        if options:
            words: tuple[str | Path, ...] = ("apply", "--yes", "--home", machine.home, *options)
            assert machine.kimifix(*words, stdin=KEY).code == 0
        turn, sent = machine.ask(), machine.ask_on_terminal()
        assert turn.answered == lets_in(machine.server, sent) == bool(options)
        assert sent.path == turn.chats[0].path
        assert examined(machine, machine.proxies).verdict.works is turn.answered

    at_once(ends, agree)


def led_away(model: Model) -> None:
    """Lead it to a provider that gets an answer."""
    model["provider"] = "mine"


def led_nowhere(model: Model) -> None:
    """Lead it to nobody."""
    model["provider"] = "nobody"


def gone(model: Model) -> None:
    """Take all of it away."""
    model.clear()


def renamed(model: Model) -> None:
    """Ask for another model by it."""
    model["model"] = "another"


CHANGES = {change.__name__: change for change in (led_away, renamed, led_nowhere, gone)}


def test_what_it_writes_anew_is_left_to_it(ends: dict[str, Machine], deep: bool) -> None:
    """Print mode does not: before it has started on a terminal, the verdict is open."""

    def agree(machine: Machine, _: str, change: Callable[[Model], None]) -> None:
        before, identities = machine.config.read_bytes(), machine.server.behaviour.chat_identities
        edit(machine, change)
        verdict = examined(machine, machine.proxies).verdict
        assert verdict.works is None, verdict
        assert machine.ask().answered == (change is led_away)
        assert verdict.next[0].endswith(" kimi")
        machine.start()
        written = machine.data["models"][MANAGED_MODEL]
        assert (written["provider"], written["model"]) == ("managed:kimi-code", "kimi-for-coding")
        assert examined(machine, machine.proxies).verdict.works is False
        assert not machine.ask().answered
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        assert examined(machine, machine.proxies).verdict.works is True
        assert machine.ask().answered
        machine.config.write_bytes(before)
        machine.server.behaviour.chat_identities = identities

    in_turn(ends, CHANGES, agree, deep=deep)


def test_a_name_among_its_own_is_taken_away(ends: dict[str, Machine]) -> None:
    """It keeps no `kimi-code/…` that the server does not list; a model of the user's own stays."""

    def agree(machine: Machine) -> None:
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        for name, works, stays in (("kimi-code/fast", None, False), ("fast", True, True)):
            data = machine.data
            data["models"][name] = data["models"][MANAGED_MODEL]
            data["default_model"] = name
            machine.write(data)
            assert examined(machine, machine.proxies).verdict.works is works
            assert machine.ask().answered
            machine.start()
            assert (name in machine.data["models"]) is stays
            assert (machine.data.get("default_model") == name) is stays

    at_once(ends, agree)


@pytest.mark.parametrize(
    ("name", "fault", "patched"),
    [
        (MANAGED_MODEL, {"max_context_size": -1}, False),
        (MANAGED_MODEL, {"protocol": "odd"}, False),
        (MANAGED_MODEL, {"name": ""}, False),
        ("other/model", {"protocol": "odd"}, False),
        ("other/model", {"protocol": "odd"}, True),
    ],
)
def test_what_it_gets_along_with_is_left_to_it(
    ends: dict[str, Machine], name: str, fault: Model, patched: bool
) -> None:
    """From 0.33.0 on, and with an empty name, which is a fault in the newest alone."""

    def agree(machine: Machine) -> None:
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        if patched:
            words: tuple[str | Path, ...] = ("apply", "--yes", "--key-stdin", "--home")
            assert machine.kimifix(*words, machine.home, stdin=KEY).code == 0
        data = machine.data
        data["models"][name].update(fault)
        machine.write(data)
        answered = machine.ask().answered
        is_old = machine.client.version in before("0.33.0")
        verdict = examined(machine, machine.proxies).verdict
        assert verdict.works is (answered if is_old or answered else None), verdict
        if not is_old:
            assert lets_in(machine.server, machine.ask_on_terminal())

    at_once(ends, agree)


@pytest.mark.parametrize("name", ["fast", "kimi-code/fast"])
def test_what_stands_in_for_a_model_of_the_users_own_lasts(
    ends: dict[str, Machine], name: str
) -> None:
    """With a key kimi-code keeps no alias of ours there but those that it would make itself."""

    def agree(machine: Machine) -> None:
        data = machine.data
        data["models"][name] = {**data["models"][MANAGED_MODEL], "display_name": "Fast"}
        data["default_model"] = name
        machine.write(data)
        was = machine.data
        words: tuple[str | Path, ...] = ("--yes", "--home", machine.home)
        assert machine.kimifix("apply", *words, "--key-stdin", stdin=KEY).code == 0
        assert lets_in(machine.server, machine.ask_on_terminal())
        assert machine.data["default_model"] == OWN_MODEL
        assert machine.ask().answered
        assert examined(machine, machine.proxies).verdict.works is True
        assert machine.kimifix("revert", *words).code == 0
        if name == "fast":  # the other one goes with the client's own
            assert machine.data == was

    at_once(ends, agree)


def edit(machine: Machine, change: Callable[[Model], None]) -> None:
    """Change the managed model, with a provider at hand that gets an answer."""
    data = machine.data
    change(data["models"][MANAGED_MODEL])
    if not data["models"][MANAGED_MODEL]:
        del data["models"][MANAGED_MODEL]
    data["providers"]["mine"] = {
        **{"type": "kimi", "base_url": machine.server.base_url, "api_key": KEY},
        "custom_headers": {"X-Msh-Platform": "kimi_cli"},
    }
    machine.write(data)


def by_hand(machine: Machine) -> None:
    """Lead the managed model to the other surface by hand."""
    edit(machine, lambda model: model.update(protocol="anthropic"))


def with_a_key(machine: Machine) -> None:
    """Have a provider with a key, and a model that goes to the other surface."""
    edit(machine, lambda model: None)
    data = machine.data
    data["models"]["mine/kimi-for-coding"] = {
        **data["models"][MANAGED_MODEL],
        "protocol": "anthropic",
    }
    data["models"]["mine/kimi-for-coding"]["provider"] = "mine"
    data["default_model"] = "mine/kimi-for-coding"
    del data["providers"]["mine"]["custom_headers"]
    machine.write(data)


@pytest.mark.parametrize("change", [by_hand, with_a_key])
def test_a_protocol_that_does_not_count_there_is_known(
    ends: dict[str, Machine], change: Callable[[Machine], None]
) -> None:
    """What the server does not list goes the other way on a terminal; the route to type lasts."""

    def agree(machine: Machine) -> None:
        change(machine)
        lasts = change is with_a_key and machine.client.version in before("0.27.0")
        verdict = examined(machine, machine.proxies).verdict
        assert verdict.works is (True if lasts else None), verdict
        assert machine.ask().answered
        assert lets_in(machine.server, machine.ask_on_terminal()) is lasts
        if lasts:
            return
        assert "apply --route anthropic" in verdict.next[0]
        for command in verdict.next:
            run(machine, command, machine.proxies)
        ours = () if change is by_hand else ("-m", OWN_MODEL)
        assert machine.ask(*ours).answered
        assert lets_in(machine.server, machine.ask_on_terminal(*ours))

    at_once(ends, agree)


def test_a_protocol_is_in_the_way_of_print_mode_alone(ends: dict[str, Machine]) -> None:
    """Where the other API is the open one, nobody is told to take another name."""

    def agree(machine: Machine) -> None:
        behaviour = machine.server.behaviour
        behaviour.chat_identities, behaviour.messages_open = frozenset({"kimi_code_cli"}), False
        by_hand(machine)
        verdict = examined(machine, machine.proxies).verdict
        assert (verdict.works, verdict.next) == (None, ()), verdict
        assert not machine.ask().answered
        assert lets_in(machine.server, machine.ask_on_terminal())

    at_once(ends, agree)


@pytest.mark.parametrize("change", [lambda _: None, with_a_key])
def test_what_the_server_lists_since_comes_by_itself(
    ends: dict[str, Machine], change: Callable[[Machine], None]
) -> None:
    """Where its list names the other API by now, the client goes there when it has started."""

    def agree(machine: Machine) -> None:
        change(machine)
        data = machine.data
        data["models"][data["default_model"]].pop("protocol", None)
        machine.write(data)
        machine.server.behaviour.models = ({**MODELS[0], "protocol": "anthropic"},)
        stays = change is with_a_key and machine.client.version in before("0.27.0")
        verdict = examined(machine, machine.proxies).verdict
        assert verdict.works is (False if stays else None), verdict
        assert (verdict.recommendation == "start") is not stays
        assert not machine.ask().answered
        for command in verdict.next:
            run(machine, command, machine.proxies)
        if not stays:
            assert examined(machine, machine.proxies).verdict.works is True
            assert machine.ask().answered
            assert lets_in(machine.server, machine.ask_on_terminal())

    at_once(ends, agree)


def test_a_name_of_the_users_own_keeps_its_protocol(ends: dict[str, Machine]) -> None:
    """The list says nothing of a model that the client has not made."""

    def agree(machine: Machine) -> None:
        data = machine.data
        data["models"]["fast"] = {**data["models"][MANAGED_MODEL], "protocol": "anthropic"}
        data["default_model"] = "fast"
        machine.write(data)
        assert examined(machine, machine.proxies).verdict.works is True
        assert machine.ask().answered
        assert lets_in(machine.server, machine.ask_on_terminal())

    at_once(ends, agree)
