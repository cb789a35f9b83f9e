"""The story of `kimifix revert`: find what is ours, take it out, give the rest back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from kimifix.config import files, redaction, routes, storage
from kimifix.config.document import OWN, parse
from kimifix.config.files import Snapshot
from kimifix.config.patch import Unpatched, unpatch
from kimifix.config.receipt import Receipt, digest
from kimifix.config.storage import Store
from kimifix.consent import Dialogue
from kimifix.errors import ChangedMeanwhileError, ConfigError
from kimifix.secret import register, secrets_in
from kimifix.surroundings import Surroundings, look_again, observe

_ATTEMPTS = 5


class Proposal(NamedTuple):
    """What would be taken back; ``exact`` when the result is the old file, byte for byte."""

    config: Path
    exact: bool
    removed: tuple[str, ...]
    restored: tuple[str, ...]
    left: tuple[str, ...]
    diff: str
    warnings: tuple[str, ...]


class Outcome(NamedTuple):
    """What came of it; ``proposal`` is None, and ``note`` may say why, where nothing was ours."""

    status: Literal["reverted", "nothing", "dry-run", "declined"]
    config: Path
    proposal: Proposal | None = None
    note: str | None = None


class _Draft(NamedTuple):
    snapshot: Snapshot
    content: bytes | None
    mode: int
    store: Store
    proposal: Proposal

    def commit(self) -> None:
        self.store.commit(self.snapshot, self.content, None, mode=self.mode)


def revert(
    option: Path | None,
    env: Mapping[str, str],
    dialogue: Dialogue[Proposal],
    *,
    dry_run: bool = False,
) -> Outcome:
    """Take our entries out of the config and put back what they had replaced.

    Raises ``KimifixError`` when that is refused or fails; the config is then as it was.
    """
    surroundings = observe(option, env)
    config = surroundings.home.config
    agreed = None
    for _ in range(_ATTEMPTS):
        draft = _draft(surroundings)
        if isinstance(draft, str) or draft is None:
            if not dry_run:  # a kill may have left a temporary file, and a key in it
                snapshot = files.read(config)
                Store(storage.state_root(), snapshot.real).settle(snapshot)
            return Outcome("nothing", config, note=draft)
        proposal = draft.proposal
        if agreed is None or agreed.removed != proposal.removed:
            dialogue.propose(proposal)
            if dry_run:
                return Outcome("dry-run", config, proposal)
            if not dialogue.confirm():
                return Outcome("declined", config, proposal)
            agreed = proposal
        try:
            draft.commit()
        except ChangedMeanwhileError as error:
            last = error
            continue
        look_again(surroundings, lambda now: not now.own_entries, dialogue.progress, "revert")
        return Outcome("reverted", config, proposal)
    raise last


def _draft(surroundings: Surroundings) -> _Draft | str | None:
    """Return the way back, or why there is none, or None where nothing was ever done."""
    config = surroundings.home.config
    snapshot = files.read(config)
    store = Store(storage.state_root(), snapshot.real)
    receipt = store.receipt(snapshot.sha256)
    if snapshot.content is None:
        return _gone(store, receipt)
    try:
        document = parse(snapshot.content, config)
    except ConfigError as error:
        raise _with_backup(error, store, receipt) from None
    for value in secrets_in(document.data):
        register(value)
    if document.own is not None and not receipt and not routes.matches(document):
        return f"the provider named `{OWN}` was not written by kimifix and stays"
    undone = unpatch(document, receipt.undo if receipt else None)
    if not undone.removed and not undone.restored:
        return None
    content, exact = _content(snapshot, undone, store, receipt)
    after = (content or b"").decode("utf-8").removeprefix(document.bom)
    proposal = Proposal(
        config,
        exact,
        tuple(".".join(path) for path in undone.removed),
        tuple(".".join(path) for path in undone.restored),
        tuple(".".join(path) for path in undone.left),
        redaction.diff(document.text, after, "config.toml"),
        tuple(surroundings.warnings),
    )
    return _Draft(snapshot, content, _mode(snapshot, receipt), store, proposal)


def _content(
    snapshot: Snapshot,
    undone: Unpatched,
    store: Store,
    receipt: Receipt | None,
) -> tuple[bytes | None, bool]:
    """Return the bytes to write (None: remove the file) and whether they are the old ones."""
    content = undone.content
    if receipt is None:
        return content, False
    untouched = receipt.after == snapshot.sha256
    if receipt.before is None:
        return (None, untouched) if not undone.text.strip() else (content, False)
    if untouched and (backup := store.backup(receipt.before)) is not None:
        return backup, True
    return content, digest(content) == receipt.before


def _mode(snapshot: Snapshot, receipt: Receipt | None) -> int:
    before = receipt.mode_before if receipt else None
    if before is not None and snapshot.mode == before & ~0o077:
        return before
    return snapshot.mode


def _gone(store: Store, receipt: Receipt | None) -> str | None:
    if receipt is None or receipt.before is None:
        return None
    backup = store.backup_path(receipt.before)
    return f"the config is gone; as it was before `apply` it lies at `{backup}`" if backup else None


def _with_backup(error: ConfigError, store: Store, receipt: Receipt | None) -> ConfigError:
    backup = store.backup_path(receipt.before) if receipt and receipt.before else None
    if backup:
        error.hint = f"mend this line, or put the backup in its place: `{backup}`"
    return error
