"""`doctor --probe` and `apply --route auto` as processes, against a server on loopback."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import catalogue
from support.catalogue import Row
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, slot_at, write_config
from support.stub_server import Request, Stub, response

TOKEN = "token-of-the-login"
OPENAI_COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "p"}}],
}
ANTHROPIC_COMPLETION = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "p"}],
}


class Server:
    """Answers each question of the matrix as told; a question that is not named gets 200."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str | None], Row] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.stub = Stub(self._talk)

    def _talk(self, connection: socket.socket, request: Request) -> None:
        surface = "anthropic" if "/messages" in request.line else "openai"
        headers = {name.lower(): value for name, value in request.headers}
        question = (surface, headers.get("x-msh-platform"))
        self.requests.append(question)
        row = self.answers.get(question)
        if row is None:
            body: dict[str, Any] = (
                ANTHROPIC_COMPLETION if surface == "anthropic" else OPENAI_COMPLETION
            )
            connection.sendall(response(200, body, "content-type: application/json"))
            return
        connection.sendall(
            response(
                row.status,
                row.body("anthropic" if surface == "anthropic" else "openai"),
                "content-type: application/json",
            )
        )


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that lets everybody in until told otherwise."""
    server = Server()
    with server.stub:
        yield server


@pytest.fixture
def config(server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client 2.1.0 whose managed provider is ``server``."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    url = server.stub.base_url
    text = LOGGED_IN.replace("https://api.kimi.com/coding/v1", url)
    text = text.replace("oauth/kimi-code", f"oauth/{slot_at(url)}")
    sign_in(home, token=TOKEN, slot=slot_at(url))
    return write_config(home, text)


HONEST = ("openai", "kimi_code_cli")
ANTHROPIC = ("anthropic", "kimi_code_cli")
LEGACY = ("openai", "kimi_cli")


@pytest.mark.parametrize(
    ("answers", "asked", "recommendation", "command"),
    [
        pytest.param({}, [HONEST], "not-needed", None, id="accepted"),
        pytest.param(
            {HONEST: catalogue.IDENTITY},
            [HONEST, ANTHROPIC],
            "apply-anthropic",
            "kimifix apply --route anthropic",
            id="anthropic is open",
        ),
        pytest.param(
            {HONEST: catalogue.IDENTITY, ANTHROPIC: catalogue.IDENTITY},
            [HONEST, ANTHROPIC, LEGACY],
            "apply-header",
            "kimifix apply --route header",
            id="only the legacy identity is let in",
        ),
        pytest.param(
            {HONEST: catalogue.OVERLOAD, ANTHROPIC: catalogue.IDENTITY},
            [HONEST, ANTHROPIC, LEGACY],
            "apply-header",
            "kimifix apply --route header",
            id="429 in disguise",
        ),
        pytest.param(
            dict.fromkeys((HONEST, ANTHROPIC, LEGACY), catalogue.OVERLOAD),
            [HONEST, ANTHROPIC, LEGACY],
            "none",
            None,
            id="429 for all",
        ),
        pytest.param({HONEST: catalogue.SUSPENDED}, [HONEST], "none", None, id="suspended"),
    ],
)
def test_matrix_leads_to_one_recommendation(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    answers: dict[tuple[str, str | None], Row],
    asked: list[tuple[str, str]],
    recommendation: str,
    command: str | None,
) -> None:
    """The honest identities are asked first, and no further than the verdict needs."""
    server.answers = dict(answers)
    result = kimifix("doctor", "--probe", "--json")
    finding = next(f for f in result.json["findings"] if f["check"] == "probe")
    assert server.requests == asked
    assert finding["data"]["recommendation"] == recommendation
    assert result.json["next"] == ([command] if command else [])
    assert TOKEN not in result.out + result.err


@pytest.mark.parametrize("row", [*catalogue.ROWS, *catalogue.NO_ROWS], ids=str)
def test_every_documented_answer_is_understood(
    kimifix: Kimifix, server: Server, config: Path, row: Row
) -> None:
    """Each row of the catalogue gives its verdict and its advice, and `auto` writes nothing."""
    server.answers = dict.fromkeys((HONEST, ANTHROPIC, LEGACY), row)
    result = kimifix("doctor", "--probe")
    assert result.code in (0, 1)
    words = " ".join(result.out.split())
    assert str(row.status) in words
    if row.verdict != "identity":
        assert "next: kimifix apply" not in words
        assert row.advice in words
    before = config.read_bytes()
    auto = kimifix("apply", "--route", "auto", "--yes")
    assert auto.code == 1
    assert config.read_bytes() == before


def test_patch_that_is_not_needed_any_more(kimifix: Kimifix, server: Server, config: Path) -> None:
    """When the official identity is accepted again, the advice is to revert."""
    kimifix("apply", "--yes")
    result = kimifix("doctor", "--probe", "--json")
    assert result.json["next"] == ["kimifix revert"]


def test_suspended_account_with_patch_is_told_to_revert(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """On suspension nothing but taking the patch out is ever advised."""
    kimifix("apply", "--yes")
    server.answers = {HONEST: catalogue.SUSPENDED}
    result = kimifix("doctor", "--probe")
    assert result.code == 1
    assert "next:    kimifix revert" in result.out
    assert "kimifix apply" not in result.out.partition("probe")[2]


def test_auto_does_nothing_where_nothing_is_needed(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """`--route auto` leaves the config alone when kimi-code is let in as it is."""
    before = config.read_bytes()
    result = kimifix("apply", "--route", "auto", "--yes")
    assert result.code == 0
    assert "not needed" in result.out
    assert config.read_bytes() == before


@pytest.mark.parametrize(
    ("answers", "kind", "notice"),
    [
        pytest.param({HONEST: catalogue.IDENTITY}, "anthropic", False, id="mildest"),
        pytest.param(
            {HONEST: catalogue.IDENTITY, ANTHROPIC: catalogue.CREDENTIAL},
            "header",
            True,
            id="login not taken on the other surface",
        ),
    ],
)
def test_auto_takes_the_mildest_route(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    answers: dict[tuple[str, str | None], Row],
    kind: str,
    notice: bool,
) -> None:
    """`--route auto` prefers the route that alters nothing, and says why it chose."""
    server.answers = dict(answers)
    result = kimifix("apply", "--route", "auto", "--yes", "--json")
    assert result.code == 0
    assert result.json["route"] == kind
    assert (result.json["notice"] is not None) == notice
    assert "refuses the identity" in result.json["reason"]
    assert "kimifix" in tomllib.loads(config.read_text())["providers"]


def test_expired_login_is_never_refreshed(
    kimifix: Kimifix, server: Server, home: Path, config: Path
) -> None:
    """An expired login is reported, nothing is asked, and its file stays as it is."""
    slot = slot_at(server.stub.base_url)
    path = sign_in(home, token=TOKEN, expires_at=1000, slot=slot)
    before = path.read_bytes()
    result = kimifix("doctor", "--probe")
    assert "only kimi-code may renew it" in " ".join(result.out.split())
    assert server.stub.requests == []
    assert path.read_bytes() == before


def test_unreachable_server_is_an_answer(kimifix: Kimifix, server: Server, config: Path) -> None:
    """Where nothing listens the report says so and recommends no patch."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    text = config.read_text().replace(str(server.stub.port), str(port))
    config.write_text(text)
    result = kimifix("doctor", "--probe", "--json")
    finding = next(f for f in result.json["findings"] if f["check"] == "probe")
    assert finding["data"]["verdict"] == "unreachable"
    assert result.json["next"] == []


def test_no_socket_without_probe(kimifix: Kimifix, server: Server, config: Path) -> None:
    """Without --probe no command opens a socket, whatever the config says."""
    guard = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('socket opened')\n"
        "socket.socket = socket.create_connection = refuse\n"
        "from kimifix.cli import run\n"
    )
    for arguments in (["doctor"], ["apply", "--yes"], ["revert", "--yes"]):
        result = kimifix.python(f"{guard}sys.argv[1:] = {arguments!r}\nrun()")
        assert result.code == 0, result.err
    assert server.stub.requests == []
