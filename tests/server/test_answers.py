"""The catalogue, and what the answers say together."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from support import catalogue
from support.catalogue import NO_ROWS, ROWS, Row

from kimifix.server import answers
from kimifix.server.answers import Answer, Meaning, Probe, Problem, Verdict, classify
from kimifix.server.judgement import (
    Credential,
    Judgement,
    Recommendation,
    Route,
    judge,
    next_probe,
    probes,
)

OPENAI, ANTHROPIC, LEGACY = probes("login")
PATCHED: tuple[Route | None, ...] = (None, "header", "anthropic")
CREDENTIALS: tuple[Credential, ...] = ("login", "key")

# One answer for each verdict.
_EXAMPLES: dict[Verdict, Answer] = {
    "accepted": Answer(OPENAI, 200),
    "unreachable": Answer(OPENAI, message="no answer within 20 s", problem="timeout"),
    **{
        row.verdict: Answer(OPENAI, row.status, row.error_type, row.message)
        for row in (
            catalogue.IDENTITY,
            catalogue.SUSPENDED,
            catalogue.QUOTA,
            catalogue.PLAN,
            catalogue.CREDENTIAL,
            catalogue.MODEL,
            catalogue.OVERLOAD,
            catalogue.REQUEST,
            catalogue.SERVER,
            catalogue.UNKNOWN,
        )
    },
}


def _matrix(*verdicts: Verdict, credential: Credential = "login") -> list[Answer]:
    asked = zip(probes(credential), verdicts, strict=False)
    return [replace(_EXAMPLES[verdict], probe=probe) for probe, verdict in asked]


def _judge(
    *verdicts: Verdict,
    patched: Route | None = None,
    old: bool = False,
    shares_login: bool = True,
    credential: Credential = "login",
) -> Judgement:
    return judge(
        _matrix(*verdicts, credential=credential),
        patched=patched,
        client_version_is_old=old,
        shares_login=shares_login,
        credential=credential,
    )


def _words(judgement: Judgement) -> str:
    texts = (judgement.sentence, judgement.advice, judgement.next_command or "", *judgement.notes)
    return " | ".join(texts)


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


# -- which probe comes next -----------------------------------------------------------


def test_the_honest_identities_are_asked_first() -> None:
    """The vendor's own name on both surfaces, then the altered one."""
    assert next_probe([]) == OPENAI == Probe("openai", "kimi_code_cli")
    assert next_probe(_matrix("identity")) == ANTHROPIC == Probe("anthropic", "kimi_code_cli")
    assert next_probe(_matrix("identity", "identity")) == LEGACY == Probe("openai", "kimi_cli")
    assert next_probe(_matrix("identity", "identity", "identity")) is None


def test_with_a_key_the_anthropic_surface_is_asked_without_identity() -> None:
    """So does the provider that the Anthropic route writes for a key."""
    matrix = _matrix("identity", credential="key")
    assert next_probe(matrix, "key") == Probe("anthropic", None)


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_the_first_answer_ends_it_unless_it_is_about_the_identity(verdict: Verdict) -> None:
    """Only a refused identity, or what may be one in disguise, asks for more."""
    goes_on = verdict in ("identity", "overload")
    assert (next_probe(_matrix(verdict)) is not None) == goes_on


@pytest.mark.parametrize("first", ["identity", "overload"])
@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_the_second_answer_ends_it_when_it_settles_the_matter(
    first: Verdict, verdict: Verdict
) -> None:
    """Let in, or a matter of the account: the altered identity is not even tried."""
    settled = verdict in ("accepted", "suspended", "quota", "plan")
    assert (next_probe(_matrix(first, verdict)) is None) == settled


# -- what the answers say together ----------------------------------------------------


@pytest.mark.parametrize(
    ("patched", "recommendation", "command"),
    [
        (None, "not-needed", None),
        ("header", "revert", "kimifix revert"),
        ("anthropic", "revert", "kimifix revert"),
    ],
)
def test_let_in_means_no_patch(
    patched: Route | None, recommendation: Recommendation, command: str | None
) -> None:
    """The official identity accepted: nothing to do, or to take a patch out again."""
    judgement = _judge("accepted", patched=patched)
    assert judgement.verdict == "accepted"
    assert (judgement.recommendation, judgement.next_command) == (recommendation, command)


@pytest.mark.parametrize("first", ["identity", "overload"])
@pytest.mark.parametrize(
    ("rest", "patched", "recommendation", "command"),
    [
        (["accepted"], None, "apply-anthropic", "kimifix apply --route anthropic"),
        (["accepted"], "header", "apply-anthropic", "kimifix apply --route anthropic"),
        (["accepted"], "anthropic", "not-needed", None),
        (["identity", "accepted"], None, "apply-header", "kimifix apply --route header"),
        (["identity", "accepted"], "header", "not-needed", None),
        (["identity", "accepted"], "anthropic", "apply-header", "kimifix apply --route header"),
        (["credential", "accepted"], None, "apply-header", "kimifix apply --route header"),
        (["model", "accepted"], None, "apply-header", "kimifix apply --route header"),
        (["overload", "accepted"], None, "apply-header", "kimifix apply --route header"),
        (["unreachable", "accepted"], None, "apply-header", "kimifix apply --route header"),
    ],
)
def test_the_mildest_route_that_is_let_in_is_recommended(
    first: Verdict,
    rest: list[Verdict],
    patched: Route | None,
    recommendation: Recommendation,
    command: str | None,
) -> None:
    """A 429 beside a 200 is a refused identity as much as the 403 is."""
    judgement = _judge(first, *rest, patched=patched)
    assert judgement.verdict == "identity"
    assert (judgement.recommendation, judgement.next_command) == (recommendation, command)
    assert ("no overload" in _words(judgement)) == (first == "overload")


def test_what_a_key_was_let_in_with_is_applied_with_a_key() -> None:
    """The command uses the credential that was proved to work."""
    anthropic = _judge("identity", "accepted", credential="key")
    header = _judge("identity", "identity", "accepted", credential="key")
    assert anthropic.next_command == "kimifix apply --route anthropic --credential key"
    assert header.next_command == "kimifix apply --route header --credential key"


@pytest.mark.parametrize("patched", PATCHED)
@pytest.mark.parametrize("rest", [["accepted"], ["identity", "accepted"]])
def test_a_client_that_cannot_share_its_login_is_to_be_updated(
    rest: list[Verdict], patched: Route | None
) -> None:
    """Or to get a key, with which the same version would be let in."""
    judgement = _judge("identity", *rest, patched=patched, shares_login=False, old=True)
    assert judgement.verdict == "identity"
    assert (judgement.recommendation, judgement.next_command) == ("update", "kimi upgrade")
    assert "--credential key" in judgement.advice
    with_key = _judge("identity", *rest, shares_login=False, credential="key")
    assert with_key.recommendation.startswith("apply")


@pytest.mark.parametrize("patched", PATCHED)
@pytest.mark.parametrize(
    ("old", "recommendation", "command"),
    [(True, "update", "kimi upgrade"), (False, "none", None)],
)
def test_nobody_let_in_leaves_the_update_or_the_support(
    patched: Route | None, old: bool, recommendation: Recommendation, command: str | None
) -> None:
    """There is no route to take."""
    judgement = _judge("identity", "identity", "identity", patched=patched, old=old)
    assert judgement.verdict == "identity"
    assert (judgement.recommendation, judgement.next_command) == (recommendation, command)
    assert ("does not help any more" in _words(judgement)) == (patched is not None)
    assert ("support" in judgement.advice) == (not old)


def test_no_patch_is_called_useless_on_an_unclear_answer() -> None:
    """Its surface was not reached, so nothing is known about it."""
    judgement = _judge("identity", "server", "identity", patched="anthropic")
    assert "does not help" not in _words(judgement)
    assert "ask again" in judgement.advice


def test_a_login_that_the_anthropic_surface_does_not_take_is_said() -> None:
    """The way that alters nothing may still be open with a key of the console."""
    with_login = _judge("identity", "credential", "accepted")
    assert any("does not take this login" in note for note in with_login.notes)
    assert any("key of the Kimi Code console" in note for note in with_login.notes)
    with_key = _judge("identity", "credential", "accepted", credential="key")
    assert not any("key of the Kimi Code console" in note for note in with_key.notes)


def test_an_old_client_is_told_that_an_update_may_do() -> None:
    """Where a route is recommended, the update is still the milder thing to try."""
    assert "kimi upgrade" in _words(_judge("identity", "accepted", old=True))
    assert "kimi upgrade" not in _words(_judge("identity", "accepted"))


@pytest.mark.parametrize("patched", PATCHED)
@pytest.mark.parametrize(
    "before", [[], ["identity"], ["overload"], ["identity", "identity"], ["identity", "credential"]]
)
@pytest.mark.parametrize("verdict", ["suspended", "quota", "plan"])
def test_a_matter_of_the_account_outweighs_the_identity(
    verdict: Verdict, before: list[Verdict], patched: Route | None
) -> None:
    """Wherever in the matrix it turns up; on a suspension a patch is to be taken out."""
    judgement = _judge(*before, verdict, patched=patched, old=True)
    assert judgement.verdict == verdict
    if verdict == "suspended" and patched:
        assert judgement.recommendation == "revert"
        assert judgement.next_command == "kimifix revert"
    else:
        assert (judgement.recommendation, judgement.next_command) == ("none", None)
    assert ("support" in judgement.advice) == (verdict == "suspended")


@pytest.mark.parametrize("patched", PATCHED)
@pytest.mark.parametrize(
    "verdict", ["credential", "model", "request", "server", "unknown", "unreachable"]
)
def test_anything_else_gets_its_own_advice(verdict: Verdict, patched: Route | None) -> None:
    """What was answered is shown, and what to do instead."""
    judgement = _judge(verdict, patched=patched, old=True)
    example = _EXAMPLES[verdict]
    assert (judgement.verdict, judgement.recommendation) == (verdict, "none")
    assert judgement.advice == example.meaning.advice
    assert str(example) in judgement.sentence
    assert judgement.next_command == ("kimi login" if verdict == "credential" else None)


def test_a_refused_key_does_not_lead_to_the_login_command() -> None:
    """`kimi login` mends a login, not a key."""
    assert _judge("credential", credential="key").next_command is None


@pytest.mark.parametrize("rest", [["overload"], ["overload", "overload"], ["identity", "server"]])
def test_overloaded_for_everybody_means_to_wait(rest: list[Verdict]) -> None:
    """Without a 200 beside it, the 429 is taken at its word."""
    judgement = _judge("overload", *rest, old=True)
    assert (judgement.verdict, judgement.recommendation) == ("overload", "none")
    assert "wait" in judgement.advice


def test_nothing_asked_is_a_mistake_of_the_caller() -> None:
    """There is nothing to judge."""
    with pytest.raises(ValueError, match="nothing was asked"):
        _judge()


def _all_judgements() -> list[tuple[tuple[Verdict, ...], Judgement]]:
    """Return the judgement of every matrix that the stop rules can lead to, in every state."""
    found = []
    verdicts = get_args(Verdict)
    matrices: list[tuple[Verdict, ...]] = [()]
    for matrix in matrices:
        if next_probe(_matrix(*matrix)) is not None:
            matrices += [(*matrix, verdict) for verdict in verdicts]
    states = itertools.product(PATCHED, (True, False), (True, False), CREDENTIALS)
    for (patched, old, shares, credential), matrix in itertools.product(states, matrices[1:]):
        judgement = _judge(
            *matrix, patched=patched, old=old, shares_login=shares, credential=credential
        )
        found.append((matrix, judgement))
    return found


def test_a_patch_is_recommended_only_where_a_route_was_let_in() -> None:
    """Never on a suspension, a quota, a missing plan or an answer that is not understood."""
    for matrix, judgement in _all_judgements():
        words = _words(judgement)
        assert judgement.sentence
        assert judgement.advice
        if judgement.recommendation == "none":
            assert "apply" not in words, matrix
        if "apply" in words:
            assert judgement.verdict == "identity", matrix
            assert matrix[0] in ("identity", "overload"), matrix
            assert "accepted" in matrix[1:], matrix
            assert not {"suspended", "quota", "plan"} & set(matrix), matrix
        if judgement.recommendation == "apply-header":
            assert matrix[1] != "accepted", matrix
            assert matrix[2] == "accepted", matrix
        if judgement.recommendation == "apply-anthropic":
            assert matrix[1] == "accepted", matrix


def test_no_advice_of_the_catalogue_but_the_identity_row_speaks_of_routes() -> None:
    """It is shown beside log lines, too."""
    for row in (*ROWS, *NO_ROWS):
        advice = classify(row.status, row.error_type, row.message).advice
        assert "apply" not in advice
        assert ("route" in advice) == (row.verdict == "identity")
