"""How often a test that tries many cases tries them."""

from __future__ import annotations

import os

_FACTOR = float(os.environ.get("KIMIFIX_TEST_ROUNDS", "1"))


def rounds(usual: int) -> int:
    """Return ``usual``, multiplied by the environment variable KIMIFIX_TEST_ROUNDS."""
    return max(1, round(usual * _FACTOR))
