"""The headers that kimi-code sends with a chat request on each surface of the Kimi API.

Names, spelling, order and values as recorded from kimi-code 0.10.0 to 2.1.0 on loopback
(Linux); how the values are worked out on macOS and Windows as in the source of 2.1.0.
Not here are `host` and `content-length`, which whoever sends the request adds, and the
credential, which is `***` in its place.
"""

from __future__ import annotations

import platform as system
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kimifix.client.features import ALIAS_PROTOCOL, Version, parse_version
from kimifix.reader import read
from kimifix.secret import MASK, is_identity_header

OWN_PLATFORM = "kimi_code_cli"

# Versions of the two libraries that the client brings, the same from 0.10.0 to 2.1.0.
_OPENAI_LIBRARY = "6.34.0"
_ANTHROPIC_LIBRARY = "0.95.2"

# Which Node runs the client is not known without starting it; any one that it accepts
# (>= 22.19) would do.
_NODE = "v24.21.0"

# From here on the credential stands before the identity on the Anthropic-style surface.
_CREDENTIAL_FIRST = Version((0, 42, 0))

_NODE_ARCHITECTURES = {
    "x86_64": "x64",
    "amd64": "x64",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "i386": "ia32",
    "i686": "ia32",
    "x86": "ia32",
    "ppc64le": "ppc64",
    "loongarch64": "loong64",
}
_LIBRARY_SYSTEMS = {
    "darwin": "MacOS",
    "win32": "Windows",
    "linux": "Linux",
    "freebsd": "FreeBSD",
    "openbsd": "OpenBSD",
}
_LIBRARY_ARCHITECTURES = ("x64", "arm", "arm64")
_MACOS_VERSION_FILE = Path("/System/Library/CoreServices/SystemVersion.plist")
_MACOS_VERSION = re.compile(r"<key>ProductVersion</key>\s*<string>([^<]*)</string>")
_LONGEST_DEVICE_ID = 200
_LONGEST_FILE = 4096  # bytes


@dataclass(frozen=True)
class Machine:
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


def this_machine() -> Machine:
    """Return the computer that kimifix runs on."""
    machine = system.machine().lower()
    return Machine(
        name=socket.gethostname(),
        kind="Windows_NT" if sys.platform == "win32" else system.system(),
        release=system.version() if sys.platform == "win32" else system.release(),
        platform=sys.platform,
        architecture=_NODE_ARCHITECTURES.get(machine, machine),
        macos=_macos_version() if sys.platform == "darwin" else None,
    )


def request_headers(
    surface: Literal["openai", "anthropic"],
    platform: str | None,
    *,
    version: str,
    home: Path,
    machine: Machine,
    custom: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers of a chat request of kimi-code ``version``, in its order.

    ``platform`` is the value of `X-Msh-Platform`. With None nothing but `User-Agent` tells
    who asks, as with an own provider of `type = "anthropic"`; otherwise the request is that
    of a provider of `type = "kimi"`. ``home`` is the client's home, where the device id is
    read from: without one the header is left out, for only the client makes one up.
    ``custom`` are headers of the user's own, in front of a gateway for example; those that
    would alter the identity or replace one of the client's are not taken over.
    """
    identity = _identity(platform, version, home, machine)
    if surface == "openai":
        headers = _openai(identity, machine)
    else:
        headers = _anthropic(identity, machine, parse_version(version))
    taken = {name.lower() for name in headers}
    for name, value in (custom or {}).items():
        if name.lower() not in taken and not is_identity_header(name):
            headers[name if surface == "openai" else name.lower()] = value
    return headers


def _openai(identity: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "connection": "keep-alive",
        "Accept": "application/json",
        "X-Stainless-Retry-Count": "0",
        **_library(_OPENAI_LIBRARY, machine),
        "authorization": f"Bearer {MASK}",
        **identity,
        **_FETCH,
    }


def _anthropic(
    identity: Mapping[str, str], machine: Machine, version: Version | None
) -> dict[str, str]:
    credential = {"x-api-key": MASK}
    who = {name.lower(): value for name, value in identity.items()}
    named_by_library: dict[str, str] = {}
    beta = "context-management-2025-06-27"
    # The release in which an alias came to choose the surface (before it, only a provider
    # of type "anthropic" did) is also the one that made the library send our own name.
    old = version is not None and not ALIAS_PROTOCOL.works_in(version)
    if old and "X-Msh-Platform" not in identity:
        named_by_library = {"User-Agent": f"Anthropic/JS {_ANTHROPIC_LIBRARY}"}
        who = {}
        beta = "interleaved-thinking-2025-05-14"
    first = version is None or version >= _CREDENTIAL_FIRST
    return {
        "connection": "keep-alive",
        "Accept": "application/json",
        **named_by_library,
        "X-Stainless-Retry-Count": "0",
        "X-Stainless-Timeout": "600",
        **_library(_ANTHROPIC_LIBRARY, machine),
        "anthropic-version": "2023-06-01",
        **({**credential, **who} if first else {**who, **credential}),
        "content-type": _FETCH["content-type"],
        "anthropic-beta": beta,
        **_FETCH,
    }


# Over TLS the client offers `br` as well, which the standard library cannot decode.
_FETCH = {
    "content-type": "application/json",
    "accept-language": "*",
    "sec-fetch-mode": "cors",
    "accept-encoding": "gzip, deflate",
}


def _library(version: str, machine: Machine) -> dict[str, str]:
    architecture = machine.architecture
    if architecture not in _LIBRARY_ARCHITECTURES:
        architecture = f"other:{architecture}" if architecture else "unknown"
    return {
        "X-Stainless-Lang": "js",
        "X-Stainless-Package-Version": version,
        "X-Stainless-OS": _LIBRARY_SYSTEMS.get(machine.platform, f"Other:{machine.platform}"),
        "X-Stainless-Arch": architecture,
        "X-Stainless-Runtime": "node",
        "X-Stainless-Runtime-Version": machine.node,
    }


def _identity(platform: str | None, version: str, home: Path, machine: Machine) -> dict[str, str]:
    headers = {"User-Agent": f"kimi-code-cli/{_ascii(version)}"}
    if platform is None:
        return headers
    headers |= {
        "X-Msh-Platform": _ascii(platform),
        "X-Msh-Version": _ascii(version),
        "X-Msh-Device-Name": _ascii(machine.name),
        "X-Msh-Device-Model": _ascii(machine.model),
        "X-Msh-Os-Version": _ascii(machine.release),
    }
    device = _device_id(home)
    return headers if device is None else {**headers, "X-Msh-Device-Id": device}


def _ascii(value: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "", value).strip() or "unknown"


def _device_id(home: Path) -> str | None:
    text = _text_of(home / "device_id").strip()
    fits = len(text) <= _LONGEST_DEVICE_ID and re.fullmatch(r"[\x20-\x7e]+", text)
    return text if fits else None


def _macos_version() -> str | None:
    match = _MACOS_VERSION.search(_text_of(_MACOS_VERSION_FILE))
    return match[1].strip() or None if match else None


def _text_of(path: Path) -> str:
    try:
        return read(path, _LONGEST_FILE).decode()
    except (OSError, ValueError):
        return ""
