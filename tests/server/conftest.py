"""A certificate for the tests that speak TLS."""

from __future__ import annotations

import shutil

import pytest
from support import certificate as certificates
from support.certificate import Certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of this run; needs the `openssl` program."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    return certificates.make(openssl, tmp_path_factory.mktemp("certificate"))
