"""One request: which proxy it goes through, and that every answer comes to an end."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
from base64 import b64encode
from typing import Any

import pytest
from support.certificate import TLS_HOST, Certificate
from support.stub_server import Request, Stub, response, tunnel_to

from kimifix.secret import redact
from kimifix.server.transport import Proxy, Reply, TransportError, proxy_for, send, target

ONE = "http://one.test:7890"
TWO = "http://two.test:7890"


def _chosen(env: dict[str, str], scheme: str = "https", host: str = "api.kimi.test") -> str | None:
    name = f"[{host}]" if ":" in host else host
    proxy = proxy_for(target(f"{scheme}://{name}/v1"), env)
    return None if proxy is None else f"http://{proxy.to.host}:{proxy.to.port}"


@pytest.mark.parametrize(
    ("env", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": ONE}, ONE, None),
        ({"https_proxy": ONE, "HTTPS_PROXY": TWO}, ONE, None),
        ({"https_proxy": "  ", "HTTPS_PROXY": ONE}, ONE, None),
        ({"HTTP_PROXY": ONE}, ONE, ONE),
        ({"ALL_PROXY": ONE}, ONE, ONE),
        ({"all_proxy": ONE}, ONE, ONE),
        ({"HTTPS_PROXY": ONE, "ALL_PROXY": TWO}, ONE, TWO),
        ({"HTTP_PROXY": ONE, "ALL_PROXY": TWO}, TWO, ONE),
        ({"HTTP_PROXY": ONE, "ALL_PROXY": "socks5://s.test:1080"}, ONE, ONE),
        ({"HTTPS_PROXY": "http://one.test"}, "http://one.test:80", None),
    ],
)
def test_the_variables_count_as_they_do_for_the_client(
    env: dict[str, str], https: str | None, http: str | None
) -> None:
    """Lower case wins, blank is unset, and HTTP_PROXY serves https where nothing else does."""
    assert _chosen(env) == https
    assert _chosen(env, "http") == http


@pytest.mark.parametrize(
    ("exceptions", "direct"),
    [
        ("api.kimi.test", True),
        ("API.Kimi.Test", True),
        ("kimi.test", True),
        (".kimi.test", True),
        ("*.kimi.test", True),
        ("*kimi.test", False),
        ("other.test, kimi.test", True),
        ("other.test kimi.test", True),
        ("kimi.test:443", True),
        ("kimi.test:8443", False),
        ("*", True),
        ("", False),
        ("i.kimi.test", False),
        ("test.kimi", False),
        (",,", False),
    ],
)
def test_no_proxy_names_hosts_and_domains(exceptions: str, direct: bool) -> None:
    """With or without a leading dot, an asterisk or a port."""
    assert (_chosen({"HTTPS_PROXY": ONE, "NO_PROXY": exceptions}) is None) == direct
    assert (_chosen({"HTTPS_PROXY": ONE, "no_proxy": exceptions}) is None) == direct


def test_no_proxy_knows_ipv6() -> None:
    """In brackets alone: without them the client takes the last group for a port."""
    for exceptions, found in (
        ("2001:db8::1", ONE),
        ("[2001:db8::1]", None),
        ("[2001:db8::1]:443", None),
    ):
        env = {"HTTPS_PROXY": ONE, "NO_PROXY": exceptions}
        assert _chosen(env, host="2001:db8::1") == found
        assert _chosen(env, host="2001:db8::2") == ONE


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_loopback_is_always_asked_directly(host: str) -> None:
    """As the client does, whatever NO_PROXY says."""
    assert _chosen({"ALL_PROXY": ONE, "NO_PROXY": "other.test"}, host=host) is None


@pytest.mark.parametrize(
    "value", ["socks5://s.test:1080", "SOCKS5h://s.test:1080", "https://one.test:7890"]
)
def test_a_proxy_that_the_client_alone_can_use_is_said(value: str) -> None:
    """Asking directly instead would not be what the client does."""
    for scheme in ("http", "https"):
        with pytest.raises(TransportError, match="kind of proxy that ALL_PROXY names") as caught:
            _chosen({"ALL_PROXY": value}, scheme)
        assert caught.value.problem == "unasked"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        *("127.0.0.1:7890", "localhost:7890", "nonsense", "ftp://one.test:21", "http://"),
        *("http://one.test:port", "http://[::1", "http://a b:1", "http://one.test:1/path"),
        *("http://one.test\\evil:1", "http://u:50%@one.test:1", "http://one.test:1#x"),
    ],
)
def test_what_is_no_proxy_makes_the_client_ignore_all_of_them(name: str, value: str) -> None:
    """It says so, and asks directly; where that fails, so does kimifix."""
    others = {"HTTP_PROXY": TWO, "HTTPS_PROXY": TWO} if name != "ALL_PROXY" else {}
    env = {**others, name: value}
    assert (_chosen(env), _chosen(env, "http")) == (None, None)
    with pytest.raises(TransportError, match=f"kimi-code ignores {name}, which is not of the form"):
        send(target("http://kimi.invalid/v1"), [], None, env)


def test_a_blank_in_a_name_is_a_part_of_it() -> None:
    """As in JavaScript, which quotes it."""
    env = {"HTTPS_PROXY": "http://us er:pass@word@one.test"}
    proxy = proxy_for(target("https://api.kimi.test/v1"), env)
    assert proxy is not None
    assert proxy.authorization is not None
    pair = b64encode(b"us er:pass@word").decode()
    assert proxy.authorization.reveal() == f"Basic {pair}"


@pytest.mark.parametrize("user", ["user", "user:", ":password"])
def test_half_a_name_is_none(user: str) -> None:
    """The client sends no authorization then."""
    proxy = proxy_for(
        target("https://api.kimi.test/v1"), {"HTTPS_PROXY": f"http://{user}@one.test"}
    )
    assert proxy == Proxy(target("http://one.test"))


def test_the_password_of_a_proxy_is_a_secret() -> None:
    """It goes out as basic authorization and shows nowhere."""
    env = {"HTTPS_PROXY": "http://user:p%40ss-of-proxy@one.test:8080"}
    proxy = proxy_for(target("https://api.kimi.test/v1"), env)
    assert isinstance(proxy, Proxy)
    assert proxy.authorization is not None
    assert proxy.authorization.reveal() == "Basic dXNlcjpwQHNzLW9mLXByb3h5"
    assert "p@ss" not in repr(proxy)
    for secret in ("p@ss-of-proxy", "p%40ss-of-proxy", "dXNlcjpwQHNzLW9mLXByb3h5"):
        assert redact(secret) == "***"


# -- hostile servers ------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
MEGABYTE = 1024 * 1024


def _sent(server: Stub, seconds: float = 15.0, **env: str) -> Reply | TransportError:
    to = target(f"http://127.0.0.1:{server.port}/v1")
    try:
        return send(to, [("x-one", "1")], b"{}", env, seconds)
    except TransportError as error:
        return error


class Flood:
    """Says ``head``, then ``drop`` until nobody listens any more; counts what it could send."""

    def __init__(self, head: bytes, drop: bytes) -> None:
        self.head, self.drop = head, drop
        self.sent = 0
        self.ended = threading.Event()

    def __call__(self, connection: socket.socket, _: Request) -> None:
        """Say it."""
        try:
            connection.sendall(self.head)
            while self.sent < 64 * MEGABYTE:
                connection.sendall(self.drop)
                self.sent += len(self.drop)
        finally:
            self.ended.set()


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        pytest.param(CHUNKED + b"-1\r\n", b"x" * 65536, id="chunk of size -1"),
        pytest.param(CHUNKED + b"-5\r\n", b"x" * 65536, id="chunk of size -5"),
        pytest.param(CHUNKED + b"f" * 30 + b"\r\n", b"x" * 65536, id="huge chunk"),
        pytest.param(CHUNKED, b"0" * 65536, id="endless chunk size"),
        pytest.param(CHUNKED, b"1;" + b"e" * 9000 + b"\r\nx\r\n", id="chunk extensions"),
        pytest.param(CHUNKED + b"0\r\n", b"x-trailer: 1\r\n" * 4096, id="endless trailers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 4096, id="endless headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65536, id="endless header"),
        pytest.param(b"", b"H" * 65536, id="endless status line"),
        pytest.param(b"", b"HTTP/1.1 100 Go\r\n\r\n" * 2048, id="endless interim answers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, id="endless body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 40 + b"\r\n\r\n",
            b" " * 65536,
            id="huge length",
        ),
    ],
)
def test_an_endless_answer_is_read_in_part(head: bytes, drop: bytes) -> None:
    """Whatever it is made of, the server gets rid of no more than the buffers in between hold."""
    flood = Flood(head, drop)
    with Stub(flood) as server:
        answer = _sent(server)
        assert flood.ended.wait(20)
    assert flood.sent < 16 * MEGABYTE
    if isinstance(answer, TransportError):
        assert answer.problem == "broken"
    else:
        assert len(answer.body) <= 65536


@pytest.mark.parametrize("size", [b"-1", b"-5", b"-0x5", b"+3", b"1_0", b"zz", b"", b"\x00"])
def test_a_chunk_of_impossible_size_is_no_bug_of_ours(size: bytes) -> None:
    """It is an answer that broke off, or one that is cut."""
    reply = CHUNKED + size + b"\r\nxxx\r\n0\r\n\r\n"
    with Stub(reply) as server:
        answer = _sent(server)
    assert isinstance(answer, Reply) or (answer.problem, answer.status) == ("broken", 200)


@pytest.mark.parametrize("length", [b"-1", b"+2", b"two", b"1e3", b"0x2", b"2, 2"])
def test_an_impossible_length_is_no_bug_of_ours(length: bytes) -> None:
    """The body is then read to the end of the connection."""
    with Stub(b"HTTP/1.1 200 OK\r\ncontent-length: " + length + b"\r\n\r\n{}") as server:
        answer = _sent(server)
    assert isinstance(answer, Reply)
    assert answer.body in (b"{}", b"")


def test_a_packed_bomb_unpacks_to_no_more_than_is_read() -> None:
    """Ten megabytes in ten kilobytes."""
    bomb = gzip.compress(b" " * 10 * MEGABYTE)
    with Stub(response(200, bomb, "content-encoding: gzip")) as server:
        answer = _sent(server)
    assert isinstance(answer, Reply)
    assert len(answer.body) == 65536


@pytest.mark.parametrize(
    ("head", "drop", "status"),
    [
        pytest.param(b"", b"H", None, id="status line"),
        pytest.param(b"", b"HTTP/1.1 100 Go\r\n\r\n", None, id="interim answers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: ", b"y", None, id="header"),
        pytest.param(CHUNKED, b"1\r\n \r\n", 200, id="chunks"),
        pytest.param(CHUNKED, b"0", 200, id="chunk size"),
        pytest.param(CHUNKED + b"0\r\n", b"x: y\r\n", 200, id="trailers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b" ", 200, id="body"),
    ],
)
def test_after_the_time_limit_the_connection_is_closed(
    head: bytes, drop: bytes, status: int | None
) -> None:
    """A server that trickles, whatever it is, notices that nobody listens any more."""
    gone = threading.Event()

    def trickle(connection: socket.socket, _: Request) -> None:
        connection.sendall(head)
        try:
            while True:
                connection.sendall(drop)
                time.sleep(0.01)
        except OSError:
            gone.set()

    with Stub(trickle) as server:
        answer = _sent(server, seconds=0.3)
        assert isinstance(answer, TransportError)
        assert (answer.problem, answer.status) == ("slow", status)
        assert gone.wait(20)


def test_after_the_time_limit_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is resolved too late leads to no request behind the user's back."""
    late = threading.Event()
    resolve = socket.getaddrinfo

    def slowly(*arguments: Any, **options: Any) -> Any:
        assert late.wait(20)
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    with Stub(response(200, b"{}")) as server:
        others = threading.enumerate()
        answer = _sent(server, seconds=0.1)
        late.set()
        for thread in set(threading.enumerate()) - set(others):
            thread.join(20)
    assert isinstance(answer, TransportError)
    assert (answer.problem, server.requests) == ("timeout", [])


def test_a_proxy_that_trickles_or_floods_is_not_waited_for() -> None:
    """The limits hold before there is a connection to the server, too."""

    def trickle(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not proxy.closing.wait(0.02):
            connection.sendall(b"x")

    to = target("http://api.kimi.test/v1")
    with Stub(trickle) as proxy:
        env = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        with pytest.raises(TransportError) as caught:
            send(to, [], b"", env, 0.5)
    assert caught.value.problem == "proxy"
    flood = Flood(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 4096)
    with Stub(flood) as proxy:
        env = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        with pytest.raises(TransportError) as caught:
            send(to, [], b"", env)
        assert flood.ended.wait(20)
    assert caught.value.problem == "proxy"
    assert flood.sent < 16 * MEGABYTE


def test_tls_that_hangs_or_breaks_is_an_answer(certificate: Certificate) -> None:
    """In the handshake as well as in the middle of the answer, through a tunnel too."""

    def hang(connection: socket.socket, _: Request) -> None:
        connection.recv(1)

    with Stub(hang, greeting=b"") as server:
        to = target(f"https://localhost:{server.port}/v1")
        with pytest.raises(TransportError) as caught:
            send(to, [], b"", {}, 0.5)
        assert caught.value.problem == "timeout"
        with Stub(tunnel_to(server.port)) as proxy:
            env = {"https_proxy": f"http://127.0.0.1:{proxy.port}"}
            with pytest.raises(TransportError) as caught:
                send(target("https://api.kimi.test/v1"), [], b"", env, 0.5)
    trusting = {"NODE_EXTRA_CA_CERTS": str(certificate.path)}
    half = response(200, b"{", length=10)
    with Stub(half, tls=certificate.context) as server, Stub(tunnel_to(server.port)) as proxy:
        env = {**trusting, "https_proxy": f"http://127.0.0.1:{proxy.port}"}
        reply = send(target(f"https://{TLS_HOST}/v1"), [], b"", env)
    assert (reply.status, reply.body, reply.whole) == (200, b"{", False)


def test_no_hostile_answer_is_a_bug_of_ours() -> None:
    """Random answers made of the pieces that servers get wrong: a reply or an error with a name."""
    chance = random.Random(20261124)
    data = json.dumps({"choices": []}).encode()
    pieces = (
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/9.9 999 \xff\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"content-encoding: gzip\r\n",
        b"content-encoding: deflate\r\n",
        b"content-length: -7\r\n",
        b"content-length: 12\r\n",
        b"location: //\xff\r\n",
        b"connection: close\r\n",
        b" folded\r\n",
        b"no colon\r\n",
        b"\r\n",
        b"\n",
        b"\0",
        b"-1\r\n",
        b"-5\r\n",
        b"5\r\n12345\r\n",
        b"0\r\n\r\n",
        b"fffffffffffffffffff\r\n",
        data,
        gzip.compress(data),
    )
    rounds = 400
    replies = [
        b"".join(chance.choice(pieces) for _ in range(chance.randrange(12))) for _ in range(rounds)
    ]
    replies = [pieces[0] + reply if chance.random() < 0.8 else reply for reply in replies]
    script = iter(replies)
    with Stub(lambda connection, _: connection.sendall(next(script))) as server:
        for reply in replies:
            answer = _sent(server)
            assert isinstance(answer, Reply) or answer.problem == "broken", reply
