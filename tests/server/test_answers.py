"""The catalogue, and what the answers say together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from support import catalogue
from support.catalogue import NO_ROWS, ROWS, Row

from kimifix.server import answers
from kimifix.server.answers import Answer, Meaning, Probe, Problem, Verdict, classify

OPENAI = Probe("openai", "kimi_code_cli")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_documented_answer_has_its_verdict_and_advice(row: Row) -> None:
    """Status and message decide, in whatever case the message is written."""
    for message in (row.message, row.message.upper(), f"403 {row.message} (request id: 1)"):
        meaning = classify(row.status, row.error_type, message)
        assert meaning.verdict == row.verdict
        assert row.advice in meaning.advice


@pytest.mark.parametrize("row", NO_ROWS, ids=str)
def test_what_is_not_documented_is_unknown(row: Row) -> None:
    """A type alone, or a message with another status, claims nothing."""
    assert classify(row.status, row.error_type, row.message).verdict == "unknown"


def test_catalogue_is_well_formed() -> None:
    """A row that could never match, or a word that nobody knows, does not get in."""
    data = tomllib.loads(Path(answers.__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    texts = [text for row in data["answer"] for text in row.pop("says", [])]
    assert [text for text in texts if text != text.lower()] == []
    assert {re.compile(row.pop("status")).groups for row in data["answer"]} == {0}
    assert data["problem"].keys() == set(get_args(Problem))
    for row in (*data["answer"], *data["problem"].values()):
        assert Meaning(**row).verdict in get_args(Verdict)


def test_a_log_line_without_status_is_unknown() -> None:
    """The client's log does not always name a status."""
    assert classify(None, None, catalogue.IDENTITY.message).verdict == "unknown"


def test_the_identity_row_comes_before_the_suspension() -> None:
    """A refusal that says both is about the identity, as the catalogue has it."""
    both = f"Access terminated: {catalogue.IDENTITY.message}"
    assert classify(403, "access_terminated_error", both).verdict == "identity"


@pytest.mark.parametrize("problem", get_args(Problem))
def test_no_answer_of_the_api_is_never_a_verdict_about_the_account(problem: Problem) -> None:
    """Whatever a proxy or a sign-in page says: the API did not say it."""
    answer = Answer(OPENAI, 403, None, catalogue.SUSPENDED.message, problem)
    assert answer.verdict in ("unreachable", "unknown")
    assert answer.meaning.advice


def test_a_gateway_that_fails_in_html_is_still_a_server_error() -> None:
    """502 means the same in whatever form."""
    assert Answer(OPENAI, 502, None, "an HTML page: Bad Gateway", "foreign").verdict == "server"
    assert Answer(OPENAI, 404, None, "an HTML page: Not Found", "foreign").verdict == "unknown"


def test_an_answer_says_itself_in_one_line() -> None:
    """Status, type and message, as far as they are there."""
    assert str(Answer(OPENAI, 418, "teapot_error", "short")) == "HTTP 418, teapot_error, short"
    assert str(Answer(OPENAI, 403)) == "HTTP 403"
    assert str(Answer(OPENAI, problem="timeout")) == "timeout"


def test_no_advice_of_the_catalogue_but_the_identity_row_speaks_of_routes() -> None:
    """It is shown beside log lines, too."""
    for row in (*ROWS, *NO_ROWS):
        advice = classify(row.status, row.error_type, row.message).advice
        assert "apply" not in advice
        assert ("route" in advice) == (row.verdict == "identity")
