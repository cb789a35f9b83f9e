"""The story of `kimifix doctor`: look at everything, write nothing, say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kimifix.doctor import client, config, lookalikes, patch
from kimifix.doctor.finding import Finding, Verdict
from kimifix.errors import ConfigError, KimifixError
from kimifix.machine import Machine, observe

Check = Callable[[Machine], Finding]
Progress = Callable[[str], None]

# The table of contents, and the order of the report. A check decides and words, nothing
# else; what it needs is observed by ``Machine``. Its function gives it its name.
CHECKS: tuple[Check, ...] = (
    client.check_client,
    client.check_other_copies,
    client.check_running,
    client.check_home,
    config.check_config,
    config.check_config_mode,
    client.check_login,
    client.check_environment,
    config.check_default_model,
    config.check_managed_headers,
    config.check_identity,
    lookalikes.check_look_alikes,
    patch.check_patch,
    patch.check_receipt,
    client.check_recent_errors,
)


@dataclass(frozen=True)
class Report:
    """All findings by the name of their check, and what they come to."""

    findings: Mapping[str, Finding]
    verdict: Verdict

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
    verify: bool = False,
) -> Report:
    """Return the report; opens no socket but for ``probe`` and, on loopback, ``capture``.

    For ``verify`` the client asks the server.
    """
    machine = observe(option, env)
    findings = {_name_of(check): look(check, machine) for check in CHECKS}
    findings["probe"] = Finding("skipped", "asks the server: --probe")
    findings["capture"] = Finding("skipped", "runs kimi-code on loopback: --capture")
    findings["verify"] = Finding("skipped", "lets kimi-code answer one prompt: --verify")
    probed = None
    if probe:
        from kimifix.doctor.server import check_probe

        findings["probe"], probed = check_probe(machine, progress)
    if capture:
        from kimifix.doctor.capture import check_capture

        findings["capture"] = look(partial(check_capture, progress=progress), machine)
    if verify:
        from kimifix.doctor.capture import check_verify

        findings["verify"] = look(partial(check_verify, progress=progress), machine)
        if findings["verify"].status == "ok":
            return Report(findings, Verdict(True, "kimi-code works: it got an answer just now"))
    if probed:
        judged = probed.judgement
        commands = tuple(filter(None, [judged.next_command]))
        return Report(
            findings,
            Verdict(
                findings["probe"].status == "ok",
                f"{judged.sentence}: {judged.advice}",
                commands,
                judged.notes,
                judged.recommendation,
            ),
        )
    sentence, commands = _verdict(findings)
    works = False if "error" in {finding.status for finding in findings.values()} else None
    return Report(findings, Verdict(works, sentence, commands))


def look(check: Check, machine: Machine) -> Finding:
    """Return what ``check`` finds; that it fails is a finding, too, and hides no other."""
    try:
        return check(machine)
    except ConfigError:
        return Finding("skipped", "needs a config that can be read")
    except KimifixError as error:
        return Finding("warning", f"could not check: {error.message}", error.hint)
    except OSError as error:  # a disk or a name that the system refuses
        return Finding("warning", f"could not check: {error.strerror or error}")
    except Exception as error:
        message = f"could not check: {type(error).__name__}"
        return Finding("warning", message, "please report this as a bug of kimifix")


def _name_of(check: Check) -> str:
    return check.__name__.removeprefix("check_").replace("_", "-")


def _verdict(findings: Mapping[str, Finding]) -> tuple[str, tuple[str, ...]]:
    """Return what the findings come to without asking the server, and the next commands."""
    for name, finding in findings.items():
        if finding.status == "error":
            remedy = f"; {finding.hint}" if finding.hint else ""
            return f"kimi-code cannot work like this: {name}: {finding.message}{remedy}", ()
    if findings["login"].status == "warning":
        return f"kimi-code is not signed in: {findings['login'].message}", ("kimi login",)
    state = findings["patch"].data.get("state")
    if state == "complete":
        return (
            "the patch is in place and complete; whether it is still needed, the server can tell",
            ("kimifix doctor --probe",),
        )
    if state in ("incomplete", "gone"):
        return f"the patch needs mending: {findings['patch'].message}", ("kimifix apply",)
    return (
        "nothing is patched; whether a fix is needed at all, the server can tell",
        ("kimifix doctor --probe",),
    )
