"""The config as bytes, text and data, and what it says; invalid TOML is told with its place."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kimifix.errors import ConfigError

MANAGED = "managed:kimi-code"
OWN = "kimifix"

_NOT_A_TABLE = "kimi-code cannot use it either: mend it, then run kimifix again"
_BOM = "\ufeff"
_DEEPEST = 100
_TOO_DEEP = "the config is nested too deep to be read"
_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")


class Reference(NamedTuple):
    """A setting outside `models` that names an alias: by its value, or by its key if ``is_key``."""

    path: tuple[str, ...]
    alias: str
    is_key: bool = False


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
        return {
            alias: model
            for alias, model in self.models.items()
            if model.get("provider_id", model.get("provider")) == provider
        }

    def served_by(self, provider: str) -> dict[str, dict[str, Any]]:
        """Return the model entries that reach ``provider``, by name or by default, by alias."""
        return {
            alias: model
            for alias, model in self.models.items()
            if self.provider_of(alias) == provider
        }

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
        found = [Reference(("default_model",), self.data.get("default_model", ""))]
        secondary = self.data.get("secondary_model")
        if isinstance(secondary, dict):
            for key in ("model", "default_model"):
                found.append(Reference(("secondary_model", key), secondary.get(key, "")))
            pool = secondary.get("models")
            if isinstance(pool, dict):
                found += [
                    Reference(("secondary_model", "models", alias), alias, is_key=True)
                    for alias in pool
                ]
        found += [
            Reference(("providers", name, "default_model"), entry.get("default_model", ""))
            for name, entry in self.providers.items()
            if name != OWN
        ]
        return [ref for ref in found if isinstance(ref.alias, str) and ref.alias]


def parse(content: bytes, path: Path) -> Document:
    """Return the document in ``content``.

    Raises ``ConfigError`` naming ``path``, with line and column where there is one,
    when the bytes are not UTF-8 or not TOML 1.0, or when `providers`, `models` or an
    entry of theirs is not a table.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            path,
            "the config is not UTF-8 text",
            "save the file as UTF-8 in your editor",
            line=content.count(b"\n", 0, error.start) + 1,
        ) from None
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    try:
        data = load(text)
    except RecursionError:
        raise ConfigError(path, _TOO_DEEP) from None
    except ValueError as error:  # TOMLDecodeError, and dates and integers out of range
        raise _invalid(path, str(error), text) from None
    if _is_deep(data):
        raise ConfigError(path, _TOO_DEEP)
    for section in ("providers", "models"):
        _require_tables(data, section, path)
    return Document(data, text, bom)


def load(text: str) -> dict[str, Any]:
    """Return the data of a TOML text; raises what tomllib raises."""
    return tomllib.loads(text)


def _require_tables(data: dict[str, Any], section: str, path: Path) -> None:
    entries = data.get(section, {})
    if not isinstance(entries, dict):
        raise ConfigError(path, f"`{section}` is not a table", _NOT_A_TABLE)
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ConfigError(path, f"`{section}.{name}` is not a table", _NOT_A_TABLE)


def _is_deep(data: dict[str, Any]) -> bool:
    """Tell whether ``data`` is too deep to be walked by recursion.

    tomllib reads tables by header and dotted keys without recursion, however deep.
    """
    level: list[Any] = [data]
    for _ in range(_DEEPEST):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [value for values in inside for value in values if isinstance(value, dict | list)]
        if not level:
            return False
    return True


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
        f"the config is not valid TOML: {reason}",
        "mend this line in an editor, then run kimifix again",
        line=line,
        column=column,
    )
