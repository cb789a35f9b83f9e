"""The config without us: its mode, whether it is exact, and what the user is told before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.trial import OLD, Trial, applied
from support.verbs import Agreeing, apply, revert

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")

OTHER_KEY = b'\n[providers.other]\ntype = "openai"\napi_key = "sk-of-another-vendor"\n'


class Listening(Agreeing):
    """A dialogue that keeps the warnings of what it has agreed to."""

    warnings: tuple[str, ...] = ()

    def propose(self, proposal: object) -> None:
        """Keep them; they come before the question."""
        assert not self.asked
        self.warnings = getattr(proposal, "warnings", ())


@posix
def test_a_mode_comes_back_with_the_key_gone(tmp_path: Path) -> None:
    """`apply` takes the right to read from others for its own key, and `revert` gives it back."""
    trial = Trial(tmp_path)
    applied(trial.home)
    assert trial.config.stat().st_mode & 0o777 == 0o600
    trial.reverts()


@posix
@pytest.mark.parametrize("since", [True, False])
def test_a_mode_stays_private_while_a_secret_is_in_the_file(tmp_path: Path, since: bool) -> None:
    """Whoever has put it there, and whenever; the user is told before, by `apply` and `revert`."""
    trial = Trial(tmp_path, OLD if since else OLD + OTHER_KEY)
    applied(trial.home)
    if since:
        trial.config.write_bytes(trial.content + OTHER_KEY)
    warning = (
        "the config holds a secret, so others do not get back their right to read it (mode 0644)"
    )
    dialogue = Listening()
    apply(trial.home, dialogue, route="anthropic", credential="login", dry_run=True)
    assert warning in dialogue.warnings
    dialogue = Listening()
    revert(trial.home, dialogue)
    assert warning in dialogue.warnings
    assert trial.content == OLD + OTHER_KEY
    assert trial.config.stat().st_mode & 0o777 == 0o600


def test_what_is_lost_is_said_before_it_is_asked_for(tmp_path: Path) -> None:
    """A second name of the config, and a receipt that fits no schema."""
    trial = Trial(tmp_path)
    dialogue = Listening()
    (trial.home / "other").hardlink_to(trial.config)
    apply(trial.home, dialogue)
    assert "the config has 2 hard links: the others keep the old file" in dialogue.warnings
    receipt = trial.store.folder / "receipt.json"
    receipt.write_text("{")
    dialogue = Listening()
    revert(trial.home, dialogue)
    assert f"this cannot be understood and counts as lost: `{receipt}`" in dialogue.warnings
