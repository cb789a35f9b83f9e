"""What the server answers, as a finding."""

from collections.abc import Callable

from kimifix.ask import Probed, probe
from kimifix.doctor.finding import Finding, Status
from kimifix.errors import KimifixError
from kimifix.machine import Machine


def check_probe(machine: Machine, progress: Callable[[str], None]) -> tuple[Finding, Probed | None]:
    """The server answers what goes out now; None where it could not be asked."""
    try:
        probed = probe(machine, progress)
    except KimifixError as error:
        return Finding("error", error.message, error.hint), None
    judgement = probed.judgement
    data = {
        "verdict": judgement.verdict,
        "recommendation": judgement.recommendation,
        "answers": [
            {
                "surface": answer.probe.surface,
                "platform": answer.probe.platform,
                "credential": answer.probe.credential,
                "for": answer.probe.way,
                "http": answer.status,
                "verdict": answer.verdict,
                "meaning": answer.meaning.meaning,
                "type": answer.error_type,
                "message": answer.message,
                "problem": answer.problem,
                "request_id": answer.request_id,
                "time": answer.time,
            }
            for answer in probed.answers
        ],
    }
    status: Status = "ok" if judgement.works else "error"
    return Finding(status, judgement.sentence, judgement.advice, data), probed
