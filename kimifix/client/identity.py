"""The headers that kimi-code sends with a chat request on each surface of the Kimi API.

Names, spelling, order and values as recorded from kimi-code 0.10.0 to 2.1.0 on loopback
(Linux); how the values are worked out on macOS and Windows as in the source of 2.1.0.
Not here are `host` and `content-length`, which whoever sends the request adds, and the
credential, which is `***` in its place.
"""

import platform as system
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kimifix.client.features import Version, has, parse_version
from kimifix.reader import read_text, tables
from kimifix.secret import MASK
from kimifix.words import trimmed

OWN_PLATFORM = "kimi_code_cli"
Headers = dict[str, str]

# Which Node runs the client is not known without starting it; any one that it accepts
# (>= 22.19) would do.
_NODE = "v24.21.0"

# From here on the credential stands before the identity on the Anthropic-style surface.
_CREDENTIAL_FIRST = Version((0, 42, 0))

_TABLES = tables("client/headers.toml")
DEVICE = "device_id"  # a file in the home
_LONGEST_FILE = 32_768  # bytes; a server takes less


@dataclass(frozen=True)
class Computer:
    """This computer as Node describes it.

    ``kind`` is `os.type()`, ``platform`` `process.platform`, ``architecture`` `os.arch()`;
    ``macos`` is the version of macOS, None elsewhere or where it cannot be read.
    """

    name: str
    kind: str
    release: str
    platform: str
    architecture: str
    macos: str | None = None
    node: str = _NODE

    @property
    def model(self) -> str:
        """What the client calls the device model."""
        if self.kind == "Darwin":
            return f"macOS {self.macos or self.release} {self.architecture}"
        name = "Windows" if self.kind == "Windows_NT" else self.kind
        return f"{name} {self.release} {self.architecture}".strip()


def this_computer() -> Computer:
    """Return the computer that kimifix runs on."""
    processor = system.machine().lower()
    return Computer(
        name=socket.gethostname(),
        kind="Windows_NT" if sys.platform == "win32" else system.system(),
        release=system.version() if sys.platform == "win32" else system.release(),
        platform=sys.platform,
        architecture=_TABLES["names"].get(processor, processor),
        macos=system.mac_ver()[0] or None,
    )


def request_headers(
    surface: Literal["openai", "anthropic"],
    platform: str | None,
    *,
    version: str,
    home: Path,
    computer: Computer,
    lowest: Mapping[str, str] | None = None,
    custom: Mapping[str, str] | None = None,
) -> Headers:
    """Return the headers of a chat request of kimi-code ``version``, in its order.

    ``platform`` is the value of `X-Msh-Platform`. With None nothing but `User-Agent` tells
    who asks, as with an own provider of `type = "anthropic"`; otherwise the request is that
    of a provider of `type = "kimi"`. ``home`` is the client's home, where the device id is
    read from: without one the header is left out, for only the client makes one up.
    ``lowest`` are the headers of KIMI_CODE_CUSTOM_HEADERS, ``custom`` those of the provider,
    which win over the client's (run with both: 0.25.0, 0.38.0, 2.1.0).
    """
    parsed = parse_version(version)
    own = identity_headers(platform, version, home, computer)
    # The release in which an alias came to choose the surface (before it, only a provider
    # of type "anthropic" did) is also the one that made the library send our own name.
    named_by_library = parsed is not None and not has("alias-protocol", parsed) and not platform
    if surface == "anthropic" and named_by_library:
        own = {}
    who = {**(lowest or {}), **own, **(custom or {})}
    if surface == "openai":
        credential = {"authorization": f"Bearer {MASK}"}
        headers = {**_library("6.34.0", computer), **credential, **who, **_TABLES["fetch"]}
    else:
        headers = _anthropic(who, computer, parsed, named_by_library=named_by_library)
    last = {name.lower(): name for name in headers}  # which of two spellings goes out
    return {name: value for name, value in headers.items() if last[name.lower()] == name}


def _anthropic(
    who: Headers, computer: Computer, version: Version | None, *, named_by_library: bool
) -> Headers:
    agent, beta = "", "context-management-2025-06-27"
    if named_by_library:
        agent, beta = "Anthropic/JS 0.95.2", "interleaved-thinking-2025-05-14"
    who = {name.lower(): value for name, value in who.items()}
    credential = {"x-api-key": MASK}
    first = version is None or version >= _CREDENTIAL_FIRST
    return {
        **_library("0.95.2", computer, agent, timeout="600"),
        "anthropic-version": "2023-06-01",
        **({**credential, **who} if first else {**who, **credential}),
        "content-type": _TABLES["fetch"]["content-type"],
        "anthropic-beta": beta,
        **_TABLES["fetch"],
    }


def _library(version: str, computer: Computer, agent: str = "", timeout: str = "") -> Headers:
    """Return what the vendor's library adds."""
    architecture = computer.architecture
    if architecture not in ("x64", "arm", "arm64"):
        architecture = f"other:{architecture}" if architecture else "unknown"
    told = {"agent": agent, "timeout": timeout, "version": version, "architecture": architecture}
    told["system"] = _TABLES["names"].get(computer.platform, f"Other:{computer.platform}")
    told["node"] = computer.node
    headers = {name: text.format(**told) for name, text in _TABLES["library"].items()}
    return {name: value for name, value in headers.items() if value}


def identity_headers(platform: str | None, version: str, home: Path, computer: Computer) -> Headers:
    """Return the headers with which kimi-code ``version`` says who it is, except in ACP."""
    headers = {"User-Agent": f"kimi-code-cli/{_ascii(version)}"}
    if platform is None:
        return headers
    headers |= {
        "X-Msh-Platform": _ascii(platform),
        "X-Msh-Version": _ascii(version),
        "X-Msh-Device-Name": _ascii(computer.name),
        "X-Msh-Device-Model": _ascii(computer.model),
        "X-Msh-Os-Version": _ascii(computer.release),
    }
    if device := device_id(home):
        headers["X-Msh-Device-Id"] = device
    return headers


def device_id(home: Path) -> str | None:
    """Return the number of the device as the client sends it, None where it has made none up.

    A character in it that no header can carry keeps the client from asking (run: 0.25.0,
    0.32.0, 0.33.0, 0.40.0, 2.1.0).
    """
    return trimmed(read_text(home / DEVICE, _LONGEST_FILE))


def _ascii(value: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "", value).strip() or "unknown"
