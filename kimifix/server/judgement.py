"""What the answers of the Kimi API say together, and what to ask next: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kimifix.server.answers import CONSOLE, SUPPORT, Answer, Probe, Surface, Verdict

Route = Literal["header", "anthropic"]
Credential = Literal["login", "key"]
Recommendation = Literal[
    "not-needed", "revert", "update", "apply-anthropic", "apply-header", "none"
]

OWN_PLATFORM = "kimi_code_cli"
LEGACY_PLATFORM = "kimi_cli"

_SURFACES: dict[Surface, str] = {
    "openai": "the OpenAI-style surface",
    "anthropic": "the Anthropic-style surface",
}


@dataclass(frozen=True)
class Judgement:
    """What the answers say together.

    ``sentence`` says what is true, ``advice`` what to do, ``next_command`` what to type,
    None where there is nothing to type. ``notes`` are what else should be known first.
    """

    verdict: Verdict
    sentence: str
    recommendation: Recommendation
    advice: str
    next_command: str | None = None
    notes: tuple[str, ...] = ()


# Verdicts about the account: whatever other identity might be let in, there is nothing
# to go round.
_ABOUT_THE_ACCOUNT: tuple[Verdict, ...] = ("suspended", "plan", "quota")
_NO_CLEAR_ANSWER: tuple[Verdict, ...] = ("overload", "server", "unknown", "unreachable")


def probes(credential: Credential) -> tuple[Probe, Probe, Probe]:
    """Return what can be asked, the honest identities first.

    On the Anthropic-style surface a login goes out with the full identity of the client,
    a key without any, as the entries that `kimifix apply --route anthropic` writes do.
    """
    return (
        Probe("openai", OWN_PLATFORM),
        Probe("anthropic", OWN_PLATFORM if credential == "login" else None),
        Probe("openai", LEGACY_PLATFORM),
    )


def next_probe(answers: Sequence[Answer], credential: Credential = "login") -> Probe | None:
    """Return what to ask next, None as soon as the verdict is clear."""
    verdicts = [answer.verdict for answer in answers]
    if verdicts and verdicts[0] not in ("identity", "overload"):
        return None
    if any(verdict in ("accepted", *_ABOUT_THE_ACCOUNT) for verdict in verdicts):
        return None
    planned = probes(credential)
    return planned[len(answers)] if len(answers) < len(planned) else None


def judge(
    answers: Sequence[Answer],
    *,
    patched: Route | None,
    client_version_is_old: bool,
    shares_login: bool,
    credential: Credential,
) -> Judgement:
    """Return what ``answers`` say together, in the order in which ``next_probe`` asked.

    ``patched`` is the route of the patch in place. ``shares_login`` is whether the client
    lets an own provider use its login; ``credential`` is what the probes were sent with.
    Raises ``ValueError`` without any answer.
    """
    if not answers:
        raise ValueError("nothing was asked")
    first, others = answers[0], answers[1:]
    about_account = next((a for a in answers if a.verdict in _ABOUT_THE_ACCOUNT), None)
    if about_account is not None:
        return _hands_off(about_account, patched, credential)
    if first.verdict == "accepted":
        return _let_in(patched)
    let_in = next((answer for answer in others if answer.verdict == "accepted"), None)
    if first.verdict != "identity" and let_in is None:
        return _hands_off(first, patched, credential)
    notes = _notes(first, others, credential)
    if let_in is None:
        return _locked_out(others, patched, client_version_is_old, notes)
    route = _route(let_in.probe)
    if credential == "login" and not shares_login:
        return _update_for_login(route, notes)
    if client_version_is_old:
        notes = (*notes, "a newer kimi-code may be let in as it is: update it first (kimi upgrade)")
    return _way_round(route, patched, credential, notes)


def _let_in(patched: Route | None) -> Judgement:
    sentence = "the server accepts kimi-code under its own identity"
    if patched is None:
        return Judgement("accepted", sentence, "not-needed", "no patch is needed")
    return Judgement(
        "accepted",
        f"{sentence} again",
        "revert",
        "take the patch out: it is not needed any more",
        "kimifix revert",
    )


def _hands_off(answer: Answer, patched: Route | None, credential: Credential) -> Judgement:
    """Return what to do where no route could help: never to patch."""
    meaning = answer.meaning
    verdict = meaning.verdict
    opening = meaning.meaning
    if verdict == "unknown" and answer.problem is None:
        opening = "the server's answer is not in the catalogue"
    elif verdict == "overload":
        opening = "the server is overloaded"
    sentence = f"{opening}: {answer}"
    if verdict == "suspended" and patched:
        advice = f"take the patch out, then write to {SUPPORT}"
        return Judgement(verdict, sentence, "revert", advice, "kimifix revert")
    sign_in = verdict == "credential" and credential == "login"
    return Judgement(verdict, sentence, "none", meaning.advice, "kimi login" if sign_in else None)


def _notes(first: Answer, others: Sequence[Answer], credential: Credential) -> tuple[str, ...]:
    notes = []
    if first.verdict == "overload":
        notes.append(
            "the 429 was no overload: the same request was answered under another identity "
            "at the same moment"
        )
    for answer in others:
        surface = _SURFACES[answer.probe.surface]
        if answer.verdict == "credential" and answer.probe.surface == "anthropic":
            note = f"{surface} does not take this {credential} ({answer})"
            key = f"; a key of {CONSOLE} may be taken there"
            notes.append(note + (key if credential == "login" else ""))
        elif answer.verdict in _NO_CLEAR_ANSWER:
            notes.append(f"{surface} gave no clear answer ({answer}): ask again later")
    return tuple(notes)


def _locked_out(
    others: Sequence[Answer], patched: Route | None, old: bool, notes: tuple[str, ...]
) -> Judgement:
    sentence = "the server refuses the identity of kimi-code, and no other one was let in"
    refused = {_route(answer.probe) for answer in others if answer.verdict == "identity"}
    if patched in refused:
        notes = (*notes, "the patch in place does not help any more: kimifix revert takes it out")
    if old:
        advice = "update kimi-code: a newer one may be let in"
        return Judgement("identity", sentence, "update", advice, "kimi upgrade", notes)
    advice = f"write to {SUPPORT}"
    if any(answer.verdict in _NO_CLEAR_ANSWER for answer in others):
        advice = f"ask again in some minutes, for not every answer was clear; else {advice}"
    return Judgement("identity", sentence, "none", advice, None, notes)


def _route(probe: Probe) -> Route:
    return "anthropic" if probe.surface == "anthropic" else "header"


def _update_for_login(route: Route, notes: tuple[str, ...]) -> Judgement:
    key = f"kimifix apply --route {route} --credential key"
    return Judgement(
        "identity",
        f"{_opening(route)}, but this kimi-code cannot use its login there",
        "update",
        f"update kimi-code, or use a key of {CONSOLE}: `{key}`",
        "kimi upgrade",
        notes,
    )


def _way_round(
    route: Route,
    patched: Route | None,
    credential: Credential,
    notes: tuple[str, ...],
) -> Judgement:
    if patched == route:
        sentence = f"{_opening(route)}, and that is the route of the patch in place"
        return Judgement("identity", sentence, "not-needed", "keep the patch", None, notes)
    with_key = " --credential key" if credential == "key" else ""
    if route == "anthropic":
        return Judgement(
            "identity",
            _opening(route),
            "apply-anthropic",
            "take the Anthropic route, which alters no identity",
            f"kimifix apply --route anthropic{with_key}",
            notes,
        )
    return Judgement(
        "identity",
        _opening(route),
        "apply-header",
        "take the header route, which alters the identity: read the policy notice first",
        f"kimifix apply --route header{with_key}",
        notes,
    )


def _opening(route: Route) -> str:
    refused = "the server refuses the identity of kimi-code on the OpenAI-style surface"
    if route == "anthropic":
        return f"{refused} and accepts kimi-code on the Anthropic-style surface"
    return f"{refused} and accepts `{LEGACY_PLATFORM}` there"
