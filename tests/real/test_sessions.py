"""Sessions of the real client go on by the commands that `apply` and `revert` print."""

from __future__ import annotations

import shlex

import pytest
from support.machine import Machine, Turn, oldest_and_newest, since


# From 0.33.0 on a session whose alias is gone cannot go on by itself.
@pytest.mark.parametrize("version", ["0.33.0", *oldest_and_newest(since("0.20.2"))])
def test_a_session_goes_on_by_the_other_provider(machine: Machine) -> None:
    """The newest session is offered after each change, and answers as the new provider does."""
    machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
    assert machine.ask().answered
    for verb, platform in (
        ("apply", "kimi_cli"),
        ("revert", "kimi_code_cli"),
        ("apply", "kimi_cli"),
    ):
        done = machine.kimifix(verb, "--yes", "--json")
        assert done.code == 0, done.err
        (command,) = done.json["next"]
        turn = went_on(machine, command)
        assert turn.answered, turn
        assert turn.chats[-1].values("x-msh-platform") == [platform]
        assert len(turn.chats[-1].body["messages"]) > 3
    assert len(list(machine.home.glob("sessions/wd_*/session_*"))) == 1


def went_on(machine: Machine, command: str) -> Turn:
    """Ask one more question in the session that ``command`` opens."""
    program, *arguments = shlex.split(command)
    assert program == "kimi"
    return machine.ask(*arguments)
