"""Which language kimifix speaks, and that a sentence survives being said in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kimifix.language import language_of, translator
from kimifix.words import joined, say, span


@pytest.mark.parametrize(
    ("env", "language"),
    [
        pytest.param({}, "en", id="nothing-set"),
        pytest.param({"LANG": "zh_CN.UTF-8"}, "zh", id="lang"),
        pytest.param({"LANG": "zh_CN.GBK"}, "zh", id="another-encoding"),
        pytest.param({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en", id="messages"),
        pytest.param({"LC_ALL": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "zh", id="all"),
        pytest.param({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh", id="list"),
        pytest.param({"LANG": "zh_CN.UTF-8", "LANGUAGE": "fr:en:zh"}, "en", id="first-we-speak"),
        pytest.param({"LANG": "fr_FR.UTF-8", "LANGUAGE": "fr"}, "en", id="neither"),
        pytest.param({"LC_ALL": "C", "LANGUAGE": "zh_CN"}, "en", id="c-locale-wins-over-list"),
        pytest.param({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, "en", id="c-utf-8"),
        pytest.param({"KIMIFIX_LANG": "zh", "LC_ALL": "C"}, "zh", id="own-variable"),
        pytest.param({"KIMIFIX_LANG": "en", "LC_ALL": "zh_CN.UTF-8"}, "en", id="own-english"),
    ],
)
@pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere the system may be Chinese")
def test_language_follows_the_environment(
    env: dict[str, str], language: str, tmp_path: Path
) -> None:
    """`KIMIFIX_LANG` wins, then the locale's variables count as gettext reads them."""
    assert language_of(env, tmp_path) == language


def test_sentence_is_english_to_all_but_the_translator() -> None:
    """A sentence compares, prints and goes into JSON as its English."""
    text = say("{number} days", number=3)
    assert text == "3 days"
    assert json.dumps({"message": text}) == '{"message": "3 days"}'
    assert translator("en")(text) == "3 days"


def test_values_that_are_sentences_are_translated_too() -> None:
    """A sentence inside another, and each of several in a row, is said in the same language."""
    chinese = translator("zh")
    assert chinese(span(7200)) == "2 小时"
    assert chinese(joined("; ", [span(7200), "x"])) == "2 小时; x"
    assert chinese(say("{text}", text=span(120))) == "2 分钟"


def test_foreign_text_is_never_taken_for_a_template() -> None:
    """Braces in values, and whatever is no sentence of ours, come out as they went in."""
    chinese = translator("zh")
    assert chinese("{number} days") == "{number} days"
    assert chinese(say("{number} days", number="{0.__class__}")) == "{0.__class__} 天"
