"""The credential of the own provider in the client's hands: refresh, variables, validation."""

from __future__ import annotations

import stat
import time

import pytest
from support.kimi_server import KEY
from support.machine import OWN_MODEL, VERSIONS, Machine, Turn, before, cells, since

ROUTES = pytest.mark.parametrize("route", ["header", "anthropic"])


def assert_refreshed(machine: Machine, turn: Turn, old: dict[str, object]) -> None:
    """The client renewed the login once, kept it, and answered with it."""
    assert turn.answered, turn
    assert [r.body["refresh_token"] for r in machine.server.refreshes()] == [old["refresh_token"]]
    new = machine.login
    assert new["access_token"] != old["access_token"]
    assert new["refresh_token"] != old["refresh_token"]
    assert new["expires_at"] > time.time()
    assert turn.chats[-1].credential == new["access_token"]
    assert stat.S_IMODE(machine.token_file.stat().st_mode) == 0o600


@ROUTES
@pytest.mark.parametrize("version", since("0.33.0"))
def test_expired_login_is_refreshed(machine: Machine, route: str) -> None:
    """The client renews an expired login for our provider as it does for its own."""
    old = machine.login
    machine.expire_login()
    assert machine.kimifix("apply", "--yes", "--route", route, "--credential", "login").code == 0
    turn = machine.ask()
    assert_refreshed(machine, turn, old)
    assert len(turn.chats) == 1


@ROUTES
@pytest.mark.parametrize("version", since("0.33.0"))
def test_refused_login_is_refreshed(machine: Machine, route: str) -> None:
    """A token that the server no longer takes costs one renewal and one repeated request."""
    old = machine.login
    assert machine.kimifix("apply", "--yes", "--route", route, "--credential", "login").code == 0
    machine.server.behaviour.refused_tokens.add(old["access_token"])
    turn = machine.ask()
    assert_refreshed(machine, turn, old)
    assert [r.credential for r in turn.chats] == [
        old["access_token"],
        machine.login["access_token"],
    ]


@pytest.mark.parametrize("version", since("0.20.2")[-1:])
def test_refreshed_login_serves_both_providers(machine: Machine) -> None:
    """After a renewal through our provider and `revert` the managed one is still signed in."""
    machine.expire_login()
    machine.kimifix("apply", "--yes")
    assert machine.ask().answered
    machine.kimifix("revert", "--yes")
    machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
    turn = machine.ask()
    assert turn.answered, turn
    assert turn.chats[0].credential == machine.login["access_token"]
    assert len(machine.server.refreshes()) == 1


@ROUTES
@pytest.mark.parametrize("version", since("2.0.1"))
def test_key_from_a_variable(machine: Machine, route: str) -> None:
    """With --key-env the client takes the key from its environment, and no file holds it."""
    before = machine.config.read_bytes()
    done = machine.kimifix("apply", "--yes", "--route", route, "--key-env", "CONSOLE_KEY")
    assert done.code == 0, done.err
    assert machine.kimi("doctor", "config", machine.config).code == 0
    turn = machine.ask(CONSOLE_KEY=KEY)
    assert turn.answered, turn
    assert [request.credential for request in turn.chats] == [KEY]
    assert KEY not in machine.config.read_text()
    without = machine.ask()
    assert not without.answered
    assert KEY not in str(without.chats)
    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before


@pytest.mark.parametrize("version", before("2.0.1"))
def test_key_variable_refused_for_an_old_client(machine: Machine) -> None:
    """A client that cannot read the variable is named, and nothing is written."""
    before = machine.config.read_bytes()
    done = machine.kimifix("apply", "--yes", "--key-env", "CONSOLE_KEY")
    assert done.code == 1
    assert f"kimi-code {machine.client.version}" in done.err
    assert machine.config.read_bytes() == before


@pytest.mark.parametrize("version", before("0.20.2"))
def test_login_refused_for_an_old_client(machine: Machine) -> None:
    """A client that cannot share its login is named, with both ways out, nothing is written."""
    before = machine.config.read_bytes()
    for credential in ("auto", "login"):
        done = machine.kimifix("apply", "--yes", "--credential", credential)
        assert done.code == 1
        assert f"kimi-code {machine.client.version}" in done.err
        assert "update kimi-code" in done.err
        assert "--credential key" in done.err
        assert machine.config.read_bytes() == before


@ROUTES
@pytest.mark.parametrize(("version", "credential"), cells())
def test_client_finds_the_config_valid(machine: Machine, credential: str, route: str) -> None:
    """`kimi doctor config` accepts what `apply` has written."""
    options = ("--route", route, "--credential", credential)
    assert machine.kimifix("apply", "--yes", *options, KIMIFIX_API_KEY=KEY).code == 0
    assert machine.data["default_model"] == OWN_MODEL
    turn = machine.kimi("doctor", "config", machine.config)
    assert turn.code == 0, turn


@pytest.mark.parametrize("version", VERSIONS)
def test_client_would_find_an_invalid_config(machine: Machine) -> None:
    """`kimi doctor config` is a check that can fail: on our own block with a wrong type."""
    assert machine.kimifix("apply", "--yes", "--credential", "key", KIMIFIX_API_KEY=KEY).code == 0
    text = machine.config.read_text()
    broken = text.replace('X-Msh-Platform = "kimi_cli"', "X-Msh-Platform = 5")
    assert broken != text
    machine.config.write_text(broken)
    turn = machine.kimi("doctor", "config", machine.config)
    assert turn.code == 1, turn
