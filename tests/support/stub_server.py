"""A server on loopback that says exactly the bytes it is told, and a proxy that lets through.

For answers that no library would send: broken, endless, binary. Every request is kept.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

_SECONDS = 30.0


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire: ``headers`` in their order and exact spelling."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the header that is spelled so, None without."""
        return dict(self.headers).get(name)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Talk = Callable[[socket.socket, Request], None]


def response(
    status: int, body: bytes | dict[str, Any] = b"", *headers: str, length: int | None = None
) -> bytes:
    """Return an HTTP answer; ``length`` is a content-length that lies."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    size = len(data) if length is None else length
    lines = (f"HTTP/1.1 {status} Some Reason", f"content-length: {size}", *headers, "", "")
    return "\r\n".join(lines).encode() + data


def stream(*events: dict[str, Any]) -> bytes:
    """Return the body of a streamed answer with these events."""
    names = (f"event: {event['type']}\n" if "type" in event else "" for event in events)
    told = (
        f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, events, strict=True)
    )
    return f"{''.join(told)}data: [DONE]\n\n".encode()


@dataclass
class Stub:
    """Answers every request with ``reply``, or lets ``reply`` talk to the connection.

    With ``tls`` it speaks TLS; a ``greeting`` is said before any request. A context
    manager; ``requests`` are those that came.
    """

    reply: bytes | Talk
    tls: ssl.SSLContext | None = None
    greeting: bytes | None = None
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Stub:
        self._closing = threading.Event()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._connections: list[socket.socket] = []
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        with suppress(OSError), socket.socket(self._listener.family) as waker:
            waker.connect((self.host, self.port))
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_SECONDS)
        self._listener.close()

    @property
    def base_url(self) -> str:
        """The base URL of the OpenAI-style surface, as a config has it."""
        return f"http://127.0.0.1:{self.port}/coding/v1"

    @property
    def closing(self) -> threading.Event:
        """Set when the test is over: what an endless talk looks at."""
        return self._closing

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(_SECONDS)
            if self.greeting is not None:
                connection.sendall(self.greeting)
            if self.tls is None:
                self._talk(connection)
                return
            with self.tls.wrap_socket(connection, server_side=True) as secure:
                self._talk(secure)

    def _talk(self, connection: socket.socket) -> None:
        request = _received(connection)
        if request is None:
            return
        self.requests.append(request)
        if isinstance(self.reply, bytes):
            connection.sendall(self.reply)
        else:
            self.reply(connection, request)


def tunnel_to(port: int) -> Talk:
    """Return what a proxy does: whatever name is asked for, it connects to ``port`` of loopback."""

    def talk(connection: socket.socket, request: Request) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
            back.start()
            _pump(connection, upstream)
            back.join(_SECONDS)

    return talk


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _received(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    pairs = (header.partition(": ") for header in rest)
    headers = tuple((name, value) for name, _, value in pairs)
    sizes = [int(value) for name, value in headers if name.lower() == "content-length"]
    while len(body) < sum(sizes):
        body += connection.recv(65536)
    return Request(line, headers, body)
