"""What a user in a hurry sees on a terminal of 80 columns and 24 lines, word by word.

The screens lie in `screens/LANGUAGE/`. KIMIFIX_TEST_SCREENS=write writes them anew, to be
read before they are committed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unicodedata import east_asian_width

import pytest
from support import catalogue, certificate, vendor
from support.certificate import Certificate
from support.command import Kimifix
from support.configs import install_client, sign_in, write_config
from support.stub_server import Stub
from support.vendor import ANTHROPIC, HONEST, HOST, LEGACY, Answers

if sys.platform == "win32":
    pytest.skip("its terminals are others", allow_module_level=True)

from support.terminal import Terminal

SCREENS = Path(__file__).with_name("screens")
LANGUAGES = sorted(folder.name for folder in SCREENS.iterdir())
ROWS, COLUMNS = 24, 80


@dataclass
class Place:
    """A user's machine with kimi-code, and the servers of the vendor as they shall answer."""

    kimifix: Kimifix
    user: Path
    home: Path
    answers: Answers
    port: int = 0

    @property
    def config(self) -> Path:
        """The config."""
        return self.home / "config.toml"


class Screen(NamedTuple):
    """A command, what was done before it, what the server says, and what is answered."""

    command: str
    code: int
    prepare: Callable[[Place], object] = lambda place: None
    answers: Answers | None = None
    answer: str | None = None


def applied(place: Place) -> None:
    """The header route is applied."""
    assert place.kimifix("apply", "--yes").code == 0


def drifted(place: Place) -> None:
    """A login has moved the default model back."""
    applied(place)
    text = place.config.read_text()
    place.config.write_text(
        text.replace('"kimifix/kimi-for-coding"', '"kimi-code/kimi-for-coding"', 1)
    )


def signed_out(place: Place) -> None:
    """There is no login."""
    shutil.rmtree(place.home / "credentials")


def expired(place: Place) -> None:
    """The login has run out, as it does after a quarter of an hour."""
    sign_in(place.home, expires_at=time.time() - 2.5 * 3600)


def gone(place: Place) -> None:
    """There is no kimi-code, and never was."""
    shutil.rmtree(place.home)
    shutil.rmtree(place.user / ".npm-global")


def broken(place: Place) -> None:
    """The config was edited by hand, badly."""
    place.config.write_text(f"{place.config.read_text()}\n[models.mine\nmodel = 1\n")


REFUSED: Answers = {HONEST: catalogue.IDENTITY, ANTHROPIC: catalogue.IDENTITY}
SUSPENDED: Answers = dict.fromkeys((HONEST, ANTHROPIC, LEGACY), catalogue.SUSPENDED)
TABLE = {
    "healthy": Screen("doctor --probe", 0),
    "locked-out": Screen("doctor --probe", 1, answers=REFUSED),
    "locked-out-apply": Screen("apply", 0, answers=REFUSED, answer="y"),
    "applied": Screen("doctor --probe", 0, applied, REFUSED),
    "applied-revert": Screen("revert", 0, applied, answer="y"),
    "applied-not-needed": Screen("doctor --probe", 0, applied),
    "drifted": Screen("doctor", 0, drifted),
    "drifted-apply": Screen("apply", 0, drifted, answer="y"),
    "not-signed-in": Screen("doctor", 1, signed_out),
    "not-signed-in-apply": Screen("apply", 1, signed_out, answer=""),
    "expired": Screen("doctor --probe", 1, expired),
    "no-client": Screen("doctor", 1, gone),
    "no-client-apply": Screen("apply", 1, gone),
    "broken-config": Screen("doctor", 1, broken),
    "broken-config-apply": Screen("apply", 1, broken),
    "suspended": Screen("doctor --probe", 1, answers=SUSPENDED),
    "suspended-applied": Screen("doctor --probe", 1, applied, SUSPENDED),
}


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the vendor's host."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    return certificate.make(openssl, tmp_path_factory.mktemp("certificate"), HOST)


@pytest.fixture
def place(
    kimifix: Kimifix, home: Path, vendors: Certificate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A signed-in kimi-code 2.1.0 as a login leaves it, and the network in our hands."""
    user = home.parent
    programs = install_client(user / ".npm-global")
    sign_in(home)
    write_config(home, mode=0o600)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(vendors.path))
    place = Place(kimifix, user, home, {})
    with Stub(vendor.answering(place.answers), tls=vendors.context) as server:
        place.port = server.port
        yield place


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", TABLE)
def test_what_is_wrong_and_what_to_type_is_on_the_screen(
    place: Place, name: str, language: str
) -> None:
    """Nothing scrolls away, no line is wider than the terminal, and the words are these."""
    screen = TABLE[name]
    screen.prepare(place)
    place.answers |= screen.answers or {}
    command = vendor.command(place.port, *screen.command.split())
    env = {**os.environ, "KIMIFIX_LANG": language, "TERM": "xterm", "NO_COLOR": "1"}
    with Terminal(command, env, place.user, (ROWS, COLUMNS)) as terminal:
        asked = ""
        if screen.answer is not None:
            asked = terminal.wait_for_question(asks)
            terminal.write(f"{screen.answer}\r")
        code = terminal.wait()
        text = terminal.text.rstrip("\n")
    expected = SCREENS / language / f"{name}.txt"
    shown = re.sub(r"\b[0-9a-f]{16}\b", "0123456789abcdef", text) + "\n"
    if os.environ.get("KIMIFIX_TEST_SCREENS") == "write":
        expected.write_text(shown, encoding="utf-8")
    assert shown == expected.read_text(encoding="utf-8")
    assert code == screen.code
    assert [line for line in text.split("\n") if width_of(line) > COLUMNS] == []
    assert asked.count("\n") < ROWS
    assert text.removeprefix(asked).count("\n") < ROWS - 1  # the last line is the shell's


def asks(text: str) -> bool:
    """Tell whether the last thing on the screen is a question."""
    return re.search(r"(\[y/N\]|[)\uff09]):$", text) is not None


def width_of(line: str) -> int:
    """Return how many columns of a terminal a line fills."""
    return len(line) + sum(east_asian_width(character) in "WF" for character in line)
