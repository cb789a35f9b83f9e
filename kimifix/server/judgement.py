"""What to ask the Kimi API next, and what its answers say together: pure.

The words are in `answers.toml` beside this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kimifix.server.answers import CATALOGUE, Answer, Probe, Verdict, Way
from kimifix.words import API, RENEW

_Applied = Literal["apply-again", "apply-anthropic", "apply-header"]
Recommendation = Literal["not-needed", "keep", "revert", "update", "start", "none", _Applied]
MOST_REQUESTS = 4

_ABOUT_THE_ACCOUNT: tuple[Verdict, ...] = ("suspended", "plan", "quota")
_NO_CLEAR_ANSWER: tuple[Verdict, ...] = ("overload", "server", "unknown", "unreachable")
_REFUSED: tuple[Verdict, ...] = ("identity", "credential")
# What chance gives at most one time in sixteen, however loaded the server is.
_DISGUISED: tuple[Verdict, ...] = ("overload", "accepted", "overload", "accepted")


@dataclass(frozen=True)
class Judgement:
    """What the answers say together.

    ``verdict`` is that of what goes out now, None where nothing does. ``sentence`` says what
    is true, ``advice`` what to do; ``open`` is what was let in besides, if anything.
    ``works`` is whether kimi-code gets an answer, None where it alone can tell: it would renew
    its login first, or goes a way that kimifix does not.
    """

    verdict: Verdict | None
    sentence: str
    advice: str
    recommendation: Recommendation = "none"
    open: Probe | None = None
    notes: tuple[str, ...] = ()
    works: bool | None = False


def next_probe(
    answers: Sequence[Answer], probes: Sequence[Probe], *, patched: bool
) -> Probe | None:
    """Return which of ``probes`` to ask next, None as soon as the verdict is clear.

    The first is what goes out now, if anything does, and the others come mildest first;
    ``patched`` is whether there is a patch of ours.
    """
    if len(answers) == 1 and answers[0].meaning.passes:
        return answers[0].probe
    is_enough, answers = len(answers) == MOST_REQUESTS, _settled(answers)
    verdicts = tuple(answer.verdict for answer in answers)
    if is_enough or any(verdict in _ABOUT_THE_ACCOUNT for verdict in verdicts):
        return None
    rest = [probe for probe in probes if not any(tells(answer, probe) for answer in answers)]
    if verdicts[:1] == ("overload",):
        return _after_overload(answers, verdicts, rest)
    if verdicts == ("server",):  # it may be one side of the server alone
        return next((p for p in rest if p.surface != answers[0].probe.surface), None)
    if "accepted" in verdicts[1:] or not {*verdicts[:1]} <= {"accepted", *_REFUSED}:
        return None
    if verdicts[:1] == ("accepted",):
        first = answers[0].probe
        milder: tuple[Way, ...] = ("revert", "anthropic") if first.alters_identity else ("revert",)
        rest = [p for p in rest if p.way in milder and first.way == "now" and patched]
    return next(iter(rest), None)


def _after_overload(
    answers: Sequence[Answer], verdicts: tuple[Verdict, ...], rest: Sequence[Probe]
) -> Probe | None:
    """Return what to ask behind a 429: another request, and the first again, as kimi-code does."""
    now = answers[0].probe
    if len(answers) > 1 and verdicts == _DISGUISED[: len(answers)]:
        return answers[-2].probe
    is_done = any(answer.probe == now for answer in answers[1:])
    if is_done or any(verdict not in _REFUSED for verdict in verdicts[1:-1]):
        return None
    return next(iter(rest), now) if len(answers) == 1 or verdicts[-1] in _REFUSED else now


def _settled(answers: Sequence[Answer]) -> Sequence[Answer]:
    """Return ``answers`` without the first where it is asked again right away."""
    return answers[1:] if len(answers) > 1 and answers[0].meaning.passes else answers


def tells(answer: Answer, probe: Probe) -> bool:
    """Tell whether ``answer`` tells what the one to ``probe`` would be."""
    known = answer.probe
    if answer.verdict == "identity":
        return (known.surface, known.platform) == (probe.surface, probe.platform)
    if answer.verdict == "credential" and known.credential == probe.credential:
        # A bad key is bad everywhere, but a login may be good on the one surface alone.
        return probe.credential == "key" or known.surface in ("openai", probe.surface)
    return known[:3] == probe[:3]


def judge(
    answers: Sequence[Answer],
    probes: Sequence[Probe],
    *,
    patched: bool,
    is_old: bool,
    renewable: bool = False,
    named: bool = False,
) -> Judgement:
    """Return what the answers say together, in the order in which ``next_probe`` asked.

    ``probes`` and ``patched`` are the same as there. ``is_old`` is whether there is a newer
    kimi-code, ``renewable`` whether kimi-code would renew a login that is refused, ``named``
    whether the patch gives it its own name, which it has anyway in a terminal, and not in an
    editor. Raises ``ValueError`` without an answer.
    """
    if not answers:
        raise ValueError("nothing was asked")
    first, answers = answers[0], _settled(answers)
    now = answers[0] if first.probe.way == "now" else None
    verdicts = tuple(answer.verdict for answer in answers)
    others = [answer for answer in answers if answer.probe.way != "now"]
    opened = next((answer.probe for answer in others if answer.verdict == "accepted"), None)
    account = next((answer for answer in answers if answer.verdict in _ABOUT_THE_ACCOUNT), None)
    if account is not None and verdicts[0] != "accepted":
        return _hands_off(account, account.meaning.meaning, patched)
    got = (answer for answer in answers if answer.verdict == "accepted")
    if now and (answered := next((a for a in got if a.probe == now.probe), None)):
        same = next((p for p in probes if p.way == "revert" and tells(answered, p)), None)
        judged = _answered(answered, same or opened, patched, named)
        again = f"the server did not answer at once ({first}): kimi-code asks again by itself"
        return judged if answered is first else replace(judged, notes=(again,))
    if now and renewable and now.status == 401 and _is_login(now) and not _is_good(others):
        sentence = "the server refuses the login as it is, and only kimi-code may renew it"
        advice = f"{RENEW}; if it stays refused, {now.meaning.advice}"
        return Judgement("credential", sentence, advice, works=None)
    if now and now.verdict == "overload" and verdicts != _DISGUISED:
        return _overloaded(now, answers, opened)
    if now and now.verdict not in ("overload", *_REFUSED):
        alone = (f"it is so on the {API[now.probe.surface]} alone",) if opened else ()
        return replace(_hands_off(now, now.meaning.meaning, patched), notes=alone)
    return _refused(now, others, opened, is_old)


def _answered(now: Answer, opened: Probe | None, patched: bool, named: bool) -> Judgement:
    way: str = opened.way if opened else "nothing"
    if named and way == "revert":
        way, opened = "named", None
    row = CATALOGUE["answered"][way if patched else "unpatched"]
    return Judgement(now.verdict, **row, open=opened, works=True)


def _is_login(now: Answer) -> bool:
    """Tell whether it is a login that is refused."""
    return (now.verdict, now.probe.credential) == ("credential", "login")


def _is_good(others: Sequence[Answer]) -> bool:
    """Tell whether the login has been taken in another request."""
    verdicts = [answer.verdict for answer in others if answer.probe.credential == "login"]
    return any(verdict not in ("credential", *_NO_CLEAR_ANSWER) for verdict in verdicts)


def _overloaded(now: Answer, answers: Sequence[Answer], opened: Probe | None) -> Judgement:
    """Return what a 429 says that is not shown to be a disguise: wait, whatever else is open."""
    again = {answer.verdict for answer in answers if answer.probe == now.probe}
    others = {answer.verdict for answer in answers if answer.probe != now.probe}
    if opened and "overload" not in others and again == {"overload"}:
        doubt = f"or it refuses {_named(now)} in disguise: so few requests do not tell"
        return replace(_hands_off(now, "the server is overloaded"), open=opened, notes=(doubt,))
    if "accepted" in others:
        return _hands_off(now, "the server is overloaded at times")
    return _hands_off(now, "the server is overloaded")


def _refused(
    now: Answer | None, others: Sequence[Answer], opened: Probe | None, is_old: bool
) -> Judgement:
    is_credential = now is not None and now.verdict == "credential"
    way: str = opened.way if opened else "old" if is_old and not is_credential else "nothing"
    if now and opened is None and _is_login(now) and _is_good(others):
        way = "login"
    row = {**CATALOGUE["refused"][way]}
    sentence = row.pop("sentence").format(platform=opened.platform if opened else None)
    notes = _notes(others, is_old and way in ("anthropic", "header"))
    if now is None:
        return Judgement(None, f"the server {sentence}", **row, open=opened, notes=notes)
    if is_credential and way == "nothing":
        row["advice"] = now.meaning.advice
    if now.verdict == "overload":
        notes = ("this 429 is no overload: twice in turn the other request was answered", *notes)
    what = f"the configured {now.probe.credential}" if is_credential else _named(now)
    told = f"the server refuses {what}{f', and {sentence}' if others else ''}"
    return Judgement(now.verdict, told, **row, open=opened, notes=notes)


def _named(now: Answer) -> str:
    name = now.probe.platform
    return f"kimi-code under the name `{name}`" if name else "kimi-code without a name"


def _hands_off(answer: Answer, opening: str, patched: bool = False) -> Judgement:
    """Return what to do where no route could help: never to patch."""
    sentence = f"{opening}: {answer}"
    if answer.verdict == "suspended" and patched:
        advice = "undo the fix, then write to the vendor's support"
        return Judgement("suspended", sentence, advice, "revert")
    works = None if answer.meaning.client_can else False
    return Judgement(answer.verdict, sentence, answer.meaning.advice, works=works)


def _notes(others: Sequence[Answer], is_old: bool) -> tuple[str, ...]:
    notes = ["a newer kimi-code may be let in as it is: update it first"] if is_old else []
    for answer in others:
        surface, _, credential, _ = answer.probe
        if answer.verdict == "credential":
            notes.append(f"the {API[surface]} does not take this {credential} ({answer})")
        elif answer.verdict in _NO_CLEAR_ANSWER:
            notes.append(f"the {API[surface]} gave no clear answer ({answer}): ask again later")
    return tuple(notes)
