"""A certificate for the tests that speak TLS."""

from __future__ import annotations

import shutil

import pytest
from support import certificate as certificates
from support.certificate import Certificate


@pytest.fixture(scope="session")
def openssl() -> str:
    """The `openssl` program, by which certificates are made."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl to make a certificate with")
    return program


@pytest.fixture(scope="session")
def certificate(openssl: str, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of this run."""
    return certificates.make(openssl, tmp_path_factory.mktemp("certificate"))
