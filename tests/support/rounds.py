"""How often a test that tries many cases tries them."""

from __future__ import annotations

FACTOR = 1  # more with `--deep`: tests/conftest.py sets it before the tests are imported


def rounds(usual: int) -> int:
    """Return how many cases to try where ``usual`` are enough on most days."""
    return usual * FACTOR
