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


class _Row(NamedTuple):
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
    f"nothing is known about this answer: show status, type and message to {SUPPORT}",
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
            f"write to {SUPPORT} and change nothing here",
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
            f"sign in again with `kimi login`, or use a key of {CONSOLE}: "
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
            f"use the login, or a key of {CONSOLE}: this one belongs to another platform",
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
