"""The user's side of `apply` and `revert`, as the verbs see it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from kimifix.secret import Secret

Proposal_contra = TypeVar("Proposal_contra", contravariant=True)


class Dialogue(Protocol[Proposal_contra]):
    """Shows what would be written and asks; `output` has the one that talks to a terminal."""

    def propose(self, proposal: Proposal_contra) -> None:
        """Show what would be written."""

    def confirm(self) -> bool:
        """Ask whether to write it; raises ``KimifixError`` where nobody can be asked."""
        ...

    def ask_key(self) -> Secret | None:
        """Ask for an API key without showing it; None where nobody can be asked."""

    def progress(self, text: str) -> None:
        """Say what is being waited for."""
