"""Certificates for servers that speak TLS on loopback."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

TLS_HOST = "api.kimi.test"


@dataclass(frozen=True)
class Certificate:
    """A certificate and the server's side of it."""

    path: Path
    context: ssl.SSLContext


def make(
    openssl: str,
    folder: Path,
    host: str = TLS_HOST,
    issuer: Certificate | None = None,
    bits: int = 2048,
) -> Certificate:
    """Have the `openssl` program make a certificate for ``host`` in ``folder``.

    It signs itself unless an ``issuer`` does; its key has so many ``bits``.
    """
    key, path = folder / "key.pem", folder / "certificate.pem"
    signed = ("-CA", issuer.path, "-CAkey", issuer.path.with_name("key.pem")) if issuer else ()
    command = (
        f"req -x509 -newkey rsa:{bits} -nodes -days 2 -subj /CN={host} "
        f"-addext subjectAltName=DNS:{host}"
    )
    subprocess.run(
        [openssl, *command.split(), *signed, "-keyout", key, "-out", path],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if bits < 2048:
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(path, key)
    return Certificate(path, context)
