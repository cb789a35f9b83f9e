"""A stand-in for the Kimi API on loopback that notes who asks, and refuses everything.

Its address holds a secret, so that what another user of the machine sends is not noted.
Used as a proxy it passes nothing on, and notes where the client wanted to go.
"""

from __future__ import annotations

import base64
import secrets
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Literal
from urllib.parse import urlsplit

from kimifix.secret import is_identity_header

_POLL_SECONDS = 0.05
Headers = tuple[tuple[str, str], ...]


@dataclass
class Captured:
    """What the client sent when it was asked to use ``provider`` by way of ``alias``.

    ``mode`` is how it was run: ``print``, or ``ACP`` as editors do. ``method``, ``path`` and
    ``headers``, in order and exactly as spelled on the wire, are those of its first request
    to a model, with which ``asked`` is set. ``refused`` are the hosts that it tried to reach
    besides. ``problem`` says in words why there is no request, and is None where there is one.
    """

    provider: str
    alias: str
    mode: Literal["print", "ACP"] = "print"
    method: str | None = None
    path: str | None = None
    headers: Headers = ()
    refused: list[str] = field(default_factory=list)
    problem: str | None = None
    asked: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def identity(self) -> Headers:
        """The headers that say who is talking; `X-Msh-Device-Name` is the name of this machine."""
        return tuple(pair for pair in self.headers if is_identity_header(pair[0]))

    @property
    def credential(self) -> str | None:
        """The name of the header that held the credential, as spelled."""
        names = (name for name, _ in self.headers)
        return next((n for n in names if n.lower() in ("authorization", "x-api-key")), None)

    def spelled(self, header: str) -> Headers:
        """Return the identity headers of this name in every spelling that was sent."""
        return tuple(pair for pair in self.identity if pair[0].lower() == header.lower())


class Recorder(socketserver.ThreadingTCPServer):
    """The server: start it with ``with``; what comes goes into ``captured``.

    Raises ``OSError`` where loopback cannot be used.
    """

    # No HTTPServer: it would look up a name for its own address.
    daemon_threads = True
    block_on_close = False
    captured = Captured("", "")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secret = secrets.token_hex(16)
        address = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{address}/{self.secret}"
        self.proxy = f"http://kimifix:{self.secret}@{address}"

    def __enter__(self) -> Recorder:
        threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that is ended in the middle of a request is no error."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 30
    server: Recorder

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        captured, secret = self.server.captured, self.server.secret
        pair = base64.b64encode(f"kimifix:{secret}".encode()).decode()
        path = self.path.removeprefix(f"/{secret}")
        is_question = path.partition("?")[0].endswith(("/chat/completions", "/messages"))
        if path == self.path:
            host = urlsplit(path).netloc or path
            knows = self.headers.get("proxy-authorization") == f"Basic {pair}"
            if knows and host not in captured.refused:
                captured.refused.append(host)
        elif self.command == "POST" and is_question and not captured.asked.is_set():
            captured.method, captured.path = self.command, path
            captured.headers = tuple(self.headers.items())
            captured.asked.set()
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_CONNECT = do_POST  # noqa: N815
