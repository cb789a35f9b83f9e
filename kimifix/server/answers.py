"""What the Kimi API answered, what that means, and what to do about it: pure.

The catalogue follows the vendor's public error reference (text of May 2026), the client's
source and public reports. The message decides, never the error type alone: one type,
`access_terminated_error`, covers identity, suspension, quota and concurrency. What
matches nothing is unknown, and nothing is claimed about it.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal, NamedTuple

Surface = Literal["openai", "anthropic"]
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


SUPPORT = "the vendor's support"
CONSOLE = "the Kimi Code console (https://www.kimi.com/code/console)"


class Meaning(NamedTuple):
    """A verdict, what it says in words, and what to do: phrases without a full stop."""

    verdict: Verdict
    meaning: str
    advice: str


class Probe(NamedTuple):
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
            known = _WAYS.get(self.problem)
            return Meaning("unreachable", *known) if known else _FOREIGN
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


class _Row(NamedTuple):
    """One row of the catalogue: one of ``statuses``, and one of ``texts`` in type or message."""

    statuses: Container[int]
    meaning: Meaning
    texts: tuple[str, ...]

    def matches(self, status: int, told: str) -> bool:
        return status in self.statuses and any(text in told for text in self.texts)


def _row(
    statuses: Container[int], verdict: Verdict, meaning: str, advice: str, *texts: str
) -> _Row:
    return _Row(statuses, Meaning(verdict, meaning, advice), texts)


_ANYTHING = ""
_SERVER_STATUSES = (499, *range(500, 600))
_USED_UP = "the usage limit of the plan is reached"
_WAIT_FOR_RESET = "wait for the reset: the console shows the window and when it ends"

_UNKNOWN = Meaning(
    "unknown",
    "the answer is not in the catalogue",
    f"nothing is known about this answer: show status, type and message to {SUPPORT}",
)

# The first row that matches counts.
_CATALOGUE = (
    _row((200,), "accepted", "the request was answered", "nothing to do", _ANYTHING),
    _row(
        (403,),
        "identity",
        "this client identity is not allowed on this surface",
        "update kimi-code first; then `kimifix doctor --probe` tells which route is open",
        "only available for coding agents",
    ),
    _row(
        (403,),
        "suspended",
        "the account is suspended",
        f"write to {SUPPORT} and change nothing here",
        "access terminated",
    ),
    _row(
        (403,),
        "quota",
        _USED_UP,
        _WAIT_FOR_RESET,
        "usage limit for this billing cycle",
        "weekly (7-day) usage limit",
        "5-hour usage limit",
        "monthly usage limit",
    ),
    _row(
        (403,),
        "quota",
        "too many requests at once, or a limit set on the account",
        "use fewer sessions at once",
        "concurrent request limit",
    ),
    _row(
        (402,),
        "plan",
        "there is no coding plan, or it has expired",
        "check the subscription on the website",
        "unable to verify your membership benefits",
    ),
    _row(
        (401,),
        "credential",
        "the credential is not accepted",
        f"sign in again with `kimi login`, or use a key of {CONSOLE}: "
        "a key of the Open Platform does not work here",
        "api key appears to be invalid or may have expired",
        "invalid authentication",
        "invalid x-api-key",
    ),
    _row(
        (401,),
        "model",
        "the plan does not include this model",
        "choose another model",
        "model id does not exist",
        "does not have access to",
    ),
    _row(
        (404,),
        "model",
        "the server knows no such model, or not under this URL",
        "check `model` and `base_url` in the config",
        "not found the model",
        "method not found",
    ),
    _row(
        (429,),
        "overload",
        "the server is overloaded, or refuses the identity in disguise",
        "wait some minutes and ask again",
        "engine is currently overloaded",
    ),
    _row(
        (429,),
        "quota",
        "too many requests in a short time",
        "wait some minutes",
        "receiving too many requests",
    ),
    _row(
        (429,),
        "quota",
        _USED_UP,
        _WAIT_FOR_RESET,
        "usage limit for this period",
        "kimi monthly usage limit",
    ),
    _row(
        (403, 429),
        "credential",
        "this is a key of the pay-as-you-go Open Platform",
        f"use the login, or a key of {CONSOLE}: this one belongs to another platform",
        "exceeded_current_quota_error",
        "insufficient balance",
        "check your account balance",
        "is not active",
    ),
    _row(
        (400,),
        "request",
        "the server does not accept the content of the request",
        "check `model` and `base_url` in the config: this is not about the identity",
        _ANYTHING,
    ),
    _row(_SERVER_STATUSES, "server", "the server failed", "ask again in some minutes", _ANYTHING),
)


def classify(status: int | None, error_type: str | None, message: str | None) -> Meaning:
    """Return what an HTTP status with this error type and message means.

    Good for an answer of the API and for an error in the client's log, whose message holds
    the server's. Without a status it is unknown.
    """
    if status is None:
        return _UNKNOWN
    told = f"{error_type or ''}\n{message or ''}".lower()
    rows = (row.meaning for row in _CATALOGUE if row.matches(status, told))
    return next(rows, _UNKNOWN)


_AGAIN = "check the network connection, then ask again"
_WAYS = {
    "unsendable": ("the request could not be made", "check `base_url` and the credential"),
    "dns": (
        "the name of the server could not be resolved",
        "check `base_url` and the network connection, then ask again",
    ),
    "refused": ("nothing listens there", "check `base_url`, and the proxy if there is one"),
    "timeout": ("no answer in time", _AGAIN),
    "network": ("the server could not be reached", _AGAIN),
    "tls": (
        "no trusted TLS connection",
        "check the clock, and whether something intercepts TLS: "
        "NODE_EXTRA_CA_CERTS names the certificate of a company's proxy",
    ),
    "proxy": (
        "the proxy did not let the request through",
        "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY",
    ),
    "redirect": (
        "the server sends to another address, which was not followed",
        "check `base_url`",
    ),
    "broken": ("the answer broke off or is not HTTP", _AGAIN),
}
_FOREIGN = Meaning(
    "unknown",
    "something else than the API answered",
    "check `base_url`, and whether a proxy or a sign-in page of the network is in between",
)
