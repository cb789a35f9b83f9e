"""What is asked next, and what the answers say together."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from support import catalogue, rounds

from kimifix.server.answers import Answer, Probe, Verdict
from kimifix.server.judgement import MOST_REQUESTS, Judgement, judge, next_probe

Server = Callable[[Probe], Verdict]

HONEST = Probe("openai", "kimi_code_cli", "login", "now")
ANTHROPIC = Probe("anthropic", "kimi_code_cli", "login", "anthropic")
HEADER = Probe("openai", "kimi_cli", "login", "header")
UNPATCHED = (HONEST, ANTHROPIC, HEADER)

# What can be asked in each state of the config, as `ask` works it out.
REVERT = HONEST._replace(way="revert")
STATES: dict[str, Sequence[Probe]] = {
    "unpatched": UNPATCHED,
    "unpatched, a key at hand": (
        HONEST,
        ANTHROPIC,
        Probe("anthropic", None, "key", "anthropic"),
        HEADER,
        Probe("openai", "kimi_cli", "key", "header"),
    ),
    "header": (HEADER._replace(way="now"), REVERT, ANTHROPIC, HEADER),
    "header, another platform": (Probe("openai", "foo"), REVERT, ANTHROPIC, HEADER),
    "header with a key, not signed in": (
        Probe("openai", "kimi_cli", "key"),
        Probe("anthropic", None, "key", "anthropic"),
        Probe("openai", "kimi_cli", "key", "header"),
    ),
    "anthropic": (ANTHROPIC._replace(way="now"), REVERT, ANTHROPIC, HEADER),
    "anthropic with a key": (
        Probe("anthropic", None, "key"),
        REVERT,
        Probe("anthropic", None, "key", "anthropic"),
        ANTHROPIC,
        Probe("openai", "kimi_cli", "key", "header"),
        HEADER,
    ),
    "header, default moved away": (HONEST, HEADER._replace(way="again"), REVERT, ANTHROPIC, HEADER),
    "its own name with a key": (Probe("openai", "kimi_code_cli", "key"), REVERT, ANTHROPIC),
    "its own name with a key, not signed in": (
        Probe("openai", "kimi_code_cli", "key"),
        Probe("anthropic", None, "key", "anthropic"),
    ),
    "nothing goes out, a key is given": (
        Probe("anthropic", None, "key", "anthropic"),
        Probe("openai", "kimi_cli", "key", "header"),
    ),
}

EXAMPLES = {
    row.verdict: Answer(HONEST, row.status, row.error_type, row.message)
    for row in reversed([*catalogue.ROWS, catalogue.UNKNOWN])
}
EXAMPLES["accepted"] = Answer(HONEST, 200)
EXAMPLES["unreachable"] = Answer(HONEST, message="no answer within 15 s", problem="timeout")


def answer(probe: Probe, verdict: Verdict) -> Answer:
    """Return an answer of this verdict to ``probe``."""
    given = EXAMPLES[verdict]
    return Answer(probe, given.status, given.error_type, given.message, given.problem)


def ask(state: str, server: Server, *, is_old: bool = False) -> tuple[list[Answer], Judgement]:
    """Ask ``server`` until the verdict is clear, and return the answers and what they say."""
    probes, patched = STATES[state], "unpatched" not in state and "nothing" not in state
    answers: list[Answer] = []
    while (probe := next_probe(answers, probes, patched=patched)) is not None:
        answers.append(answer(probe, server(probe)))
    return answers, judge(answers, probes, patched=patched, is_old=is_old)


def by_request(state: str, verdicts: Sequence[Verdict]) -> Server:
    """Return a server that gives each different request one of ``verdicts``, in their order."""
    requests = dict.fromkeys(probe[:3] for probe in STATES[state])
    given = dict(zip(requests, verdicts, strict=True))
    return lambda probe: given[probe[:3]]


def is_consistent(probes: Sequence[Probe], server: Server) -> bool:
    """Tell whether a refused identity or credential is refused wherever it is the same one."""
    for one, other in itertools.permutations(probes, 2):
        if server(one) == "identity" and one[:2] == other[:2] and server(other) != "identity":
            return False
        bad_everywhere = one.credential == "key" or one.surface == "openai"
        same = one.credential == other.credential
        bad = server(one) == "credential" and bad_everywhere and same
        if bad and server(other) != "credential":
            return False
    return True


def test_all_examples_are_what_they_stand_for() -> None:
    """There is one for each verdict."""
    assert {name: found.verdict for name, found in EXAMPLES.items()} == dict(
        zip(EXAMPLES, EXAMPLES, strict=True)
    )


@pytest.mark.parametrize("state", STATES)
def test_every_server_is_judged_truly(state: str) -> None:
    """Whatever each request is answered: what is said follows from it, and no more is asked."""
    telling: tuple[Verdict, ...] = ("accepted", "identity", "credential", "overload", "suspended")
    distinct = len(dict.fromkeys(probe[:3] for probe in STATES[state]))
    servers = itertools.product((*telling, "server"), repeat=distinct)
    for verdicts in servers:
        server = by_request(state, verdicts)
        if not is_consistent(STATES[state], server):
            continue
        answers, judged = ask(state, server)
        said = [a.verdict for a in answers]
        goes_out = answers[0].probe.way == "now"
        assert len(answers) <= MOST_REQUESTS
        again = [a.verdict for a in answers if a.probe == answers[0].probe]
        assert judged.works == (goes_out and "accepted" in again)
        assert judged.verdict is None or judged.verdict in said
        if {"suspended", "quota"} & set(said) and not judged.works:
            assert judged.recommendation == ("revert" if "undo" in judged.advice else "none")
            assert judged.open is None
            continue
        if judged.open is not None:
            assert server(judged.open) == "accepted"
            asked_before = [p for p in STATES[state] if p.way != "now"]
            milder = asked_before[: asked_before.index(judged.open)]
            if said[0] != "overload" and not judged.works:
                assert all(server(probe) != "accepted" for probe in milder)
        if judged.recommendation.startswith("apply"):
            assert not judged.works
            assert judged.open is not None
            disguised = said == ["overload", "accepted", "overload", "accepted"]
            assert not goes_out or said[0] in ("identity", "credential") or disguised
        if judged.works and judged.recommendation == "revert":
            assert REVERT in STATES[state]
            assert server(REVERT) == "accepted"


@pytest.mark.parametrize("state", STATES)
def test_a_way_that_is_open_is_found(state: str) -> None:
    """Where all but one thing are refused for their identity, that one is found."""
    for wanted in STATES[state]:
        if wanted[:3] == STATES[state][0][:3] or wanted.credential != STATES[state][0].credential:
            continue
        let_in = wanted[:3]

        def server(probe: Probe, let_in: tuple[object, ...] = let_in) -> Verdict:
            return "accepted" if probe[:3] == let_in else "identity"

        _, judged = ask(state, server)
        assert judged.open is not None, wanted
        assert judged.open[:3] == let_in


@pytest.mark.parametrize(
    ("state", "verdicts", "asked", "recommendation"),
    [
        ("unpatched", ("accepted", "identity", "identity"), 1, "not-needed"),
        ("unpatched", ("identity", "accepted", "accepted"), 2, "apply-anthropic"),
        ("unpatched", ("identity", "credential", "accepted"), 3, "apply-header"),
        ("unpatched", ("identity", "identity", "identity"), 3, "none"),
        ("unpatched", ("credential", "credential", "accepted"), 1, "none"),
        ("unpatched", ("model", "accepted", "accepted"), 1, "none"),
        ("unpatched", ("overload", "overload", "accepted"), 3, "none"),
        ("unpatched", ("overload", "accepted", "accepted"), 4, "apply-anthropic"),
        ("header", ("accepted", "accepted", "accepted"), 2, "revert"),
        ("header", ("accepted", "identity", "accepted"), 3, "keep"),
        ("header", ("accepted", "identity", "identity"), 3, "keep"),
        ("header", ("identity", "accepted", "identity"), 2, "revert"),
        ("header", ("overload", "accepted", "identity"), 4, "revert"),
        ("anthropic", ("accepted", "identity", "accepted"), 2, "keep"),
        ("header, default moved away", ("accepted", "identity", "identity"), 1, "revert"),
        ("its own name with a key", ("accepted", "credential", "identity"), 2, "keep"),
        ("its own name with a key", ("accepted", "accepted", "identity"), 2, "revert"),
        ("its own name with a key, not signed in", ("accepted", "identity"), 1, "keep"),
        ("header, another platform", ("identity", "identity", "identity", "accepted"), 4, None),
    ],
)
def test_as_little_is_asked_as_needed(
    state: str, verdicts: Sequence[Verdict], asked: int, recommendation: str | None
) -> None:
    """What goes out first, then what is milder, until it is clear what to do."""
    answers, judged = ask(state, by_request(state, verdicts))
    assert answers[0].probe == STATES[state][0]
    assert len(answers) == asked
    assert judged.recommendation == (recommendation or "apply-header")


@pytest.mark.parametrize("overloaded", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("state", ["unpatched", "header"])
def test_chance_is_hardly_called_a_disguise(state: str, overloaded: float) -> None:
    """On a server that is overloaded at random a disguised refusal is seldom claimed."""
    chance = random.Random(f"{state} {overloaded}")
    tries = 4000 * rounds.FACTOR
    claims = 0
    for _ in range(tries):
        _, judged = ask(state, lambda _: "overload" if chance.random() < overloaded else "accepted")
        claims += any("no overload" in note for note in judged.notes)
    assert claims / tries <= 1 / 16 + 0.01


@pytest.mark.parametrize("verdict", ["model", "request", "unknown", "unreachable"])
def test_anything_else_gets_its_own_advice(verdict: Verdict) -> None:
    """What was answered is shown, and what to do instead."""
    answers, judged = ask("header", lambda _: verdict)
    assert (len(answers), judged.verdict, judged.recommendation) == (1, verdict, "none")
    assert judged.advice == answers[0].meaning.advice
    assert str(answers[0]) in judged.sentence


@pytest.mark.parametrize(("other", "alone"), [("accepted", True), ("server", False)])
def test_a_fault_may_be_on_one_side_alone(other: Verdict, alone: bool) -> None:
    """One more surface is asked, behind a second try; to wait is the advice either way."""
    answers, judged = ask("unpatched", by_request("unpatched", ("server", other, "accepted")))
    assert [answer.probe for answer in answers] == [HONEST, HONEST, ANTHROPIC]
    assert (judged.verdict, judged.recommendation, judged.works) == ("server", "none", False)
    assert judged.advice == answers[0].meaning.advice
    assert judged.notes == (("it is so on the OpenAI-style API alone",) if alone else ())


@pytest.mark.parametrize(
    ("state", "verdicts", "recommendation"),
    [
        ("unpatched", ("overload", "accepted", "accepted"), "not-needed"),
        ("unpatched", ("overload", "overload", "accepted"), "not-needed"),
        ("unpatched", ("overload", "identity", "identity", "accepted"), "not-needed"),
        ("unpatched", ("server", "accepted"), "not-needed"),
        ("header", ("server", "accepted", "identity", "identity"), "keep"),
        ("header", ("server", "accepted", "accepted"), "revert"),
    ],
)
def test_what_is_answered_at_the_second_try_works(
    state: str, verdicts: Sequence[Verdict], recommendation: str
) -> None:
    """For kimi-code asks again by itself; an identity in disguise would be refused again."""
    script = iter(verdicts)
    answers, judged = ask(state, lambda _: next(script))
    assert (len(answers), judged.verdict, judged.works) == (len(verdicts), "accepted", True)
    assert judged.recommendation == recommendation
    (note,) = judged.notes
    assert str(answers[0]) in note


def test_a_connection_that_is_closed_is_tried_again() -> None:
    """Unlike one that there never was."""
    closed = Answer(HONEST, problem="broken", message="closed the connection")
    assert next_probe([closed], UNPATCHED, patched=False) == HONEST
    assert next_probe([closed, closed], UNPATCHED, patched=False) is None
    assert judge([closed, closed], UNPATCHED, patched=False, is_old=False).works is False
    refused = Answer(HONEST, problem="refused")
    assert next_probe([refused], UNPATCHED, patched=False) is None


@pytest.mark.parametrize("message", ["We're receiving too many requests", "slow down"])
def test_a_429_that_is_no_limit_of_the_plan_is_tried_again(message: str) -> None:
    """kimi-code does so, too; behind a limit that lasts, only a wait would help."""
    busy = Answer(HONEST, 429, None, message)
    assert next_probe([busy], UNPATCHED, patched=False) == HONEST
    answers = [busy, Answer(HONEST, 200)]
    assert judge(answers, UNPATCHED, patched=False, is_old=False).works
    assert judge([busy, busy], UNPATCHED, patched=False, is_old=False).works is False
    spent = Answer(HONEST, 429, None, "Kimi monthly usage limit reached")
    assert next_probe([spent], UNPATCHED, patched=False) is None


def test_a_429_beside_a_refusal_is_left_open() -> None:
    """Where the other surface takes no login, four requests tell no disguise from overload."""
    server = by_request("unpatched", ("overload", "credential", "accepted"))
    answers, judged = ask("unpatched", server)
    assert [answer.probe for answer in answers] == [HONEST, ANTHROPIC, HEADER, HONEST]
    assert (judged.works, judged.recommendation, judged.open) == (False, "none", HEADER)
    assert "do not tell" in judged.notes[0]
    script = iter(["overload", "credential", "accepted", "accepted"])
    _, judged = ask("unpatched", lambda _: next(script))  # type: ignore[arg-type]
    assert (judged.works, judged.open) == (True, HEADER)


@pytest.mark.parametrize(
    ("state", "verdicts", "works", "advice"),
    [
        ("unpatched", ("credential",) * 3, None, "send one message"),
        ("anthropic", ("credential",) * 3, None, "send one message"),
        ("anthropic", ("credential", "identity", "identity"), False, "the login is good"),
        ("anthropic", ("credential", "identity", "accepted"), False, "header route"),
        ("header with a key, not signed in", ("credential", "credential"), False, "kimi login"),
    ],
)
def test_a_login_that_can_be_renewed_may_get_an_answer(
    state: str, verdicts: Sequence[Verdict], works: bool | None, advice: str
) -> None:
    """Only kimi-code may renew it, so nothing is claimed, unless the login is seen to be good."""
    answers, _ = ask(state, by_request(state, verdicts))
    judged = judge(
        answers, STATES[state], patched=state != "unpatched", is_old=False, renewable=True
    )
    assert judged.works is works
    assert advice in judged.advice
    assert judge(answers, STATES[state], patched=False, is_old=False).works is False


def test_what_hinders_a_milder_way_is_said() -> None:
    """A surface that takes no login or fails, and an update that might do."""
    _, judged = ask(
        "unpatched", by_request("unpatched", ("identity", "credential", "accepted")), is_old=True
    )
    assert any("does not take this login" in note for note in judged.notes)
    assert any("update" in note for note in judged.notes)
    _, judged = ask("unpatched", by_request("unpatched", ("identity", "server", "identity")))
    assert any("ask again later" in note for note in judged.notes)


@pytest.mark.parametrize("is_old", [True, False])
def test_nobody_let_in_leaves_the_update_or_the_support(is_old: bool) -> None:
    """There is no route to take."""
    _, judged = ask("header", lambda _: "identity", is_old=is_old)
    assert judged.recommendation == ("update" if is_old else "none")
    assert ("support" in judged.advice) == (not is_old)


def test_nothing_asked_is_a_mistake_of_the_caller() -> None:
    """There is nothing to judge."""
    with pytest.raises(ValueError, match="nothing was asked"):
        judge([], UNPATCHED, patched=False, is_old=False)
