"""Trying a config out: the user's own client answers one short prompt with it.

It runs in the user's environment, but in a home of its own. There it finds the models and
providers of the config and nothing of it that starts a process or a tool; the folders of
the real login by links, so that a token is renewed where it belongs; and the number of the
device, so that the server sees the same one. All that it leaves is removed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kimifix.client.leash import leash, write_private
from kimifix.config import decoy
from kimifix.config.document import Document
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.reader import read_text
from kimifix.server.answers import Meaning, classify

SECONDS = 90.0
_PROMPT = "Reply with one word: pong"

# Without it the client asks ten times and more, for minutes. Up to 0.32 it reads the first,
# from 0.33.0 on the second; what this makes of a 429 or 500, measured: one request in 0.38.0
# and 2.1.0, three in 0.25.0 to 0.33.0.
_ONE_ATTEMPT = {"loop_control": {"max_retries_per_step": 1, "max_attempts_per_step": 1}}

# The client replaces the files in these (measured): the folders have to be the real ones.
_LINKED = ("credentials", "oauth")
_DEVICE = "device_id"
_LONGEST_DEVICE = 200

_REFUSAL = re.compile(r": ([1-5]\d\d) (\S.*)")
_NEEDS_LOGIN = re.compile(r"login|oauth|credential|invalid_grant", re.IGNORECASE)


@dataclass(frozen=True)
class Verified:
    """What came of it: ``error`` is None where the client got an answer, else its last words.

    ``meaning`` is what an answer of the server in them means, None where there is none.
    """

    error: str | None = None
    meaning: Meaning | None = None

    @property
    def answered(self) -> bool:
        """Whether the client got an answer."""
        return self.error is None

    @property
    def sentence(self) -> str:
        """The error and its meaning in one line."""
        return f"{self.meaning.meaning}: {self.error}" if self.meaning else str(self.error)

    @property
    def advice(self) -> str:
        """What to do about the error."""
        if self.meaning is not None:
            return self.meaning.advice
        if _NEEDS_LOGIN.search(str(self.error)):
            return "sign in with `kimi login`, then try again"
        return "start `kimi` and see whether it says more"


def verify(
    machine: Machine, document: Document, alias: str | None, progress: Callable[[str], None]
) -> Verified:
    """Have the client answer by way of ``alias``, None for its default model.

    The request is real and counts. Raises ``KimifixError`` where there is no client, it
    cannot be started, or its folder cannot be made or removed.
    """
    if machine.install is None:
        raise KimifixError("there is no kimi-code that could be asked")
    progress(f"kimi-code answers one prompt, which your plan counts ({SECONDS:.0f} s at most)")
    try:
        with leash() as overlay:
            place = overlay(decoy.essence(document, _ONE_ATTEMPT))
            _sign_in(place.home, machine.home.path)
            program = machine.install.path.absolute()
            code = place.run(program, _PROMPT, alias, machine.env, seconds=SECONDS)
            has_answered, words = code == 0 and place.has_answer, place.last_words
    except (OSError, ValueError) as failed:
        raise KimifixError(f"kimi-code cannot be run: {failed}") from failed
    if has_answered:
        return Verified()
    ended = f"no answer within {SECONDS:.0f} seconds" if code is None else f"exit code {code}"
    error = f"{ended}: {words}" if code is None and words else words or ended
    refusal = _REFUSAL.search(words)
    return Verified(error, refusal and classify(int(refusal[1]), None, refusal[2]))


def _sign_in(home: Path, real: Path) -> None:
    """Give the client in ``home`` the login and the device of the one in ``real``."""
    for name in _LINKED:
        if (real / name).is_dir():
            _link(home / name, (real / name).resolve())
    if device := read_text(real / _DEVICE, _LONGEST_DEVICE):
        write_private(home / _DEVICE, device)


def _link(link: Path, folder: Path) -> None:
    if sys.platform == "win32":
        import _winapi  # symlinks take a right there that few users have

        _winapi.CreateJunction(str(folder), str(link))
    else:
        link.symlink_to(folder)
