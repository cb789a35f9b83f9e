"""What `doctor` says of a real install, its logs and its login is what is the case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.kimi_server import KEY
from support.machine import MANAGED_MODEL, VERSIONS, Machine, cells, since


def findings(machine: Machine) -> dict[str, dict[str, Any]]:
    """Run `doctor` and return its findings by check."""
    found = machine.kimifix("doctor", "--json").json["findings"]
    return {finding["check"]: finding for finding in found}


@pytest.mark.parametrize("version", VERSIONS)
def test_finds_the_install_and_its_error(machine: Machine) -> None:
    """Version and origin are those of the install; the lockout is read from its logs."""
    for _ in range(5):  # the client may end before it has written it (seen: 0.38.0)
        assert not machine.ask().answered
        found = findings(machine)
        if found["recent-errors"]["data"]["errors"]:
            break
    client = found["client"]["data"]
    assert (client["version"], client["origin"]) == (machine.client.version, "npm")
    (error,) = found["recent-errors"]["data"]["errors"]
    assert (error["status"], error["verdict"]) == (403, "identity")


@pytest.mark.parametrize(("version", "credential"), cells()[:1] + cells()[-1:])
def test_identity_is_what_goes_out(machine: Machine, credential: str) -> None:
    """Surface and platform that `doctor` names are those on the wire, on every route."""
    for route in (None, "header", "anthropic"):
        if route is not None:
            command = ("apply", "--yes", "--route", route, "--credential", credential)
            assert machine.kimifix(*command, KIMIFIX_API_KEY=KEY).code == 0
        said = findings(machine)["identity"]["data"]
        (request,) = machine.ask().chats
        surface = "anthropic" if request.path.endswith("/messages") else "openai"
        assert said["surface"] == surface
        sent = request.values("x-msh-platform")
        assert sent == ([said["platform"]] if said["platform"] else [])


@pytest.mark.parametrize("version", since("0.20.2")[-1:])
def test_finds_a_lost_login_and_a_moved_default(machine: Machine) -> None:
    """After the login was lost it says so; after the next login it sees the default drift."""
    assert machine.kimifix("apply", "--yes").code == 0
    dead = machine.login | {"expires_at": 1, "refresh_token": "spent"}
    machine.token_file.write_text(json.dumps(dead))
    machine.ask()
    login = findings(machine)["login"]
    assert login["data"]["present"] is False
    assert login["status"] in ("warning", "error")
    assert "kimi login" in login["hint"]

    machine.sign_in()
    found = findings(machine)
    assert found["login"]["status"] == "ok"
    assert found["default-model"]["data"]["default_model"] == MANAGED_MODEL
    assert found["patch"]["status"] == "warning"
    assert "kimifix apply" in found["patch"]["hint"]
