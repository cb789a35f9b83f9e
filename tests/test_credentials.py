"""Which credential is chosen, and which API keys are refused or doubted."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.command import Kimifix
from support.configs import write_config

from kimifix import secret
from kimifix.client.features import parse_version
from kimifix.config.routes import LOGIN, Credential
from kimifix.credentials import Available, Choice, Wanted, checked_key, choose
from kimifix.errors import KimifixError
from kimifix.secret import Secret

KEY = "sk-kimi-key-that-is-none"
NO_LOGIN = "kimi-code is not signed in"
NEW, OLD, UNKNOWN = parse_version("2.1.0"), parse_version("0.20.1"), None


class AskedError(Exception):
    """Somebody was asked for a key where nobody should be."""


def available(**given: Any) -> Available:
    """Return what a signed-in client 2.1.0 has to offer, changed by ``given``."""

    def ask(*_: object) -> Secret | None:
        raise AskedError

    return Available(**{"version": NEW, "no_login": None, "ask": ask, **given})


def refused(wanted: Wanted | None, **given: Any) -> KimifixError:
    """Return the error that a choice ends in."""
    with pytest.raises(KimifixError) as caught:
        choose(wanted, available(**given))
    return caught.value


@pytest.mark.parametrize("wanted", ["auto", "login"])
def test_login_is_shared_where_that_works(wanted: Wanted) -> None:
    """With a new client that is signed in nobody is asked and nothing is warned of."""
    assert choose(wanted, available()) == Choice(LOGIN)


@pytest.mark.parametrize(
    "key", [{"key_in_env": Secret(KEY)}, {"own": Credential("key", KEY)}], ids=["in env", "written"]
)
def test_login_comes_before_a_key_that_lies_around(key: dict[str, Any]) -> None:
    """A key in the environment or in our provider does not displace a login that works."""
    assert choose("auto", available(**key)) == Choice(LOGIN)


def test_key_on_stdin_comes_before_the_login() -> None:
    """Who pipes a key in wants it used."""
    assert choose("auto", available(key=Secret(KEY))) == Choice(Credential("key", KEY))


@pytest.mark.parametrize(
    "obstacle",
    [{"version": OLD}, {"version": UNKNOWN}, {"no_login": NO_LOGIN}],
    ids=["old client", "unknown version", "not signed in"],
)
def test_key_serves_where_the_login_does_not(obstacle: dict[str, Any]) -> None:
    """Where the login cannot be shared, a key takes its place."""
    choice = choose("auto", available(key_in_env=Secret(KEY), **obstacle))
    assert choice == Choice(Credential("key", KEY))


def test_keys_have_an_order() -> None:
    """Standard input, then the environment, then the key there is, then the user."""
    keys: dict[str, Any] = {name: Secret(f"sk-kimi-{name}") for name in ("key", "key_in_env")}
    keys["own"] = Credential("key", "sk-kimi-own")
    while keys:
        first = next(iter(keys))
        assert choose("key", available(**keys)) == Choice(Credential("key", f"sk-kimi-{first}"))
        del keys[first]
    assert choose("key", available(ask=lambda *_: Secret(KEY))) == Choice(Credential("key", KEY))
    with pytest.raises(AskedError):
        choose("key", available())


@pytest.mark.parametrize(
    "own", [LOGIN, Credential("key", "any key"), Credential("key-env", "MY_KEY")]
)
def test_what_is_in_place_stays_where_nothing_is_asked_for(own: Credential) -> None:
    """Neither a login that works nor a key in the environment displaces it, and nobody is asked."""
    assert choose(None, available(own=own, key_in_env=Secret(KEY))).credential == own
    assert choose(None, available(own=own, key=Secret(KEY))).credential == Credential("key", KEY)


def test_login_in_place_that_is_gone_is_not_replaced_by_a_key() -> None:
    """The credential changes by an option alone."""
    error = refused(None, own=LOGIN, no_login=NO_LOGIN, key_in_env=Secret(KEY))
    assert error.message == NO_LOGIN


def test_no_key_at_all() -> None:
    """Nobody there to give a key: the ways to pass one are named."""
    error = refused("key", ask=lambda *_: None)
    assert "no API key" in error.message
    assert error.hint is not None
    assert {"--key-stdin", "KIMIFIX_API_KEY"} <= set(error.hint.replace(",", "").split())


@pytest.mark.parametrize(
    ("given", "message", "way_out"),
    [
        pytest.param({"version": OLD}, "0.20.1 cannot share", "update", id="old client"),
        pytest.param({"version": UNKNOWN}, "version", "update", id="unknown version"),
        pytest.param({"no_login": NO_LOGIN}, NO_LOGIN, "kimi login", id="not signed in"),
        pytest.param(
            {"version": OLD, "no_login": NO_LOGIN}, "0.20.1", "update", id="old, not signed in"
        ),
    ],
)
def test_without_any_both_ways_out_are_named(
    given: dict[str, Any], message: str, way_out: str
) -> None:
    """Where neither login nor key serves, the error names what mends each."""
    error = refused("auto", ask=lambda *_: None, **given)
    assert message in error.message
    assert error.hint is not None
    assert way_out in error.hint
    assert "--credential key" in error.hint


@pytest.mark.parametrize("version", [NEW, OLD, UNKNOWN])
def test_login_that_is_not_there_cannot_be_insisted_on(version: Any) -> None:
    """Whoever wants the login and has none is told to sign in."""
    error = refused("login", no_login=NO_LOGIN, version=version)
    assert error.message == NO_LOGIN
    assert "kimi login" in (error.hint or "")


def test_insisting_on_the_login() -> None:
    """An old client cannot; of an unknown version the user may know better, and is warned."""
    assert "0.20.1" in refused("login", version=OLD).message
    choice = choose("login", available(version=UNKNOWN))
    assert choice.credential == LOGIN
    assert "0.20.2" in choice.warnings[0]


@pytest.mark.parametrize(
    ("version", "warned"), [("2.0.1", "MY_KEY must be set"), (None, "2.0.1 or later")]
)
def test_key_from_a_variable(version: str | None, warned: str) -> None:
    """The name is written, not the value, and the user is told what follows from that."""
    given = available(version=parse_version(version), key_variable="MY_KEY")
    choice = choose("auto", given)
    assert choice.credential == Credential("key-env", "MY_KEY")
    assert warned in choice.warnings[0]


@pytest.mark.parametrize("version", ["0.43.1", "2.0.1-rc.1"])
def test_key_from_a_variable_needs_a_new_client(version: str) -> None:
    """Older clients hang without a key or ask for one: refused."""
    error = refused("key", version=parse_version(version), key_variable="MY_KEY")
    assert version in error.message
    assert "--credential key" in (error.hint or "")


@pytest.mark.parametrize("name", ["", "1KEY", "MY KEY", "MY-KEY", "$MY_KEY", "KEY=1", "KÄY", "A\n"])
def test_names_that_no_variable_has(name: str) -> None:
    """A name that a shell could not set is refused."""
    assert "environment variable" in refused("key", key_variable=name).message


@pytest.mark.parametrize(
    ("before", "after"), list(product(["", " ", "\t"], ["", "\n", "\r\n", " \n"]))
)
def test_white_space_round_a_key_is_dropped(before: str, after: str) -> None:
    """A key that was piped in or pasted ends in a newline: that is not part of it."""
    assert checked_key(Secret(before + KEY + after)) == (KEY, ())


@pytest.mark.parametrize("value", ["", " ", "\n", "\r\n\t"])
def test_empty_key(value: str) -> None:
    """Nothing but white space is no key."""
    with pytest.raises(KimifixError, match="empty"):
        checked_key(Secret(value))


@pytest.mark.parametrize(
    "value",
    [
        "sk-kimi-two words",
        "sk-kimi-one\nsk-kimi-two",
        "sk-kimi-\x1b[31m",
        "sk-kimi-\x00",
        "sk-kimi-ключ",
        "\u201csk-kimi-quoted\u201d",
        "\ufeffsk-kimi-marked",
        "sk-kimi-\x7f",
    ],
)
def test_key_that_cannot_be_one(value: str) -> None:
    """What could not be sent in a header is refused, and not shown."""
    with pytest.raises(KimifixError) as caught:
        checked_key(Secret(value))
    assert "copy it again" in (caught.value.hint or "")
    assert value not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("value", ["sk-from-the-open-platform", "sk-kimi", '"sk-kimi-quoted"', "x"])
def test_doubtful_key_is_taken_with_a_warning(value: str) -> None:
    """What does not look like a key of the console may still be one."""
    taken, warnings = checked_key(Secret(value))
    assert taken == value
    assert "console" in warnings[0]


def test_key_is_masked_with_and_without_white_space() -> None:
    """The key as it is written is masked in all output, and in the choice itself."""
    choice = choose("key", available(key=Secret("  sk-kimi-masked-in-output \n")))
    assert secret.redact("key: sk-kimi-masked-in-output.") == "key: ***."
    assert "masked-in" not in repr(choice)


def test_empty_variable_counts_as_unset(kimifix: Kimifix, home: Path) -> None:
    """`KIMIFIX_API_KEY` without a value is no key, and no broken one either."""
    write_config(home)
    result = kimifix("apply", "--yes", env={"KIMIFIX_API_KEY": ""})
    assert result.code == 1
    assert "--credential key" in result.err
    assert "empty" not in result.err
