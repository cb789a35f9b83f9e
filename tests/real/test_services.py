"""What web search and fetch of the real client say of it, and what a login makes of that."""

from __future__ import annotations

import pytest
from support.kimi_server import FOUND
from support.machine import OWN_MODEL, Machine, since

NEWEST = pytest.mark.parametrize("version", since("0.20.2")[-1:])
SEARCH = ("WebSearch", {"query": "What is the answer?"})
FETCH = ("FetchURL", {"url": "https://found.example/page"})


def said(machine: Machine, tool: tuple[str, dict[str, str]]) -> tuple[str, list[str]]:
    """Have the model call ``tool``; return what it got to read, and what the request said."""
    machine.server.reset()
    machine.server.behaviour.tool_call = tool
    turn = machine.ask("-m", OWN_MODEL)
    assert turn.answered, turn
    (request,) = machine.server.services()
    return str(turn.chats[-1].body["messages"][-1]), request.values("x-msh-platform")


@pytest.mark.parametrize("version", since("0.20.2"))
def test_search_and_fetch_get_an_answer(machine: Machine) -> None:
    """After a header-route apply search is refused as itself; with --services both are let in."""
    before = machine.config.read_bytes()
    assert machine.kimifix("apply", "--yes").code == 0
    read, platform = said(machine, SEARCH)
    assert platform == ["kimi_code_cli"]
    assert "403" in read
    assert machine.kimifix("apply", "--yes", "--services").code == 0
    for tool in (SEARCH, FETCH):
        read, platform = said(machine, tool)
        assert platform == ["kimi_cli"]
        assert FOUND in read
    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before
    assert machine.server.strangers == []


@NEWEST
def test_a_login_drops_the_header_and_apply_writes_it_again(machine: Machine) -> None:
    """`doctor` sees it, plain `apply` mends it, and search is let in again."""
    assert machine.kimifix("apply", "--yes", "--services").code == 0
    machine.sign_in()
    found = machine.kimifix("doctor", "--json").json["findings"]
    (patch,) = (one for one in found if one["check"] == "patch")
    assert patch["status"] == "warning"
    assert "moonshot_search, moonshot_fetch lost the header" in patch["message"]
    assert machine.kimifix("apply", "--yes").code == 0
    assert said(machine, SEARCH)[1] == ["kimi_cli"]
    assert machine.kimifix("revert", "--yes").code == 0
    services = machine.data["services"]
    assert not any("custom_headers" in service for service in services.values())
