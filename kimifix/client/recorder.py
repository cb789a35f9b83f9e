"""A stand-in for the Kimi API on loopback that notes who asks, and answers with one word.

Used as a proxy it passes nothing on, and notes where the client wanted to go.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
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
        """The root of the server, `http://host:port`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start_over(self) -> Notes:
        """Return fresh notes; requests from now on go there."""
        self._server.notes = Notes()
        return self._server.notes


class _Listener(socketserver.ThreadingTCPServer):
    # No HTTPServer: it would look up a name for its own address.
    daemon_threads = True
    block_on_close = False
    notes = Notes()

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that is ended in the middle of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Listener

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        self._refuse(self.path)

    def do_GET(self) -> None:
        self._skip_body()
        if self.path.startswith("/"):
            self._send(404, "application/json", "{}")
        else:
            self._refuse(urlsplit(self.path).netloc)

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        answer = next((text for end, text in _ANSWERS.items() if path.endswith(end)), None)
        if answer is None or not path.startswith("/"):
            self.do_GET()
            return
        self._skip_body()
        notes = self.server.notes
        if not notes.asked.is_set():
            notes.method, notes.path = self.command, self.path
            notes.headers = tuple(self.headers.items())
            notes.asked.set()
        self._send(200, "text/event-stream", answer)

    def _refuse(self, host: str) -> None:
        self.server.notes.refused[host] = None
        self.close_connection = True
        self._send(403, "application/json", "{}")

    def _skip_body(self) -> None:
        size = self.headers.get("content-length", "0")
        left = int(size) if size.isdecimal() else 0
        while left > 0 and (part := self.rfile.read(min(left, 65_536))):
            left -= len(part)
        if "transfer-encoding" in self.headers:
            self.close_connection = True

    def _send(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _event(data: Mapping[str, Any] | str, name: str | None = None) -> str:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "") + f"data: {text}\n\n"


def _chunk(delta: Mapping[str, str], finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "recorder"}
    return _event(common | {"choices": [choice]})


def _step(kind: str, **fields: object) -> str:
    return _event({"type": kind, **fields}, kind)


_MESSAGE: dict[str, Any] = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "recorder",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}

# The shortest whole answer on each surface, streamed, as the client asks for it.
_ANSWERS = {
    "/chat/completions": "".join(
        (
            _chunk({"role": "assistant", "content": "pong"}, None),
            _chunk({}, "stop"),
            _event("[DONE]"),
        )
    ),
    "/messages": "".join(
        (
            _step("message_start", message=_MESSAGE),
            _step("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            _step("content_block_delta", index=0, delta={"type": "text_delta", "text": "pong"}),
            _step("content_block_stop", index=0),
            _step(
                "message_delta",
                delta={"stop_reason": "end_turn", "stop_sequence": None},
                usage={"output_tokens": 1},
            ),
            _step("message_stop"),
        )
    ),
}
