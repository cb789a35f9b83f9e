"""Sentences in Chinese. The catalogue has the English of the source, `{}` for a value in it.

A value may be a sentence, too, so a text is taken to pieces from the outside. Foreign text
stands among them: what is no sentence of ours stays as it is, and so does what is in backticks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pkgutil import get_data
from re import finditer
from struct import iter_unpack, unpack_from
from typing import NamedTuple

CATALOGUE = "locale/zh_CN/LC_MESSAGES/kimifix.mo"
# Letters of a template: fewer may stand in foreign text by chance, or behind one as these do.
_DISTINCT, _CONTINUING = 10, 4
_CONTINUES = (" ", ",", ";")


class _Said(NamedTuple):
    text: str
    is_ours: bool  # all of it


class _Template(NamedTuple):
    letters: int
    size: int
    pieces: list[str]
    chinese: str
    judged: int  # the first gap whose content tells whether this is it


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
        self._sentences = frozenset(text for text in messages if " " in text.strip())
        gaps = (one for one in messages.items() if "{}" in one[0] or one[0].startswith(_CONTINUES))
        made = (_template(*message) for message in gaps)
        self._templates = sorted(made, reverse=True)

    def look_up(self, text: str) -> _Said:
        if text not in self._known:
            best = None
            for said in self._filled(text):
                best = said if said.is_ours else best or said
                if said.is_ours:
                    break
            self._known[text] = best or _Said(text, False)
        return self._known[text]

    def _filled(self, text: str) -> Iterator[_Said]:
        """Yield what templates make of ``text``, the most distinct first.

        A whole sentence with something behind it counts like one; before all where that is ours.
        """
        heads: list[tuple[int, _Said]] = []
        for match in finditer(": ", text):
            if (begun := text[: match.start()]) in self._sentences:
                rest = self.look_up(text[match.end() :])
                joined = self._known["{}: {}"].text.format(self._known[begun].text, rest.text)
                heads.append((_template(f"{begun}: {{}}", "").letters, _Said(joined, True)))
                if rest.is_ours:
                    yield heads.pop()[1]
        for letters, _, pieces, chinese, judged in self._templates:
            while heads and heads[-1][0] >= letters:
                yield heads.pop()[1]
            if not (text.startswith(pieces[0]) and text.endswith(pieces[-1])):
                continue
            is_distinct = letters >= _DISTINCT
            for values in _gaps(pieces, text):
                said = [
                    _Said(value, True) if piece.endswith("`") else self.look_up(value)
                    for piece, value in zip(pieces, values, strict=False)
                ]
                # A single word does not tell whose text this is.
                phrases = [
                    n for n, v in enumerate(values) if " " in v or (not letters and v.isalpha())
                ]
                told = [said[n].is_ours for n in phrases if n >= judged]
                if is_distinct or any(told) or (letters and not told):
                    is_ours = all(said[n].is_ours for n in phrases if n < judged or not is_distinct)
                    yield _Said(chinese.format(*(one.text for one in said)), is_ours)


def _template(english: str, chinese: str) -> _Template:
    continues = english.startswith(_CONTINUES)
    if continues:
        english, chinese = f"{{}}{english}", f"{{}}{chinese}"
    pieces = english.split("{}")
    letters = sum(map(str.isalpha, english))
    if continues and letters < _CONTINUING:
        letters = 0
    elif letters:  # a label and brackets are as good as more of them
        letters += _DISTINCT * (":" in pieces[0]) + 3 * sum(map(english.count, ":()"))
    return _Template(letters, len(english), pieces, chinese, int(continues and letters > 0))


def _gaps(pieces: Sequence[str], text: str) -> Iterator[list[str]]:
    """Yield what may stand between ``pieces`` where they make up ``text``, shortest first."""
    first, after, *rest = pieces
    text = text[len(first) :]
    at = text.find(after) if rest else len(text) - len(after)
    while at >= 0:
        value = text[:at]
        if "`" not in value or not (first.endswith("`") or value.count("`") % 2):
            more = _gaps((after, *rest), text[at:]) if rest else [[]]
            yield from ([value, *values] for values in more)
        at = text.find(after, at + 1) if rest else -1
