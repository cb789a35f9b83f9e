"""The story of `kimifix revert`: find what is ours, take it out, give the rest back as it was.

It is `apply` of nothing: what it writes is the base, see ``config.reading``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kimifix.client import sessions
from kimifix.config import reading, redaction, routes
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.config.reading import Reading
from kimifix.consent import Dialogue, Draft, Outcome, carry_out
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


def revert(
    option: Path | None,
    env: Mapping[str, str],
    dialogue: Dialogue[Proposal],
    *,
    dry_run: bool = False,
) -> Outcome[Proposal]:
    """Take our entries out of the config and put back what they had replaced.

    Raises ``KimifixError`` when that is refused or fails; the config is then as it was.
    """
    machine = observe(option, env)
    config = machine.home.config
    done = carry_out(lambda: _draft(machine), dialogue, machine, "revert", dry_run=dry_run)
    match done.status:
        case "empty":
            return Outcome("nothing", config, notes=_reasons(done.draft.reading))
        case "written":
            before = done.draft.reading.document
            ours, theirs = before.aliases_of(OWN), done.draft.document.served_by(MANAGED)
            steps = sessions.resumed(machine.kimi, machine.home.path, ours, theirs)
            notes = _running(machine, before) if done.watched else ()
            return Outcome("reverted", config, done.draft.proposal, steps, notes)
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


def _running(machine: Machine, before: Document) -> tuple[str, ...]:
    """Return what clients do that still run with the config from before (0.30.0 to 2.1.0)."""
    pids = ", ".join(map(str, machine.running_now().pids))
    if not pids:
        return ()
    platform = routes.platform_of(before.own or {})
    sends = f"send `{routes.PLATFORM_HEADER}: {platform}`" if platform else "take our route"
    return (
        f"kimi-code still runs (process {pids}): quit it; until then an open session may {sends}, "
        "and choosing our model in `/model` writes it into the config again",
    )


def _reasons(read: Reading) -> tuple[str, ...]:
    """Return why there is nothing to take back, nothing where nothing was ever done."""
    if read.snapshot.content is not None:
        foreign = f"the provider named `{OWN}` was not written by kimifix and stays"
        return (foreign,) if read.has_foreign_provider else ()
    before = read.receipt.before if read.receipt else None
    lies = read.store.backup_path(before) if before else None
    return (f"the config is gone; as it was before `apply` it lies at `{lies}`",) if lies else ()
