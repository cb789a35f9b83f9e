"""The language of the reader, and the catalogue of sentences in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from kimifix.words import translated

Language = Literal["en", "zh"]

CATALOGUE = "locale/zh_CN/LC_MESSAGES/kimifix.mo"
_CHINESE = 0x04  # the primary language of a Windows LANGID


def language_of(env: Mapping[str, str], user: Path) -> Language:
    """Return the language to speak; ``user`` is the user's home.

    `KIMIFIX_LANG` wins. Then the variables of the locale count in the order of gettext,
    and where none is set, on macOS and Windows, the display language of the system.
    """
    if named := env.get("KIMIFIX_LANG"):
        return _known(named)
    locale = next((env[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if env.get(name)), "")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return "en"
    # Of a list only the first entry that we speak counts.
    for wanted in [*env.get("LANGUAGE", "").split(":"), locale]:
        if wanted[:2].lower() in ("en", "zh"):
            return _known(wanted)
    return "en" if locale else _known(_display_language(user))


def translator(language: Language) -> Callable[[str], str]:
    """Return a function that says an English sentence in ``language``."""
    if language == "en":
        return str
    import gettext
    import pkgutil
    from io import BytesIO

    try:
        content = pkgutil.get_data("kimifix", CATALOGUE) or b""
    except OSError:  # a checkout in which nothing was built
        return str
    catalogue = gettext.GNUTranslations(BytesIO(content))
    return lambda text: translated(text, catalogue.gettext)


def _known(name: str) -> Language:
    return "zh" if name.lower().startswith("zh") else "en"


def _display_language(user: Path) -> str:
    if sys.platform == "win32":
        import ctypes

        chosen = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        return "zh" if chosen & 0x3FF == _CHINESE else "en"
    if sys.platform == "darwin":
        import plistlib

        settings = user / "Library" / "Preferences" / ".GlobalPreferences.plist"
        try:
            with settings.open("rb") as file:
                return str(plistlib.load(file)["AppleLanguages"][0])
        except (OSError, ValueError, LookupError, TypeError):
            return "en"
    return "en"
