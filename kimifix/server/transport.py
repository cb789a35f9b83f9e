"""One HTTP request within a time limit, headers exactly as given, no redirect followed.

Neither urllib nor http.client can send it: the first rewrites the spelling of header
names, and the time limits of both start anew with every byte that trickles in.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from kimifix.secret import register
from kimifix.server.answers import Problem
from kimifix.server.proxies import Proxy, ProxyError, choose

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# As `socket.getaddrinfo` returns them: family, kind, protocol, canonical name, address.
_Address = tuple[int, int, int, str, Any]

_LONGEST_BODY = 64 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"[\w-][\w.-]*|[0-9a-f.]*:[0-9a-f:.]+"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class TransportError(Exception):
    """There is no whole answer; ``status`` is its HTTP status if that much came."""

    def __init__(self, problem: Problem, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Target:
    """Where a request goes: nothing of it is a secret, and ``host`` is what may see one."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as the `host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Reply:
    """What the server sent: ``body`` decoded and cut, ``whole`` unless the rest is missing."""

    status: int
    location: str | None
    body: bytes
    whole: bool


def target(url: str) -> Target:
    """Return where ``url`` leads; user and password in it are dropped.

    Raises ``TransportError`` for what is no http or https URL.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.password:
            register(parts.password)
        if host and not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError included
        raise TransportError("unsendable", "base_url is not a valid URL") from None
    # A backslash ends the host for the client, but not for Python: nobody shall differ
    # about who gets to see the credential.
    odd = re.search(r"[\s\\]", parts.netloc) or not re.fullmatch(_HOST, host or "", re.ASCII)
    if odd or host is None or parts.scheme not in _DEFAULT_PORTS:
        raise TransportError("unsendable", "base_url is not an http or https URL")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    whole = f"{path}?{query}" if query else path
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], whole)


def post(
    to: Target,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    env: Mapping[str, str],
    seconds: float,
) -> Reply:
    """Send ``body`` to ``to`` and return the answer, all of it within ``seconds``.

    ``env`` says which proxy to use and, in NODE_EXTRA_CA_CERTS, which further certificates
    the client trusts. Raises ``TransportError``.
    """
    head = _head(to, [("host", to.authority), *headers, ("content-length", str(len(body)))])
    deadline = _Deadline(seconds)
    try:
        proxy = choose(to.scheme, to.host, to.port, env)
    except ProxyError as error:
        raise TransportError("proxy", str(error)) from None
    with ExitStack() as stack:
        try:
            connection = _connected(to, proxy, env, deadline, stack)
            connection.settimeout(deadline.left())
            connection.sendall(head + body)
            return _reply(connection, deadline)
        except TimeoutError:
            raise TransportError("timeout", f"no answer within {seconds:g} s") from None
        except ConnectionRefusedError:
            raise TransportError("refused", f"{to.authority} refused the connection") from None
        except ssl.SSLEOFError:
            raise TransportError("broken", "the server closed the connection") from None
        except ssl.SSLError as error:
            raise TransportError("tls", _tls_message(error)) from None
        except ConnectionError:
            raise TransportError("broken", "the server closed the connection") from None
        except OSError as error:
            raise TransportError("network", error.strerror or type(error).__name__) from None


def _head(to: Target, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"POST {to.path} HTTP/1.1"]
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise TransportError("unsendable", f"no header can carry this value: {name}")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class _Deadline:
    """A moment on the monotonic clock after which nothing is waited for any more."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raises ``TimeoutError`` when there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _Incoming(io.RawIOBase):
    """What comes in on a connection before a deadline; closing it leaves the connection."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._connection.settimeout(self._deadline.left())
        return self._connection.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that `http.client.HTTPResponse` asks a socket for."""
        assert mode == "rb"  # noqa: S101
        return io.BufferedReader(self)


def _response(
    connection: socket.socket, deadline: _Deadline, method: str
) -> http.client.HTTPResponse:
    incoming = cast("socket.socket", _Incoming(connection, deadline))
    response = http.client.HTTPResponse(incoming, method=method)
    try:
        response.begin()
    except http.client.RemoteDisconnected:
        raise ConnectionResetError from None
    except http.client.HTTPException:
        raise TransportError("broken", "what answered does not speak HTTP") from None
    return response


def _reply(connection: socket.socket, deadline: _Deadline) -> Reply:
    with _response(connection, deadline, "POST") as response:
        location = response.getheader("location")
        if location is not None and 300 <= response.status < 400:
            return Reply(response.status, location, b"", whole=True)
        try:
            raw = response.read(_LONGEST_BODY)
            whole = not response.length or len(raw) == _LONGEST_BODY
        except http.client.IncompleteRead as error:
            raw, whole = error.partial, False
        except http.client.HTTPException:
            raw, whole = b"", False
        except TimeoutError:
            raise TransportError(
                "timeout", "the answer began, but did not end in time", response.status
            ) from None
        except OSError:
            raise TransportError("broken", "the answer broke off", response.status) from None
        body = _decoded(raw, response.getheader("content-encoding", ""))
        return Reply(response.status, None, body, whole)


def _decoded(body: bytes, encoding: str) -> bytes:
    """Return at most as many bytes of the plain body as are read of a packed one."""
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
    for window in windows.get(encoding.strip().lower(), ()):
        with suppress(zlib.error):
            return zlib.decompressobj(window).decompress(body, _LONGEST_BODY)
    return body


def _connected(
    to: Target,
    proxy: Proxy | None,
    env: Mapping[str, str],
    deadline: _Deadline,
    stack: ExitStack,
) -> socket.socket:
    """Return a connection to ``to``, which ``stack`` closes."""
    if proxy is None:
        connection = stack.enter_context(_dial(to.host, to.port, deadline))
    else:
        connection = stack.enter_context(_tunnel(to, proxy, deadline))
    if to.scheme == "http":
        return connection
    connection.settimeout(deadline.left())
    context = _tls_context(env)
    return stack.enter_context(context.wrap_socket(connection, server_hostname=to.host))


def _dial(host: str, port: int, deadline: _Deadline) -> socket.socket:
    addresses = _resolved(host, port, deadline)
    failure: OSError = ConnectionRefusedError()
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            # An address that swallows packets must leave time for the others.
            connection.settimeout(deadline.left() / (len(addresses) - tried))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _resolved(host: str, port: int, deadline: _Deadline) -> list[_Address]:
    found: list[list[_Address]] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            found.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))

    # The resolver knows no time limit; a thread that it holds back does not hold us back.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(deadline.left())
    if thread.is_alive():
        raise TimeoutError
    if not found:
        raise TransportError("dns", f"no address is known for {host}")
    return found[0]


def _tunnel(to: Target, proxy: Proxy, deadline: _Deadline) -> socket.socket:
    """Return a connection to ``to`` through ``proxy``, which sees the name of the host alone."""
    name = f"the proxy {proxy.host}:{proxy.port}"
    try:
        connection = _dial(proxy.host, proxy.port, deadline)
    except TransportError as error:
        raise TransportError("proxy", f"{name}: {error.message}") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TransportError("proxy", f"{name} cannot be reached: {reason}") from None
    with ExitStack() as stack:
        stack.enter_context(connection)
        host = f"[{to.host}]" if ":" in to.host else to.host
        lines = [f"CONNECT {host}:{to.port} HTTP/1.1", f"host: {host}:{to.port}"]
        if proxy.authorization is not None:
            lines.append(f"proxy-authorization: {proxy.authorization.reveal()}")
        try:
            connection.settimeout(deadline.left())
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            response = _response(connection, deadline, "CONNECT")
        except TransportError:
            raise TransportError("proxy", f"{name} does not speak HTTP") from None
        except TimeoutError:
            raise TransportError("proxy", f"{name} did not answer in time") from None
        except OSError:
            raise TransportError("proxy", f"{name} closed the connection") from None
        if not 200 <= response.status < 300:
            status = f"{response.status} {response.reason}".strip()
            raise TransportError("proxy", f"{name} refused: {status}")
        stack.pop_all()
    return connection


def _tls_context(env: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # As lenient as the client's Node: certificates of companies' proxies often lack
    # what the strict reading, a default from Python 3.13 on, asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if env.get("NODE_EXTRA_CA_CERTS"):
        with suppress(OSError):  # Node warns of an unreadable file and goes on, too
            context.load_verify_locations(cafile=env["NODE_EXTRA_CA_CERTS"])
    return context


def _tls_message(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    reason = (error.reason or "failed").replace("_", " ").lower()
    return f"the TLS handshake failed: {reason}"
