"""Trying a config out: the user's own client answers one short prompt with it.

It runs in the user's environment, but in a home of its own. There it finds the models and
providers of the config and nothing of it that starts a process or a tool; the folders of
the real login by links, so that a token is renewed where it belongs; and the number of the
device, so that the server sees the same one. All that it leaves is removed.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from kimifix.client.identity import DEVICE, device_id
from kimifix.client.leash import leash, write_private
from kimifix.config import decoy
from kimifix.config.document import Document
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.outgoing import describe
from kimifix.server.answers import classify
from kimifix.steps import signing_in

SECONDS = 90.0
_PROMPT = "Reply with one word: pong"

# Without it the client asks ten times and more, for minutes. Up to 0.32 it reads the first,
# from 0.33.0 on the second; what this makes of a 429 or 500, measured: one request in 0.38.0
# and 2.1.0, three in 0.25.0 to 0.33.0.
_ONE_ATTEMPT = {"loop_control": {"max_retries_per_step": 1, "max_attempts_per_step": 1}}

# The client replaces the files in these (measured): the folders have to be the real ones.
_LINKED = ("credentials", "oauth")

_REFUSAL = re.compile(r": ([1-5]\d\d) (\S.*)")
_NEEDS_LOGIN = re.compile(r"login|oauth|credential|invalid_grant", re.IGNORECASE)


def verify(
    machine: Machine, document: Document, alias: str | None, progress: Callable[[str], None]
) -> None:
    """Have the client answer by way of ``alias``, None for its default model.

    The request is real and counts. Raises ``KimifixError`` that says what the client says
    and what it means, where it gets no answer, or there is none, or it cannot be run.
    """
    if machine.install is None:
        raise KimifixError("there is no kimi-code that could be asked")
    progress(f"kimi-code answers one prompt, which your plan counts ({SECONDS:.0f} s at most)")
    try:
        with leash() as overlay:
            place = overlay(decoy.essence(document, _ONE_ATTEMPT))
            _sign_in(place.home, machine.home.path)
            program = machine.install.path.absolute()
            arguments = ["-p", _PROMPT, *(("-m", alias) if alias else ())]
            code = place.run(program, arguments, machine.env, seconds=SECONDS)
            has_answered, words = code == 0 and place.has_answer, place.last_words
    except (OSError, ValueError) as failed:
        raise KimifixError(f"kimi-code cannot be run: {failed}") from failed
    if has_answered:
        return
    end = f"nothing within {SECONDS:.0f} seconds" if code is None else f"exit code {code}"
    told, advice = f"{end}: {words}" if words else end, "start `kimi` and see whether it says more"
    out = describe(machine, document, alias)
    refusal, needs_login = _REFUSAL.search(words), _NEEDS_LOGIN.search(words) is not None
    if refusal:
        meaning = classify(int(refusal[1]), None, refusal[2])
        told, advice = f"{meaning.meaning}: {words}", meaning.advice
        # The other surface may take no login at all.
        needs_login = meaning.verdict == "credential" and out.surface == "openai"
    steps: tuple[str, ...] = ()
    if needs_login and out.credential == "login":
        advice, steps = (
            "sign in with `kimi login`, then try again",
            signing_in(machine, out.provider),
        )
    raise KimifixError(f"kimi-code gets no answer: {told}", advice, *steps)


def _sign_in(home: Path, real: Path) -> None:
    """Give the client in ``home`` the login and the device of the one in ``real``."""
    for name in _LINKED:
        if (real / name).is_dir():
            _link(home / name, (real / name).resolve())
    if device := device_id(real):
        write_private(home / DEVICE, device)


def _link(link: Path, folder: Path) -> None:
    if sys.platform == "win32":
        import _winapi  # symlinks take a right there that few users have

        _winapi.CreateJunction(str(folder), str(link))
    else:
        link.symlink_to(folder)
