"""One loop for `apply` and `revert`: propose, ask, write, try again, look again."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from kimifix.config import files, reading
from kimifix.config.document import Document
from kimifix.config.patch import stands
from kimifix.config.reading import Reading
from kimifix.config.receipt import Receipt
from kimifix.errors import ChangedMeanwhileError, KimifixError
from kimifix.machine import Machine
from kimifix.secret import Secret

# A client that starts asks for its model list within a second, and overwrites an edit
# made meanwhile 10 to 16 ms after the answer. The request has no time limit of its own
# (Node gives up after 300 s), so no watch proves that an edit will stay; this one covers
# every server that answers in a usual time (measured, 0.20.0 to 2.1.0).
WATCH_SECONDS = 10.0
_WATCH_PAUSE_SECONDS = 0.1
_ATTEMPTS = 5


class Proposed(Protocol):
    """What a proposal of any verb can tell."""

    @property
    def wording(self) -> object:
        """What the user agrees to, apart from where in the file it lands."""


Proposal = TypeVar("Proposal", bound=Proposed)
Proposal_contra = TypeVar("Proposal_contra", contravariant=True)


class Dialogue(Protocol[Proposal_contra]):
    """Shows what would be written and asks; `output` has the one that talks to a terminal."""

    def propose(self, proposal: Proposal_contra) -> None:
        """Show what would be written."""

    def confirm(self) -> bool:
        """Ask whether to write it; raises ``KimifixError`` where nobody can be asked."""
        ...

    def ask_key(self, why: str | None, instead: str | None) -> Secret | None:
        """Ask for an API key without showing it; None where nobody can be asked.

        ``why`` the login does not serve, and what to do ``instead``, None if it is not wanted.
        """

    def progress(self, text: str) -> None:
        """Say what is being waited for."""

    def written(self) -> Callable[[], bool]:
        """Take note that the change is on disk: an interruption comes too late to stop it.

        Returns a function that tells whether there has been one since.
        """
        ...


@dataclass(frozen=True)
class Draft(Generic[Proposal]):
    """A proved successor of one reading of the config, ready to be written.

    ``content`` is None where the file shall go, and ``receipt`` where the patch ends.
    """

    reading: Reading
    document: Document
    content: bytes | None
    mode: int
    receipt: Receipt | None
    proposal: Proposal

    @property
    def is_empty(self) -> bool:
        """Whether the config is as it would be written."""
        return self.content == self.reading.snapshot.content

    def commit(self) -> None:
        """Write it; raises what ``Store.commit`` raises."""
        base = self.reading.base.content if self.receipt else None
        self.reading.store.commit(
            self.reading.snapshot,
            self.content,
            self.receipt,
            mode=self.mode,
            earlier=self.reading.stored,
            backup=base,
            keep_replaced=bool(self.reading.losses(self.document)),
        )

    @property
    def backup_path(self) -> Path | None:
        """Where the bytes from before lie, None where there was no file."""
        before = self.receipt.before if self.receipt else None
        return self.reading.store.backup_path(before) if before else None

    def holds(self, now: Document) -> bool:
        """Tell whether what was written is still there, whole."""
        if self.receipt is None:
            return not now.own_entries
        return stands(self.document.own_entries, self.receipt.undo, now)


@dataclass(frozen=True)
class Done(Generic[Proposal]):
    """What came of a draft; ``watched`` is whether a client was running that could undo it."""

    status: Literal["empty", "dry-run", "declined", "written"]
    draft: Draft[Proposal]
    watched: bool = False


@dataclass(frozen=True)
class Outcome(Generic[Proposal]):
    """What came of a command.

    ``proposal`` is None where nothing had to be proposed. ``next`` are commands that can be
    typed as they are, ``notes`` what should be known besides; ``reason`` is why the command
    chose what it did. ``backup`` and ``sandbox`` are where these lie, if there are any.
    """

    status: Literal[
        "applied", "reverted", "unchanged", "nothing", "not-needed", "dry-run", "declined"
    ]
    config: Path
    proposal: Proposal | None = None
    next: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    backup: Path | None = None
    sandbox: Path | None = None
    reason: str | None = None


def carry_out(
    draft_now: Callable[[], Draft[Proposal]],
    dialogue: Dialogue[Proposal],
    machine: Machine,
    verb: str,
    *,
    dry_run: bool = False,
    try_out: Callable[[Draft[Proposal]], object] = lambda _: None,
) -> Done[Proposal]:
    """Propose what ``draft_now`` makes of the config as it is, ask, write it, look again.

    ``try_out`` comes before writing, and before the end of a dry run; it raises where the
    change is not good. A sandbox needs no consent.

    Where somebody else wrote meanwhile it starts over, and asks again if the change is
    another; what a running client undoes is written again without asking. Raises
    ``ChangedMeanwhileError`` or ``KimifixError`` where that does not end, and
    ``KimifixError`` where the disk refuses.
    """
    agreed = is_interrupted = None
    for _ in range(_ATTEMPTS):
        draft = draft_now()
        if draft.is_empty:
            if not dry_run:  # a kill may have left a temporary file, and a key in it
                draft.reading.store.settle()
            return Done("written" if is_interrupted else "empty", draft, bool(is_interrupted))
        if not is_interrupted and (agreed is None or agreed.wording != draft.proposal.wording):
            dialogue.propose(draft.proposal)
            if not dry_run and not machine.is_sandbox and not dialogue.confirm():
                return Done("declined", draft)
            try_out(draft)
            if dry_run:
                return Done("dry-run", draft)
            agreed = draft.proposal
        try:
            draft.commit()
            is_interrupted = is_interrupted or dialogue.written()
        except ChangedMeanwhileError as error:
            last: KimifixError = error
            continue
        except KeyboardInterrupt:
            if files.read(machine.home.config).content != draft.content:
                raise
            is_interrupted = dialogue.written()  # it came when all was done
        watched = _look_again(machine, draft, dialogue.progress, is_interrupted)
        if watched != "undone":
            return Done("written", draft, watched == "whole")
        what = "erased the change, or a part of it" if verb == "apply" else "undone the change"
        last = KimifixError(
            f"a running kimi-code has {what}: `{machine.home.config}`",
            f"quit every running kimi-code, then run `{machine.kimifix(verb)}` again",
        )
        dialogue.progress(f"{last.message}; writing it again")
    raise last


def _look_again(
    machine: Machine,
    draft: Draft[Any],
    progress: Callable[[str], None],
    is_interrupted: Callable[[], bool],
) -> Literal["alone", "whole", "undone"]:
    """Watch whether a running client leaves what was written, until that is interrupted.

    Returns what came of it: ``alone`` is that no client ran, none started meanwhile included.
    """
    if not (machine.running.pids or machine.running_now().pids):
        return "alone"
    progress(f"kimi-code is running: watching the config for {WATCH_SECONDS:.0f} seconds")
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline and not is_interrupted():
        with suppress(KimifixError):  # in the middle of somebody's write: the next look tells
            if not draft.holds(reading.read(machine.home.config).document):
                return "undone"
        time.sleep(_WATCH_PAUSE_SECONDS)
    if is_interrupted():
        progress("no longer watching; the change is written")
    return "whole"
