"""What is known to be a secret, or looks like one, leaves the process as `***` alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kimifix import secret
from kimifix.secret import is_secret_path, redact, register, secrets_in

LONG = "".join(f"<{number}>" for number in range(40))
KEY = "sk-kimi-planted-0123456789"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts as a new process does: no value registered."""
    monkeypatch.setattr(secret, "_registered", {})


def test_a_registered_value_is_masked_wherever_it_stands() -> None:
    """Glued to others, more than once, and where two of them overlap; a short one is not."""
    for value in ("abcdef", "defghi", "abcdefgh", "short"):
        register(value)
    assert redact("xabcdefx abcdef!") == "x***x ***!"
    assert redact("abcdefghi abcdefg") == "*** ***g"
    assert redact("abcde defgh short") == "abcde defgh short"


def test_a_long_value_is_masked_to_its_last_character() -> None:
    """Each line of it as well, and what is left of it where somebody has cut it off."""
    register(f"{LONG}\n  second line\t of it\r\n")
    assert redact(f"({LONG})") == "(***)"
    assert redact(LONG[:70]) == f"***{LONG[64:70]}"
    assert redact("a second line\t of it b") == "a *** b"


@pytest.mark.parametrize("cut", ["\x1b[0m", "\x1b]0;x\x07", "\x9b1;2m", "\u200b", "\t", "\n", "\0"])
def test_what_nobody_sees_hides_no_secret(cut: str) -> None:
    """Within a secret or right before it; where there is none, nothing changes."""
    register("registered value")
    assert redact(f"a{cut}b regis{cut}tered{cut} value{cut}c") == f"a{cut}b ***{cut}c"
    assert redact(f"a{cut}{KEY[:5]}{cut}{KEY[5:]}").startswith(f"a{cut}***")
    assert redact(f"a{cut}b") == f"a{cut}b"


def test_whole_lines_are_not_joined() -> None:
    """What only two lines together would make is no secret, where lines are what they are."""
    assert redact("a = 'sk-\nabcdefgh'", whole_lines=True) == "a = 'sk-\nabcdefgh'"
    assert redact(f"\t{KEY}\r\n\u200b\n", whole_lines=True) == "\t***\r\n\u200b\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        ("authorization: basic dTpwYXNz", "authorization: basic ***"),
        ("Basic dXNlcjpwYXNzd29yZA==.", "Basic ***."),
        ("a basic membership, Basic Settings and 1", "a basic membership, Basic Settings and 1"),
        ("https://t0ken@host:1/v1?key=k&v=1, http://h/", "https://***@host:1/v1?*** http://h/"),
        ("see `https://host/docs?x=y`", "see `https://host/docs?***`"),
        ("https://a.test/https://u:p@b.test/", "https://a.test/https://***@b.test/"),
        ("user@host.test?", "user@host.test?"),
    ],
)
def test_a_secret_is_told_by_its_look(text: str, shown: str) -> None:
    """Credentials of requests, and of an address all but scheme, host, port and path."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("api_key", "enabled", ["enabled"]),
        ("extra_body", {"thinking": {"type": "enabled"}, "user": "me-myself"}, ["me-myself"]),
        ("env", {"A": "https://h.test/v1", "B": "two words", "C_TOKEN": "a"}, ["two words", "a"]),
        ("headers", {"User-Agent": "mine/1", "X-Msh-Tag": "tag-1", "X": "value-1"}, ["value-1"]),
        ("base_url", "https://u:pass@h.test/v1", ["u:pass", "pass"]),
        ("base_url", "https://h.test/v1?key=k-1&v=2", ["key=k-1&v=2", "k-1"]),
        ("proxy", "token@h.test", ["token@h.test"]),
        ("note", f"my {KEY}", [KEY]),
        ("name", "me@h.test", []),
    ],
)
def test_what_a_config_holds_is_registered_where_it_tells(
    name: str, value: object, found: list[str]
) -> None:
    """A word that is common elsewhere is masked in its place alone: all output has such words."""
    assert [one for one in secrets_in({"x": {name: value}}) if one not in ("v", "2")] == found


def test_the_name_of_an_entry_tells_nothing() -> None:
    """A provider or alias may be called anything."""
    for section in ("providers", "models"):
        assert not is_secret_path((section, "my-token", "type"))
        assert not is_secret_path((section, "antibody", "type"))
        assert is_secret_path((section, "x", "token", "y"))
        assert is_secret_path((section, "x", "extra_body", "y"))


def odd_texts() -> Iterator[str]:
    """Yield texts on which a pattern or loop could be slow that looks at anything twice."""
    for piece in ("://", "://a", "://a:", "?a", "#a", "sk-a", "sk-aaaaaaa ", "eyJ", "eyJaaaaaaaa."):
        yield piece * 50_000
    for piece in (
        "Bearer ",
        "basic a",
        "basic +",
        "\x1b[",
        "\x1b[1",
        "\x1b]",
        "\x90a",
        "=",
        "@",
        "a@",
    ):
        yield piece * 30_000


def test_a_long_text_takes_no_more_than_its_length() -> None:
    """A long text of any kind, with any number of secrets in it, is masked at once."""
    values = [f"sk_{number:06}_value" for number in range(10_000)]
    for value in values:
        register(value)
    assert redact(" ".join(values)) == " ".join(["***"] * len(values))
    assert redact("".join(values)) == "***"
    for text in odd_texts():
        redact(text)
