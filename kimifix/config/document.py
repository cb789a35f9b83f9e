"""The config as bytes, text and data, and what it says; invalid TOML is told with its place."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from kimifix import reader
from kimifix.errors import ConfigError
from kimifix.words import filled

MANAGED = "managed:kimi-code"
OWN = "kimifix"

_KINDS: dict[type, str] = {
    **{str: "a string", bool: "a boolean", int: "a number", float: "a number"},
    **{list: "an array", dict: "a table"},
}
_BOM = "\ufeff"
_DEEPEST = 100
_LARGEST = 2**53 - 1
_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")
# What tomllib says of no text that smol-toml takes, with which kimi-code reads TOML 1.1, and dates
# that no calendar has (tried: tests/real/test_corpus.py).
_BEYOND_DOUBT = re.compile(
    r"expected\s'|invalid\s(value|statement)|illegal|unclosed\sarray|unterminated|cannot|found"
)


load = tomllib.loads
_SHAPE = reader.tables("config/shape.toml")


class Reference(NamedTuple):
    """A setting outside `models` that names an alias: by its value, or by its key if ``is_key``."""

    path: tuple[str, ...]
    alias: str
    is_key: bool = False

    @property
    def place(self) -> tuple[str, ...]:
        """The path that stays when the setting names another alias."""
        return self.path[:-1] if self.is_key else self.path


@dataclass(frozen=True)
class Document:
    """One reading of the config, and the questions that can be put to it.

    ``data`` is what tomllib makes of ``text``, the decoded file without ``bom`` (the byte
    order mark or nothing) and with its line ends as they are.
    """

    data: dict[str, Any]
    text: str = ""
    bom: str = ""

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return (self.bom + self.text).encode("utf-8")

    @cached_property
    def too_large(self) -> str | None:
        """Where the first integer is that JavaScript does not have: kimi-code reads no such config.

        Run: 0.25.0, 0.32.0, 0.33.0, 0.38.0, 2.1.0.
        """
        values = _values(self.data)
        found = (place for place, v in values if isinstance(v, int) and abs(v) > _LARGEST)
        return next(map(".".join, found), None)

    @cached_property
    def misfit(self) -> str | None:
        """What keeps kimi-code from 0.33.0 on from reading `providers` or `models`, if anything."""
        return misfit(self.data, reader.tables("config/schema.toml")["section"])

    @cached_property
    def login_misfit(self) -> str | None:
        """What makes `kimi login` refuse the config, if anything (run: 0.25.0 to 2.1.0)."""
        if self.bom:
            return "it begins with a byte order mark"
        return misfit(self.data, reader.tables("config/schema.toml")["entry"])

    @property
    def providers(self) -> dict[str, dict[str, Any]]:
        """The provider entries by name."""
        entries: dict[str, dict[str, Any]] = self.data.get("providers", {})
        return entries

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """The model entries by alias."""
        entries: dict[str, dict[str, Any]] = self.data.get("models", {})
        return entries

    @property
    def default(self) -> str:
        """The alias of the default model, empty where none is set."""
        return str(self.data.get("default_model", "")).strip()

    @property
    def default_leads_nowhere(self) -> bool:
        """Whether there is no default model, or no provider for it; ours comes and goes."""
        alias = self.default
        if not alias or alias not in self.models:
            return True
        return self.provider_of(alias) not in {*self.providers, OWN}

    @property
    def managed(self) -> dict[str, Any]:
        """The managed provider, empty where there is none."""
        return self.providers.get(MANAGED, {})

    @property
    def own(self) -> dict[str, Any] | None:
        """The own provider, None where there is none."""
        return self.providers.get(OWN)

    def provider_of(self, alias: str) -> Any:
        """Return the name of the provider that serves ``alias``, None where none is named.

        `provider_id` wins over `provider`; an alias without provider belongs to
        `default_provider` (kimi-code 2.1.0).
        """
        model = self.models[alias]
        named = model.get("provider_id", model.get("provider"))
        return self.data.get("default_provider") if named is None else named

    def aliases_of(self, provider: str) -> dict[str, dict[str, Any]]:
        """Return the model entries that name ``provider`` themselves, by alias."""
        models = self.models.items()
        return {a: m for a, m in models if m.get("provider_id", m.get("provider")) == provider}

    def served_by(self, provider: str) -> dict[str, dict[str, Any]]:
        """Return the model entries that reach ``provider``, by name or by default, by alias."""
        return {a: m for a, m in self.models.items() if self.provider_of(a) == provider}

    @property
    def twins(self) -> dict[str, dict[str, Any]]:
        """Our aliases: what others have called by a name of their own is not among them."""
        own = self.aliases_of(OWN).items()
        return {alias: model for alias, model in own if alias.startswith(f"{OWN}/")}

    @property
    def own_entries(self) -> tuple[tuple[str, ...], ...]:
        """The paths of our provider and of every alias whose provider is ours."""
        aliases = tuple(("models", alias) for alias in self.aliases_of(OWN))
        return aliases if self.own is None else (("providers", OWN), *aliases)

    @property
    def references(self) -> list[Reference]:
        """Every setting outside `models` that names an alias, `default_model` first.

        Source: bundles and runs of kimi-code 0.20.0 to 2.1.0. `[secondary_model]` came with
        0.32; the keys of `[secondary_model.models]` are aliases since 0.38.
        """
        others = [name for name in self.providers if name != OWN]
        found = [
            Reference(path, get(self.data, path))
            for path in (
                ("default_model",),
                ("secondary_model", "model"),
                ("secondary_model", "default_model"),
                *(("providers", name, "default_model") for name in others),
            )
        ]
        pool = ("secondary_model", "models")
        aliases = get(self.data, pool)
        if isinstance(aliases, dict):
            found += [Reference((*pool, alias), alias, is_key=True) for alias in aliases]
        return [ref for ref in found if filled(ref.alias)]


def parse(content: bytes, path: Path) -> Document:
    """Return the document in ``content``.

    Raises ``ConfigError`` naming ``path``, with line and column where there is one,
    when the bytes are not UTF-8 or not TOML 1.0, or when a value that kimifix knows is of
    another type than kimi-code takes.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            path,
            "the config is not UTF-8 text",
            "save the file as UTF-8 in your editor",
            line=content.count(b"\n", 0, error.start) + 1,
            client_can=True,
        ) from None
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    try:
        data = load(text)
        is_deep = any(len(place) > _DEEPEST for place, _ in _values(data))
    except RecursionError:
        is_deep = True
    except ValueError as error:  # TOMLDecodeError, and dates and integers out of range
        raise _invalid(path, str(error).partition(";")[0], text) from None
    if is_deep:
        raise ConfigError(path, "the config is nested too deep to be read", client_can=True)
    if wrong := misfit(data, _SHAPE):
        raise ConfigError(path, wrong, "mend it: kimi-code cannot use it either")
    for place, name in _respelled(data, _SHAPE):
        reason = f"`{place}` is `{name}` for kimi-code, and kimifix does not read it"
        raise ConfigError(path, reason, f"write `{name}` instead", client_can=True)
    return Document(data, text, bom)


def get(data: Any, path: tuple[str, ...]) -> Any:
    """Return the value at ``path``, None where there is none."""
    for part in path:
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are the same TOML: 1, 1.0 and true differ, NaN equals NaN."""
    return difference(a, b) is None


def difference(a: Any, b: Any, path: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """Return the path of the first difference, see ``same``; the order of keys does not count."""
    if type(a) is not type(b):
        return path
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return (*path, min(a.keys() ^ b.keys()))
        found = (difference(a[key], b[key], (*path, key)) for key in a)
    elif isinstance(a, list) and len(a) == len(b):
        found = (difference(x, y, path) for x, y in zip(a, b, strict=True))
    else:
        return None if a == b or (isinstance(a, float) and isnan(a) and isnan(b)) else path
    return next((place for place in found if place is not None), None)


def misfit(value: Any, shape: Any, path: tuple[str, ...] = ()) -> str | None:
    """Return where ``value`` does not fit ``shape``, and why, if anywhere.

    A shape is a value of the right type, with `*` for every other name of a table, and `!` for
    the names that it must have. A string in it that is not empty is a pattern, a number that
    is not 0 the least whole number.
    """
    kind, found = _KINDS[type(shape)], _KINDS.get(type(value), "a date or a time")
    place = ".".join(path)
    if found != kind:
        return f"`{place}` is not {kind} but {found}"
    inside = []
    if isinstance(shape, dict):
        if missing := [name for name in shape.get("!", ()) if name not in value]:
            return f"`{place}` lacks `{missing[0]}`"
        inside = [(value[name], shape.get(name, shape.get("*")), (*path, name)) for name in value]
    elif isinstance(shape, list):
        inside = [(item, shape[0], path) for item in value]
    elif shape and not (
        re.fullmatch(shape, value) if isinstance(shape, str) else value >= shape and value % 1 == 0
    ):
        return f"`{place}` has a value that kimi-code does not take"
    return next(filter(None, (misfit(*one) for one in inside if one[1] is not None)), None)


def _respelled(value: Any, shape: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield where a key is spelled `baseUrl`, which kimi-code takes as well, and its usual name."""
    for name in value if isinstance(shape, dict) else ():
        if not name.islower():
            usual = re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)
            if usual != name and usual in shape:
                yield ".".join((*path, name)), usual
        yield from _respelled(value[name], shape.get(name, shape.get("*")), (*path, name))


def _values(data: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value in ``data`` with its path, those that have others in them, too.

    tomllib reads tables by header and dotted keys without recursion, however deep.
    """
    left: list[tuple[tuple[str, ...], Any]] = [((), data)]
    while left:
        place, value = left.pop()
        yield place, value
        is_table, is_array = isinstance(value, dict), isinstance(value, list)
        inside = value.items() if is_table else enumerate(value) if is_array else ()
        left += [((*place, str(key)), item) for key, item in inside]


def _invalid(path: Path, reason: str, text: str) -> ConfigError:
    match = _PLACE.search(reason)
    line = column = None
    if match:
        reason = reason[: match.start()]
        line = int(match[1]) if match[1] else text.count("\n") + 1
        column = int(match[2]) if match[2] else None
    reason = reason[:1].lower() + reason[1:]
    return ConfigError(
        path,
        f"the config is not valid TOML 1.0: {reason}",
        "mend this line in an editor; kimi-code takes TOML 1.1 as well, kimifix does not",
        line=line,
        column=column,
        client_can=not _BEYOND_DOUBT.match(reason),
    )
