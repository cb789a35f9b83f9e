"""The story of `kimifix doctor`: look at everything, write nothing, say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kimifix.client import home
from kimifix.doctor import checks
from kimifix.doctor.finding import Finding
from kimifix.errors import KimifixError
from kimifix.machine import Machine

if TYPE_CHECKING:
    from kimifix.ask import Probed

Progress = Callable[[str], None]


class Report(NamedTuple):
    """All findings in the order of the checks, and what they come to in one sentence.

    ``matrix`` has a row for each question to the server: surface, `X-Msh-Platform`, HTTP
    status, meaning.
    """

    findings: tuple[Finding, ...]
    verdict: str
    next_command: str | None = None
    matrix: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def worst(self) -> str:
        """The gravest status among the findings."""
        found = {finding.status for finding in self.findings}
        return next((status for status in ("error", "warning") if status in found), "ok")


def doctor(
    option: Path | None,
    env: Mapping[str, str],
    progress: Progress,
    *,
    probe: bool = False,
    capture: bool = False,
) -> Report:
    """Return the report; opens no socket but for ``probe`` and, on loopback, ``capture``."""
    machine = Machine(home.find(option, env), env)
    findings = [checks.run(check, machine) for check in checks.CHECKS]
    probed = None
    if probe:
        from kimifix import ask as probing

        try:
            probed = probing.probe(machine, progress)
            findings.append(probing.finding(probed))
        except KimifixError as error:
            findings.append(Finding("probe", "warning", f"not asked: {error.message}", error.hint))
    else:
        findings.append(Finding("probe", "skipped", "asks the server: --probe"))
    if capture:
        from kimifix.doctor import capture as capturing

        findings.append(checks.run(partial(capturing.finding, progress=progress), machine))
    else:
        findings.append(Finding("capture", "skipped", "runs kimi-code on loopback: --capture"))
    verdict, command = _judged(probed) if probed else _verdict(findings)
    return Report(tuple(findings), verdict, command, _matrix(probed))


def _judged(probed: Probed) -> tuple[str, str | None]:
    judgement = probed.judgement
    return f"{judgement.sentence}: {judgement.advice}", judgement.next_command


def _matrix(probed: Probed | None) -> tuple[tuple[str, str, str, str], ...]:
    return tuple(
        (
            answer.probe.surface,
            answer.probe.platform or "-",
            str(answer.status or "-"),
            f"{answer.verdict}: {answer.message or answer.meaning.meaning}",
        )
        for answer in (probed.answers if probed else ())
    )


def _verdict(findings: list[Finding]) -> tuple[str, str | None]:
    """Return what the findings come to without asking the server, and the next command."""
    error = next((finding for finding in findings if finding.status == "error"), None)
    if error is not None:
        remedy = f"; {error.hint}" if error.hint else ""
        return f"kimi-code cannot work like this: {error.check}: {error.message}{remedy}", None
    login = next(finding for finding in findings if finding.check == "login")
    if login.status == "warning":
        return f"kimi-code is not signed in: {login.message}", "kimi login"
    patch = next(finding for finding in findings if finding.check == "patch")
    state = patch.data.get("state")
    if state == "complete":
        return (
            "the patch is in place and complete; whether it is still needed, the server can tell",
            "kimifix doctor --probe",
        )
    if state in ("incomplete", "gone"):
        return f"the patch needs mending: {patch.message}", "kimifix apply"
    return (
        "nothing is patched; whether a fix is needed at all, the server can tell",
        "kimifix doctor --probe",
    )
