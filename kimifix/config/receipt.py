"""The receipt: what kimifix wrote into a config and what was there before."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from kimifix.config.change import Moved, Undo

_FORMAT = 1


@dataclass(frozen=True)
class Receipt:
    """What one `apply` did to one config.

    ``before`` and ``after`` are the SHA-256 of the file, ``before`` None where there was
    no file. ``mode_before`` is the mode that `apply` took away, None where it kept it.
    ``client`` is the version of kimi-code it was made for, None where it was unknown.
    ``time`` is UTC in ISO 8601. No field holds a secret.
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

    def to_json(self) -> str:
        """Return the receipt as JSON text."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_data(cls, data: Any) -> Receipt | None:
        """Return the receipt in parsed JSON, None where it is not one that we understand."""
        try:
            fields = dict(data)
            if fields.pop("format") != _FORMAT:
                return None
            undo = fields.pop("undo")
            moved = tuple(
                Moved(**{**entry, "path": tuple(entry["path"])}) for entry in undo["moved"]
            )
            return cls(**fields, undo=Undo(moved, bool(undo["newline_added"])))
        except (KeyError, TypeError, ValueError):
            return None


def digest(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hexadecimal."""
    return sha256(content).hexdigest()
