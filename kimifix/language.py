"""The language of the reader: sentences are made in English, and translated when printed."""

import os
import sys
from functools import cache

# The first that is set decides, as in gettext.
_VARIABLES = ("KIMIFIX_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
_CHINESE = 0x04  # the primary language in a LANGID of Windows


def translated(text: str) -> str:
    """Return ``text`` in the reader's language; what is no sentence of ours stays as it is."""
    if not is_chinese():
        return text
    from kimifix.catalogue import in_chinese

    return in_chinese(text)


@cache
def is_chinese() -> bool:
    """Tell whether the reader wants Chinese, and both streams can carry it."""
    wanted = next(filter(None, map(os.environ.get, _VARIABLES)), None) or _display_language()
    languages = (name[:2].lower() for name in wanted.split(":"))
    if next((name for name in languages if name in ("en", "zh")), "en") == "en":
        return False
    try:
        return all("中文".encode(stream.encoding) for stream in (sys.stdout, sys.stderr) if stream)
    except UnicodeEncodeError:
        return False


def _display_language() -> str:
    """Return the language of the system's own windows and menus."""
    if sys.platform == "win32":
        import ctypes

        chosen = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        return "zh" if chosen & 0x3FF == _CHINESE else "en"
    if sys.platform == "darwin":
        import plistlib

        settings = f"{os.environ.get('HOME')}/Library/Preferences/.GlobalPreferences.plist"
        try:
            with open(settings, "rb") as file:  # noqa: PTH123
                return str(plistlib.load(file)["AppleLanguages"][0])
        except (OSError, ValueError, LookupError, TypeError):
            return "en"
    return "en"
