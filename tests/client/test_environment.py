"""What the environment makes of a request: a model, headers, another name."""

from __future__ import annotations

import pytest
from support.platforms import alike

from kimifix.client import environment
from kimifix.client.features import Version
from kimifix.secret import MASK, redact

OLD, NEW = Version((0, 32, 0)), Version((0, 33, 0))

pytestmark = alike


def test_a_name_and_a_key_make_a_model() -> None:
    """Both lie under names that no config has; blanks around a value do not count."""
    env = {"KIMI_MODEL_NAME": " k3 ", "KIMI_MODEL_API_KEY": "key"}
    for version in (OLD, NEW):
        assert environment.config(env, version) == {
            "providers": {
                environment.PROVIDER: {"type": "kimi", "base_url": None, "api_key": "key"}
            },
            "models": {
                environment.ALIAS: {
                    "provider": environment.PROVIDER,
                    "model": "k3",
                    "max_context_size": 1,
                }
            },
        }


@pytest.mark.parametrize(
    ("more", "old", "new"),
    [
        ({"API_KEY": ""}, False, True),
        ({"NAME": " "}, False, False),
        ({"PROVIDER_TYPE": " KIMI "}, True, True),
        ({"PROVIDER_TYPE": "vertexai"}, False, True),
        ({"MAX_CONTEXT_SIZE": "1e3"}, False, False),
        ({"MAX_OUTPUT_SIZE": "0"}, False, False),
        ({"ADAPTIVE_THINKING": "2"}, False, False),
        ({"TEMPERATURE": "hot"}, True, False),
        ({"TOP_P": "0x1"}, True, True),
    ],
)
def test_some_values_keep_it_from_being_made(more: dict[str, str], old: bool, new: bool) -> None:
    """Which ones they are differs before 0.33.0."""
    given = {"NAME": "k3", "API_KEY": "key", **more}
    env = {f"KIMI_MODEL_{name}": value for name, value in given.items()}
    assert environment.config({}, NEW) is None
    made = [environment.config(env, version) is not None for version in (OLD, NEW)]
    assert made == [old, new]


def test_an_unfit_value_is_named() -> None:
    """The first one is, by its whole name."""
    env = {"KIMI_MODEL_TOP_P": "much", "KIMI_MODEL_TEMPERATURE": "1"}
    assert environment.unfit(env, environment.SAMPLING) == "KIMI_MODEL_TOP_P"
    assert environment.unfit({}, environment.SAMPLING) is None
    assert environment.ignored_for(env, NEW) == "KIMI_MODEL_TOP_P"
    assert environment.ignored_for(env, OLD) is None


def test_headers_are_lines_of_name_and_value() -> None:
    """What is no such line is passed over, and no value is ever printed."""
    text = " X-Team : seven \nno header\n: nameless\nX-Empty:\nX-Url: http://a:1\n"
    env = {"KIMI_CODE_CUSTOM_HEADERS": text.replace("seven", "seven-and-eight")}
    assert environment.headers(env) == {
        "X-Team": "seven-and-eight",
        "X-Empty": "",
        "X-Url": "http://a:1",
    }
    assert redact("team seven-and-eight") == f"team {MASK}"
    assert environment.headers({}) == {}


@pytest.mark.parametrize(
    ("variables", "section", "slug"),
    [
        ({}, {}, None),
        ({}, {"slug": "My Tool!", "name": "Mine"}, "my-tool"),
        ({}, {"slug": " ", "name": "Mine"}, "mine"),
        ({"SLUG": "a_b"}, {"slug": "c"}, "a-b"),
        ({"NAME": "Mine"}, {"slug": "c"}, "c"),
        ({"NAME": "Mine"}, {"name": "c"}, "mine"),
        ({"SLUG": "\u00fc"}, {}, "agent"),
    ],
)
def test_the_client_can_have_another_name(
    variables: dict[str, str], section: dict[str, str], slug: str | None
) -> None:
    """A slug wins over a name, a variable over the config; nothing but a-z and 0-9 goes out."""
    env = {f"KIMI_CODE_IDENTITY_{name}": value for name, value in variables.items()}
    assert environment.slug(env, section) == slug
