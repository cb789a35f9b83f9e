"""Sentences in Chinese. The catalogue has the English of the source, `{}` for a value in it.

A value may be a sentence, too, so the text is taken to pieces from the outside. Foreign text
stands among them: what is no sentence of ours stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pkgutil import get_data
from struct import iter_unpack, unpack_from
from typing import NamedTuple

CATALOGUE = "locale/zh_CN/LC_MESSAGES/kimifix.mo"
_DISTINCT = 10  # letters of a template: fewer may stand in foreign text by chance
_TELLING = 4  # letters of what may continue a foreign text


class _Said(NamedTuple):
    """A text in Chinese, and whether all of it is ours."""

    text: str
    ours: bool


class _Template(NamedTuple):
    letters: int
    size: int
    pieces: list[str]
    chinese: str
    judged: int  # the first gap that has to hold what is ours


def in_chinese(text: str) -> str:
    """Return ``text`` with the sentences in it in Chinese."""
    return _catalogue().look_up(text).text


@cache
def _catalogue() -> _Catalogue:
    try:
        data = get_data("kimifix", CATALOGUE) or b""
    except OSError:  # a checkout in which nothing was built
        return _Catalogue({})
    count, *tables = unpack_from("<3I", data, 8)  # as GNU gettext lays it out
    english, chinese = (
        [data[at : at + n].decode() for n, at in iter_unpack("<2I", data[table:][: 8 * count])]
        for table in tables
    )
    return _Catalogue(dict(zip(english, chinese, strict=True)))


class _Catalogue:
    def __init__(self, messages: Mapping[str, str]) -> None:
        self._known = {english: _Said(chinese, True) for english, chinese in messages.items()}
        self._known[""] = _Said("", True)
        self._templates = sorted(
            (_template(*message) for message in messages.items() if "{}" in message[0]),
            reverse=True,
        )

    def look_up(self, text: str) -> _Said:
        if text not in self._known:
            best = None
            for found in self._filled(text):
                best = found if found.ours else best or found
                if found.ours:
                    break
            self._known[text] = best or _Said(text, False)
        return self._known[text]

    def _filled(self, text: str) -> Iterator[_Said]:
        """Yield what templates make of ``text``, the most distinct first."""
        for letters, _, pieces, chinese, judged in self._templates:
            if not (text.startswith(pieces[0]) and text.endswith(pieces[-1])):
                continue
            quoted = [piece.endswith("`") for piece in pieces[:-1]]
            for values in _gaps(pieces, text):
                pairs = tuple(zip(values, quoted, strict=True))
                if any("`" in v and (q or v.count("`") % 2) for v, q in pairs):
                    continue
                said = [_Said(v, True) if q else self.look_up(v) for v, q in pairs]
                # A single word says nothing of whose text this is.
                ours = [
                    one.ours if " " in v or (not letters and v.isalpha()) else None
                    for v, one in zip(values, said, strict=True)
                ]
                tail = [*filter(lambda one: one is not None, ours[judged:])]
                if letters >= _DISTINCT or any(tail) or (letters and not tail):
                    yield _Said(chinese.format(*(s.text for s in said)), False not in ours)


def _template(english: str, chinese: str) -> _Template:
    continues = english[:1] in (" ", ",", ";")
    if continues:
        english, chinese = f"{{}}{english}", f"{{}}{chinese}"
    pieces = english.split("{}")
    letters = sum(map(str.isalpha, english))
    letters = 0 if continues and letters < _TELLING else letters + _DISTINCT * (":" in pieces[0])
    judged = int(continues and letters > 0)
    return _Template(letters, len(english), pieces, chinese, judged)


def _gaps(pieces: Sequence[str], text: str) -> Iterator[list[str]]:
    """Yield what may stand between ``pieces`` where they make up ``text``, shortest first."""
    first, after, *rest = pieces
    text = text[len(first) :]
    at = text.find(after) if rest else len(text) - len(after)
    while at >= 0:
        more = _gaps((after, *rest), text[at:]) if rest else [[]]
        yield from ([text[:at], *values] for values in more)
        at = text.find(after, at + 1) if rest else -1
