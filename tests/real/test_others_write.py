"""Undo and mending after the real client has written the config in between."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from support.kimi_server import KEY, MODELS, model
from support.machine import MANAGED_MODEL, OWN_MODEL, Machine, cells, since, wait_until
from support.terminal import ENTER, UP

CELLS = pytest.mark.parametrize(("version", "credential"), cells())
# The oldest client, with a key, and the newest, with its login.
ENDS = pytest.mark.parametrize(("version", "credential"), cells()[:1] + cells()[-1:])


def apply(machine: Machine, credential: str, *options: str) -> None:
    """Run `apply` with ``credential``."""
    command = ("apply", "--yes", "--credential", credential, *options)
    done = machine.kimifix(*command, KIMIFIX_API_KEY=KEY)
    assert done.code == 0, done.err


def revert(machine: Machine) -> str:
    """Run `revert` and return what it printed."""
    done = machine.kimifix("revert", "--yes")
    assert done.code == 0, done.err
    return done.out


def without_ours(data: dict[str, Any], default: str | None = MANAGED_MODEL) -> dict[str, Any]:
    """Return ``data`` as it would be had kimifix never written; ``default`` where ours stands.

    A default that is missing was ours too: the client takes it out with our provider.
    """
    data = copy.deepcopy(data)
    data["providers"].pop("kimifix", None)
    data["models"] = {a: m for a, m in data["models"].items() if m["provider"] != "kimifix"}
    if data.get("default_model", OWN_MODEL).startswith("kimifix/"):
        data.pop("default_model", None)
        if default is not None:
            data["default_model"] = default
    return data


def assert_answers(machine: Machine, credential: str) -> None:
    """The client gets its answer on the header route."""
    turn = machine.ask()
    assert turn.answered, turn
    (request,) = turn.chats
    assert request.header("x-msh-platform") == [("X-Msh-Platform", "kimi_cli")]
    assert request.credential == (KEY if credential == "key" else machine.login["access_token"])


def choose_in_model_list(machine: Machine, chosen: str, *rows: str) -> None:
    """Open `/model` on a terminal, go up over ``rows`` and take the last: that is ``chosen``."""
    with machine.full_screen() as terminal:
        terminal.command("/model")
        terminal.wait_for("❯ Kimi For Coding  kimifix")  # noqa: RUF001
        for row in rows:
            terminal.write(UP)
            terminal.wait_for(f"❯ {row}")  # noqa: RUF001
        terminal.write(ENTER)
        wait_until(lambda: machine.data.get("default_model") == chosen, "the choice in the config")


@CELLS
def test_provider_remove_then_revert(machine: Machine, credential: str) -> None:
    """After `kimi provider remove kimifix` a `revert` gives back the default, and all is as was."""
    original = machine.data
    apply(machine, credential)
    assert machine.kimi("provider", "remove", "kimifix").code == 0
    assert "default_model" not in machine.data
    out = revert(machine)
    assert machine.data == original
    assert "somebody else" not in out
    assert "nothing to revert" in revert(machine)


@ENDS
def test_provider_remove_then_apply(machine: Machine, credential: str) -> None:
    """After `kimi provider remove kimifix` another `apply` mends, and `revert` undoes all."""
    original = machine.data
    apply(machine, credential)
    machine.kimi("provider", "remove", "kimifix")
    apply(machine, credential)
    assert_answers(machine, credential)
    revert(machine)
    assert machine.data == original


@ENDS
def test_new_login_then_apply(machine: Machine, credential: str) -> None:
    """Who lost the login gets our default taken away by the next; `apply` brings all back."""
    apply(machine, credential)
    dead = machine.login | {"expires_at": 1, "refresh_token": "spent"}
    machine.token_file.write_text(json.dumps(dead))
    assert not machine.ask("-m", MANAGED_MODEL).answered
    machine.sign_in()
    assert machine.data["default_model"] == MANAGED_MODEL
    written = machine.data
    apply(machine, credential)
    assert machine.data["default_model"] == OWN_MODEL
    assert_answers(machine, credential)
    revert(machine)
    assert machine.data == without_ours(written)


@ENDS
def test_new_login_then_revert(machine: Machine, credential: str) -> None:
    """What a login has written stays, our entries alone go."""
    apply(machine, credential)
    machine.server.behaviour.models = (*MODELS, model("kimi-next", "Kimi Next"))
    machine.sign_in()
    written = machine.data
    assert "kimi-code/kimi-next" in written["models"]
    revert(machine)
    assert machine.data == without_ours(written)
    assert machine.data["default_model"] == MANAGED_MODEL


@ENDS
def test_new_models_then_apply(machine: Machine, credential: str) -> None:
    """Models that the server has since then come with the next `apply` and go with `revert`."""
    apply(machine, credential)
    machine.server.behaviour.models = (*MODELS, model("kimi-next", "Kimi Next"))
    machine.sign_in()
    written = machine.data
    apply(machine, credential)
    turn = machine.ask("-m", "kimifix/kimi-next")
    assert turn.answered, turn
    assert turn.chats[0].body["model"] == "kimi-next"
    revert(machine)
    assert machine.data == without_ours(written)


@ENDS
def test_managed_model_chosen_then_revert(machine: Machine, credential: str) -> None:
    """Who chose the managed model in `/model` keeps it, and our entries go."""
    original = machine.data
    apply(machine, credential)
    choose_in_model_list(machine, MANAGED_MODEL, "model ", "Kimi For Coding  Kimi Code")
    written = machine.data
    revert(machine)
    assert machine.data == without_ours(written)
    assert machine.data == original


@ENDS
def test_managed_model_chosen_then_apply(machine: Machine, credential: str) -> None:
    """Who chose the managed model in `/model` is brought back by `apply`."""
    original = machine.data
    apply(machine, credential)
    choose_in_model_list(machine, MANAGED_MODEL, "model ", "Kimi For Coding  Kimi Code")
    apply(machine, credential)
    assert_answers(machine, credential)
    revert(machine)
    assert machine.data == original


@ENDS
def test_foreign_model_chosen(machine: Machine, credential: str) -> None:
    """Who chose another vendor's model in `/model` keeps it, whatever kimifix does."""
    apply(machine, credential)
    choose_in_model_list(machine, "other/model", "model ")
    apply(machine, credential)
    assert machine.data["default_model"] == "other/model"
    written = machine.data
    revert(machine)
    assert machine.data == without_ours(written)
    assert machine.data["default_model"] == "other/model"


@ENDS
def test_login_on_the_terminal(machine: Machine, credential: str) -> None:
    """`/login` of somebody who is signed in leaves our entries and the default as they are."""
    apply(machine, credential)
    patched = machine.data
    machine.server.behaviour.models = (*MODELS, model("kimi-next", "Kimi Next"))
    with machine.full_screen() as terminal:
        terminal.command("/login")
        terminal.wait_for("Select a platform")
        terminal.write(ENTER)
        terminal.wait_for("Already logged in")
        wait_until(lambda: "kimi-code/kimi-next" in machine.data["models"], "the new model")
    written = machine.data
    assert written["default_model"] == OWN_MODEL
    assert written["providers"]["kimifix"] == patched["providers"]["kimifix"]
    assert_answers(machine, credential)
    revert(machine)
    assert machine.data == without_ours(written)


@ENDS
def test_logout_of_ours(machine: Machine, credential: str) -> None:
    """`/logout` offers our provider first; after an Enter too much `revert` makes all as it was."""
    original = machine.data
    apply(machine, credential)
    with machine.full_screen() as terminal:
        terminal.command("/logout")
        terminal.wait_for("❯ kimifix")  # noqa: RUF001
        terminal.write(ENTER)
        terminal.wait_for("Logged out from kimifix")
        wait_until(lambda: "kimifix" not in machine.data["providers"], "the config without us")
    out = revert(machine)
    assert machine.data == original
    assert "somebody else" not in out


@ENDS
def test_logout_of_the_client(machine: Machine, credential: str) -> None:
    """After `/logout` of Kimi Code a `revert` leaves no trace of us and no dangling default."""
    apply(machine, credential)
    with machine.full_screen() as terminal:
        terminal.command("/logout")
        terminal.wait_for("❯ kimifix")  # noqa: RUF001
        terminal.write(UP)
        terminal.wait_for("❯ Kimi Code")  # noqa: RUF001
        terminal.write(ENTER)
        terminal.wait_for("Logged out from")
        gone = "managed:kimi-code"
        wait_until(lambda: gone not in machine.data["providers"], "the config without the login")
    written = machine.data
    revert(machine)
    assert machine.data == without_ours(written, default=None)
    assert "default_model" not in machine.data


@ENDS
def test_logout_and_login(machine: Machine, credential: str) -> None:
    """Signed out and in again, the user is back on the route by another `apply`."""
    apply(machine, credential)
    with machine.full_screen() as terminal:
        terminal.command("/logout")
        terminal.wait_for("❯ kimifix")  # noqa: RUF001
        terminal.write(UP)
        terminal.wait_for("❯ Kimi Code")  # noqa: RUF001
        terminal.write(ENTER)
        terminal.wait_for("Logged out from")
        gone = "managed:kimi-code"
        wait_until(lambda: gone not in machine.data["providers"], "the config without the login")
    machine.sign_in()
    written = machine.data
    apply(machine, credential)
    assert_answers(machine, credential)
    revert(machine)
    assert machine.data == without_ours(written)


@pytest.mark.parametrize("version", since("0.27.0"))
def test_client_adds_aliases_to_our_provider(machine: Machine) -> None:
    """The aliases that the client gives to an own provider with a key work and go with `revert`."""
    apply(machine, "key")
    machine.server.behaviour.models = (*MODELS, model("kimi-next", "Kimi Next"))
    with machine.full_screen():
        wait_until(lambda: "kimifix/kimi-next" in machine.data["models"], "an alias of ours")
        wait_until(lambda: "kimi-code/kimi-next" in machine.data["models"], "an alias of its own")
    written = machine.data
    turn = machine.ask("-m", "kimifix/kimi-next")
    assert turn.answered, turn
    apply(machine, "key")
    assert_answers(machine, "key")
    revert(machine)
    assert machine.data == without_ours(written)


@pytest.mark.parametrize("version", since("0.27.0"))
def test_client_drops_the_default_alias(machine: Machine) -> None:
    """Where the server no longer lists our default, the client drops it, and `apply` mends that."""
    apply(machine, "key")
    machine.server.behaviour.models = (model("kimi-next", "Kimi Next"),)
    with machine.full_screen():
        wait_until(lambda: OWN_MODEL not in machine.data["models"], "the alias gone")
        wait_until(lambda: "kimi-code/kimi-next" in machine.data["models"], "the new model")
    apply(machine, "key")
    turn = machine.ask()
    assert turn.answered, turn
    assert turn.chats[0].body["model"] == "kimi-next"
    written = machine.data
    revert(machine)
    assert machine.data == without_ours(written, default="kimi-code/kimi-next")


@ENDS
def test_thinking_stays_on(machine: Machine, credential: str) -> None:
    """Who never set thinking keeps it after `/login` under our default, and no setting of ours."""
    lines = machine.config.read_text().splitlines(keepends=True)
    drop = ("[thinking]\n", "enabled = true\n", "default_thinking = true\n")
    machine.config.write_text("".join(line for line in lines if line not in drop))
    original = machine.data
    assert not {"thinking", "default_thinking"} & original.keys()
    apply(machine, credential)
    with machine.full_screen() as terminal:
        terminal.command("/login")
        terminal.wait_for("Select a platform")
        terminal.write(ENTER)
        terminal.wait_for("Already logged in")
    turn = machine.ask()
    assert turn.chats[0].body["thinking"]["type"] == "enabled"
    revert(machine)
    assert machine.data == original
