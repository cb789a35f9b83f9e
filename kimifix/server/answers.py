"""What the Kimi API answered, what that means, and what to do about it: pure.

The catalogue is in `answers.toml` beside this module. The message decides, never the error
type alone: one type, `access_terminated_error`, covers identity, suspension, quota and
concurrency. What matches nothing is unknown, and nothing is claimed about it.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kimifix.reader import tables

Surface = Literal["openai", "anthropic"]
AboutAccount = Literal["suspended", "quota", "plan", "credential"]
AboutRequest = Literal["identity", "model", "request"]
AboutServer = Literal["overload", "server", "unreachable"]
Verdict = Literal["accepted", AboutAccount, AboutRequest, AboutServer, "unknown"]
NotConnected = Literal["unsendable", "dns", "refused", "timeout", "network", "tls", "proxy"]
NotUnderstood = Literal["redirect", "broken", "foreign"]
Problem = Literal[NotConnected, NotUnderstood, "slow", "unasked"]

# What servers call a request: a UUID, hexadecimal digits, a ULID, an id of the Anthropic-style
# API. Anything else in its place may be a name of somebody's.
REQUEST_ID = re.compile(
    r"(?:(?:req|chatcmpl|msg|trace)[-_])?(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|[0-9a-f]{16,64}|[0-9A-HJKMNP-TV-Z]{26})|req_[0-9A-Za-z]{24}"
)

CATALOGUE = tables("server/answers.toml")


class Meaning(NamedTuple):
    """A verdict, what it says in words, and what to do: phrases without a full stop.

    ``client_can`` is whether kimi-code may get an answer where kimifix got none, ``passes``
    whether it asks again by itself.
    """

    verdict: Verdict
    meaning: str
    advice: str
    client_can: bool = False
    passes: bool = False


# What a request stands for: what goes out now; what was applied, where the default model has
# moved away from it; the config without us; and the two routes.
Way = Literal["now", "again", "revert", "anthropic", "header"]


class Probe(NamedTuple):
    """What to ask: on which surface, as whom, with what, and what it stands for.

    ``platform`` is the `X-Msh-Platform` to send, None for a request without any X-Msh
    header, as an own provider of `type = "anthropic"` sends it.
    """

    surface: Surface
    platform: str | None
    credential: Literal["login", "key"] = "login"
    way: Way = "now"

    @property
    def alters_identity(self) -> bool:
        """Whether it says that the client is another one."""
        return self.platform not in (None, "kimi_code_cli")


@dataclass(frozen=True)
class Answer:
    """What came back; the texts are fit to be printed.

    ``status`` is the HTTP status, None where no server answered. ``problem`` is why there
    is no answer of the API (``foreign``: what answered is not the API), and ``message``
    then describes it in our words; otherwise it is the server's message. ``request_id`` is
    what the server calls the request, ``time`` when it was asked, in UTC.
    """

    probe: Probe
    status: int | None = None
    error_type: str | None = None
    message: str | None = None
    problem: Problem | None = None
    request_id: str | None = None
    time: str | None = field(default=None, compare=False)

    @property
    def meaning(self) -> Meaning:
        """What the answer means by itself, without the others of the same matrix."""
        if self.problem is None:
            return classify(self.status, self.error_type, self.message)
        by_status = classify(self.status, None, None)
        if self.problem == "foreign" and by_status.passes:
            return by_status  # a gateway that fails in its own words
        return Meaning(**CATALOGUE["problem"][self.problem])

    @property
    def verdict(self) -> Verdict:
        """The verdict of ``meaning``."""
        return self.meaning.verdict

    def __str__(self) -> str:
        """Return status, type and message in one line."""
        parts = (
            self.status and f"HTTP {self.status}",
            self.error_type,
            self.message or self.problem,
        )
        return ", ".join(part for part in parts if part) or "no answer"


def known_words(message: str | None) -> tuple[str, ...]:
    """Return what the catalogue quotes of ``message``: no word of it is anybody's own."""
    told = (message or "").lower()
    quotes = (text for row in CATALOGUE["answer"] for text in row.get("says", ()))
    return tuple(text for text in quotes if text in told)


def classify(status: int | None, error_type: str | None, message: str | None) -> Meaning:
    """Return what an HTTP status with this error type and message means.

    Good for an answer of the API and for an error in the client's log, whose message holds
    the server's. Without a status it is unknown.
    """
    told = f"{error_type or ''}\n{message or ''}".lower()
    for row in CATALOGUE["answer"]:  # the last one fits everything
        fits = re.fullmatch(row["status"], str(status))
        if fits and any(text in told for text in row.get("says", [""])):
            break
    return Meaning(**{name: row[name] for name in Meaning._fields if name in row})
