"""Writes data as TOML in one of the many ways to spell it, and makes up configs to write.

An independent serialiser: nothing here is shared with the code under test. Every choice
is made by a `random.Random`, so that hypothesis can hand one in and shrink it.
"""

from __future__ import annotations

import datetime
import math
import re
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

MANAGED = "managed:kimi-code"
BASE_URL = "https://api.kimi.com/coding/v1"

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_COMMENTS = ("# note", "#", "#\t[not.a.header]", '# key = "value"', "# ü ☃ 😀", "# ]}'\"")

Data = dict[str, Any]
_Choice = TypeVar("_Choice")


def written(data: Data, random: Random) -> str:
    """Return ``data`` as TOML text, without a byte order mark."""
    return _Writer(random).text(data)


class _Writer:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._blocks: list[tuple[int, list[str]]] = []
        self._group = 0

    def text(self, data: Data) -> str:
        root: list[str] = []
        self._table(data, (), root)
        blocks = [root, *self._shuffled()]
        lines = [line for block in blocks for line in self._decorated(block)]
        ends = self._pick(["\n"], ["\n"], ["\r\n"], ["\n", "\r\n"])
        pieces = [line + self._pick(*ends) for line in lines]
        if pieces and self._chance(0.3):
            pieces[-1] = pieces[-1].rstrip("\r\n")
        return "".join(pieces)

    def _shuffled(self) -> list[list[str]]:
        """Return the blocks of the tables in any order that keeps those of one group in order."""
        order = [group for group, _ in self._blocks]
        self._random.shuffle(order)
        by_group: dict[int, list[list[str]]] = {}
        for group, block in self._blocks:
            by_group.setdefault(group, []).append(block)
        if self._chance(0.4):
            return [block for _, block in self._blocks]
        return [by_group[group].pop(0) for group in order]

    def _table(
        self, table: Data, path: tuple[str, ...], body: list[str], group: int | None = None
    ) -> None:
        """Write the members of a table into its body, or into blocks of their own."""
        for name, value in table.items():
            here = (*path, name)
            if isinstance(value, dict):
                style = self._pick("header", "header", "dotted", "inline")
                if style == "dotted" and value:
                    self._dotted(value, [name], body)
                elif style == "header":
                    self._header(value, here, group)
                else:
                    body.append(self._pair([name], value))
            elif _is_array_of_tables(value) and self._chance(0.7):
                own = self._new_group() if group is None else group
                for element in value:
                    block = [self._bracketed("[[", here, "]]")]
                    self._blocks.append((own, block))
                    self._table(element, here, block, own)
            else:
                body.append(self._pair([name], value))

    def _header(self, table: Data, path: tuple[str, ...], group: int | None) -> None:
        only_tables = table and all(isinstance(value, dict) for value in table.values())
        if only_tables and self._chance(0.5):
            for name, value in table.items():
                self._header(value, (*path, name), group)
            return
        block = [self._bracketed("[", path, "]")]
        self._blocks.append((self._new_group() if group is None else group, block))
        self._table(table, path, block, group)

    def _dotted(self, table: Data, path: list[str], body: list[str]) -> None:
        for name, value in table.items():
            if isinstance(value, dict) and value and self._chance(0.7):
                self._dotted(value, [*path, name], body)
            else:
                body.append(self._pair([*path, name], value))

    def _new_group(self) -> int:
        self._group += 1
        return self._group

    def _bracketed(self, left: str, path: tuple[str, ...], right: str) -> str:
        pad = self._pick("", "", " ", "\t")
        return f"{left}{pad}{self._keys(list(path))}{pad}{right}"

    def _pair(self, path: list[str], value: Any) -> str:
        equals = self._pick(" = ", " = ", "=", "\t=  ")
        return f"{self._keys(path)}{equals}{self._value(value)}"

    def _keys(self, path: list[str]) -> str:
        return self._pick(".", ".", " . ").join(map(self._key, path))

    def _key(self, name: str) -> str:
        if _BARE.fullmatch(name) and self._chance(0.7):
            return name
        if self._chance(0.3) and _is_literal(name):
            return f"'{name}'"
        return self._basic(name)

    def _basic(self, text: str) -> str:
        escaped = self._chance(0.15)
        return '"' + "".join(self._character(c, escaped) for c in text) + '"'

    def _character(self, character: str, escaped: bool) -> str:
        code = ord(character)
        if escaped or character in '"\\' or code < 0x20 or code == 0x7F:
            return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        return character

    def _value(self, value: Any) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case str():
                return self._string(value)
            case int():
                return str(value)
            case float():
                return _float(value)
            case datetime.datetime() | datetime.date() | datetime.time():
                return value.isoformat()
            case list():
                return self._array(value)
            case _:
                return self._inline(value)

    def _string(self, text: str) -> str:
        style = self._pick("basic", "basic", "literal", "multi", "multi-literal")
        if style == "literal" and _is_literal(text):
            return f"'{text}'"
        if style == "multi-literal" and _is_literal(text):
            return f"'''\n{text}'''"
        if style == "multi":
            start = "" if text.startswith(" ") else self._pick("", "\\\n   ")
            return '"""' + start + self._basic(text)[1:-1] + '"""'
        return self._basic(text)

    def _array(self, values: list[Any]) -> str:
        if not values:
            return self._pick("[]", "[ ]", "[\n]", "[ # empty\n]")
        separator = self._pick(", ", ",", ",\n  ", ", # note ]\n\t")
        inside = separator.join(map(self._value, values))
        return "[" + inside + self._pick("", " ", ",", "\n", " # last\n") + "]"

    def _inline(self, table: Data) -> str:
        if not table:
            return self._pick("{}", "{ }")
        pad = self._pick("", " ")
        pairs = []
        for name, value in table.items():
            if isinstance(value, dict) and value and self._chance(0.3):
                pairs += [self._flat_pair([name, inner], value[inner]) for inner in value]
            else:
                pairs.append(self._flat_pair([name], value))
        return "{" + pad + self._pick(", ", ",", " , ").join(pairs) + pad + "}"

    def _flat_pair(self, path: list[str], value: Any) -> str:
        return f"{self._keys(path)}{self._pick(' = ', '=')}{self._value(value)}"

    def _decorated(self, block: list[str]) -> list[str]:
        lines = []
        for line in block:
            if self._chance(0.15):
                lines.append("")
            if self._chance(0.15):
                lines.append(self._pick("", "  ", "\t") + self._pick(*_COMMENTS))
            indent = self._pick("", "", "", "  ", "\t")
            tail = " " + self._pick(*_COMMENTS) if self._chance(0.15) else ""
            lines.append(indent + line + tail)
        if self._chance(0.2):
            lines += self._pick([""], ["", ""], ["# at the end"], ["   "])
        return lines

    def _pick(self, *choices: _Choice) -> _Choice:
        return self._random.choice(choices)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability


def _is_literal(text: str) -> bool:
    return "'" not in text and all(c == "\t" or (c >= " " and c != "\x7f") for c in text)


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)


names = st.one_of(
    st.sampled_from(["a", "b-c", "1", "true", "", "with space", "a.b", "ключ", "😀", 'q"', "it's"]),
    # Hypothesis draws words of the package itself, too: no name here has a meaning, such as `env`.
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(
        lambda name: not (len(name) > 1 and name.isascii() and name.isidentifier())
    ),
)
strings = st.one_of(
    st.sampled_from(["", "x", "two words", "# no comment", "[no.header]", "ü", '"""', "'''", "\\"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
scalars: st.SearchStrategy[Any] = st.one_of(
    strings,
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),  # what kimi-code reads
    st.floats(),
    st.dates(),
    st.times(),
    st.datetimes(),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


_ALIASES = (
    "kimi-code/kimi-for-coding",
    "kimi-code/k3",
    "mine",
    "x.y",
    "ключ",
    "a b",
    'q"',
    "",
)
_NAMES_OF_A_CONFIG = {
    "default_model",
    "default_provider",
    "providers",
    "models",
    "secondary_model",
    "thinking",
}
_THINKING: tuple[Data, ...] = (
    {},
    {"enabled": True},
    {"effort": "high"},
    {"keep": "all"},
    {"sub": {"x": 1}},
)


@st.composite
def configs(draw: st.DrawFn, *, managed: bool = True) -> Data:
    """A config of a client that is signed in, with much else in it.

    Nothing in it names kimifix. Without ``managed`` the managed provider may be missing.
    """
    aliases = draw(st.lists(st.sampled_from(_ALIASES), unique=True, min_size=1, max_size=4))
    of_managed = draw(st.integers(1, len(aliases))) if managed or draw(st.booleans()) else 0
    providers: Data = {}
    if of_managed:
        providers[MANAGED] = draw(_managed_providers)
    if draw(st.booleans()):
        providers["foreign"] = draw(st.dictionaries(names, values, max_size=3))
    models = {
        alias: {"provider": MANAGED if i < of_managed else "foreign", **draw(_model_fields)}
        for i, alias in enumerate(aliases)
    }
    alias = st.sampled_from(aliases)
    data: Data = {"providers": providers, "models": models}
    if draw(st.booleans()):
        data["default_model"] = draw(alias)
    if draw(st.booleans()):
        data["default_provider"] = draw(st.sampled_from([MANAGED, "foreign"]))
    if draw(st.booleans()):
        data["thinking"] = draw(st.sampled_from(_THINKING))
    if draw(st.booleans()):
        data["secondary_model"] = draw(_secondary_models(alias))
    if draw(st.booleans()):
        hooks = st.lists(st.dictionaries(names, values, max_size=3), min_size=1, max_size=3)
        data["hooks"] = draw(hooks)
    others: Data = draw(st.dictionaries(names, values, max_size=4))
    data |= {name: value for name, value in others.items() if name not in _NAMES_OF_A_CONFIG}
    return {key: data[key] for key in draw(st.permutations(list(data)))}


def _secondary_models(alias: st.SearchStrategy[str]) -> st.SearchStrategy[Data]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "model": alias,
        "default_model": alias,
        "default_effort": st.just("low"),
        "models": st.dictionaries(alias, strings | st.dictionaries(names, values), max_size=3),
    }
    return st.fixed_dictionaries({}, optional=optional)


_MODEL: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["kimi-for-coding", "k3"]),
    "max_context_size": st.just(262144),
}
_MODEL_EXTRA: dict[str, st.SearchStrategy[Any]] = {
    "capabilities": st.sampled_from([[], ["thinking"], ["always_thinking", "tool_use"]]),
    "display_name": strings,
    "overrides": st.sampled_from([{}, {"default_effort": "low"}]),
    "extra": values,
}
_MANAGED: dict[str, st.SearchStrategy[Any]] = {
    "type": st.just("kimi"),
    "base_url": st.just(BASE_URL),
    "oauth": st.just({"storage": "file", "key": "oauth/kimi-code"}),
}
_MANAGED_EXTRA: dict[str, st.SearchStrategy[Any]] = {
    "api_key": st.just(""),
    "default_model": st.sampled_from(["kimi-code/k3", "mine"]),
    "custom_headers": st.sampled_from(
        [{}, {"X-Own": "mine"}, {"x-msh-platform": "mine"}, {"X-Msh-Platform": "a", "b": "c"}]
    ),
    "extra": values,
}
_model_fields = st.fixed_dictionaries(_MODEL, optional=_MODEL_EXTRA)
_managed_providers = st.fixed_dictionaries(_MANAGED, optional=_MANAGED_EXTRA)
