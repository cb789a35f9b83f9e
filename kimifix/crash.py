"""What a bug in kimifix leaves on the screen: ready to paste, without secrets."""

from __future__ import annotations

import platform
import traceback

from kimifix import __version__
from kimifix.secret import redact


def report(error: BaseException) -> str:
    """Return the report for an exception that nobody expected; without the values of variables."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return redact(
        f"{trace}\n\n"
        f"kimifix {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        "error: this is a bug in kimifix; the config is as it was or as reported above\n"
        "hint: please report it with the lines above"
    )
