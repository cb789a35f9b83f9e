"""What counts as a config, and what is said of what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kimifix.config.document import Document, Reference, parse
from kimifix.errors import ConfigError

PATH = Path("config.toml")


def refused(content: bytes) -> ConfigError:
    """Parse what must be refused."""
    with pytest.raises(ConfigError) as caught:
        parse(content, PATH)
    assert caught.value.path == PATH
    return caught.value


def test_text_keeps_its_line_ends_and_encodes_to_the_same_bytes() -> None:
    """Nothing is normalised on the way in or out."""
    for content in (b"", b"\r\n", b"a = 1\r\nb = '''\r\n'''", "a = 'ü'".encode()):
        document = parse(content, PATH)
        assert document.content == content
    assert parse(b"a = '''\r\nx\r\n'''", PATH).data == {"a": "x\n"}


def test_a_byte_order_mark_is_kept_apart() -> None:
    """It is no part of the text and comes back with the bytes."""
    document = parse(b"\xef\xbb\xbfa = 1", PATH)
    assert document.text == "a = 1"
    assert replace(document, text="b = 2").content == b"\xef\xbb\xbfb = 2"
    assert parse(b"\xef\xbb\xbf", PATH).data == {}


def test_a_second_byte_order_mark_is_no_toml() -> None:
    """Only the one at the start of the file is a mark."""
    assert refused(b"\xef\xbb\xbf\xef\xbb\xbfa = 1").line == 1


def test_bytes_that_are_no_utf_8_are_placed_by_line() -> None:
    """The error tells in which line they are."""
    error = refused(b"a = 1\r\nb = '\xff'\n")
    assert (error.reason, error.line, error.column) == ("the config is not UTF-8 text", 2, None)
    assert refused("a = 'ü'".encode("utf-16")).line == 1


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b"a = 1\nb = \n", 2, 5),
        (b"a = 1\na = 2\n", 2, 6),
        (b"a = 1\n[", 2, None),
        (b"a", 1, None),
        (b"a = 1979-02-30", 1, 5),
        (b"a = 'x\x00'", 1, 7),
        (b"a = 1\rb = 2", 1, 6),
    ],
)
def test_a_syntax_error_is_placed(content: bytes, line: int, column: int | None) -> None:
    """Line and column where tomllib gives them, the last line where the text just ends."""
    error = refused(content)
    assert error.reason.startswith("the config is not valid TOML 1.0: ")
    assert (error.line, error.column) == (line, column)
    assert f", line {line}" in error.message


@pytest.mark.parametrize("content", [b"a = {\n  b = 1,\n}\n", b'a = "\\e[0m"\n'])
def test_what_is_new_in_toml_1_1_is_called_so(content: bytes) -> None:
    """The client reads it, so "not valid TOML" alone would be a riddle."""
    assert refused(content).hint == (
        "mend this line in an editor; kimi-code takes TOML 1.1 as well, kimifix does not"
    )


def test_a_number_too_long_to_be_read_is_refused() -> None:
    """Python's limit on digits is an error of the config, not of kimifix."""
    reason = refused(b"a = " + b"9" * 5000).reason
    assert "not valid TOML" in reason
    assert "sys." not in reason


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"[" * 5000 + b"]" * 5000,
        b"a = " + b"[" * 150 + b"]" * 150,
        b"a = " + b"{a=" * 110 + b"1" + b"}" * 110,
        b"a" + b".a" * 5000 + b" = 1",
        b"[" + b"a." * 5000 + b"a]",
        b"a" + b".a" * 110 + b" = 1",
    ],
    ids=["arrays", "arrays-tomllib-reads", "tables", "dotted", "header", "dotted-few"],
)
def test_what_is_nested_without_end_is_refused(content: bytes) -> None:
    """However it is written, and also where tomllib itself still reads it."""
    assert refused(content).reason == "the config is nested too deep to be read"


def test_what_is_nested_deep_is_read() -> None:
    """More levels than anybody writes."""
    assert parse(b"a" + b".a" * 80 + b" = [[[]]]", PATH).data


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("providers = 1", "`providers` is not a table but a number"),
        ("models = [{}]", "`models` is not a table but an array"),
        ("models.a = {}\nmodels.'b.c' = 1.5", "`models.b.c` is not a table but a number"),
        ("default_model = []", "`default_model` is not a string but an array"),
        ("default_provider = {}", "`default_provider` is not a string but a table"),
        ("providers.x.api_key = 1", "`providers.x.api_key` is not a string but a number"),
        ("providers.x.oauth = ''", "`providers.x.oauth` is not a table but a string"),
        ("providers.x.oauth.key = 1", "`providers.x.oauth.key` is not a string but a number"),
        (
            "providers.x.custom_headers.A = 1979-05-27",
            "`providers.x.custom_headers.A` is not a string but a date or a time",
        ),
        ("models.x.provider = true", "`models.x.provider` is not a string but a boolean"),
        ("models.x.capabilities = ''", "`models.x.capabilities` is not an array but a string"),
        ("models.x.capabilities = [1]", "`models.x.capabilities` is not a string but a number"),
        ("models.x.max_context_size = ''", "`models.x.max_context_size` is not a number but a st"),
    ],
)
def test_a_value_of_another_type_is_refused(text: str, wrong: str) -> None:
    """Its path is named, what it should be and what it is."""
    assert refused(text.encode()).reason.startswith(wrong)


def test_what_is_not_known_may_be_of_any_type() -> None:
    """Later versions of the client know more than kimifix does."""
    text = b"thinking = 1\nproviders.x.new = 1\nproviders.x.oauth.new = 1\nmodels.x.new = [1, '']"
    assert parse(text + b"\nmodels.x.max_context_size = 1.0", PATH).data


def test_an_empty_config_has_no_providers_and_models() -> None:
    """The sections need not be there."""
    document = parse(b"", PATH)
    assert document.providers == {}
    assert document.models == {}
    assert document.references == []


def test_every_setting_that_names_an_alias_is_found() -> None:
    """`default_model` comes first; the keys of the pool are aliases too."""
    data: dict[str, Any] = {
        "providers": {
            "a": {"default_model": "x"},
            "kimifix": {"default_model": "y"},
            "b": {"default_model": ""},
        },
        "secondary_model": {
            "model": "m",
            "default_model": "d",
            "default_effort": "low",
            "models": {"p": "", "q": "text"},
        },
        "default_model": "z",
    }
    assert Document(data).references == [
        Reference(("default_model",), "z"),
        Reference(("secondary_model", "model"), "m"),
        Reference(("secondary_model", "default_model"), "d"),
        Reference(("providers", "a", "default_model"), "x"),
        Reference(("secondary_model", "models", "p"), "p", is_key=True),
        Reference(("secondary_model", "models", "q"), "q", is_key=True),
    ]


def test_settings_of_another_type_name_no_alias() -> None:
    """A config that the client would not read either breaks nothing."""
    values: list[Any] = [1, True, [], {}, ""]
    for value in values:
        assert Document({"default_model": value, "secondary_model": value}).references == []
        secondary = {"model": value, "default_model": value, "models": value}
        assert Document({"secondary_model": secondary}).references == []


def test_provider_id_wins_over_provider() -> None:
    """An alias belongs to whom it names by `provider_id`, else by `provider`."""
    data = {
        "models": {
            "a": {"provider": "x"},
            "b": {"provider": "x", "provider_id": "y"},
            "c": {"provider": "y", "provider_id": "x"},
            "d": {},
        }
    }
    document = Document(data)
    assert list(document.aliases_of("x")) == ["a", "c"]
    assert list(document.served_by("x")) == ["a", "c"]
    by_default = Document({**data, "default_provider": "x"})
    assert list(by_default.served_by("x")) == ["a", "c", "d"]
    assert list(by_default.served_by("y")) == ["b"]


@pytest.mark.parametrize(
    ("text", "place", "usual"),
    [
        ('defaultModel = "a"', "defaultModel", "default_model"),
        ("[providers.a]\nbaseUrl = ''", "providers.a.baseUrl", "base_url"),
        ("[providers.a.oauth]\noauthHost = ''", "providers.a.oauth.oauthHost", "oauth_host"),
        ("[models.a]\nmaxContextSize = 1", "models.a.maxContextSize", "max_context_size"),
    ],
)
def test_a_spelling_that_kimi_code_alone_reads_is_refused(
    text: str, place: str, usual: str
) -> None:
    """It takes `baseUrl` for `base_url` (run: 0.25.0, 0.38.0, 2.1.0), and may get an answer."""
    error = refused(text.encode())
    assert f"`{place}` is `{usual}` for kimi-code" in error.reason
    assert usual in str(error.hint)
    assert error.client_can


def test_names_of_the_users_own_are_no_spelling_of_ours() -> None:
    """Nor are settings that kimifix does not know, and other capitals, which nobody reads."""
    text = "[models.baseUrl]\n[providers.apiKey.env]\nbaseUrl = ''\n[providers.x]\nBaseURL = 1\n"
    assert parse(f"{text}[loopControl]\nmaxSteps = 1\n".encode(), PATH).models == {"baseUrl": {}}
