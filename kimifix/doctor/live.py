"""What is looked at when an option asks for it: the server, and the client while it runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from kimifix.ask import Probed, probe
from kimifix.client.capture import capture
from kimifix.client.recorder import Captured
from kimifix.config.decoy import decoy
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.config.routes import PLATFORM_HEADER, platform_of
from kimifix.doctor.finding import Finding, Status
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.outgoing import document_read
from kimifix.secret import MASK
from kimifix.verify import verify

SECONDS = 30.0
_NODE_HEADER = "x-stainless-runtime-version"
_PRIVATE_HEADERS = ("x-msh-device-name", "x-msh-device-id")


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


def check_capture(machine: Machine, progress: Callable[[str], None]) -> Finding:
    """Return what the installed client really sends for the managed and the own provider."""
    if machine.install is None:
        return Finding("skipped", "there is no kimi-code to run")
    document = machine.document
    modes: tuple[Literal["print", "ACP"], ...] = ("print", "ACP")
    recorded = [Captured(*one, mode) for one in _aliases(document).items() for mode in modes]
    if not recorded:
        return Finding("skipped", "no model of the managed or the own provider")
    capture(
        machine.install.path,
        lambda url, alias: decoy(
            replace(document, data={**document.data, "default_model": alias}), url
        ),
        recorded,
        env=machine.env,
        seconds=SECONDS,
        progress=progress,
    )
    data = {"captured": [_data(one) for one in recorded]}
    message = "; ".join(_sentence(one) for one in recorded)
    if any(one.problem for one in recorded):
        hint = "does `kimi --version` run in this shell? kimi-code needs Node 22.19 or later"
        return Finding("warning", message, hint, data)
    if not all(_is_expected(machine, one) for one in recorded):
        return Finding(
            "warning", message, f"run `{machine.kimifix('apply')}` again, then look again", data
        )
    return Finding("ok", message, data=data)


def check_verify(machine: Machine, progress: Callable[[str], None]) -> Finding:
    """The installed client gets an answer from its default model."""
    try:
        verify(machine, document_read(machine), None, progress)
    except KimifixError as error:
        return Finding("error", error.message, error.hint, {"answered": False, "next": error.next})
    return Finding("ok", "kimi-code got an answer", data={"answered": True})


def _aliases(document: Document) -> dict[str, str]:
    """Return one alias for each provider in question, the default where it is one of them."""
    default = document.default
    served = {MANAGED: document.served_by(MANAGED), OWN: document.aliases_of(OWN)}
    return {
        provider: default if default in aliases else next(iter(aliases))
        for provider, aliases in served.items()
        if aliases
    }


def _is_expected(machine: Machine, one: Captured) -> bool:
    """Tell whether the client sent what the config asks for, once."""
    sent = [value for _, value in one.spelled(PLATFORM_HEADER)]
    wanted = platform_of(machine.document.own or {}) if one.provider == OWN else None
    return len(sent) <= 1 if wanted is None else sent == [wanted]


def _sentence(one: Captured) -> str:
    if one.problem:
        return f"{one.provider} in {one.mode} mode: {one.problem}"
    spelled = one.spelled(PLATFORM_HEADER)
    sent = " and ".join(f"{name}: {value}" for name, value in spelled) or f"no {PLATFORM_HEADER}"
    return f"{one.provider} in {one.mode} mode sends {sent} ({one.method} {one.path})"


def _data(one: Captured) -> dict[str, object]:
    names = ("provider", "alias", "mode", "method", "path", "credential", "refused", "problem")
    # The name of the machine is nobody's business in a pasted report.
    identity = [
        [name, MASK if name.lower() in _PRIVATE_HEADERS else value] for name, value in one.identity
    ]
    node = next((v for name, v in one.headers if name.lower() == _NODE_HEADER), None)
    return {**{name: getattr(one, name) for name in names}, "identity": identity, "node": node}
