"""What the Kimi API answered, what that means, and what to do about it: pure.

The catalogue follows the vendor's public error reference (text of May 2026), the client's
source and public reports. The message decides, never the error type alone: one type,
`access_terminated_error`, covers identity, suspension, quota and concurrency. What
matches nothing is unknown, and nothing is claimed about it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

Surface = Literal["openai", "anthropic"]
Route = Literal["header", "anthropic"]
Credential = Literal["login", "key"]
Verdict = Literal[
    "accepted",
    "identity",
    "suspended",
    "quota",
    "plan",
    "credential",
    "model",
    "overload",
    "request",
    "server",
    "unknown",
    "unreachable",
]
Problem = Literal[
    "unsendable",
    "dns",
    "refused",
    "timeout",
    "network",
    "tls",
    "proxy",
    "redirect",
    "broken",
    "foreign",
]
Recommendation = Literal[
    "not-needed", "revert", "update", "apply-anthropic", "apply-header", "none"
]

OWN_PLATFORM = "kimi_code_cli"
LEGACY_PLATFORM = "kimi_cli"

_SURFACES: dict[Surface, str] = {
    "openai": "the OpenAI-style surface",
    "anthropic": "the Anthropic-style surface",
}
_SUPPORT = "the vendor's support"
_CONSOLE = "the Kimi Code console (https://www.kimi.com/code/console)"


@dataclass(frozen=True)
class Meaning:
    """A verdict, what it says in words, and what to do: phrases without a full stop."""

    verdict: Verdict
    meaning: str
    advice: str


@dataclass(frozen=True)
class Probe:
    """What to ask: on which surface, as whom.

    ``platform`` is the `X-Msh-Platform` to send, None for a request without any X-Msh
    header, as an own provider of `type = "anthropic"` sends it.
    """

    surface: Surface
    platform: str | None


@dataclass(frozen=True)
class Answer:
    """What came back; the texts are fit to be printed.

    ``status`` is the HTTP status, None where no server answered. ``problem`` is why there
    is no answer of the API (``foreign``: what answered is not the API), and ``message``
    then describes it in our words; otherwise it is the server's message.
    """

    probe: Probe
    status: int | None = None
    error_type: str | None = None
    message: str | None = None
    problem: Problem | None = None

    @property
    def meaning(self) -> Meaning:
        """What the answer means by itself, without the others of the same matrix."""
        if self.problem == "foreign" and self.status in _SERVER_STATUSES:
            return classify(self.status, None, None)
        if self.problem is not None:
            return _PROBLEMS[self.problem]
        return classify(self.status, self.error_type, self.message)

    @property
    def verdict(self) -> Verdict:
        """The verdict of ``meaning``."""
        return self.meaning.verdict

    def __str__(self) -> str:
        """Return status, type and message in one line."""
        status = None if self.status is None else f"HTTP {self.status}"
        parts = (status, self.error_type, self.message or self.problem)
        return ", ".join(part for part in parts if part) or "no answer"


@dataclass(frozen=True)
class _Row:
    """One row of the catalogue: any of ``texts`` in the message, or any of ``types``."""

    statuses: Container[int]
    texts: tuple[str, ...]
    meaning: Meaning
    types: tuple[str, ...] = ()

    def matches(self, status: int, error_type: str, message: str) -> bool:
        if status not in self.statuses:
            return False
        return error_type in self.types or any(text in message for text in self.texts)


_ANYTHING = ("",)
_SERVER_STATUSES = (499, *range(500, 600))
_WAIT_FOR_RESET = "wait for the reset: the console shows the window and when it ends"

_UNKNOWN = Meaning(
    "unknown",
    "the answer is not in the catalogue",
    f"nothing is known about this answer: show status, type and message to {_SUPPORT}",
)
_ACCEPTED = Meaning("accepted", "the request was answered", "nothing to do")

# The first row that matches counts.
_CATALOGUE = (
    _Row((200,), _ANYTHING, _ACCEPTED),
    _Row(
        (403,),
        ("only available for coding agents",),
        Meaning(
            "identity",
            "this client identity is not allowed on this surface",
            "update kimi-code first; then `kimifix doctor --probe` tells which route is open",
        ),
    ),
    _Row(
        (403,),
        ("access terminated",),
        Meaning(
            "suspended",
            "the account is suspended",
            f"write to {_SUPPORT} and change nothing here",
        ),
    ),
    _Row(
        (403,),
        (
            "usage limit for this billing cycle",
            "weekly (7-day) usage limit",
            "5-hour usage limit",
            "monthly usage limit",
        ),
        Meaning("quota", "the usage limit of the plan is reached", _WAIT_FOR_RESET),
    ),
    _Row(
        (403,),
        ("concurrent request limit",),
        Meaning(
            "quota",
            "too many requests at once, or a limit set on the account",
            "use fewer sessions at once",
        ),
    ),
    _Row(
        (402,),
        ("unable to verify your membership benefits",),
        Meaning(
            "plan",
            "there is no coding plan, or it has expired",
            "check the subscription on the website",
        ),
    ),
    _Row(
        (401,),
        (
            "api key appears to be invalid or may have expired",
            "invalid authentication",
            "invalid x-api-key",
        ),
        Meaning(
            "credential",
            "the credential is not accepted",
            f"sign in again with `kimi login`, or use a key of {_CONSOLE}: "
            "a key of the Open Platform does not work here",
        ),
    ),
    _Row(
        (401,),
        ("model id does not exist", "does not have access to"),
        Meaning("model", "the plan does not include this model", "choose another model"),
    ),
    _Row(
        (404,),
        ("not found the model", "method not found"),
        Meaning(
            "model",
            "the server knows no such model, or not under this URL",
            "check `model` and `base_url` in the config",
        ),
    ),
    _Row(
        (429,),
        ("engine is currently overloaded",),
        Meaning(
            "overload",
            "the server is overloaded, or refuses the identity in disguise",
            "wait some minutes and ask again",
        ),
    ),
    _Row(
        (429,),
        ("receiving too many requests",),
        Meaning("quota", "too many requests in a short time", "wait some minutes"),
    ),
    _Row(
        (429,),
        ("usage limit for this period", "kimi monthly usage limit"),
        Meaning("quota", "the usage limit of the plan is reached", _WAIT_FOR_RESET),
    ),
    _Row(
        (403, 429),
        (
            "exceeded_current_quota_error",
            "insufficient balance",
            "check your account balance",
            "is not active",
        ),
        Meaning(
            "credential",
            "this is a key of the pay-as-you-go Open Platform",
            f"use the login, or a key of {_CONSOLE}: this one belongs to another platform",
        ),
        types=("exceeded_current_quota_error",),
    ),
    _Row(
        (400,),
        _ANYTHING,
        Meaning(
            "request",
            "the server does not accept the content of the request",
            "check `model` and `base_url` in the config: this is not about the identity",
        ),
    ),
    _Row(
        _SERVER_STATUSES,
        _ANYTHING,
        Meaning("server", "the server failed", "ask again in some minutes"),
    ),
)


def classify(status: int | None, error_type: str | None, message: str | None) -> Meaning:
    """Return what an HTTP status with this error type and message means.

    Good for an answer of the API and for an error in the client's log, whose message holds
    the server's. Without a status it is unknown.
    """
    if status is None:
        return _UNKNOWN
    kind, text = error_type or "", (message or "").lower()
    rows = (row.meaning for row in _CATALOGUE if row.matches(status, kind, text))
    return next(rows, _UNKNOWN)


_CHECK_CONNECTION = "check the network connection, then ask again"

_PROBLEMS: dict[Problem, Meaning] = {
    "unsendable": Meaning(
        "unreachable",
        "the request could not be made",
        "check `base_url` and the credential",
    ),
    "dns": Meaning(
        "unreachable",
        "the name of the server could not be resolved",
        "check `base_url` and the network connection, then ask again",
    ),
    "refused": Meaning(
        "unreachable",
        "nothing listens there",
        "check `base_url`, and the proxy if there is one",
    ),
    "timeout": Meaning("unreachable", "no answer in time", _CHECK_CONNECTION),
    "network": Meaning("unreachable", "the server could not be reached", _CHECK_CONNECTION),
    "tls": Meaning(
        "unreachable",
        "no trusted TLS connection",
        "check the clock, and whether something intercepts TLS: "
        "NODE_EXTRA_CA_CERTS names the certificate of a company's proxy",
    ),
    "proxy": Meaning(
        "unreachable",
        "the proxy did not let the request through",
        "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY",
    ),
    "redirect": Meaning(
        "unreachable",
        "the server sends to another address, which was not followed",
        "check `base_url`",
    ),
    "broken": Meaning("unreachable", "the answer broke off or is not HTTP", _CHECK_CONNECTION),
    "foreign": Meaning(
        "unknown",
        "something else than the API answered",
        "check `base_url`, and whether a proxy or a sign-in page of the network is in between",
    ),
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
        advice = f"take the patch out, then write to {_SUPPORT}"
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
            key = f"; a key of {_CONSOLE} may be taken there"
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
    advice = f"write to {_SUPPORT}"
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
        f"update kimi-code, or use a key of {_CONSOLE}: `{key}`",
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
