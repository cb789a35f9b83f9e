"""The verdict beside the real client where the way to the server is odd.

Addresses, proxies, certificates, headers and answers that make a difference only below the
config. In each case the client asks one question, and `doctor --probe` says what it gets.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import tomlkit
from support import catalogue, kimi_server
from support import certificate as certificates
from support.certificate import Certificate
from support.kimi_server import ANSWER, KEY, KimiServer
from support.machine import Machine
from support.stub_server import Request, Stub, Talk, response, stream, tunnel_to
from support.verdicts import at_once, examined, in_turn

# Where a request leads, by the address of the server, and how: what is set in the environment,
# and whether kimifix can tell. `api.kimi.test` is known to the proxy alone.
FAR = "http://api.kimi.test:{port}/coding/v1"
PROXY = "http://127.0.0.1:{proxy}"
WAYS: Mapping[str, tuple[str, Mapping[str, str], bool]] = {
    "through a proxy": (FAR, {"HTTP_PROXY": PROXY}, True),
    "through the proxy for all": (FAR, {"ALL_PROXY": f"{PROXY}/"}, True),
    "past a proxy of https": (FAR, {"HTTPS_PROXY": PROXY}, True),
    "past an exception": (FAR, {"HTTP_PROXY": PROXY, "NO_PROXY": "kimi.test"}, True),
    "past no such exception": (FAR, {"HTTP_PROXY": PROXY, "NO_PROXY": "*kimi.test"}, True),
    "a proxy without scheme": (FAR, {"HTTP_PROXY": "127.0.0.1:{proxy}"}, True),
    "a proxy with a path": (FAR, {"HTTP_PROXY": f"{PROXY}/path"}, True),
    "a bad proxy beside a good one": (FAR, {"HTTP_PROXY": PROXY, "HTTPS_PROXY": "x:1"}, True),
    "a bad proxy that nobody needs": ("{base}", {"HTTP_PROXY": "127.0.0.1:{proxy}"}, True),
    "a name for the proxy": (FAR, {"HTTP_PROXY": "http://us er:p@ss@127.0.0.1:{proxy}"}, True),
    "SOCKS": (FAR, {"ALL_PROXY": "socks5://127.0.0.1:1"}, False),  # where nobody is
    "a user in the address": ("http://user:pw@127.0.0.1:{port}/coding/v1", {}, True),
    "a user alone": ("http://user@127.0.0.1:{port}/coding/v1", {}, True),
    "a backslash": ("http://127.0.0.1:{port}\\coding\\v1", {}, True),
    "one slash": ("http:/127.0.0.1:{port}/coding/v1", {}, True),
    "three slashes": ("HTTP:///127.0.0.1:{port}/coding/v1", {}, True),
    "a quoted letter": ("http://%6cocalhost:{port}/coding/v1", {}, True),
    "a number for an address": ("http://2130706433:{port}/coding/v1", {}, True),
    "a tab": ("http://127.0.0.1:{port}/co\tding/v1", {}, True),
    "a query": ("{base}?a=b", {}, True),
    "a port that is never asked": ("http://127.0.0.1:6000/coding/v1", {}, True),
    "a certificate that nobody knows": ("{tls}", {}, True),
    "a certificate of the user": ("{tls}", {"NODE_EXTRA_CA_CERTS": "{certificate}"}, True),
    "a certificate of the system": ("{tls}", {"SSL_CERT_FILE": "{certificate}"}, True),
    "the system is trusted": (
        "{tls}",
        {"SSL_CERT_FILE": "{certificate}", "NODE_USE_SYSTEM_CA": "1"},
        True,
    ),
    "the system is trusted by an option": (
        "{tls}",
        {"SSL_CERT_FILE": "{certificate}", "NODE_OPTIONS": "--use-system-ca"},
        True,
    ),
    "OpenSSL is trusted": (
        "{tls}",
        {"SSL_CERT_FILE": "{certificate}", "NODE_OPTIONS": "--use-openssl-ca"},
        True,
    ),
    "everybody is trusted": ("{tls}", {"NODE_TLS_REJECT_UNAUTHORIZED": "0"}, False),
}
HEADERS = (
    "Expect",
    "Upgrade",
    "Keep-Alive",
    "Transfer-Encoding",
    "Host",
    "X-Team",
    "a b",
    "Proxy-Authorization",
)
MOVED = "location: /moved/chat/completions"
# What comes instead of the server's answer or, with an interim status, before it; and whether
# kimifix can tell.
ANSWERS: Mapping[str, tuple[bytes, bool]] = {
    "moved, to be got": (response(302, b"", MOVED), True),
    "moved": (response(307, b"", MOVED), False),
    "moved for ever": (response(308, b"", MOVED), False),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", True),
    "a page": (response(200, b"<html><title>Sign in</title></html>"), True),
    "no stream": (response(200, {"choices": [{"message": {"content": "Hello"}}]}), True),
    "an error that says 200": (response(200, {"error": {"message": "broken"}}), True),
    "nothing": (response(204), True),
}

_CHUNK = {"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "So"}}]}
_MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "k", "content": []}
_START = {"type": "message_start", "message": {**_MESSAGE, "usage": {"input_tokens": 1}}}
_BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
_SAID = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}}
_STOP = {"type": "content_block_stop", "index": 0}
_ERROR = {"error": {"type": "overloaded_error", "message": "Overloaded"}}


def streamed(*events: dict[str, Any]) -> bytes:
    """Return an answer with status 200 that holds these events."""
    return response(200, stream(*events), "content-type: text/event-stream")


# Streams that are more than an answer, or less, by the type of the provider.
STREAMS: Mapping[str, Mapping[str, tuple[bytes, bool]]] = {
    "kimi": {
        "an error in the stream": (streamed(_ERROR), True),
        "an error behind a beginning": (streamed(_CHUNK, _ERROR), True),
    },
    "anthropic": {
        "a ping before": (streamed({"type": "ping"}, _START, _BLOCK, _SAID, _STOP), True),
        "an error behind a beginning": (
            streamed(_START, _BLOCK, _STOP, {"type": "error", **_ERROR}),
            True,
        ),
    },
}

# What is answered once, and then no more: the client asks again by itself.
ONCE = {
    "overload": response(429, {"error": {"message": "The engine is currently overloaded"}}),
    "too many": response(429, {"error": {"message": "We're receiving too many requests"}}),
    "too many for a gateway": response(429, b"<html>Slow down</html>"),
    "a failure": response(503, {"error": {"message": "unavailable"}}),
    "a gateway": response(502, b"<html>Bad gateway</html>"),
    "a closed connection": b"",
    "an error in the stream": streamed(_ERROR),
    "a refusal": response(403, catalogue.IDENTITY.body("openai")),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl makes the certificate of the server"
    return certificates.make(openssl, tmp_path_factory.mktemp("certificate"), "localhost")


def test_every_way_is_the_clients(
    ends: dict[str, Machine], certificate: Certificate, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    """What leads to an answer for kimi-code does for kimifix, and nothing else does."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))  # kimifix runs in this process

    def go(machine: Machine, name: str, way: tuple[str, Mapping[str, str], bool]) -> None:
        (url, env, can_tell), server = way, machine.server
        port, answers = urlsplit(server.url).port or 0, passing_on(server)
        with Stub(tunnel_to(port)) as proxy, Stub(answers, tls=certificate.context) as tls:
            places = {
                "base": server.base_url,
                "port": port,
                "proxy": proxy.port,
                "tls": f"https://localhost:{tls.port}/coding/v1",
                "certificate": certificate.path,
            }
            led = {variable: value.format_map(places) for variable, value in env.items()}
            compare(machine, name, url.format_map(places), led, can_tell=can_tell)

    in_turn(ends, WAYS, go, deep=deep)


def test_every_header_is_the_clients(ends: dict[str, Machine], deep: bool) -> None:
    """Some make its library refuse the request."""

    def send(machine: Machine, name: str, value: str) -> None:
        compare(machine, name, machine.server.base_url, {}, headers={name: value})

    in_turn(ends, dict.fromkeys(HEADERS, "x"), send, deep=deep)


@pytest.mark.parametrize("kind", [*STREAMS])
def test_every_answer_is_the_clients(ends: dict[str, Machine], kind: str, deep: bool) -> None:
    """It follows some redirects, waits behind interim answers, and needs a stream."""

    def get(machine: Machine, name: str, answer: tuple[bytes, bool]) -> None:
        instead, can_tell = answer
        with Stub(passing_on(machine.server, instead)) as stub:
            compare(machine, name, stub.base_url, {}, kind=kind, can_tell=can_tell)

    in_turn(ends, {**ANSWERS, **STREAMS[kind]}, get, deep=deep)


@pytest.mark.skipif(sys.platform != "linux", reason="where a full queue swallows packets")
def test_addresses_are_tried_in_turn(
    ends: dict[str, Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that swallow packets come before the one that answers: Node has a moment for each."""
    hosts, known = ("127.0.0.2", "127.0.0.3", "127.0.0.1"), socket.getaddrinfo
    addresses = [{"address": host, "family": 4} for host in hosts]
    resolver = tmp_path / "resolver.cjs"
    resolver.write_text(
        "const dns = require('dns'), known = dns.lookup\n"
        "dns.lookup = (host, options, done) => host != 'kimi.test' ? known(host, options, done)\n"
        f"  : process.nextTick(done, null, {json.dumps(addresses)})\n"
    )

    def resolved(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        names = hosts if host == "kimi.test" else (host,)
        return [found for name in names for found in known(name, port, *more, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)

    def ask(machine: Machine) -> None:
        port = urlsplit(machine.server.url).port
        assert port is not None
        env = {"NODE_OPTIONS": f"--require {resolver}"}
        with swallowing("127.0.0.2", port), swallowing("127.0.0.3", port):
            compare(machine, "in turn", f"http://kimi.test:{port}/coding/v1", env)

    at_once(ends, ask)


@contextmanager
def swallowing(host: str, port: int) -> Iterator[None]:
    """Listen there, with a queue that is full: Linux drops what comes to it."""
    with socket.create_server((host, port), backlog=0), ExitStack() as queue:
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield


def test_what_passes_is_tried_again(ends: dict[str, Machine], deep: bool) -> None:
    """Whoever asks for the first time fails, and the next time gets an answer."""

    def ask(machine: Machine, name: str, instead: bytes) -> None:
        flaky = Flaky(machine.server, instead)
        with Stub(flaky) as stub:
            compare(machine, name, stub.base_url, {}, anew=flaky.begin)

    in_turn(ends, ONCE, ask, deep=deep)


class Flaky:
    """Answers for ``server``, but the first request behind ``begin`` with ``instead``."""

    def __init__(self, server: KimiServer, instead: bytes) -> None:
        self._answer = passing_on(server)
        self._instead = instead
        self._left: list[bytes] = []

    def begin(self) -> None:
        """Begin anew."""
        self._left = [self._instead]

    def __call__(self, connection: socket.socket, request: Request) -> None:
        """Answer one request."""
        if self._left:
            connection.sendall(self._left.pop())
        else:
            self._answer(connection, request)


def passing_on(server: KimiServer, instead: bytes = b"") -> Talk:
    """Return what answers for ``server``, but the first address it is asked by for ``instead``."""
    is_interim = instead.startswith(b"HTTP/1.1 1")

    def talk(connection: socket.socket, request: Request) -> None:
        if instead and "/moved/" not in request.line:
            connection.sendall(instead)
            if not is_interim:
                return
        if not request.body:  # as a redirect may have made of it
            connection.sendall(response(405))
            return
        method, url, _ = request.line.split(" ")
        path = urlsplit(url).path
        came = kimi_server.Request(method, path, "", request.headers, request.json)
        status, kind, chunks = server.answer(came)
        connection.sendall(response(status, b"".join(chunks), f"content-type: {kind}"))

    return talk


def compare(
    machine: Machine,
    name: str,
    base_url: str,
    env: Mapping[str, str],
    *,
    kind: str = "kimi",
    headers: Mapping[str, str] | None = None,
    can_tell: bool = True,
    anew: Callable[[], None] | None = None,
) -> None:
    """Ask by an own provider at ``base_url``, and hold the verdict against what the client got.

    The client tries once, or as often as it does where ``anew`` is done before either asks.
    """
    machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
    data = tomlkit.parse(machine.config.read_text(encoding="utf-8")).unwrap()
    data["default_model"] = "own/model"
    data["providers"]["own"] = {"type": kind, "base_url": base_url, "api_key": KEY}
    data["providers"]["own"]["custom_headers"] = dict(headers or {})
    data["models"]["own/model"] = {
        **{"provider": "own", "model": "kimi-for-coding"},
        "max_context_size": 262144,
    }
    if anew is None:
        data["loop_control"] = {"max_retries_per_step": 1, "max_attempts_per_step": 1}
    machine.write(data)
    env = {**dict.fromkeys(machine.proxies, ""), **env}
    (anew or bool)()
    turn = machine.ask(**env)
    (anew or bool)()
    report = examined(machine, env)
    told = report.verdict.works
    assert told is (turn.answered if can_tell else None), (name, report.verdict, turn.err)
    if not can_tell:
        assert report.verdict.next[0].startswith("kimifix doctor --verify"), name
        assert examined(machine, env, verify=True).verdict.works is turn.answered, name
