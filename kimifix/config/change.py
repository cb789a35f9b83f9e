"""What `apply` changes, as data: the change to make, and what it takes to undo it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """What shall be different in the data afterwards.

    ``tables`` are new tables by path; ``values`` single values to set by path, whether
    they exist or not; ``keys`` maps the path of an existing value to the new name of
    its last part.
    """

    tables: Mapping[KeyPath, Mapping[str, Any]] = field(default_factory=dict)
    values: Mapping[KeyPath, str | bool] = field(default_factory=dict)
    keys: Mapping[KeyPath, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Moved:
    """One value or key outside our own tables that ``patch`` has changed.

    ``path`` is where it stood before. ``old`` is the TOML source that was replaced
    (None: there was nothing, and ``new_table`` tells whether its table is new too);
    ``new`` is the value, or the key when ``is_key``, that stands there since.
    """

    path: KeyPath
    old: str | None
    new: str | bool
    is_key: bool = False
    new_table: bool = False

    @property
    def path_since(self) -> KeyPath:
        """Where it stands after ``patch``."""
        return (*self.path[:-1], str(self.new)) if self.is_key else self.path


@dataclass(frozen=True)
class Undo:
    """All that ``unpatch`` cannot see in the text itself."""

    moved: tuple[Moved, ...] = ()
    newline_added: bool = False
