"""The story of `kimifix revert`: find what is ours, take it out, give the rest back as it was.

It is `apply` of nothing: what it writes is the base, see ``config.reading``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kimifix.config import reading, redaction
from kimifix.config.document import OWN
from kimifix.config.reading import Reading
from kimifix.consent import Dialogue, Draft, carry_out
from kimifix.machine import Machine, observe


@dataclass(frozen=True)
class Proposal:
    """What would be taken back; ``exact`` when the result is the old file, byte for byte."""

    config: Path
    exact: bool
    removed: tuple[str, ...]
    restored: tuple[str, ...]
    left: tuple[str, ...]
    diff: str
    warnings: tuple[str, ...]

    @property
    def wording(self) -> object:
        """What the user agrees to: a foreign edit may change how it is taken out, not what."""
        return self.removed


@dataclass(frozen=True)
class Outcome:
    """What came of it; ``proposal`` is None, and ``note`` may say why, where nothing was ours."""

    status: Literal["reverted", "nothing", "dry-run", "declined"]
    config: Path
    proposal: Proposal | None = None
    note: str | None = None


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
    machine = observe(option, env)
    config = machine.home.config
    done = carry_out(lambda: _draft(machine), dialogue, machine, "revert", dry_run=dry_run)
    match done.status:
        case "empty":
            return Outcome("nothing", config, note=_reason(done.draft.reading))
        case "written":
            return Outcome("reverted", config, done.draft.proposal)
        case status:
            return Outcome(status, config, done.draft.proposal)


def _draft(machine: Machine) -> Draft[Proposal]:
    read = reading.read(machine.home.config)
    base, undone = read.base, read.undone
    proposal = Proposal(
        machine.home.config,
        base.exact,
        tuple(".".join(path) for path in undone.removed),
        tuple(".".join(path) for path in undone.restored),
        tuple(".".join(path) for path in undone.left),
        redaction.diff(read.document.text, base.document.text, "config.toml"),
        (*machine.warnings, *read.warnings, *read.losses(base.document)),
    )
    return Draft(read, base.document, base.content, base.mode, None, proposal)


def _reason(read: Reading) -> str | None:
    """Return why there is nothing to take back, None where nothing was ever done."""
    if read.snapshot.content is not None:
        foreign = f"the provider named `{OWN}` was not written by kimifix and stays"
        return foreign if read.has_foreign_provider else None
    before = read.receipt.before if read.receipt else None
    backup = read.store.backup_path(before) if before else None
    return f"the config is gone; as it was before `apply` it lies at `{backup}`" if backup else None
