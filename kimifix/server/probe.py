"""One tiny request per identity and surface, and what the Kimi API answers.

Imported only when something is to be asked. Whatever happens on the way is an answer.
"""

import json
import re
import time
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from kimifix.secret import MASK, SEQUENCE, Secret, redact, register
from kimifix.server.answers import Answer, Probe, Problem, Surface
from kimifix.server.transport import SECONDS, Reply, TransportError, send, target
from kimifix.words import span, utc

_LONGEST_MESSAGE = 300
_LONGEST_TYPE = 80


def ask(
    probe: Probe,
    *,
    base_url: str,
    model: str,
    headers: Mapping[str, str],
    credential: Secret,
    env: Mapping[str, str],
    seconds: float = SECONDS,
) -> Answer:
    """Send the request of ``probe`` and return the answer; raises nothing for any answer.

    ``base_url`` is the provider's, as in the config; the credential goes nowhere else.
    ``headers`` are those of the client, in order and spelling, with whatever stands for the
    credential in its place. ``env`` is where the proxy is taken from. ``seconds`` is the
    longest that all of it may take.
    """
    at = utc(time.time())
    with_credential = {n: v.replace(MASK, credential.reveal()) for n, v in headers.items()}
    try:
        to = target(_url(probe.surface, base_url))
        # The client says `max_completion_tokens` on the OpenAI-style surface; `max_tokens` is
        # understood on both, and nothing in the headers depends on it.
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": model, "messages": messages, "max_tokens": 1, "stream": True}
        reply = send(to, with_credential.items(), json.dumps(body).encode(), env, seconds)
    except TransportError as error:
        return Answer(probe, error.status, None, _clean(error.message), error.problem, time=at)
    return replace(_answer(probe, reply), request_id=reply.request_id, time=at)


_MINUTES = {"MINUTE": 1, "HOUR": 60, "DAY": 1440, "WEEK": 10080}
_GET_HEADERS = {
    "connection": "keep-alive",
    "accept": "application/json",
    "accept-language": "*",
    "sec-fetch-mode": "cors",
    "user-agent": "node",
    "accept-encoding": "gzip, deflate",
}


def usage(base_url: str, credential: Secret, env: Mapping[str, str]) -> tuple[str, ...]:
    """Ask the client's own usage address, and say of each window what is left and when it resets.

    Address, headers and shape as in the source of kimi-code 2.1.0. Empty where it cannot be
    read; raises nothing.
    """
    data = _got(base_url, "usages", credential, env)
    week = {"duration": 1, "timeUnit": "TIME_UNIT_WEEK"}  # the plan's, which the server leaves out
    rows = [{"detail": data.get("usage"), "window": week}, *_objects(data.get("limits"))]
    return tuple(filter(None, map(_window, rows)))


def protocols(base_url: str, credential: Secret, env: Mapping[str, str]) -> dict[str, object]:
    """Ask for the server's list of models, and return the `protocol` of each by id, None for none.

    Empty where it cannot be read; raises nothing.
    """
    listed = _objects(_got(base_url, "models", credential, env).get("data"))
    return {str(model.get("id")): model.get("protocol") for model in listed}


def _got(base_url: str, name: str, credential: Secret, env: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the object that lies at an address of the API, empty where there is none."""
    headers = {"Authorization": f"Bearer {credential.reveal()}", **_GET_HEADERS}
    try:
        to = target(f"{base_url.strip().rstrip('/').removesuffix('/v1')}/v1/{name}")
        reply = send(to, headers.items(), None, env)
    except TransportError:
        return {}
    return (_json(reply.body) if reply.status == 200 else None) or {}


def _objects(value: object) -> list[Mapping[str, Any]]:
    """Return the objects in an array, none where it is none."""
    return [o for o in value if isinstance(o, Mapping)] if isinstance(value, list) else []


def _window(row: Mapping[str, Any]) -> str | None:
    detail, window = row.get("detail"), row.get("window")
    if not isinstance(detail, Mapping) or not isinstance(window, Mapping):
        return None
    unit = str(window.get("timeUnit")).removeprefix("TIME_UNIT_")
    try:
        used, limit = int(detail.get("used") or 0), int(detail["limit"])
        length = span(60 * _MINUTES[unit] * int(window["duration"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    reset = _clean(str(detail.get("resetTime") or "")) or "a time that it does not say"
    return f"{max(limit - used, 0)} of {limit} left in the window of {length}, reset at {reset}"


def _url(surface: Surface, base_url: str) -> str:
    base = base_url.strip().removesuffix("/")
    if surface == "openai":
        return f"{base}/chat/completions"
    return f"{base.removesuffix('/v1')}/v1/messages?beta=true"


def _answer(probe: Probe, reply: Reply) -> Answer:
    status = reply.status
    if reply.location is not None:
        message = _clean(f"it leads to {_origin(reply.location)}")
        # The client follows, and asks there again with the same method only by these two.
        return Answer(
            probe, status, None, message, "unasked" if status in (307, 308) else "redirect"
        )
    # An error may come late, behind a beginning; a ping or a count of tokens before that.
    lines = (line[5:] for line in reply.body.splitlines() if line.startswith(b"data:"))
    events = [event for event in map(_json, lines) if event is not None]
    telling = [event for event in events if _is_completion(probe.surface, event)] or events
    data = [*filter(_fails, events), *telling, _json(reply.body)][0]
    if data is None:
        if not reply.whole:
            return Answer(probe, status, None, "the answer broke off", "broken")
        return Answer(probe, status, None, _clean(_described(reply.body)), "foreign")
    error_type, message = _error(data)
    if status != 200:
        return Answer(probe, status, error_type, message)
    is_completion = _is_completion(probe.surface, data)
    if is_completion and events:
        return Answer(probe, status)
    fault = "not a stream, which kimi-code needs" if is_completion else "JSON, but no completion"
    problem: Problem = "broken" if events and _fails(data) else "foreign"
    return Answer(probe, status, error_type, message or fault, problem)


def _origin(location: str) -> str:
    """Return where a redirect leads, without path and query, which may hold a secret."""
    try:
        parts = urlsplit(location)
        register(parts.password or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return "an address that is not valid"
    if not host:
        return "another path of the same server"
    origin = f"{parts.scheme}://{host}" if parts.scheme else host
    return f"{origin}:{port}" if port else origin


def _json(text: bytes) -> dict[str, Any] | None:
    """Return the object that the text is, None where it is none."""
    with suppress(ValueError, RecursionError):
        data = json.loads(text.decode("utf-8-sig"))
        return data if isinstance(data, dict) else None
    return None


def _error(data: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return type and message of an error, in the shape of either surface or of a gateway."""
    error = data.get("error")
    inner = error if isinstance(error, Mapping) else data
    message = inner.get("message") or inner.get("detail")
    if isinstance(error, str):
        message = message or error
    return _clean(inner.get("type"), _LONGEST_TYPE), _clean(message)


def _fails(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("error"), Mapping | str)


def _is_completion(surface: Surface, data: Mapping[str, Any]) -> bool:
    if _fails(data):
        return False
    if surface == "openai":
        return isinstance(data.get("choices"), list)
    return isinstance(data.get("content"), list) or data.get("type") == "message_start"


def _described(body: bytes) -> str:
    """Say what a body is that is no JSON object of the API."""
    if not body.strip():
        return "an empty answer"
    text = body.decode("utf-8", "replace")
    if re.search(r"<(?:!doctype|html|head|title|body)\b", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>\s*([^<\s][^<]*)", text, re.IGNORECASE)
        return f"an HTML page: {title[1]}" if title else "an HTML page"
    if "\ufffd" in text or "\0" in text:
        return f"{len(body)} bytes that are no text"
    return f"not a JSON object: {text.strip()}"


def _clean(text: object, longest: int = _LONGEST_MESSAGE) -> str | None:
    """Return a text fit for a terminal and a report: one line, no secret, cut; None if empty.

    Secrets go first, with what cuts them in two; then what controls a terminal or the
    direction of writing; the cut comes last, for it could leave half of a secret.
    """
    if not isinstance(text, str):
        return None
    text = " ".join(SEQUENCE.sub("", redact(text)).split())
    text = "".join(c for c in text if not unicodedata.category(c).startswith("C"))
    return (text if len(text) <= longest else f"{text[: longest - 1]}…") or None
