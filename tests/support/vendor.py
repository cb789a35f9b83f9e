"""The vendor's servers as they shall answer, and kimifix led to them whatever host it asks."""

from __future__ import annotations

import socket
import sys

from support.catalogue import Row
from support.stub_server import Request, Talk, response, stream

HOST = "api.kimi.com"
HONEST = ("openai", "kimi_code_cli")
ANTHROPIC = ("anthropic", "kimi_code_cli")
LEGACY = ("openai", "kimi_cli")

# Answers by surface and `X-Msh-Platform`; everything else is answered with a completion.
Answers = dict[tuple[str, str | None], Row]

# The network in our hands: every name leads to the server of the test.
_DRIVER = """
import socket, sys
names = socket.getaddrinfo
port = sys.argv.pop(1)
socket.getaddrinfo = lambda host, _, *more, **named: names("127.0.0.1", port, *more, **named)
from kimifix.__main__ import main
main()
"""


def command(port: int, *arguments: str) -> list[str]:
    """Return the command that runs kimifix with ``arguments`` and the server at ``port``."""
    return [sys.executable, "-c", _DRIVER, str(port), *arguments]


def answering(answers: Answers) -> Talk:
    """Return what a stub server shall do to answer as ``answers`` say."""

    def talk(connection: socket.socket, request: Request) -> None:
        surface = "anthropic" if "/messages" in request.line else "openai"
        platform = {name.lower(): value for name, value in request.headers}.get("x-msh-platform")
        row = answers.get((surface, platform))
        if row is None:
            body = stream({"type": "message_start", "message": {}, "choices": [], "id": "x"})
            connection.sendall(response(200, body, "content-type: text/event-stream"))
        else:
            refusal = row.body("anthropic" if surface == "anthropic" else "openai")
            connection.sendall(response(row.status, refusal, "content-type: application/json"))

    return talk
