"""The story of `kimifix doctor`: look at everything, write nothing, say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kimifix import __version__
from kimifix.doctor import client, config, lookalikes, patch
from kimifix.doctor.finding import Finding, Verdict
from kimifix.errors import ConfigError, KimifixError
from kimifix.machine import Machine, observe
from kimifix.outgoing import describe, server_warnings
from kimifix.words import utc

if TYPE_CHECKING:
    from kimifix.ask import Probed

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
    config.check_services,
    lookalikes.check_look_alikes,
    patch.check_patch,
    patch.check_receipt,
    client.check_recent_errors,
)
# Without these nothing goes out, whatever the others say.
_FIRST = ("client", "home", "config")


@dataclass(frozen=True)
class Report:
    """All findings by the name of their check, and what they come to.

    ``markdown`` is what can be handed over, None where that was not asked for.
    """

    findings: Mapping[str, Finding]
    verdict: Verdict
    markdown: str | None = None

    @property
    def worst(self) -> str:
        """The gravest status among the findings.

        Where it is known, it is an error if and only if kimi-code gets no answer.
        """
        found = {finding.status for finding in self.findings.values()}
        if self.verdict.works is not None:
            found ^= found & {"error"}
            found |= {"warning"} if self.verdict.works else {"error"}
        return next((status for status in ("error", "warning") if status in found), "ok")


def doctor(
    option: Path | None,
    env: Mapping[str, str],
    progress: Progress,
    *,
    probe: bool = False,
    capture: bool = False,
    verify: bool = False,
    markdown: bool = False,
) -> Report:
    """Return the report; opens no socket but for ``probe`` and, on loopback, ``capture``.

    For ``verify`` the client asks the server. With ``markdown`` it can be handed over, too.
    """
    machine = observe(option, env)
    findings = {_name_of(check): look(check, machine) for check in CHECKS}
    if findings["home"].status == "error":  # one fault, not four
        for name in ("config", "login", "default-model"):
            findings[name] = Finding("skipped", "needs the data of kimi-code")
    findings["probe"] = Finding("skipped", "asks the server: --probe")
    findings["capture"] = Finding("skipped", "runs kimi-code on loopback: --capture")
    findings["verify"] = Finding("skipped", "lets kimi-code answer one prompt: --verify")
    probed = None
    if probe or capture or verify:
        from kimifix.doctor import live
    if probe:
        findings["probe"], probed = live.check_probe(machine, progress)
    if capture:
        findings["capture"] = look(partial(live.check_capture, progress=progress), machine)
    if verify:
        findings["verify"] = look(partial(live.check_verify, progress=progress), machine)
    verdict = _verdict(machine, findings, probed)
    if not markdown:
        return Report(findings, verdict)
    given = {"--probe": probe, "--capture": capture, "--verify": verify}
    options = [option for option, is_given in given.items() if is_given]
    return Report(findings, verdict, _markdown(machine, options, findings, verdict))


def _markdown(
    machine: Machine, options: list[str], findings: Mapping[str, Finding], verdict: Verdict
) -> str:
    import platform

    from kimifix.doctor.report import markdown

    names = platform.uname()
    release = names.release.partition("-")[0]  # what follows is of whoever has built it
    system = {"kimifix": __version__, "Python": platform.python_version(), "system": names.system}
    system |= {"release": release, "machine": names.machine, "time": str(utc(machine.now))}
    sentences = {_name_of(check): check.__doc__ or "" for check in CHECKS}
    try:
        config = machine.document
    except KimifixError:
        config = None
    return markdown(options, system, findings, sentences, verdict, config)


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


def _verdict(machine: Machine, findings: Mapping[str, Finding], probed: Probed | None) -> Verdict:
    """Return what the findings come to: what has to be done first comes first."""
    asked, tried = findings["probe"], findings["verify"]
    alike, patched = findings["look-alikes"], findings["patch"]
    for first in (findings[name] for name in _FIRST):
        may = first.data.get("client_can")
        if first.status == "error" and not (may and tried.status == "ok"):
            steps = (client.INSTALL,) if first.data.get("found") is False else ()
            return Verdict(None if may else False, first.message, first.hint, steps)
    if tried.status == "ok":
        return Verdict(True, "it got an answer just now")
    out = describe(machine)
    notes = tuple(server_warnings(out.base_url))
    probing = (machine.kimifix("doctor", "--probe"),)
    obstacle = out.obstacle if out.obstacle and not out.obstacle.client_can else None
    unsure = out.obstacle if out.obstacle and tried.status != "error" else None
    if not obstacle and asked.status == tried.status == "skipped" and alike.status == "warning":
        sentence = f"it may only look like a lockout: {alike.message}"
        return Verdict(None, sentence, alike.hint, probing, notes)
    if reason := obstacle or unsure:
        works = False if obstacle else None
        return Verdict(works, reason.message, reason.hint, reason.next, notes)
    if tried.status == "error" and not (probed and probed.judgement.works is False):
        return Verdict(False, tried.message, tried.hint, tried.data["next"] or probing, notes)
    if probed is not None:
        judged, notes = probed.judgement, (*notes, *probed.notes)
        word = judged.recommendation
        return Verdict(judged.works, judged.sentence, judged.advice, probed.next, notes, word)
    if asked.status == "error":
        return Verdict(None, asked.message, asked.hint, (), notes)
    state = patched.data.get("state")
    if state in ("incomplete", "gone"):
        sentence = f"the fix {patched.message}"
        return Verdict(None, sentence, patched.hint, (machine.kimifix("apply"),), notes)
    sentence = "no fix is in place, and only the server knows whether one is needed"
    if state == "complete":
        sentence = "the fix is in place, and only the server knows whether it helps"
    return Verdict(None, sentence, "ask it", probing, notes)
