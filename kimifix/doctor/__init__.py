"""The story of `kimifix doctor`: look at everything, write nothing, say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kimifix.doctor.client import (
    check_client,
    check_environment,
    check_home,
    check_login,
    check_other_copies,
    check_recent_errors,
    check_running,
)
from kimifix.doctor.config import (
    check_config,
    check_config_mode,
    check_default_model,
    check_identity,
    check_managed_headers,
)
from kimifix.doctor.finding import Finding
from kimifix.doctor.patch import check_patch, check_receipt
from kimifix.errors import ConfigError, KimifixError
from kimifix.machine import Machine, observe

if TYPE_CHECKING:
    from kimifix.ask import Probed

Check = Callable[[Machine], Finding]
Progress = Callable[[str], None]

# The table of contents, and the order of the report. A check decides and words, nothing
# else; what it needs is observed by ``Machine``. Its function gives it its name.
CHECKS: tuple[Check, ...] = (
    check_client,
    check_other_copies,
    check_running,
    check_home,
    check_config,
    check_config_mode,
    check_login,
    check_environment,
    check_default_model,
    check_managed_headers,
    check_identity,
    check_patch,
    check_receipt,
    check_recent_errors,
)


@dataclass(frozen=True)
class Report:
    """All findings by the name of their check, and what they come to in one sentence.

    ``matrix`` has a row for each question to the server: surface, `X-Msh-Platform`, HTTP
    status, meaning.
    """

    findings: Mapping[str, Finding]
    verdict: str
    next_command: str | None = None
    matrix: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def worst(self) -> str:
        """The gravest status among the findings."""
        found = {finding.status for finding in self.findings.values()}
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
    machine = observe(option, env)
    findings = {_name_of(check): look(check, machine) for check in CHECKS}
    findings["probe"] = Finding("skipped", "asks the server: --probe")
    findings["capture"] = Finding("skipped", "runs kimi-code on loopback: --capture")
    probed = None
    if probe:
        from kimifix.doctor.server import check_probe

        findings["probe"], probed = check_probe(machine, progress)
    if capture:
        from kimifix.doctor.capture import check_capture

        findings["capture"] = look(partial(check_capture, progress=progress), machine)
    verdict, command = _judged(probed) if probed else _verdict(findings)
    return Report(findings, verdict, command, _matrix(probed))


def look(check: Check, machine: Machine) -> Finding:
    """Return what ``check`` finds; that it fails is a finding, too, and hides no other."""
    try:
        return check(machine)
    except ConfigError:
        return Finding("skipped", "needs a config that can be read")
    except KimifixError as error:
        return Finding("warning", f"could not check: {error.message}", error.hint)
    except Exception as error:
        message = f"could not check: {type(error).__name__}"
        return Finding("warning", message, "please report this as a bug of kimifix")


def _name_of(check: Check) -> str:
    return check.__name__.removeprefix("check_").replace("_", "-")


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


def _verdict(findings: Mapping[str, Finding]) -> tuple[str, str | None]:
    """Return what the findings come to without asking the server, and the next command."""
    for name, finding in findings.items():
        if finding.status == "error":
            remedy = f"; {finding.hint}" if finding.hint else ""
            return f"kimi-code cannot work like this: {name}: {finding.message}{remedy}", None
    if findings["login"].status == "warning":
        return f"kimi-code is not signed in: {findings['login'].message}", "kimi login"
    state = findings["patch"].data.get("state")
    if state == "complete":
        return (
            "the patch is in place and complete; whether it is still needed, the server can tell",
            "kimifix doctor --probe",
        )
    if state in ("incomplete", "gone"):
        return f"the patch needs mending: {findings['patch'].message}", "kimifix apply"
    return (
        "nothing is patched; whether a fix is needed at all, the server can tell",
        "kimifix doctor --probe",
    )
