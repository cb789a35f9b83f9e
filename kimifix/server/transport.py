"""One HTTP request: headers exactly as given, no redirect followed, an end to time and size.

`http.client` sends it in a thread of its own, for neither the resolver nor a server that
trickles keeps to a time limit. Which proxy it goes through follows the rules of the client,
as in the source of kimi-code 2.1.0 and its HTTP library (undici 7.27).
"""

import base64
import http.client
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from kimifix.secret import Secret, register
from kimifix.server.answers import REQUEST_ID, Problem

SECONDS = 15.0
_LONGEST_BODY = 64 * 1024
_MOST_BYTES = 4 * _LONGEST_BODY
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"[\w-][\w.-]*|[0-9a-f.]*:[0-9a-f:.]+"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NAMES_OF_REQUEST = ("x-msh-request-id", "x-request-id", "request-id", "x-trace-id")
_TUNNEL_REFUSED = "Tunnel connection failed: "  # as `http.client` begins its OSError


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
    def address(self) -> str:
        """Host and port, as the `host` header of a tunnel has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """Host and port, as the `host` header has them."""
        return self.address.removesuffix(f":{_DEFAULT_PORTS[self.scheme]}")


@dataclass(frozen=True)
class Reply:
    """What the server sent: ``body`` decoded and cut, ``whole`` unless the rest is missing.

    ``request_id`` is what the server calls the request, None where it says nothing or nonsense.
    """

    status: int
    location: str | None
    body: bytes
    whole: bool
    request_id: str | None = None


class Proxy(NamedTuple):
    """An HTTP proxy; ``authorization`` is the value of its `Proxy-Authorization`."""

    host: str
    port: int
    authorization: Secret | None = None


def target(url: str) -> Target:
    """Return where ``url`` leads; user and password in it are dropped.

    Raises ``TransportError`` for what is no http or https URL.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        register(parts.password or "")
        if host and not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError included
        raise TransportError("unsendable", "base_url is not a valid URL") from None
    # A backslash ends the host for the client, but not for Python: nobody shall differ
    # about who gets to see the credential.
    odd = re.search(r"[\s\\]", parts.netloc) or not re.fullmatch(_HOST, host or "", re.ASCII)
    if odd or host is None or parts.scheme not in _DEFAULT_PORTS:
        raise TransportError("unsendable", "base_url is not an http or https URL")
    whole = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = quote(whole, safe="/%:@!$&'()*+,;=~-._?")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path)


def send(
    to: Target,
    headers: Iterable[tuple[str, str]],
    body: bytes | None,
    env: Mapping[str, str],
    seconds: float = SECONDS,
) -> Reply:
    """Return the answer to one request, a GET without ``body``, else a POST.

    All of it, name lookup, proxy and TLS included, takes at most ``seconds``. ``env`` says
    which proxy to use and, in NODE_EXTRA_CA_CERTS, which further certificates the client
    trusts. Raises ``TransportError``.
    """
    sized = () if body is None else (("content-length", str(len(body))),)
    lines = [("host", to.authority), *headers, *sized]
    for name, value in lines:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise TransportError("unsendable", f"no header can carry this value: {name}")
    exchange = _Exchange(to, lines, body, env, seconds)
    # A thread that is held back, by the resolver for example, does not hold us back.
    thread = threading.Thread(target=exchange.run, daemon=True)
    thread.start()
    thread.join(seconds)
    result = exchange.result
    if result is None:
        exchange.result = result = TimeoutError()
        if exchange.connected is not None:
            with suppress(OSError):
                exchange.connected.shutdown(socket.SHUT_RDWR)
    if isinstance(result, Reply):
        return result
    raise exchange.explained(result)


@dataclass(eq=False)
class _Exchange:
    """One request and its answer, as far as it has come."""

    to: Target
    headers: list[tuple[str, str]]
    body: bytes | None
    env: Mapping[str, str]
    seconds: float
    proxy: Proxy | None = None
    connected: socket.socket | None = None
    status: int | None = None
    result: Reply | Exception | None = None
    # `http.client` before 3.11.4 leaves what a proxy said open, and the connection with it.
    responses: ExitStack = field(default_factory=ExitStack)

    def run(self) -> None:
        try:
            with self.responses, closing(self._prepared()) as connection:
                connection.connect()
                self.connected = connection.sock
                if self.result is None:  # nothing is sent to who comes too late
                    self.connected.settimeout(self.seconds)
                    self.result = self._reply(connection)
        except Exception as error:  # `send` raises it where it is waited for
            self.result = error

    def _prepared(self) -> http.client.HTTPConnection:
        to = self.to
        self.proxy = proxy = proxy_for(to, self.env)
        host, port = (proxy.host, proxy.port) if proxy else (to.host, to.port)
        # An address that swallows packets must leave time for the next one.
        seconds = self.seconds / 2
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
        if to.scheme == "https":
            tls = _tls_context(self.env)
            connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)
        connection.response_class = self._response  # type: ignore[assignment]
        if proxy is not None:
            headers = {"host": to.address}
            if proxy.authorization is not None:
                headers["proxy-authorization"] = proxy.authorization.reveal()
            connection.set_tunnel(to.host, to.port, headers)
        return connection

    def _response(self, *args: Any, **options: Any) -> http.client.HTTPResponse:
        return self.responses.enter_context(_capped(*args, **options))

    def _reply(self, connection: http.client.HTTPConnection) -> Reply:
        method = "GET" if self.body is None else "POST"
        connection.putrequest(method, self.to.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers:
            connection.putheader(name, value)
        connection.endheaders(self.body)
        response = connection.getresponse()
        if self.result is None:  # else our own hanging up has ended the head
            self.status = response.status
        named = (response.getheader(name, "").strip() for name in _NAMES_OF_REQUEST)
        request_id = next(filter(REQUEST_ID.fullmatch, named), None)
        location = response.getheader("location")
        if location is not None and 300 <= response.status < 400:
            return Reply(response.status, location, b"", True, request_id)
        try:
            raw = response.read(_LONGEST_BODY)
            whole = not response.length or len(raw) == _LONGEST_BODY
        except http.client.IncompleteRead as error:
            raw, whole = error.partial, False
        body = _decoded(raw, response.getheader("content-encoding", ""))
        return Reply(response.status, None, body, whole, request_id)

    def explained(self, error: Exception) -> Exception:
        """Return ``error`` in the user's words; as it is where it is a bug."""
        proxy = self.proxy if self.connected is None else None
        who = f"the proxy {proxy.host}:{proxy.port}" if proxy else self.to.authority
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        problem: Problem
        match error:
            case TimeoutError() if self.status is not None:
                problem, text = "timeout", "the answer began, but did not end in time"
            case TimeoutError():
                problem, text = "timeout", f"no answer within {self.seconds:g} s"
            case OSError() | ValueError() | http.client.HTTPException() if self.status:
                problem, text = "broken", "the answer broke off"
            case ssl.SSLCertVerificationError():
                problem, text = "tls", f"the certificate is not trusted: {error.verify_message}"
            case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError):
                detail = (error.reason or "failed").replace("_", " ").lower()
                problem, text = "tls", f"the TLS handshake failed: {detail}"
            case socket.gaierror() | UnicodeError():
                problem, text = "dns", f"no address is known for {who}"
            case ConnectionRefusedError():
                problem, text = "refused", f"{who} refused the connection"
            case ConnectionError() | ssl.SSLEOFError():
                problem, text = "broken", f"{who} closed the connection"
            case OSError() if reason.startswith(_TUNNEL_REFUSED):
                problem, text = "proxy", f"{who} refused: {reason.removeprefix(_TUNNEL_REFUSED)}"
            case OSError():
                problem, text = "network", f"{reason} ({who})" if proxy else reason
            case ValueError() | http.client.HTTPException():
                problem, text = "broken", f"{who} does not speak HTTP"
            case _:
                return error
        by_proxy = proxy and problem != "tls"
        return TransportError("proxy" if by_proxy else problem, text, self.status)


def _capped(sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
    """Return a response that ends after ``_MOST_BYTES``, head and interim answers included.

    `http.client` bounds a line and the number of headers; not how many interim answers
    come, nor what a chunk of negative size is read to.
    """
    response = http.client.HTTPResponse(sock, *args, **options)
    read, left = response.fp.raw.readinto, _MOST_BYTES

    def readinto(buffer: Any) -> int | None:
        nonlocal left
        count = read(buffer)
        left -= count or 0
        if left < 0:
            raise http.client.HTTPException("too long")
        return count

    response.fp.raw.readinto = readinto  # type: ignore[method-assign]
    return response


def _decoded(body: bytes, encoding: str) -> bytes:
    """Return at most as many bytes of the plain body as are read of a packed one."""
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
    for window in windows.get(encoding.strip().lower(), ()):
        with suppress(zlib.error):
            return zlib.decompressobj(window).decompress(body, _LONGEST_BODY)
    return body


def _tls_context(env: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # As lenient as the client's Node: certificates of companies' proxies often lack
    # what the strict reading, a default from Python 3.13 on, asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if env.get("NODE_EXTRA_CA_CERTS"):
        with suppress(OSError):  # Node warns of an unreadable file and goes on, too
            context.load_verify_locations(cafile=env["NODE_EXTRA_CA_CERTS"])
    return context


def proxy_for(to: Target, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy on the way ``to`` the server, None where it is asked directly.

    Raises ``TransportError`` for a proxy that kimifix cannot use.
    """
    # A name in lower case wins over that in upper case, which is sorted before it.
    spelled = (name for name in sorted(env) if name.islower() or name.isupper())
    named = {name.lower(): env[name].strip() for name in spelled if env[name].strip()}
    if _is_excepted(to, named.get("no_proxy", "").lower()):
        return None
    # The variable of http serves https as well.
    names = (f"{to.scheme}_proxy", "all_proxy", "http_proxy")
    given = {name: named[name] for name in names if name in named}
    for name, value in given.items():
        if not re.match(r"socks\w*:", value, re.IGNORECASE):
            return _parsed_proxy(name, value)
    if not given:
        return None
    raise TransportError(
        "proxy",
        f"{next(iter(given)).upper()} names a SOCKS proxy, through which kimifix cannot ask: "
        "set HTTPS_PROXY to an HTTP proxy for this run",
    )


def _parsed_proxy(name: str, value: str) -> Proxy:
    to = None
    with suppress(TransportError):
        to = target(value)
    if to is None or to.scheme != "http":
        raise TransportError("proxy", f"{name.upper()} is not of the form http://host:port")
    url = urlsplit(value)
    if url.username is None:
        return Proxy(to.host, to.port)
    user, password = unquote(url.username), unquote(url.password or "")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    for secret in (url.password or "", password, pair):
        register(secret)
    return Proxy(to.host, to.port, Secret(f"Basic {pair}"))


def _is_excepted(to: Target, exceptions: str) -> bool:
    for entry in (*re.split(r"[,\s]+", exceptions), *_LOOPBACK):
        match = re.fullmatch(r"(\[[^\]]+\]|[^:]+):(\d{1,5})", entry)
        name, port = (match[1], int(match[2])) if match else (entry, to.port)
        name = name.removeprefix("*").removeprefix(".").strip("[]")
        within = name and f".{to.host.lower()}".endswith(f".{name}")
        if entry == "*" or (within and port == to.port):
            return True
    return False
