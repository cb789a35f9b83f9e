"""One home with a state of its own, on which a verb is run that may not come to its end."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkdtemp

from support.command import STATE_VARIABLES
from support.configs import LOGGED_IN, sign_in
from support.platforms import has_mode
from support.verbs import KEY, Agreeing, apply, revert

from kimifix.config import storage
from kimifix.config.files import read
from kimifix.config.storage import Store

OLD = LOGGED_IN.encode()


class Trial:
    """A signed-in client's home; the environment leads kimifix to its state."""

    def __init__(self, folder: Path, content: bytes = OLD, mode: int = 0o644) -> None:
        self.home = Path(mkdtemp(dir=folder))
        os.environ.update(dict.fromkeys(STATE_VARIABLES, str(self.home / "state")))
        sign_in(self.home)
        self.old = content
        self.mode = mode
        self.config = self.home / "config.toml"
        self.config.write_bytes(content)
        self.config.chmod(mode)
        self.store = Store(storage.state_root(self.home), self.config)

    @property
    def content(self) -> bytes:
        """The config as it lies there."""
        return self.config.read_bytes()

    @property
    def strays(self) -> list[Path]:
        """Temporary files that nobody has taken away."""
        return list(self.home.rglob("*.tmp"))

    def carries_on(self) -> None:
        """Check that the next runs do what they do on any day, and end in the old bytes."""
        was_old = self.content == self.old
        assert apply(self.home, credential="key").status in ("applied", "unchanged")
        assert not was_old or self.content != self.old
        receipt = self.store.receipt(read(self.config).sha256)
        assert receipt is not None
        assert self.store.backup(receipt.before or "") == self.old
        self.reverts()

    def reverts(self) -> None:
        """Check that `revert` gives back the old bytes and leaves nothing of ours behind."""
        outcome = revert(self.home)
        assert outcome.status == "reverted"
        assert outcome.proposal is not None
        assert outcome.proposal.exact
        assert self.content == self.old
        assert has_mode(self.config, self.mode)
        assert self.strays == []
        assert not (self.store.folder / "intent.json").exists()
        assert not (self.store.folder / "receipt.json").exists()
        assert [path for path in self.home.rglob("*") if _holds_key(path)] == []


def _holds_key(path: Path) -> bool:
    return path.is_file() and KEY.encode() in path.read_bytes()


def applied(home: Path, dialogue: Agreeing | None = None) -> object:
    """Apply with a key, which takes from others the right to read."""
    return apply(home, dialogue, credential="key")


def switched(home: Path, dialogue: Agreeing | None = None) -> object:
    """Apply another route than the one that is in place."""
    return apply(home, dialogue, credential="key", route="anthropic")
