"""What the server answers, as a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kimifix.ask import Probed, probe
from kimifix.doctor.finding import Finding, Status
from kimifix.errors import KimifixError
from kimifix.machine import Machine

_STATUS: Mapping[str, Status] = {
    "accepted": "ok",
    "overload": "warning",
    "server": "warning",
    "unknown": "warning",
    "unreachable": "warning",
}


def check_probe(machine: Machine, progress: Callable[[str], None]) -> tuple[Finding, Probed | None]:
    """The server answers what the config asks; None where it could not be asked."""
    try:
        probed = probe(machine, progress)
    except KimifixError as error:
        return Finding("warning", f"not asked: {error.message}", error.hint), None
    judgement = probed.judgement
    status = _STATUS.get(judgement.verdict, "error")
    if judgement.verdict == "identity" and judgement.recommendation == "not-needed":
        status = "ok"  # refused as expected, and the patch in place leads round it
    message = "; ".join((judgement.sentence, *judgement.notes))
    data = {
        "verdict": judgement.verdict,
        "recommendation": judgement.recommendation,
        "answers": [
            {
                "surface": answer.probe.surface,
                "platform": answer.probe.platform,
                "http": answer.status,
                "verdict": answer.verdict,
                "meaning": answer.meaning.meaning,
                "type": answer.error_type,
                "message": answer.message,
                "problem": answer.problem,
            }
            for answer in probed.answers
        ],
    }
    return Finding(status, message, judgement.advice, data), probed
