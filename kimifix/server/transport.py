"""One HTTP request: headers exactly as given, no redirect followed, an end to time and size.

`http.client` sends it in a thread of its own, for neither the resolver nor a server that
trickles keeps to a time limit. Which addresses, proxies and certificates will do follows the
rules of the client: its source, Node's and that of its HTTP library (undici 7.27), and runs of
0.25.0, 0.38.0 and 2.1.0.
"""

import base64
import http.client
import re
import socket
import ssl
import sys
import threading
import zlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

import certifi

from kimifix.reader import tables
from kimifix.secret import Secret, register
from kimifix.server.answers import REQUEST_ID, Problem

SECONDS = 15.0
_SECONDS_FOR_AN_ADDRESS = 0.25  # as Node 20 to 24 have it
_LONGEST_BODY = 64 * 1024
_MOST_BYTES = 4 * _LONGEST_BODY
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"[\w-][\w.-]*|[0-9a-f.]*:[0-9a-f:.]+"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NEVER_SENT = tables("server/fetch.toml")

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
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
    """A proxy; ``authorization`` is the value of its `Proxy-Authorization`."""

    to: Target
    authorization: Secret | None = None


def target(url: str) -> Target:
    """Return where ``url`` leads; raises ``TransportError`` where the client asks nobody."""
    to, parts = _parsed(url)
    if parts.username or parts.password:
        message = "base_url has a user or a password in it, and kimi-code refuses that"
        raise TransportError("unsendable", message)
    if to.port in _NEVER_SENT["ports"]:
        message = f"base_url names port {to.port}, which kimi-code never asks"
        raise TransportError("unsendable", message)
    return to


def _parsed(url: str) -> tuple[Target, SplitResult]:
    """Return where ``url`` leads, read as JavaScript does: slashes may lean, miss or abound."""
    url = re.sub(r"^(https?):/*", r"\1://", url.strip().replace("\\", "/"), flags=re.IGNORECASE)
    try:
        parts = urlsplit(url)
        host, port = unquote(parts.hostname or ""), parts.port
        register(parts.password or "")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError included
        raise TransportError("unsendable", "base_url is not a valid URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not re.fullmatch(_HOST, host, re.ASCII):
        raise TransportError("unsendable", "base_url is not an http or https URL")
    whole = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = quote(whole, safe="/%:@!$&'()*+,;=~-._?")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path), parts


def send(
    to: Target,
    headers: Iterable[tuple[str, str]],
    body: bytes | None,
    env: Mapping[str, str],
    seconds: float = SECONDS,
) -> Reply:
    """Return the answer to one request, a GET without ``body``, else a POST.

    All of it, name lookup, proxy and TLS included, takes at most ``seconds``. ``env`` says
    which proxy to use and which certificates the client trusts. Raises ``TransportError``.
    """
    sized = () if body is None else (("content-length", str(len(body))),)
    trimmed = ((name, value.strip("\t\n\r ")) for name, value in headers)
    lines = [("host", to.authority), *trimmed, *sized]
    for name, value in lines:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise TransportError("unsendable", f"no header can carry this value: {name}")
        if name.lower() in _NEVER_SENT["headers"]:
            raise TransportError("unsendable", f"kimi-code sends no such header: {name}")
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
        if proxy and any(name.lower() == "proxy-authorization" for name, _ in self.headers):
            raise TransportError(
                "unsendable", "through a proxy kimi-code sends no such header: Proxy-Authorization"
            )
        host, port = (proxy.to.host, proxy.to.port) if proxy else (to.host, to.port)
        connection = http.client.HTTPConnection(host, port, timeout=self.seconds)
        if to.scheme == "https":
            tls = _tls_context(self.env)
            connection = http.client.HTTPSConnection(host, port, timeout=self.seconds, context=tls)
        connection._create_connection = _connected  # type: ignore[attr-defined]
        connection.response_class = self._response  # type: ignore[assignment]
        if proxy is not None:
            headers = {"host": to.address}
            if proxy.authorization is not None:
                headers["proxy-authorization"] = proxy.authorization.reveal()
            connection.set_tunnel(to.host, to.port, headers)
        return connection

    def _response(self, *args: Any, **options: Any) -> http.client.HTTPResponse:
        return self.responses.enter_context(_Response(*args, **options))

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
        who = f"the proxy {proxy.to.host}:{proxy.to.port}" if proxy else self.to.authority
        problem, text = self._told(error, who, proxy)
        if problem is None:
            return error
        if proxy and problem not in ("tls", "unasked"):
            problem = "proxy"
        elif self.connected is None and (name := _ignored(_chosen(self.to, self.env))):
            text += f"; kimi-code ignores {name}, which is not of the form http://host:port"
        return TransportError(problem, text, self.status)

    def _told(self, error: Exception, who: str, proxy: Proxy | None) -> tuple[Problem | None, str]:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        problem: Problem | None = None
        text = ""
        match error:
            case TimeoutError() if self.status is not None:
                problem, text = "slow", "the answer began, but did not end in time"
            case TimeoutError():
                problem = "slow" if self.connected else "timeout"
                text = f"no answer within {self.seconds:g} s"
            case OSError() | ValueError() | http.client.HTTPException() if self.status:
                problem, text = "broken", "the answer broke off"
            case ssl.SSLCertVerificationError():
                problem = "unasked" if _trusts_more(self.env, error.verify_message) else "tls"
                text = f"the certificate is not trusted: {error.verify_message}"
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
        return problem, text


class _Response(http.client.HTTPResponse):
    """A response that ends after ``_MOST_BYTES``, head and interim answers included.

    `http.client` bounds a line and the number of headers; not how many interim answers
    come, nor what a chunk of negative size is read to.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        read, left = self.fp.raw.readinto, _MOST_BYTES

        def readinto(buffer: Any) -> int | None:
            nonlocal left
            count = read(buffer)
            left -= count or 0
            if left < 0:
                raise http.client.HTTPException("too long")
            return count

        self.fp.raw.readinto = readinto  # type: ignore[method-assign]

    def begin(self) -> None:
        super().begin()
        while 101 < self.status < 200:  # `http.client` takes none but 100 for an interim answer
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


def _connected(address: tuple[str, int], seconds: float, _: object) -> socket.socket:
    """Return a connection as Node makes it: a broken IPv6, for one, costs it little time.

    Addresses of both kinds take turns; each but the last has a moment only. Run with addresses
    that swallow packets: 0.25.0 and 2.1.0 on Node 24.
    """
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    hosts = [(one[0], str(one[4][0])) for one in found]
    alike = [host for kind, host in hosts if kind == hosts[0][0]]
    rest = [host for kind, host in hosts if kind != hosts[0][0]]
    *others, last = [host for pair in zip_longest(alike, rest) for host in pair if host]
    for host in others:
        with suppress(OSError):
            made = socket.create_connection((host, address[1]), _SECONDS_FOR_AN_ADDRESS)
            made.settimeout(seconds)
            return made
    return socket.create_connection((last, address[1]), seconds)


def _decoded(body: bytes, encoding: str) -> bytes:
    """Return at most as many bytes of the plain body as are read of a packed one."""
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
    for window in windows.get(encoding.strip().lower(), ()):
        with suppress(zlib.error):
            return zlib.decompressobj(window).decompress(body, _LONGEST_BODY)
    return body


def _tls_context(env: Mapping[str, str]) -> ssl.SSLContext:
    """Return what trusts whom the client's Node trusts: it asks the system only if told to."""
    is_openssl = "--use-openssl-ca" in env.get("NODE_OPTIONS", "")
    context = ssl.create_default_context(cadata=None if is_openssl else certifi.contents())
    if _asks_system(env):
        context.load_default_certs()
    # As lenient as Node, for certificates of companies' proxies often lack what the strict
    # reading asks for, and as strict: a chain ends at a root. Python 3.13 changed both.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    if env.get("NODE_EXTRA_CA_CERTS"):
        with suppress(OSError):  # Node warns of an unreadable file and goes on, too
            context.load_verify_locations(cafile=env["NODE_EXTRA_CA_CERTS"])
    return context


def _asks_system(env: Mapping[str, str]) -> bool:
    options = env.get("NODE_OPTIONS", "")
    return env.get("NODE_USE_SYSTEM_CA") == "1" or "--use-system-ca" in options


def _trusts_more(env: Mapping[str, str], fault: str) -> bool:
    """Tell whether the client may trust a certificate that ``_tls_context`` does not."""
    is_keychain = sys.platform == "darwin" and _asks_system(env)  # Python cannot read it
    is_short = "key too weak" in fault  # as with RSA 1024: Node 22.15 takes it, 24 does not (run)
    return is_keychain or is_short or env.get("NODE_TLS_REJECT_UNAUTHORIZED") == "0"


def proxy_for(to: Target, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy on the way ``to`` the server, None where the client asks directly.

    It does so, too, where a variable is no URL of a proxy, whatever the others say. Raises
    ``TransportError`` for a proxy that the client can use, and kimifix cannot.
    """
    chosen = _chosen(to, env)
    # The variable of http serves https as well, and one of SOCKS both.
    name, value = next(filter(None, map(chosen.get, (to.scheme, "http", "socks"))), ("", ""))
    if not name or _ignored(chosen):
        return None
    proxy = _parsed_proxy(value)
    if proxy is None or proxy.to.scheme != "http":
        message = f"kimifix cannot ask through the kind of proxy that {name.upper()} names"
        raise TransportError("unasked", message)
    return proxy


def _chosen(to: Target, env: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return variable and value of the proxy for each scheme ``to`` the server, if any.

    One of SOCKS is there alone, for `socks`.
    """
    # A name in lower case wins over that in upper case, which is sorted before it.
    spelled = (name for name in sorted(env) if name.islower() or name.isupper())
    named = {name.lower(): env[name].strip() for name in spelled if env[name].strip()}
    if _is_excepted(to, named.get("no_proxy", "").lower()):
        return {}
    given = {name: named[name] for name in _PROXIES if name in named}
    is_socks = re.compile(r"socks\w*:", re.IGNORECASE).match
    web = {name: value for name, value in given.items() if not is_socks(value)}
    if given and not web:
        return {"socks": next(iter(given.items()))}
    chosen = {}
    for scheme in ("http", "https"):
        if name := next((n for n in (f"{scheme}_proxy", "all_proxy") if n in web), None):
            chosen[scheme] = name, web[name]
    return chosen


def _ignored(chosen: Mapping[str, tuple[str, str]]) -> str | None:
    """Return the variable for which the client ignores all of them, None where there is none."""
    values = ((name, value) for scheme, (name, value) in chosen.items() if scheme != "socks")
    return next((name.upper() for name, value in values if _parsed_proxy(value) is None), None)


def _parsed_proxy(value: str) -> Proxy | None:
    """Return the proxy that ``value`` names, None where the client takes it for none."""
    try:
        to, url = _parsed(value)
    except TransportError:
        return None
    user, password = url.username or "", url.password or ""
    if to.path != "/" or url.fragment or re.search(r"%(?![0-9A-Fa-f]{2})", user + password):
        return None
    if not (user and password):
        return Proxy(to)
    plain = f"{unquote(user)}:{unquote(password)}"
    pair = base64.b64encode(plain.encode()).decode()
    for secret in (password, unquote(password), pair):
        register(secret)
    return Proxy(to, Secret(f"Basic {pair}"))


def _is_excepted(to: Target, exceptions: str) -> bool:
    """Tell whether no proxy is asked, as undici does: an IPv6 address counts in brackets alone."""
    host = to.address.rpartition(":")[0].lower()
    for entry in (*re.split(r"[,\s]+", exceptions), *_LOOPBACK):
        match = re.fullmatch(r"(.+):(\d+)", entry)
        name, port = (match[1], int(match[2])) if match else (entry, 0)
        name = re.sub(r"^\*?\.", "", name)
        if name and port in (0, to.port) and f".{host}".endswith(f".{name}"):
            return True
    return "*" in map(str.strip, exceptions.split(","))
