"""What kimifix remembers of a config: the one schema of `receipt.json` and `intent.json`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from kimifix.config.change import KeyPath, Moved, Undo

_FORMAT = 1

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Receipt:
    """What one `apply` did to one config.

    ``before`` and ``after`` are the SHA-256 of the file, ``before`` None where there was
    no file. ``exact`` is whether those were the bytes, not what we made of ones with entries
    of ours in them. ``mode_before`` is the mode that `apply` took away, None where it kept it.
    ``client`` is the version of kimi-code it was made for, None where it was unknown.
    ``time`` is UTC in ISO 8601. ``wrote`` are the fingerprints of our entries without what
    others have added to them. No field holds a secret.
    """

    config: str
    time: str
    kimifix: str
    client: str | None
    route: str
    credential: str
    before: str | None
    after: str
    mode_before: int | None
    undo: Undo
    wrote: tuple[str, ...] = ()
    exact: bool = True


@dataclass(frozen=True)
class Intent:
    """A change that is under way: the config with SHA-256 ``replaces`` becomes ``after``.

    None stands for no file; a ``receipt`` of None ends the patch. When the change is
    carried out, the file of the intent becomes that of the receipt.
    """

    config: str
    replaces: str | None
    after: str | None
    receipt: Receipt | None

    def to_json(self) -> str:
        """Return the intent as JSON text; ``from_json`` reads it back."""
        fields = {"config": self.config, "replaces": self.replaces, "after": self.after}
        fields |= asdict(self.receipt) if self.receipt else {}
        return json.dumps({"format": _FORMAT, **fields}, indent=2) + "\n"

    @classmethod
    def from_json(cls, content: bytes) -> Intent:
        """Read a file of the state; raises ``ValueError`` where it does not fit the schema."""
        try:
            fields = dict(json.loads(content))
            if fields.pop("format") != _FORMAT:
                raise ValueError("another format")
            replaces = fields.pop("replaces", None)  # earlier receipts say nothing of it
            if "undo" not in fields:
                return _checked(cls, {**fields, "replaces": replaces, "receipt": None})
            moved = tuple(_moved(entry) for entry in fields["undo"]["moved"])
            fields["undo"] = _checked(Undo, {**fields["undo"], "moved": moved})
            fields["wrote"] = tuple(fields.get("wrote", ()))
            receipt = _checked(Receipt, fields)
            made = {"config": receipt.config, "after": receipt.after, "receipt": receipt}
            return _checked(cls, {**made, "replaces": replaces})
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it does not fit the schema: {error}") from None


def _moved(entry: dict[str, Any]) -> Moved:
    moved = _checked(Moved, {**entry, "path": tuple(entry["path"])})
    # It will stand in the config again: one value, or one key in each place that spelled it.
    sources = [] if moved.old is None else moved.old.split("\n") if moved.is_key else [moved.old]
    for source in sources:
        data = tomllib.loads(f"{source} = 0" if moved.is_key else f"v = {source}")
        if list(data.values()) != [0] if moved.is_key else list(data) != ["v"]:
            raise ValueError("more than one value")
    if not moved.path:
        raise ValueError("no path")
    return moved


def _checked(kind: type[_Made], fields: dict[str, Any]) -> _Made:
    """Return the dataclass with these fields; raises ``TypeError`` where one does not fit."""
    made = kind(**fields)
    for name, hint in get_type_hints(kind).items():
        value = getattr(made, name)
        if get_origin(hint) is tuple:
            fits = isinstance(value, tuple) and all(isinstance(v, get_args(hint)[0]) for v in value)
        else:
            fits = isinstance(value, hint)
        if not fits:
            raise TypeError(f"`{name}` is of another type")
    return made


def digest(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hexadecimal."""
    return sha256(content).hexdigest()


def fingerprint(path: KeyPath, table: Any) -> str:
    """Return what tells whether the ``table`` at ``path`` is the one that was there."""
    try:
        text = json.dumps([path, table], sort_keys=True, default=str)
    except ValueError:  # a number of more digits than Python prints
        text = str(path)
    return digest(text.encode())[:16]
