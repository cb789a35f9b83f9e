"""The loop of both verbs beside a running client that undoes the change."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import verbs
from support.configs import sign_in, write_config

from kimifix import consent
from kimifix.client import processes
from kimifix.client.processes import Running
from kimifix.errors import KimifixError


class Undone(verbs.Agreeing):
    """Agrees, while a client puts the config back ``times`` times as soon as it is watched."""

    def __init__(self, config: Path, times: int) -> None:
        super().__init__()
        self._config = config
        self._before = config.read_bytes()
        self._times = times
        self.watches = 0

    def progress(self, text: str) -> None:
        """Undo the change."""
        if "watching" in text:
            self.watches += 1
            if self.watches <= self._times:
                self._config.write_bytes(self._before)


@pytest.fixture
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a client that runs."""
    monkeypatch.setattr(processes, "running", lambda _: Running((1,)))
    monkeypatch.setattr(consent, "WATCH_SECONDS", 0.3)
    sign_in(home)
    return write_config(home)


@pytest.mark.parametrize("verb", ["apply", "revert"])
def test_what_a_client_undoes_is_written_again(
    verb: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two times undone, three times written, once asked."""
    before = config.read_bytes()
    if verb == "revert":
        verbs.apply(config.parent, credential="key")
    dialogue = Undone(config, 2)
    if verb == "apply":
        assert verbs.apply(config.parent, dialogue, credential="key").status == "applied"
        assert b"[providers.kimifix]" in config.read_bytes()
    else:
        assert verbs.revert(config.parent, dialogue).status == "reverted"
        assert config.read_bytes() == before
    assert (dialogue.asked, dialogue.watches) == (1, 3)


def test_a_client_that_undoes_it_for_ever_wins(config: Path) -> None:
    """After five times kimifix gives up and says whose work it was."""
    before = config.read_bytes()
    dialogue = Undone(config, 1000)
    with pytest.raises(KimifixError, match="erased the change"):
        verbs.apply(config.parent, dialogue, credential="key")
    assert dialogue.watches == 5
    assert config.read_bytes() == before


def test_revert_says_what_a_running_client_goes_on_with(config: Path) -> None:
    """Its process, what its sessions send, and how to go on with the newest one of ours."""
    session = config.parent / "sessions" / "wd_x" / "session_1" / "agents" / "main"
    session.mkdir(parents=True)
    (session / "wire.jsonl").write_text('{"modelAlias":"kimi-code/kimi-for-coding"}\n')
    applied = verbs.apply(config.parent, credential="key")
    assert applied.next[-1].endswith(" kimi -S session_1 -m kimifix/kimi-for-coding")
    (session / "wire.jsonl").write_text('{"modelAlias":"kimifix/kimi-for-coding"}\n')
    reverted = verbs.revert(config.parent)
    (step,) = reverted.next
    assert step.endswith(" kimi -S session_1 -m kimi-code/kimi-for-coding")
    assert "KIMI_CODE_HOME" in step
    (note,) = reverted.notes
    assert "(process 1): quit it" in note
    assert "X-Msh-Platform: kimi_cli" in note
