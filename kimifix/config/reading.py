"""One reading of the config: what it says, what we remember of it, and what it is without us."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kimifix.config import files, routes, storage
from kimifix.config.change import KeyPath
from kimifix.config.document import MANAGED, OWN, Document, parse, same
from kimifix.config.files import Snapshot
from kimifix.config.receipt import Receipt, digest, fingerprint
from kimifix.config.storage import Store
from kimifix.errors import ConfigError, UnsupportedShapeError
from kimifix.secret import register, secrets_in

if TYPE_CHECKING:
    from kimifix.config.patch import Unpatched


@dataclass(frozen=True)
class Base:
    """The config as it would be without kimifix.

    ``content`` is None where there would be no file. ``exact`` is whether these are the
    bytes that were there before kimifix came.
    """

    document: Document
    content: bytes | None
    mode: int
    exact: bool = False


@dataclass(frozen=True)
class Reading:
    """The config at one moment; what is not asked for is not worked out, and cannot fail."""

    snapshot: Snapshot
    store: Store

    @cached_property
    def document(self) -> Document:
        """The config, parsed, its secrets registered; empty where there is no file.

        Raises ``ConfigError`` where it is not valid, and says where a sound one lies.
        """
        try:
            document = parse(self.snapshot.content or b"", self.snapshot.path)
        except ConfigError as error:
            if backups := self.store.backup_paths():
                mend = f"{error.hint}, or " if error.hint else ""
                error.hint = f"{mend}put the backup in its place: `{backups[-1]}`"
            raise
        for value in secrets_in(document.data):
            register(value)
        return document

    @cached_property
    def stored(self) -> Receipt | None:
        """The receipt as the store has it."""
        return self.store.receipt(self.snapshot.sha256)

    @cached_property
    def receipt(self) -> Receipt | None:
        """The receipt, None where it is of another config that lay in the same place before.

        In one that was made anew nothing is as we wrote it, and the default is not ours. Where
        the client has removed our provider alone, it has left no default.
        """
        now = self.document
        kept = self.stored is None or "default_model" not in now.data
        if kept or any(reference.alias.startswith(f"{OWN}/") for reference in now.references):
            return self.stored
        return self.stored if len(self.edited) < len(now.own_entries) else None

    @property
    def untouched(self) -> bool:
        """Whether the config is, byte for byte, as kimifix wrote it."""
        return self.receipt is not None and self.receipt.after == self.snapshot.sha256

    @property
    def has_foreign_provider(self) -> bool:
        """Whether a provider has our name that kimifix did not write."""
        document = self.document
        return document.own is not None and not self.receipt and not routes.matches(document)

    @cached_property
    def undone(self) -> Unpatched:
        """The config with our entries taken out and what they had replaced put back.

        Raises ``UnsupportedShapeError`` where that cannot be proved.
        """
        from kimifix.config.patch import Unpatched, unpatch  # who only looks does without

        if self.has_foreign_provider:
            return Unpatched(self.document.data, self.document.text, self.document.bom)
        return unpatch(self.document, self.receipt.undo if self.receipt else None)

    @cached_property
    def base(self) -> Base:
        """The config as it would be without kimifix: what `revert` writes, `apply` builds on.

        Raises what ``undone`` raises.
        """
        receipt = self.receipt
        if self.snapshot.content is None:
            return self._base(self.document, None, exact=True)
        if receipt and receipt.before and self.untouched:
            backup = self.store.backup(receipt.before)
            if backup is not None:
                document = parse(backup, self.snapshot.path)
                return self._base(document, backup, exact=receipt.exact)
        undone = self.undone
        is_change = undone.removed or undone.restored
        if receipt and receipt.before is None and is_change and not undone.text.strip():
            return self._base(undone, None, exact=receipt.exact and self.untouched)
        is_back = receipt and receipt.exact and digest(undone.content) == receipt.before
        return self._base(undone, undone.content, exact=not is_change or bool(is_back))

    def _base(self, document: Document, content: bytes | None, *, exact: bool = False) -> Base:
        before = self._mode_before
        if before is None or any(secrets_in(document.data)):
            return Base(document, content, self.snapshot.mode, exact)
        return Base(document, content, before, exact)

    @cached_property
    def ground(self) -> Document:
        """What `apply` builds on: the base and, as they are, aliases that others built on ours.

        Raises what ``undone`` raises.
        """
        twins = self.document.twins
        theirs = [a for a in self.document.aliases_of(OWN) if a not in twins]
        if not theirs or self.has_foreign_provider:
            return self.base.document
        from kimifix.config.patch import unpatch

        undo = self.receipt.undo if self.receipt else None
        return unpatch(self.document, undo, [("models", alias) for alias in theirs])

    @property
    def has_foreign_default(self) -> bool:
        """Whether `default_model` names another provider's model, which `apply` leaves there.

        Raises what ``undone`` raises.
        """
        ground = self.ground
        is_managed = ground.default in ground.served_by(MANAGED)
        return not is_managed and not ground.default_leads_nowhere

    @property
    def keeps_default(self) -> bool:
        """Whether the next `apply` leaves the default model as it is, as after `--no-default`."""
        default = ("default_model",)
        moved = {was.path for was in self.receipt.undo.moved} if self.receipt else ()
        if self.document.own_entries and default not in moved:
            with suppress(UnsupportedShapeError):  # then there is no next `apply`
                return default not in self.undone.restored
        return False

    @cached_property
    def edited(self) -> tuple[KeyPath, ...]:
        """Our entries that are not as kimifix wrote them, and those that it did not write."""
        wrote = self.stored.wrote if self.stored else ()
        data, entries = self.document.data, self.document.own_entries
        return tuple(p for p in entries if fingerprint(p, data[p[0]][p[1]]) not in wrote)

    def losses(self, after: Document) -> tuple[str, ...]:
        """Return a warning where ``after`` has not all that others wrote into our entries."""
        now, then = self.document.data, after.data
        lost = [
            f"`{section}.{name}`"
            for section, name in self.edited
            for left in (then.get(section, {}).get(name, {}),)
            if any(not same(left.get(k), v) for k, v in now[section][name].items())
        ]
        if not lost:
            return ()
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        return (
            f"lines go that kimifix does not know as its own, in {', '.join(lost[:3])}{more}: "
            f"the config as it is now is kept in `{self.store.backups}`",
        )

    @property
    def _mode_before(self) -> int | None:
        """The mode that `apply` took away, None where it did not or somebody has set another."""
        before = self.receipt.mode_before if self.receipt else None
        return None if before is None or self.snapshot.mode != private(before) else before

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before the config is replaced.

        Raises what ``base`` raises.
        """
        found = list(self.snapshot.losses)
        before = self._mode_before
        if before is not None and self.base.mode != before:
            found.append(
                "the config holds a secret, so others do not get back their right to read it "
                f"(mode {before:04o})"
            )
        for path in sorted(self.store.lost):
            found.append(f"this cannot be understood and counts as lost: `{path}`")
        return tuple(found)


def private(mode: int) -> int:
    """Return the mode that leaves ``mode`` to the owner alone."""
    return mode & ~0o077


def read(path: Path) -> Reading:
    """Read the config at ``path``; raises ``ConfigError`` where it is no readable file."""
    snapshot = files.read(path)
    return Reading(snapshot, Store(storage.state_root(path.parent), snapshot.real))
