"""What the vendor's error reference says that the Kimi API answers, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from kimifix.server.answers import Surface, Verdict


@dataclass(frozen=True)
class Row:
    """One documented answer, what it means, and a word that the advice has to hold."""

    status: int
    error_type: str | None
    message: str
    verdict: Verdict
    advice: str

    def body(self, surface: Surface) -> dict[str, object]:
        """Return the JSON body in the shape of ``surface``."""
        error = {"type": self.error_type, "message": self.message}
        return {"error": error} if surface == "openai" else {"type": "error", "error": error}

    def __str__(self) -> str:
        return f"{self.status} {self.message[:45]}"


_TERMINATED = "access_terminated_error"

IDENTITY = Row(
    403,
    _TERMINATED,
    "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, "
    "Claude Code, Roo Code, Kilo Code, etc.",
    "identity",
    "update kimi-code",
)
SUSPENDED = Row(
    403,
    _TERMINATED,
    "Access terminated. Your account was found to violate the guidelines.",
    "suspended",
    "support",
)
OVERLOAD = Row(
    429,
    "engine_overloaded_error",
    "The engine is currently overloaded, please try again later",
    "overload",
    "wait",
)
QUOTA = Row(
    403,
    _TERMINATED,
    "You've reached your usage limit for this billing cycle.",
    "quota",
    "reset",
)
PLAN = Row(
    402,
    "invalid_request_error",
    "We're unable to verify your membership benefits at this time.",
    "plan",
    "subscription",
)
CREDENTIAL = Row(
    401,
    "invalid_authentication_error",
    "The API Key appears to be invalid or may have expired. Please verify your credentials.",
    "credential",
    "kimi login",
)
MODEL = Row(
    404,
    "resource_not_found_error",
    "Not found the model kimi-x or Permission denied",
    "model",
    "base_url",
)
REQUEST = Row(400, "invalid_request_error", "Invalid request: messages", "request", "model")
SERVER = Row(500, "server_error", "Internal server error", "server", "minutes")
UNKNOWN = Row(418, "teapot_error", "I'm a teapot", "unknown", "support")

ROWS = (
    IDENTITY,
    SUSPENDED,
    Row(403, "permission_error", "Access terminated", "suspended", "support"),
    QUOTA,
    Row(403, "permission_error", "Weekly (7-day) usage limit reached", "quota", "reset"),
    Row(403, _TERMINATED, "You have reached your 5-hour usage limit", "quota", "reset"),
    Row(403, _TERMINATED, "Your monthly usage limit is used up", "quota", "reset"),
    Row(403, _TERMINATED, "You've hit the concurrent request limit", "quota", "fewer sessions"),
    PLAN,
    CREDENTIAL,
    Row(401, "invalid_authentication_error", "Invalid Authentication", "credential", "console"),
    Row(401, "authentication_error", "invalid x-api-key", "credential", "Open Platform"),
    Row(401, "authentication_error", "The model id does not exist", "model", "another model"),
    Row(401, "authentication_error", "Your plan does not have access to k3", "model", "another"),
    MODEL,
    Row(404, "resource_not_found_error", "Method not found", "model", "base_url"),
    OVERLOAD,
    Row(429, "rate_limit_error", "Engine is currently overloaded", "overload", "wait"),
    Row(429, "rate_limit_reached_error", "We're receiving too many requests", "quota", "wait"),
    Row(429, "rate_limit_error", "Receiving too many requests at the moment", "quota", "wait"),
    Row(429, None, "You have used up the usage limit for this period", "quota", "reset"),
    Row(429, None, "Kimi monthly usage limit reached", "quota", "reset"),
    Row(429, "exceeded_current_quota_error", "You exceeded it", "credential", "console"),
    Row(403, "exceeded_current_quota_error", "You exceeded it", "credential", "console"),
    Row(429, None, "exceeded_current_quota_error: no more", "credential", "another platform"),
    Row(403, None, "insufficient balance", "credential", "another platform"),
    Row(429, None, "please check your account balance", "credential", "another platform"),
    Row(403, None, "Your account org-1 is not active", "credential", "another platform"),
    REQUEST,
    Row(400, None, "", "request", "model"),
    SERVER,
    Row(502, None, "", "server", "minutes"),
    Row(599, None, "", "server", "minutes"),
    Row(499, None, "client closed request", "server", "minutes"),
)

# Near misses: the right type or message with another status, a type alone, an unheard-of text.
NO_ROWS = (
    UNKNOWN,
    Row(403, _TERMINATED, "something new", "unknown", "support"),
    Row(403, "permission_error", "", "unknown", "support"),
    Row(401, "authentication_error", "something new", "unknown", "support"),
    Row(401, None, IDENTITY.message, "unknown", "support"),
    Row(402, "invalid_request_error", "pay", "unknown", "support"),
    Row(404, None, "nowhere", "unknown", "support"),
    Row(429, "engine_overloaded_error", "later", "unknown", "minutes"),
    Row(429, "rate_limit_error", "", "unknown", "minutes"),
    Row(302, None, "", "unknown", "support"),
)
