"""A stand-in for the hosts of the Kimi API on loopback: login, models, both chat surfaces.

It answers as the vendor's error reference says, and it keeps every request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "sk-kimi-key-of-the-console"
ANSWER = "Forty-two, says the server."
FOUND = "What the server has found."
TOOL_OUTPUT = "written-by-the-tool"

_IDENTITY_REFUSED = (
    "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, "
    "Claude Code, Roo Code, Kilo Code, etc."
)
_OVERLOADED = "The engine is currently overloaded, please try again later"
_KEY_REFUSED = "The API Key appears to be invalid or may have expired. Please verify it."
_SECONDS_TO_HOLD = 120.0

Chunks = list[bytes]


def model(identifier: str, name: str) -> dict[str, Any]:
    """Return one model as `GET /models` lists it."""
    return {
        "id": identifier,
        "display_name": name,
        "context_length": 262144,
        "supports_reasoning": True,
        "supports_image_in": True,
        "supports_video_in": True,
    }


MODELS = (model("kimi-for-coding", "Kimi For Coding"),)


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire: ``headers`` in their order and exact spelling.

    ``path`` is without query. ``body`` is parsed JSON or a form, else the text.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: Any

    def header(self, name: str) -> list[tuple[str, str]]:
        """Return every header of this name in whatever spelling, as spelled."""
        return [pair for pair in self.headers if pair[0].lower() == name.lower()]

    def values(self, name: str) -> list[str]:
        """Return the values of every header of this name in whatever spelling."""
        return [value for _, value in self.header(name)]

    @property
    def credential(self) -> str | None:
        """What the request signs in with, None where that is missing or not a single one."""
        bearers = [value.removeprefix("Bearer ") for value in self.values("authorization")]
        found = [*self.values("x-api-key"), *bearers]
        return found[0] if len(found) == 1 else None


@dataclass
class Behaviour:
    """What a test can change of the server; ``KimiServer.reset`` brings it back.

    ``chat_identities`` are the values of `X-Msh-Platform` that the OpenAI-compatible
    surface lets in, and web search and fetch with it; ``messages_open`` is whether the
    Anthropic-compatible one lets in anybody, and ``messages_take_login`` whether it takes an
    OAuth token. ``overloaded`` is whether both say so to whoever they let in. ``tool_call``
    is asked for, by name and input, before the answer to a prompt that has no tool result yet.
    ``refusal`` is what every request for an answer gets instead: status, type, message.
    """

    models: tuple[dict[str, Any], ...] = MODELS
    chat_identities: frozenset[str] = frozenset({"kimi_cli"})
    messages_open: bool = True
    messages_take_login: bool = True
    overloaded: bool = False
    tool_call: tuple[str, dict[str, Any]] | None = None
    refused_tokens: set[str] = field(default_factory=set)
    refusal: tuple[int, str, str] | None = None


class KimiServer:
    """The server: start it with ``with``; ``url`` is its root."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.requests: list[Request] = []
        self.strangers: list[str] = []
        self.models_asked = threading.Event()
        self._models_free = threading.Event()
        self._models_free.set()
        self._lock = threading.Lock()
        self._issued = 0
        self._spent: set[str] = set()
        self._http = _Listener(("127.0.0.1", 0), _Handler)
        self._http.kimi = self
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def __enter__(self) -> KimiServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._models_free.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The root of the server, which is also the proxy that leads nowhere."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def base_url(self) -> str:
        """The base of the coding API, as the managed provider has it."""
        return f"{self.url}/coding/v1"

    def reset(self) -> None:
        """Forget all requests and behave as at the start; logins that were made stay good."""
        self._models_free.set()
        with self._lock:
            self.behaviour = Behaviour()
            self.requests.clear()
            self.strangers.clear()
            self._spent.clear()
        self.models_asked.clear()

    def hold_models(self) -> None:
        """Leave every `GET /models` unanswered until ``release_models``."""
        self.models_asked.clear()
        self._models_free.clear()

    def release_models(self) -> None:
        """Answer the `GET /models` that wait, and those to come."""
        self._models_free.set()

    def chats(self) -> list[Request]:
        """Return the requests for an answer of a model, on either surface."""
        ends = ("/chat/completions", "/messages")
        with self._lock:
            return [r for r in self.requests if r.method == "POST" and r.path.endswith(ends)]

    def refreshes(self) -> list[Request]:
        """Return the requests for a new token in exchange for a refresh token."""
        with self._lock:
            return [
                r
                for r in self.requests
                if r.path.endswith("/token") and r.body.get("grant_type") == "refresh_token"
            ]

    def answer(self, request: Request) -> tuple[int, str, Chunks]:
        """Return status, content type and body for ``request``."""
        with self._lock:
            self.requests.append(request)
        path = request.path
        if path.endswith("/device_authorization"):
            return _json(200, _DEVICE)
        if path.endswith("/token"):
            return self._token(request)
        if "//" in path or "/v1/v1/" in path:
            return _refusal(404, "resource_not_found_error", "method not found")
        if self.behaviour.refusal and path.endswith(("/chat/completions", "/messages")):
            return _refusal(*self.behaviour.refusal)
        if path.endswith("/chat/completions"):
            return self._chat(request)
        if path.endswith("/messages"):
            return self._messages(request)
        if not self._admits(request.credential):
            return _refusal(401, "invalid_authentication_error", _KEY_REFUSED)
        if path.endswith("/models"):
            self.models_asked.set()
            self._models_free.wait(_SECONDS_TO_HOLD)
            return _json(200, {"data": list(self.behaviour.models)})
        if path.endswith(("/search", "/fetch")):
            return self._service(request)
        return _json(200, {})

    def refuse_stranger(self, address: str) -> None:
        """Note that a process tried to leave loopback by its proxy setting."""
        with self._lock:
            self.strangers.append(address)

    def take_renewed(self) -> None:
        """Take tokens again that were renewed since, as of a home that was put back."""
        with self._lock:
            self._spent.clear()

    def _token(self, request: Request) -> tuple[int, str, Chunks]:
        with self._lock:
            if request.body.get("grant_type") == "refresh_token":
                old = request.body.get("refresh_token", "")
                if not self._is_issued(old, "refresh"):
                    return _json(400, {"error": "invalid_grant"})
                self._spent |= {old, old.replace("refresh", "access", 1)}
            self._issued += 1
            number = self._issued
        return _json(
            200,
            {
                "access_token": f"access-token-{number}-of-the-server",
                "refresh_token": f"refresh-token-{number}-of-the-server",
                "expires_in": 3600,
                "token_type": "Bearer",
                "scope": "kimi-code",
            },
        )

    def _is_issued(self, token: str, kind: str) -> bool:
        numbers = range(1, self._issued + 1)
        known = {f"{kind}-token-{number}-of-the-server" for number in numbers}
        return token in known - self._spent

    def _admits(self, credential: str | None) -> bool:
        with self._lock:
            if credential is None or credential in self.behaviour.refused_tokens:
                return False
            return credential == KEY or self._is_issued(credential, "access")

    def _chat(self, request: Request) -> tuple[int, str, Chunks]:
        if request.values("x-api-key") or not self._admits(request.credential):
            return _refusal(401, "invalid_authentication_error", _KEY_REFUSED)
        identity = request.values("x-msh-platform")
        if len(identity) != 1 or identity[0] not in self.behaviour.chat_identities:
            return _refusal(403, "access_terminated_error", _IDENTITY_REFUSED)
        if self.behaviour.overloaded:
            return _refusal(429, "engine_overloaded_error", _OVERLOADED)
        if not request.body.get("stream"):
            return _json(200, _CHAT)
        return 200, "text/event-stream", list(_chat_stream(self._tool_call(request)))

    def _service(self, request: Request) -> tuple[int, str, Chunks]:
        identity = request.values("x-msh-platform")
        if len(identity) != 1 or identity[0] not in self.behaviour.chat_identities:
            return _refusal(403, "access_terminated_error", _IDENTITY_REFUSED)
        if request.path.endswith("/fetch"):
            return 200, "text/markdown", [FOUND.encode()]
        found = {"title": FOUND, "url": "https://found.example", "snippet": FOUND}
        return _json(200, {"search_results": [found]})

    def services(self) -> list[Request]:
        """Return the requests of web search and fetch."""
        with self._lock:
            return [r for r in self.requests if r.path.endswith(("/search", "/fetch"))]

    def _messages(self, request: Request) -> tuple[int, str, Chunks]:
        credential = request.credential
        takes = credential == KEY or self.behaviour.messages_take_login
        if not takes or not self._admits(credential):
            return _refusal(401, "authentication_error", "invalid x-api-key", anthropic=True)
        if not self.behaviour.messages_open:
            return _refusal(403, "access_terminated_error", _IDENTITY_REFUSED, anthropic=True)
        if self.behaviour.overloaded:
            return _refusal(429, "rate_limit_error", _OVERLOADED, anthropic=True)
        if not request.body.get("stream"):
            return _json(200, _MESSAGE)
        return 200, "text/event-stream", list(_message_stream(self._tool_call(request)))

    def _tool_call(self, request: Request) -> tuple[str, dict[str, Any]] | None:
        """Return the tool call to ask for: before the first result, and only once a prompt."""
        last = request.body["messages"][-1]
        content = last.get("content")
        parts = content if isinstance(content, list) else []
        has_result = last["role"] == "tool" or any(p.get("type") == "tool_result" for p in parts)
        return None if has_result else self.behaviour.tool_call


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    kimi: KimiServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that was ended in the middle of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener
    timeout = 300

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        self._refuse_stranger()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if not self.path.startswith("/"):
            self._refuse_stranger()
            return
        size = int(self.headers.get("content-length") or 0)
        content = self.rfile.read(size).decode("utf-8", "replace")
        url = urlsplit(self.path)
        request = Request(
            self.command, url.path, url.query, tuple(self.headers.items()), _body(content)
        )
        self._send(*self.server.kimi.answer(request))

    def _refuse_stranger(self) -> None:
        self.server.kimi.refuse_stranger(self.path)
        self.close_connection = True
        self._send(*_json(502, {"error": "this proxy leads nowhere"}))

    def _send(self, status: int, kind: str, chunks: Chunks) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(sum(map(len, chunks))))
            self.send_header("x-request-id", "request-of-the-server")
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(chunk)
                self.wfile.flush()


_DEVICE = {
    "device_code": "device-code-of-the-server",
    "user_code": "ABCD-EFGH",
    "verification_uri": "http://127.0.0.1/device",
    "verification_uri_complete": "http://127.0.0.1/device?code=ABCD-EFGH",
    "expires_in": 600,
    "interval": 1,
}

_CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "kimi-for-coding",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": ANSWER},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}

_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "kimi-for-coding",
    "content": [{"type": "text", "text": ANSWER}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 2},
}


def _body(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return dict(parse_qsl(text)) if "=" in text else text


def _json(status: int, data: Any) -> tuple[int, str, Chunks]:
    return status, "application/json", [json.dumps(data).encode()]


def _refusal(
    status: int, kind: str, message: str, *, anthropic: bool = False
) -> tuple[int, str, Chunks]:
    data: dict[str, Any] = {"error": {"type": kind, "message": message}}
    return _json(status, {"type": "error", **data} if anthropic else data)


def _words(text: str) -> Iterable[str]:
    """Split an answer so that it comes in more than one event."""
    head, space, tail = text.partition(" ")
    return (head + space, tail)


def _chat_stream(tool_call: tuple[str, dict[str, Any]] | None) -> Iterator[bytes]:
    deltas: list[dict[str, Any]]
    if tool_call is None:
        deltas = [{"role": "assistant", "content": part} for part in _words(ANSWER)]
    else:
        name, arguments = tool_call
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        deltas = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    end = "stop" if tool_call is None else "tool_calls"
    steps: list[tuple[dict[str, Any], str | None]] = [(delta, None) for delta in deltas]
    for delta, reason in (*steps, ({}, end)):
        event: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "kimi-for-coding",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        if reason:
            event["usage"] = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        yield f"data: {json.dumps(event)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def _message_stream(tool_call: tuple[str, dict[str, Any]] | None) -> Iterator[bytes]:
    block: dict[str, Any]
    deltas: list[dict[str, Any]]
    if tool_call is None:
        block = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in _words(ANSWER)]
    else:
        name, arguments = tool_call
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(arguments)}]
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "kimi-for-coding",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    end = "end_turn" if tool_call is None else "tool_use"
    yield _event("message_start", message=message)
    yield _event("content_block_start", index=0, content_block=block)
    for delta in deltas:
        yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    stop = {"stop_reason": end, "stop_sequence": None}
    yield _event("message_delta", delta=stop, usage={"output_tokens": 2})
    yield _event("message_stop")


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
