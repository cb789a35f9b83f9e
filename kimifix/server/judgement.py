"""What to ask the Kimi API next, and what its answers say together: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kimifix.server.answers import SUPPORT, Answer, Probe, Verdict, Way
from kimifix.words import API

_Applied = Literal["apply-again", "apply-anthropic", "apply-header"]
Recommendation = Literal["not-needed", "keep", "revert", "update", "none", _Applied]
MOST_REQUESTS = 4

_ABOUT_THE_ACCOUNT: tuple[Verdict, ...] = ("suspended", "plan", "quota")
_NO_CLEAR_ANSWER: tuple[Verdict, ...] = ("overload", "server", "unknown", "unreachable")
# What chance gives at most one time in sixteen, however loaded the server is.
_DISGUISED: tuple[Verdict, ...] = ("overload", "accepted", "overload", "accepted")


@dataclass(frozen=True)
class Judgement:
    """What the answers say together.

    ``verdict`` is that of what goes out now, None where nothing does. ``sentence`` says what
    is true, ``advice`` what to do; ``open`` is what was let in besides, if anything.
    """

    verdict: Verdict | None
    sentence: str
    advice: str
    recommendation: Recommendation = "none"
    open: Probe | None = None
    notes: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether kimi-code gets an answer."""
        return self.verdict == "accepted"


class _Row(NamedTuple):
    sentence: str
    advice: str
    recommendation: Recommendation


_NOT_NEEDED = _Row("the server answers, and no fix is needed", "nothing to do", "not-needed")
# With a patch that is answered, by what else is open:
_ANSWERED: dict[Way | None, _Row] = {
    None: _Row("the server answers", "keep the fix", "keep"),
    "revert": _Row(
        "the server answers, and would answer without the fix, too",
        "undo the fix: it is not needed any more",
        "revert",
    ),
    "anthropic": _Row(
        "the server answers, and on the Anthropic route as well",
        "keep the fix, or take that route, on which kimi-code keeps its own name",
        "keep",
    ),
}
# Where what is configured is refused, by what is open instead; what is said of the server:
_REFUSED: dict[Way | None, _Row] = {
    None: _Row("lets nothing else in", f"write to {SUPPORT}", "none"),
    "again": _Row("answers what was applied", "apply it again", "apply-again"),
    "revert": _Row("answers kimi-code without the fix", "undo the fix", "revert"),
    "anthropic": _Row(
        "answers kimi-code on its Anthropic-style API",
        "take the Anthropic route, on which kimi-code keeps its own name",
        "apply-anthropic",
    ),
    "header": _Row(
        "answers when kimi-code says that it is `{platform}`",
        "take the header route; read its notice first, for the vendor's guidelines forbid it",
        "apply-header",
    ),
}


def next_probe(
    answers: Sequence[Answer], probes: Sequence[Probe], *, patched: bool
) -> Probe | None:
    """Return which of ``probes`` to ask next, None as soon as the verdict is clear.

    The first is what goes out now, if anything does, and the others come mildest first;
    ``patched`` is whether there is a patch of ours.
    """
    verdicts = tuple(answer.verdict for answer in answers)
    if len(answers) == MOST_REQUESTS or any(v in _ABOUT_THE_ACCOUNT for v in verdicts):
        return None
    rest = [probe for probe in probes if not any(_tells(answer, probe) for answer in answers)]
    if len(answers) > 1 and verdicts == _DISGUISED[: len(answers)]:
        return answers[-2].probe
    if verdicts in ((), ("overload",)):
        return next(iter(rest), None)
    if "accepted" in verdicts[1:] or verdicts[0] not in ("accepted", "identity", "credential"):
        return None
    first = answers[0].probe
    if verdicts[0] == "accepted":
        if first.way != "now" or not patched:
            return None
        milder = ("revert", "anthropic") if first.alters_identity else ("revert",)
        rest = [probe for probe in rest if probe.way in milder]
    return next(iter(rest), None)


def _tells(answer: Answer, probe: Probe) -> bool:
    """Tell whether ``answer`` tells what the one to ``probe`` would be."""
    known = answer.probe
    if answer.verdict == "identity":
        return (known.surface, known.platform) == (probe.surface, probe.platform)
    if answer.verdict == "credential" and known.credential == probe.credential:
        # A bad key is bad everywhere, but a login may be good on the one surface alone.
        return probe.credential == "key" or known.surface in ("openai", probe.surface)
    return known[:3] == probe[:3]


def judge(answers: Sequence[Answer], *, patched: bool, is_old: bool) -> Judgement:
    """Return what the answers say together, in the order in which ``next_probe`` asked.

    ``is_old`` is whether there is a newer kimi-code. Raises ``ValueError`` without an answer.
    """
    if not answers:
        raise ValueError("nothing was asked")
    now = answers[0] if answers[0].probe.way == "now" else None
    account = next((a for a in answers if a.verdict in _ABOUT_THE_ACCOUNT), None)
    verdicts = tuple(answer.verdict for answer in answers)
    if account is not None and verdicts[0] != "accepted":
        return _hands_off(account, account.meaning.meaning, patched)
    if now and verdicts != _DISGUISED and now.verdict not in ("accepted", "identity", "credential"):
        opening = now.meaning.meaning
        if now.verdict == "overload":
            opening = f"the server is overloaded{' at times' if 'accepted' in verdicts else ''}"
        return _hands_off(now, opening, patched)
    others = [answer for answer in answers if answer.probe.way != "now"]
    opened = next((a.probe for a in others if a.verdict == "accepted"), None)
    way = opened.way if opened else None
    if now and now.verdict == "accepted":
        if now.probe.surface == "openai" and not now.probe.alters_identity:
            way = "revert"  # nothing of the patch is in what goes out
        return Judgement("accepted", *(_ANSWERED[way] if patched else _NOT_NEEDED), opened)
    row = _REFUSED[way]
    sentence = f"the server {row.sentence.format(platform=opened.platform if opened else None)}"
    if now:
        what = f"the {now.probe.credential} that is configured"
        if now.verdict != "credential":
            name = now.probe.platform
            what = f"kimi-code under the name `{name}`" if name else "kimi-code without a name"
        told = f", and {sentence.removeprefix('the server ')}" if others else ""
        sentence = f"the server refuses {what}{told}"
    notes = _notes(others, is_old and way in ("anthropic", "header"))
    if now and now.verdict == "overload":
        notes = (
            "this 429 is no overload: twice in turn the other request was answered",
            *notes,
        )
    if way is None and now and now.verdict == "credential":
        row = row._replace(advice=now.meaning.advice)
    elif way is None and is_old:
        row = _Row(row.sentence, "update kimi-code: a newer one may be let in", "update")
    return Judgement(now.verdict if now else None, sentence, *row[1:], opened, notes)


def _hands_off(answer: Answer, opening: str, patched: bool) -> Judgement:
    """Return what to do where no route could help: never to patch."""
    sentence = f"{opening}: {answer}"
    if answer.verdict == "suspended" and patched:
        advice = f"undo the fix, then write to {SUPPORT}"
        return Judgement("suspended", sentence, advice, "revert")
    return Judgement(answer.verdict, sentence, answer.meaning.advice)


def _notes(others: Sequence[Answer], is_old: bool) -> tuple[str, ...]:
    notes = ["a newer kimi-code may be let in as it is: update it first"] if is_old else []
    for answer in others:
        surface, _, credential, _ = answer.probe
        if answer.verdict == "credential":
            notes.append(f"the {API[surface]} does not take this {credential} ({answer})")
        elif answer.verdict in _NO_CLEAR_ANSWER:
            notes.append(f"the {API[surface]} gave no clear answer ({answer}): ask again later")
    return tuple(notes)
