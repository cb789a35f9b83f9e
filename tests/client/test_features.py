"""Versions of kimi-code, and what is known of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

import kimifix
from kimifix.client import features
from kimifix.client.features import NEWEST_KNOWN, Version, parse_version
from kimifix.reader import tables


def version(text: str) -> Version:
    """Return a version that can be parsed."""
    parsed = parse_version(text)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    "text",
    [
        "0.20.2",
        "2.1.0",
        "1.0.0-next.3",
        "1.0.0-0.3.7",
        "1.0.0-x.7.z.92",
        "1.0.0-x-y-z.--",
        "2.1.0-dev.20261122",
        "10.20.30",
        f"99999999999.0.0-{'9' * 100}",
    ],
)
def test_legal_versions_are_read_and_shown(text: str) -> None:
    """Every version that npm takes is understood, and prints as it was written."""
    assert str(version(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("v2.1.0", "2.1.0"), ("2.1.0+build.5", "2.1.0"), (" 2.1.0\n", "2.1.0")],
)
def test_decoration_is_dropped(text: str, shown: str) -> None:
    """A leading `v`, a build number and white space around are not part of the version."""
    assert str(version(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "unknown",
        "2",
        "2.1",
        "2.1.0.0",
        "2.1.0_1",
        "2.1.0-",
        "2.1.0-a..b",
        "2.1.0+",
        "-1.0.0",
        "2.1.x",
        "kimi, version 1.47.0",
        "\u0662.\u0661.\u0660",
        f"{'9' * 5000}.0.0",
        "2.1.0\n2.1.1",
    ],
)
def test_anything_else_is_no_version(text: str | None) -> None:
    """What is no semantic version is unknown, however strange it is."""
    assert parse_version(text) is None


def test_order_is_that_of_semver() -> None:
    """The order of semver.org: numbers by value, pre-releases before their release."""
    ordered = [
        "0.9.0",
        "0.20.1",
        "0.20.2-alpha",
        "0.20.2-alpha.1",
        "0.20.2-alpha.beta",
        "0.20.2-beta",
        "0.20.2-beta.2",
        "0.20.2-beta.11",
        "0.20.2-rc.1",
        "0.20.2",
        "0.100.0",
        "1.0.0-0",
        "1.0.0",
        "2.1.0",
        "10.0.0",
    ]
    for lower, higher in pairwise(map(version, ordered)):
        assert lower < higher
        assert not higher <= lower
        assert lower != higher


def test_equal_versions_are_one() -> None:
    """Versions that differ in decoration alone are equal and count once in a set."""
    assert len({version("2.1.0"), version("v2.1.0"), version("2.1.0+5")}) == 1
    assert len({version("2.1.0"), "2.1.0"}) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, False),
        ("0.20.1", False),
        ("0.20.2-rc.1", False),
        ("0.20.2", True),
        ("1.0.0-next.3", True),
        ("99.0.0", True),
    ],
)
def test_feature_by_version(text: str | None, expected: bool) -> None:
    """A feature is there from its version on, not in a pre-release of it, nor in the dark."""
    assert features.has("shared-login", parse_version(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.14.0", ("default_thinking",)),
        ("0.20.2", ("default_thinking",)),
        ("0.21.0", ("thinking", "enabled")),
        ("2.1.0", ("thinking", "enabled")),
        (None, ("thinking", "enabled")),
    ],
)
def test_setting_that_keeps_thinking_on(text: str | None, expected: tuple[str, ...]) -> None:
    """Old versions have a setting of their own; an unknown one is taken for new."""
    assert features.thinking_setting(parse_version(text)) == expected


@pytest.mark.parametrize("name", get_args(features.Feature))
def test_every_fact_has_a_source_and_a_use(name: features.Feature) -> None:
    """Each row says how it is known, is not newer than what was run, and decides something."""
    fact = tables("client/features.toml")[name]
    assert fact["what"]
    assert any(word in fact["source"] for word in ("run", "source", "changelog"))
    assert features.since(name) <= NEWEST_KNOWN
    modules = Path(kimifix.__file__).parent.rglob("*.py")
    uses = sum(path.read_text(encoding="utf-8").count(f'has("{name}", ') for path in modules)
    assert uses > 0 or fact["fields"]


def test_a_model_is_read_as_its_time_did() -> None:
    """What a version does not know of an entry has no part in what it sends."""
    model = {"provider": "p", "name": "n", "base_url": "u", "protocol": "anthropic"}
    read = {text: features.read_by(version(text), model) for text in ("0.20.0", "0.30.0", "0.33.0")}
    assert [sorted(found) for found in read.values()] == [
        ["provider"],
        ["base_url", "protocol", "provider"],
        ["base_url", "name", "protocol", "provider"],
    ]


def test_the_facts_are_those_that_the_code_knows() -> None:
    """No row is without a name in the code, and no name without a row."""
    assert set(tables("client/features.toml")) == set(get_args(features.Feature))
