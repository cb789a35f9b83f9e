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
from urllib.parse import urlsplit

_POLL_SECONDS = 0.05


@dataclass
class Notes:
    """What the recorder saw of one run of the client.

    ``asked`` is set once there was a request to a model; ``method``, ``path`` and
    ``headers``, in order and exactly as spelled on the wire, are those of the first.
    ``refused`` has the hosts for which it was used as a proxy.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    method: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    refused: dict[str, None] = field(default_factory=dict)


class Recorder:
    """The server: start it with ``with``. Raises ``OSError`` where loopback cannot be used."""

    def __init__(self) -> None:
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The root of the server, `http://host:port/secret`."""
        return f"http://{self._address}/{self._server.secret}"

    @property
    def proxy(self) -> str:
        """The same server as a proxy, `http://user:secret@host:port`."""
        return f"http://kimifix:{self._server.secret}@{self._address}"

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def start_over(self) -> Notes:
        """Return fresh notes; requests from now on go there."""
        self._server.notes = Notes()
        return self._server.notes


class _Listener(socketserver.ThreadingTCPServer):
    # No HTTPServer: it would look up a name for its own address.
    daemon_threads = True
    block_on_close = False
    notes = Notes()

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.secret = secrets.token_hex(16)

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that is ended in the middle of a request is no error."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 30
    server: _Listener

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        notes, secret = self.server.notes, self.server.secret
        pair = base64.b64encode(f"kimifix:{secret}".encode()).decode()
        root = f"/{secret}/"
        path = f"/{self.path.removeprefix(root)}"
        if not self.path.startswith(root):
            if self.headers.get("proxy-authorization") == f"Basic {pair}":
                notes.refused[urlsplit(self.path).netloc or self.path] = None
        elif self.command == "POST" and _asks_a_model(path) and not notes.asked.is_set():
            notes.method, notes.path = self.command, path
            notes.headers = tuple(self.headers.items())
            notes.asked.set()
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_CONNECT = do_POST  # noqa: N815


def _asks_a_model(path: str) -> bool:
    return path.partition("?")[0].endswith(("/chat/completions", "/messages"))
