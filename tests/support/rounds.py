"""How often a test that tries many cases tries them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

FACTOR = 1  # more with `--deep`: tests/conftest.py sets it before the tests are imported


def rounds(usual: int) -> int:
    """Return how many cases to try where ``usual`` are enough on most days."""
    return usual * FACTOR


def seeds(usual: int) -> range:
    """Return the seeds of so many random cases; another start tries others."""
    first = int(os.environ.get("KIMIFIX_TEST_SEED", "0"))
    return range(first, first + rounds(usual))


def cases(start: int) -> Iterator[int]:
    """Count without end, on most days in steps of three: tests that start apart share the work."""
    return count(start % 3 if FACTOR == 1 else 0, 3 if FACTOR == 1 else 1)
