"""What is asked and what is made of it, on loopback."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import certificate as certificates
from support.catalogue import IDENTITY, NO_ROWS, ROWS, SUSPENDED, Row
from support.certificate import TLS_HOST, Certificate
from support.stub_server import Request, Stub, response, stream, tunnel_to

from kimifix.secret import MASK, Secret
from kimifix.server import transport
from kimifix.server.answers import Answer, Probe, Surface
from kimifix.server.probe import ask

OPENAI, ANTHROPIC = Probe("openai", "kimi_code_cli"), Probe("anthropic", "kimi_code_cli")
KEY = "sk-kimi-the-key-of-the-user"
WHOLE = {"id": "1", "object": "chat.completion", "choices": [{"index": 0}]}
COMPLETION = stream({"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0}]})
MESSAGE = stream({"type": "message_start", "message": {}})
HEADERS = {
    "Accept": "application/json",
    "X-Stainless-OS": "Linux",
    "authorization": f"Bearer {MASK}",
    "User-Agent": "kimi-code-cli/2.1.0",
    "X-Msh-Platform": "kimi_code_cli",
    "content-type": "application/json",
}


def _ask(
    base_url: str,
    probe: Probe = OPENAI,
    *,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = HEADERS,
    key: str = KEY,
    seconds: float = 20.0,
) -> Answer:
    return ask(
        probe,
        base_url=base_url,
        model="kimi-for-coding",
        headers=headers,
        credential=Secret(key),
        env=env or {},
        seconds=seconds,
    )


def _answer(reply: bytes, probe: Probe = OPENAI) -> Answer:
    with Stub(reply) as server:
        return _ask(server.base_url, probe)


# -- what goes out --------------------------------------------------------------------


def test_the_headers_go_out_in_their_spelling_and_order() -> None:
    """Between host and content-length, with the credential in its place."""
    with Stub(response(200, COMPLETION)) as server:
        _ask(server.base_url)
    (request,) = server.requests
    expected = {**HEADERS, "authorization": f"Bearer {KEY}"}
    assert request.headers == (
        ("host", f"127.0.0.1:{server.port}"),
        *expected.items(),
        ("content-length", str(len(request.body))),
    )


def test_the_anthropic_surface_gets_the_credential_as_x_api_key() -> None:
    """And no authorization."""
    headers = {"Accept": "application/json", "x-api-key": MASK, "x-msh-platform": "kimi_code_cli"}
    with Stub(response(200, MESSAGE)) as server:
        answer = _ask(server.base_url, ANTHROPIC, headers=headers)
    (request,) = server.requests
    names = [name for name, _ in request.headers]
    assert names == ["host", "Accept", "x-api-key", "x-msh-platform", "content-length"]
    assert request.header("x-api-key") == KEY
    assert answer == Answer(ANTHROPIC, 200)


@pytest.mark.parametrize("probe", [OPENAI, ANTHROPIC])
def test_the_request_is_tiny_and_streamed(probe: Probe) -> None:
    """One word in, one token out; the client streams, too."""
    with Stub(response(200, COMPLETION)) as server:
        _ask(server.base_url, probe)
    (request,) = server.requests
    assert request.json == {
        "model": "kimi-for-coding",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 1,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("path", "openai", "anthropic"),
    [
        ("/coding/v1", "/coding/v1/chat/completions", "/coding/v1/messages?beta=true"),
        ("/coding/v1/", "/coding/v1/chat/completions", "/coding/v1/messages?beta=true"),
        ("/v1", "/v1/chat/completions", "/v1/messages?beta=true"),
        ("", "/chat/completions", "/v1/messages?beta=true"),
        ("/a b", "/a%20b/chat/completions", "/a%20b/v1/messages?beta=true"),
        ("/a\r\nX: 1", "/aX:%201/chat/completions", "/aX:%201/v1/messages?beta=true"),
        ("/é/v1", "/%C3%A9/v1/chat/completions", "/%C3%A9/v1/messages?beta=true"),
    ],
)
def test_the_path_follows_the_base_url(path: str, openai: str, anthropic: str) -> None:
    """With or without `/v1`, a slash at the end, or what a URL has to quote."""
    with Stub(response(200, COMPLETION)) as server:
        base = f"http://127.0.0.1:{server.port}{path}"
        assert _ask(base).status == 200
        assert _ask(base, ANTHROPIC).status == 200
    lines = [request.line for request in server.requests]
    assert lines == [f"POST {openai} HTTP/1.1", f"POST {anthropic} HTTP/1.1"]


@pytest.mark.parametrize(
    "form",
    [
        "HTTP://127.0.0.1:{}/v1",
        "http:/127.0.0.1:{}/v1",
        "http:\\\\127.0.0.1:{}\\v1",
        "http://%6cocalhost:{}/v1",
        "http://127.0.0.1:{}\\@127.0.0.2/v1",
        " http://localhost:{}/v1\n",
    ],
)
def test_odd_but_valid_base_urls_work(form: str) -> None:
    """Read as the client reads them: nobody else gets to see the credential."""
    with Stub(response(200, COMPLETION)) as server:
        assert _ask(form.format(server.port)).verdict == "accepted"
    (request,) = server.requests
    assert request.header("authorization") == f"Bearer {KEY}"


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_ipv6_works() -> None:
    """The host header has the brackets."""
    with Stub(response(200, COMPLETION), host="::1") as server:
        assert _ask(f"http://[::1]:{server.port}/v1").verdict == "accepted"
    (request,) = server.requests
    assert request.header("host") == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.kimi.test/coding/v1",
        "ftp://api.kimi.test/v1",
        "file:///etc/passwd",
        "http://",
        "http:///v1",
        "http://127.0.0.1:port/v1",
        "http://127.0.0.1:99999/v1",
        "http://[::1/v1",
        "http://[fe80::1%25eth0]/v1",
        "http://127.0.0.1 /v1",
        "http://.127.0.0.1/v1",
        "http://" + "ü" * 80 + "/v1",
        "http://a..b/v1",
        "http://user:pw-in-the-url@127.0.0.1/v1",
        "http://user@127.0.0.1/v1",
        "http://127.0.0.1:6000/v1",
        "\ud800",
    ],
)
def test_what_is_no_url_is_an_answer(base_url: str) -> None:
    """Nothing is sent, and the base URL is what to look at."""
    answer = _ask(base_url, seconds=5)
    assert answer.status is None
    assert answer.problem in ("unsendable", "dns")
    assert "base_url" in answer.meaning.advice
    assert "pw-in-the-url" not in str(answer)


@pytest.mark.parametrize("name", ["Expect", "upgrade", "Keep-Alive", "TRANSFER-ENCODING"])
def test_a_header_that_the_client_never_sends_is_an_answer(name: str) -> None:
    """Its library refuses the request."""
    with Stub(response(200, COMPLETION)) as server:
        answer = _ask(server.base_url, headers={**HEADERS, name: "x"})
    assert (answer.problem, answer.message) == (
        "unsendable",
        f"kimi-code sends no such header: {name}",
    )
    assert server.requests == []


@pytest.mark.parametrize("key", ["with\r\nX-Evil: 1", "with\0nul", "schlüssel-€", "li\nne"])
def test_a_credential_that_no_header_can_carry_is_an_answer(key: str) -> None:
    """It cannot break out of its header, and it is not shown."""
    with Stub(response(200, COMPLETION)) as server:
        answer = _ask(server.base_url, key=key)
    assert (answer.status, answer.problem) == (None, "unsendable")
    assert server.requests == []
    assert key.strip() not in str(answer)


def test_what_surrounds_a_value_is_no_part_of_it() -> None:
    """The client's `fetch` takes it off, a line end, too."""
    with Stub(response(200, COMPLETION)) as server:
        assert _ask(server.base_url, headers={**HEADERS, "X-Team": "\n 7\t\r\n"}).status == 200
    assert server.requests[0].header("X-Team") == "7"


# -- what comes back ------------------------------------------------------------------


@pytest.mark.parametrize("surface", ["openai", "anthropic"])
@pytest.mark.parametrize("row", [*ROWS, *NO_ROWS], ids=str)
def test_every_documented_answer_leads_to_its_advice(row: Row, surface: Surface) -> None:
    """Served on loopback in the shape of either surface, and judged by itself."""
    probe = OPENAI if surface == "openai" else ANTHROPIC
    answer = _answer(response(row.status, row.body(surface)), probe)
    assert answer == Answer(probe, row.status, row.error_type, row.message or None)
    assert answer.verdict == row.verdict
    assert row.advice in answer.meaning.advice


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        ({"error": "plain words"}, None, "plain words"),
        ({"message": "outside", "type": "t"}, "t", "outside"),
        ({"detail": "of a gateway"}, None, "of a gateway"),
        ({"error": {"message": 5, "type": ["t"]}}, None, None),
        ({"error": None}, None, None),
        ({}, None, None),
        ({"error": {"message": "  two \n lines "}}, None, "two lines"),
    ],
)
def test_errors_come_in_more_shapes_than_two(
    body: dict[str, object], error_type: str | None, message: str | None
) -> None:
    """What is there is shown, what is not is None."""
    answer = _answer(response(403, body))
    assert (answer.error_type, answer.message) == (error_type, message)
    assert answer.verdict == "unknown"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_a_packed_answer_is_unpacked(encoding: str) -> None:
    """The client offers both, so the probe does."""
    data = json.dumps(IDENTITY.body("openai")).encode()
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(data),
        "deflate": zlib.compress(data),
        "raw deflate": raw.compress(data) + raw.flush(),
    }[encoding]
    name = encoding.rpartition(" ")[2]
    assert _answer(response(403, packed, f"content-encoding: {name}")).verdict == "identity"


def test_a_chunked_answer_is_put_together() -> None:
    """As servers send it that do not know its length."""
    bytes_ = (COMPLETION[i : i + 1] for i in range(len(COMPLETION)))
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, byte) for byte in bytes_)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert _answer(head + chunks + b"0\r\n\r\n").verdict == "accepted"


def test_interim_answers_are_no_answer() -> None:
    """The client waits for the one that follows, whatever these say."""
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    assert _answer(interim + response(200, COMPLETION)).verdict == "accepted"


def test_an_answer_without_length_ends_with_the_connection() -> None:
    """HTTP 1.0 is still spoken by proxies."""
    head = b"HTTP/1.0 200 OK\r\n\r\n"
    assert _answer(head + COMPLETION).verdict == "accepted"


LATE = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
CHUNK = {"choices": [{"delta": {"content": "p"}}]}
USAGE = {"id": "1", "choices": [], "usage": {"prompt_tokens": 1}}
START = {"type": "message_start", "message": {}}


@pytest.mark.parametrize(
    ("probe", "events"),
    [
        (OPENAI, [CHUNK]),
        (OPENAI, [{"id": "1"}, USAGE, {**CHUNK, "error": None}]),
        (ANTHROPIC, [START]),
        (ANTHROPIC, [{"type": "ping"}, START]),
    ],
)
def test_a_stream_that_begins_is_an_answer(probe: Probe, events: list[dict[str, Any]]) -> None:
    """It says that the request was let in, whatever comes before."""
    with Stub(response(200, stream(*events), "content-type: text/event-stream")) as server:
        assert _ask(server.base_url, probe).verdict == "accepted"


@pytest.mark.parametrize(
    ("probe", "events"),
    [(OPENAI, [LATE]), (OPENAI, [CHUNK, LATE]), (ANTHROPIC, [START, {"type": "error", **LATE}])],
)
def test_an_error_in_a_stream_breaks_it_off(probe: Probe, events: list[dict[str, Any]]) -> None:
    """The client gets no answer then, however it began, and asks again."""
    with Stub(response(200, stream(*events), "content-type: text/event-stream")) as server:
        answer = _ask(server.base_url, probe)
    assert (answer.status, answer.problem) == (200, "broken")
    assert (answer.error_type, answer.message) == ("overloaded_error", "Overloaded")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "an empty answer"),
        (b" \r\n", "an empty answer"),
        (b"<html><title>Sign in &amp; pay</title></html>", "an HTML page: Sign in &amp; pay"),
        (b"<!DOCTYPE html><p>hello", "an HTML page"),
        (b"\x00\x01\x02\xff", "4 bytes that are no text"),
        (b"hello", "not a JSON object: hello"),
        (b"[]", "not a JSON object: []"),
        (b"null", "not a JSON object: null"),
        (b'"choices"', 'not a JSON object: "choices"'),
        (b"{}", "JSON, but no completion"),
        (json.dumps(WHOLE).encode(), "not a stream, which kimi-code needs"),
        (b'{"choices": {}}', "JSON, but no completion"),
        (b'{"content": []}', "JSON, but no completion"),
        (b'{"choices": [], "error": {"message": "no"}}', "no"),
        (b"data: {}\n\n", "JSON, but no completion"),
        (b"[" * 60_000, None),
        (b'{"choices": [' + b"1" * 10_000 + b"]}", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_200_that_is_no_completion_is_not_accepted(body: bytes, message: str | None) -> None:
    """A sign-in page of a hotel also says 200."""
    answer = _answer(response(200, body))
    assert (answer.status, answer.problem, answer.verdict) == (200, "foreign", "unknown")
    assert message is None or answer.message == message


def test_html_that_quotes_the_catalogue_claims_nothing() -> None:
    """Only the API itself may say that an account is suspended."""
    page = f"<html><title>{SUSPENDED.message}</title></html>".encode()
    assert _answer(response(403, page)).verdict == "unknown"
    assert _answer(response(403, f"{IDENTITY.message}".encode())).verdict == "unknown"
    assert _answer(response(503, page)).verdict == "server"


def test_garbage_is_always_an_answer() -> None:
    """Random bytes as body, as head, and real answers with bytes changed or cut off."""
    chance = random.Random(20260922)
    whole = response(403, IDENTITY.body("openai"))
    replies = [chance.randbytes(chance.randrange(300)) for _ in range(40)]
    replies += [response(200, chance.randbytes(chance.randrange(300))) for _ in range(40)]
    replies += [whole[: chance.randrange(len(whole))] for _ in range(40)]
    for _ in range(80):
        changed = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        replies.append(bytes(changed))
    script = iter(replies)
    with Stub(lambda connection, _: connection.sendall(next(script))) as server:
        for reply in replies:
            answer = _ask(server.base_url, seconds=10)
            assert answer.verdict not in ("accepted", "suspended"), reply
            assert str(answer).isprintable(), reply
            assert len(answer.message or "") <= 300, reply


# -- what is shown --------------------------------------------------------------------


def test_the_message_never_shows_the_credential() -> None:
    """Not even where the server echoes it, in pieces of escape sequences or at the cut."""
    hidden = f"{KEY[:9]}\x1b\u200b{KEY[9:]}"
    for text in (KEY, hidden, "x" * 290 + KEY, f"Bearer {KEY}", f"/{KEY}/"):
        for body in ({"error": {"message": text, "type": text}}, {"error": text}):
            shown = str(_answer(response(401, body)))
            assert KEY not in shown
            assert KEY[:9] not in shown
    for text in (KEY, f"<title>{KEY}</title>"):
        assert KEY not in str(_answer(response(200, text.encode())))


def test_the_message_cannot_control_a_terminal() -> None:
    """Escape sequences, direction marks, line breaks and lone surrogates are taken out."""
    evil = "a\x1b[2J\x07\x9b31m\u202eb\u2028c\r\nd\ud800e\x00"
    answer = _answer(response(403, {"error": {"message": evil, "type": evil}}))
    assert answer.message == "ab c de"
    assert answer.error_type == "ab c de"


def test_a_long_message_is_cut() -> None:
    """To what fits into a report."""
    answer = _answer(response(403, {"error": {"message": "m" * 5000, "type": "t" * 5000}}))
    assert answer.message == "m" * 299 + "…"
    assert answer.error_type == "t" * 79 + "…"


# -- the network ----------------------------------------------------------------------


def test_nobody_listening_is_an_answer() -> None:
    """The port is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = _ask(f"http://127.0.0.1:{port}/v1")
    assert (answer.status, answer.problem, answer.verdict) == (None, "refused", "unreachable")


def test_an_unknown_host_is_an_answer() -> None:
    """The resolver knows no such name."""
    answer = _ask("https://api.kimi.test/v1")
    assert (answer.problem, answer.verdict) == ("dns", "unreachable")
    assert answer.message == "no address is known for api.kimi.test"


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no time limit of its own."""
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert _ask("https://api.kimi.test/v1", seconds=0.2).problem == "timeout"
        assert not released.is_set()
    finally:
        released.set()


def test_no_route_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is down."""

    def unreachable(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    answer = _ask("http://127.0.0.1:8/v1")
    assert (answer.problem, answer.message) == ("network", "Network is unreachable")


def test_the_next_address_is_tried_when_the_first_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with IPv6 that leads nowhere: it takes a moment, and the other kind comes next."""
    asked: list[tuple[str, float]] = []
    connect = socket.socket.connect

    def swallowed(self: socket.socket, address: tuple[str, int]) -> None:
        asked.append((address[0], self.gettimeout() or 0))
        if address[0] != "127.0.0.1":
            raise TimeoutError
        connect(self, address)

    hosts = ("::1", "::2", "127.0.0.1")
    kinds = (socket.AF_INET6, socket.AF_INET6, socket.AF_INET)
    known = {
        "kimi.test": [
            (kind, socket.SOCK_STREAM, 6, "", (host, 1))
            for kind, host in zip(kinds, hosts, strict=True)
        ]
    }
    real = socket.getaddrinfo
    with Stub(response(200, COMPLETION)) as server:
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **b: known.get(host) or real(host, *a, **b)
        )
        monkeypatch.setattr(socket.socket, "connect", swallowed)
        assert _ask(f"http://kimi.test:{server.port}/v1", seconds=9).verdict == "accepted"
        moment = transport._SECONDS_FOR_AN_ADDRESS
        assert asked == [("::1", moment), ("127.0.0.1", moment)]
        known["kimi.test"] = known["kimi.test"][:2]
        assert _ask(f"http://kimi.test:{server.port}/v1", seconds=9).problem == "timeout"
        assert asked[2:] == [("::1", moment), ("::2", 9)]


def _silent(connection: socket.socket, _: Request) -> None:
    connection.recv(1)


def _reset(connection: socket.socket, _: Request) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _half(connection: socket.socket, _: Request) -> None:
    connection.sendall(response(403, b'{"error": ', length=100))


def _wrong_chunk(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{")


def _endless_head(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000)


def _endless_line(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 " + b"O" * 200_000)


@pytest.mark.parametrize(
    ("talk", "status", "problem"),
    [
        (lambda *_: None, None, "broken"),
        (_reset, None, "broken"),
        (lambda connection, _: connection.sendall(b"SSH-2.0-x\r\n\r\n"), None, "broken"),
        (lambda connection, _: connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46"), None, "broken"),
        (lambda connection, _: connection.sendall(b"HTTP/1.1 2x0 OK\r\n\r\n"), None, "broken"),
        (_endless_head, None, "broken"),
        (_endless_line, None, "broken"),
        (_half, 403, "broken"),
        (_wrong_chunk, 403, "broken"),
    ],
    ids=["closed", "reset", "ssh", "tls", "no status", "headers", "line", "half", "chunk"],
)
def test_a_broken_answer_is_an_answer(
    talk: Callable[[socket.socket, Request], None], status: int | None, problem: str
) -> None:
    """With the HTTP status if that much came."""
    with Stub(talk) as server:
        answer = _ask(server.base_url)
    assert (answer.status, answer.problem) == (status, problem)
    assert answer.verdict == "unreachable"
    assert answer.message


def test_a_silent_server_is_not_waited_for() -> None:
    """The time limit holds."""
    with Stub(_silent) as server:
        answer = _ask(server.base_url, seconds=0.3)
    assert (answer.problem, answer.message) == ("slow", "no answer within 0.3 s")
    assert answer.meaning.client_can


@pytest.mark.parametrize(
    ("head", "drop", "status"),
    [
        (b"", b"H", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 403 No\r\ncontent-length: 60000\r\n\r\n", b" ", 403),
        (b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", 403),
    ],
    ids=["status", "continue", "body", "chunks"],
)
def test_a_server_that_trickles_is_not_waited_for(
    head: bytes, drop: bytes, status: int | None
) -> None:
    """The limit is for all of it, and does not start anew with every byte."""

    def trickle(connection: socket.socket, _: Request) -> None:
        connection.sendall(head)
        while not server.closing.wait(0.02):
            connection.sendall(drop)

    with Stub(trickle) as server:
        started = time.monotonic()
        answer = _ask(server.base_url, seconds=1.0)
        assert time.monotonic() - started < 10
    assert (answer.status, answer.problem) == (status, "slow")


def test_an_endless_body_is_read_in_part() -> None:
    """And packed bytes are not unpacked without end."""

    def flood(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.closing.is_set():
            connection.sendall(b" " * 65536)

    with Stub(flood) as server:
        assert _ask(server.base_url).problem == "foreign"
    bomb = gzip.compress(b" " * 10_000_000 + COMPLETION)
    assert _answer(response(200, bomb, "content-encoding: gzip")).problem == "foreign"


# -- redirects ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "problem"),
    [(301, "redirect"), (302, "redirect"), (303, "redirect"), (307, "unasked"), (308, "unasked")],
)
def test_a_redirect_is_not_followed(status: int, problem: str) -> None:
    """The other host gets no request at all, and so no credential."""
    with Stub(response(200, COMPLETION)) as other:
        location = f"http://user:pw-of-redirect@127.0.0.1:{other.port}/x?token=t-of-redirect"
        with Stub(response(status, b"", f"location: {location}")) as server:
            answer = _ask(server.base_url)
        assert len(server.requests) == 1
    assert other.requests == []
    assert (answer.status, answer.problem, answer.verdict) == (status, problem, "unreachable")
    assert answer.message == f"it leads to http://127.0.0.1:{other.port}"


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("/login?next=x", "another path of the same server"),
        ("//other.test/x", "other.test"),
        ("http://[bad", "an address that is not valid"),
        ("http://other.test:port/", "an address that is not valid"),
        ("javascript:alert(1)", "another path of the same server"),
        ("", "another path of the same server"),
    ],
)
def test_a_redirect_names_the_host_that_it_leads_to(location: str, named: str) -> None:
    """Without path and query."""
    answer = _answer(response(302, b"", f"location: {location}"))
    assert answer.message == f"it leads to {named}"


# -- TLS and proxies ------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_an_answer(certificate: Certificate) -> None:
    """The credential is not sent."""
    with Stub(response(200, COMPLETION), tls=certificate.context) as server:
        answer = _ask(f"https://localhost:{server.port}/v1")
    assert (answer.status, answer.problem) == (None, "tls")
    assert answer.message is not None
    assert "certificate is not trusted" in answer.message
    assert server.requests == []


def test_a_server_that_speaks_no_tls_is_an_answer() -> None:
    """An http port with an https URL."""
    with Stub(response(200), greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        answer = _ask(f"https://localhost:{server.port}/v1")
    assert answer.problem == "tls"


def _pointed(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Have every name lead to ``port`` on loopback."""
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])


def test_the_certificates_that_the_client_trusts_are_trusted(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NODE_EXTRA_CA_CERTS names those of a company's proxy; a file that is not there is none."""
    with Stub(response(200, COMPLETION), tls=certificate.context) as server:
        _pointed(monkeypatch, server.port)
        url = f"https://{TLS_HOST}/v1"
        trusting = {"NODE_EXTRA_CA_CERTS": str(certificate.path)}
        assert _ask(url, env=trusting).verdict == "accepted"
        assert _ask(url, env={"NODE_EXTRA_CA_CERTS": "/nowhere"}).problem == "tls"
        assert _ask("https://other.test/v1", env=trusting).problem == "tls"
    (request,) = server.requests
    assert request.header("host") == TLS_HOST


def test_a_chain_ends_at_a_root(
    openssl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To know what another has issued is not enough for Node, though it is for Python 3.13."""
    (tmp_path / "root").mkdir()
    root = certificates.make(openssl, tmp_path / "root", "root.test")
    issued = certificates.make(openssl, tmp_path, issuer=root)
    with Stub(response(200, COMPLETION), tls=issued.context) as server:
        _pointed(monkeypatch, server.port)
        for known, problem in ((issued, "tls"), (root, None)):
            env = {"NODE_EXTRA_CA_CERTS": str(known.path)}
            assert _ask(f"https://{TLS_HOST}/v1", env=env).problem == problem


def test_a_short_key_is_for_the_client_to_judge(
    openssl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node 22 takes one of 1024 bits, as of an old proxy; Node 24 does not, nor does Python."""
    short = certificates.make(openssl, tmp_path, bits=1024)
    with Stub(response(200, COMPLETION), tls=short.context) as server:
        _pointed(monkeypatch, server.port)
        env = {"NODE_EXTRA_CA_CERTS": str(short.path)}
        assert _ask(f"https://{TLS_HOST}/v1", env=env).problem == "unasked"
    assert server.requests == []


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({}, "tls"),
        ({"NODE_USE_SYSTEM_CA": "0"}, "tls"),
        ({"NODE_USE_SYSTEM_CA": "1"}, None),
        ({"NODE_OPTIONS": "--no-warnings --use-system-ca"}, None),
        ({"NODE_OPTIONS": "--use-openssl-ca"}, None),
        ({"NODE_TLS_REJECT_UNAUTHORIZED": "1"}, "tls"),
        ({"NODE_TLS_REJECT_UNAUTHORIZED": "0"}, "unasked"),
    ],
)
def test_the_system_is_asked_whom_to_trust_only_where_the_client_asks_it(
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
    problem: str | None,
) -> None:
    """And no credential goes where nobody is known, even if the client would send it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    with Stub(response(200, COMPLETION), tls=certificate.context) as server:
        _pointed(monkeypatch, server.port)
        assert _ask(f"https://{TLS_HOST}/v1", env=env).problem == problem
    assert bool(server.requests) == (problem is None)


def test_a_proxy_is_gone_through_and_sees_no_credential(certificate: Certificate) -> None:
    """It is asked for a tunnel to the server, through which TLS is spoken."""
    with (
        Stub(response(200, COMPLETION), tls=certificate.context) as server,
        Stub(tunnel_to(server.port)) as proxy,
    ):
        env = {
            "HTTPS_PROXY": f"http://user:pw-of-the-proxy@127.0.0.1:{proxy.port}",
            "NODE_EXTRA_CA_CERTS": str(certificate.path),
        }
        answer = _ask(f"https://{TLS_HOST}/coding/v1", env=env)
    assert answer.verdict == "accepted"
    (asked,) = proxy.requests
    assert asked.line.startswith(f"CONNECT {TLS_HOST}:443 HTTP/1.")
    assert asked.headers == (
        ("host", f"{TLS_HOST}:443"),
        ("proxy-authorization", "Basic dXNlcjpwdy1vZi10aGUtcHJveHk="),
    )
    (request,) = server.requests
    assert request.header("authorization") == f"Bearer {KEY}"
    assert request.header("proxy-authorization") is None


def test_the_user_may_not_talk_to_the_proxy() -> None:
    """The client's library refuses that header, but only where there is a proxy."""
    headers = {**HEADERS, "Proxy-Authorization": "x"}
    with Stub(response(200, COMPLETION)) as server, Stub(tunnel_to(server.port)) as proxy:
        assert _ask(server.base_url, headers=headers).status == 200
        env = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"}
        answer = _ask("http://api.kimi.test/v1", headers=headers, env=env)
    assert (answer.problem, len(server.requests), proxy.requests) == ("unsendable", 1, [])


def test_plain_http_goes_through_a_tunnel_too() -> None:
    """As the client's library does it."""
    with Stub(response(403, IDENTITY.body("openai"))) as server:
        with Stub(tunnel_to(server.port)) as proxy:
            env = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
            answer = _ask("http://api.kimi.test/coding/v1", env=env)
        assert answer.verdict == "identity"
    assert proxy.requests[0].line.startswith("CONNECT api.kimi.test:80 HTTP/1.")
    assert server.requests[0].header("host") == "api.kimi.test"


def test_no_proxy_leads_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is not asked."""
    with Stub(response(200, COMPLETION)) as server, Stub(response(502)) as proxy:
        env = {"ALL_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "kimi.test"}
        _pointed(monkeypatch, server.port)
        assert _ask("http://api.kimi.test/v1", env=env).verdict == "accepted"
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "refused: 407 Who are you"),
        (b"HTTP/1.1 502 Bad\x1b[2J Gateway\r\n\r\n", "refused: 502 Bad Gateway"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://x.test\r\n\r\n", "refused: 302 Found"),
        (b"nonsense\r\n\r\n", "does not speak HTTP"),
        (b"", "closed the connection"),
    ],
)
def test_a_proxy_that_refuses_is_an_answer(reply: bytes, message: str) -> None:
    """It says which proxy, and the credential is not sent."""
    with Stub(reply) as proxy:
        env = {"HTTPS_PROXY": f"http://u:pw-of-proxy@127.0.0.1:{proxy.port}"}
        answer = _ask("https://api.kimi.test/v1", env=env)
    assert (answer.status, answer.problem, answer.verdict) == (None, "proxy", "unreachable")
    assert answer.message == f"the proxy 127.0.0.1:{proxy.port} {message}"
    assert KEY not in str(proxy.requests)


def test_a_proxy_out_of_reach_is_an_answer() -> None:
    """Closed, unknown or silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Stub(_silent) as silent:
        for value in (closed, f"http://127.0.0.1:{silent.port}"):
            answer = _ask("https://api.kimi.test/v1", env={"HTTPS_PROXY": value}, seconds=0.3)
            assert (answer.problem, answer.verdict) == ("proxy", "unreachable")
            assert "NO_PROXY" in answer.meaning.advice
    answer = _ask("https://api.kimi.test/v1", env={"HTTPS_PROXY": "http://p.test:1"})
    assert answer.problem == "proxy"
    assert answer.message == "no address is known for the proxy p.test:1"


# -- what the server calls the request ---------------------------------------------------


@pytest.mark.parametrize(
    "name", ["x-request-id", "Request-Id", "X-Msh-Request-Id", "x-trace-id", "X-TRACE-ID"]
)
@pytest.mark.parametrize(
    "value",
    [
        "0c5b2d1e-8f3a-4b6c-9d7e-0123456789ab",
        "req-0c5b2d1e8f3a4b6c9d7e0123456789ab",
        "chatcmpl-0c5b2d1e8f3a4b6c",
        "01JDKX5ZP3QW8R9T6YV4B2N7MC",
        "req_011CSHoEeqs5C35K2UUqR7Fy",
    ],
)
def test_the_id_of_the_request_is_kept(name: str, value: str) -> None:
    """With a refusal and with an answer, whatever the header is called."""
    for reply in (
        response(200, COMPLETION, f"{name}: {value}"),
        response(403, IDENTITY.body("openai"), f"{name}: {value}"),
        response(302, b"", "location: /elsewhere", f"{name}: {value}"),
        response(200, b"no JSON", f"{name}: {value}"),
    ):
        assert _answer(reply).request_id == value


@pytest.mark.parametrize(
    "value",
    ["", "alice-laptop", "alice@example.test", "sk-kimi-0123456789abcdef", "0", "a" * 65, "<b>"],
)
def test_what_is_no_id_of_a_request_is_not_kept(value: str) -> None:
    """A proxy may put a name of somebody's there; the next header counts then."""
    known = "0c5b2d1e-8f3a-4b6c-9d7e-0123456789ab"
    assert _answer(response(200, COMPLETION, f"x-request-id: {value}")).request_id is None
    both = response(200, COMPLETION, f"x-request-id: {value}", f"x-trace-id: {known}")
    assert _answer(both).request_id == known


def test_the_time_of_each_request_is_known() -> None:
    """In UTC, of one that nobody answers, too."""
    nobody = _ask("http://127.0.0.1:1/coding/v1")
    for answer in (nobody, _answer(response(200, COMPLETION))):
        assert answer.time is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.time)
