"""`apply` and `revert` called as functions, by a user who agrees to everything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kimifix import apply as apply_verb
from kimifix import revert as revert_verb
from kimifix.consent import Outcome
from kimifix.draft import Proposal, Request
from kimifix.secret import Secret

KEY = "sk-kimi-planted-key-0123456789"


class Agreeing:
    """A dialogue that says yes and has a key; ``meanwhile`` happens before each yes."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._meanwhile = meanwhile
        self.asked = 0

    def propose(self, proposal: object) -> None:
        """Take note of nothing."""

    def confirm(self) -> bool:
        """Agree."""
        self.asked += 1
        self._meanwhile()
        return True

    def ask_key(self, why: str | None, instead: str | None) -> Secret | None:
        """Have a key."""
        return Secret(KEY)

    def progress(self, text: str) -> None:
        """Wait."""

    def written(self) -> Callable[[], bool]:
        """Never interrupt."""
        return lambda: False


def apply(home: Path, dialogue: Agreeing | None = None, **request: Any) -> Outcome[Proposal]:
    """Apply to the config of ``home``."""
    asked = Request(home=home, **request)
    return apply_verb.apply(asked, dict(os.environ), dialogue or Agreeing())


def revert(home: Path, dialogue: Agreeing | None = None) -> Outcome[revert_verb.Proposal]:
    """Revert the config of ``home``."""
    return revert_verb.revert(home, dict(os.environ), dialogue or Agreeing())
