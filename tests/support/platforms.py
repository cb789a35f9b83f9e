"""Where some tests cannot hold, and the reason that they are skipped for."""

from __future__ import annotations

import stat
import sys
import tempfile
from pathlib import Path

import pytest


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


def _makes_symlinks() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        try:
            link.symlink_to("target")
        except OSError:
            return False
        return link.is_symlink()


def posix(reason: str) -> pytest.MarkDecorator:
    """Mark what cannot hold on Windows, for a ``reason`` that says what is not so there."""
    return pytest.mark.skipif(sys.platform == "win32", reason=f"on Windows {reason}")


def lacking_in_wine(what: str) -> pytest.MarkDecorator:
    """Mark what holds on Windows, but not under Wine 8, which has no ``what``."""
    return pytest.mark.skipif(_is_wine(), reason=f"Wine 8 has no {what}")


def has_mode(path: Path, mode: int) -> bool:
    """Tell whether a file has this mode; Windows knows of it only who may write."""
    seen = stat.S_IMODE(path.stat().st_mode)
    return not (seen ^ mode) & 0o200 if sys.platform == "win32" else seen == mode


# For many processes that say on every system what they say on Linux.
alike = pytest.mark.skipif(
    _is_wine(), reason="under Wine, where a process takes long, what depends on no system"
)

symlinks = pytest.mark.skipif(
    not _makes_symlinks(), reason="here (Windows without privilege, Wine) are no symlinks"
)
