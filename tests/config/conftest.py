"""What tests of the config share."""

from __future__ import annotations

import os

import pytest

from kimifix import secret


@pytest.fixture(autouse=True)
def _nothing_known_to_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts as a new process does: no value registered."""
    monkeypatch.setattr(secret, "_registered", {})


@pytest.fixture
def no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync nothing, to be quick: what a killed process has written survives it all the same."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
