"""Running the installed client: on loopback for `doctor --capture`, for real for `--verify`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kimifix.client.capture import capture
from kimifix.client.recorder import Captured
from kimifix.config.decoy import decoy
from kimifix.config.document import MANAGED, OWN
from kimifix.config.routes import PLATFORM_HEADER, platform_of
from kimifix.doctor.finding import Finding, Status
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.secret import MASK
from kimifix.verify import verify

SECONDS = 30.0
_PRIVATE_HEADERS = ("x-msh-device-name", "x-msh-device-id")


def check_capture(machine: Machine, progress: Callable[[str], None]) -> Finding:
    """Return what the installed client really sends for the managed and the own provider."""
    if machine.install is None:
        return Finding("skipped", "there is no kimi-code to run")
    asked = _aliases(machine)
    if not asked:
        return Finding("skipped", "no model of the managed or the own provider")
    recorded = capture(
        machine.install.path,
        partial(decoy, machine.document),
        asked,
        env=machine.env,
        seconds=SECONDS,
        progress=progress,
    )
    data = {"captured": [_data(one) for one in recorded]}
    status: Status = "ok" if all(_is_expected(machine, one) for one in recorded) else "warning"
    message = "; ".join(_sentence(one) for one in recorded)
    return Finding(status, message, _hint(machine, recorded), data)


def check_verify(machine: Machine, progress: Callable[[str], None]) -> Finding:
    """The installed client gets an answer from its default model."""
    try:
        done = verify(machine, machine.document, None, progress)
    except KimifixError as error:
        return Finding("error", f"kimi-code could not be asked: {error.message}", error.hint)
    if done.error is None:
        return Finding("ok", "kimi-code got an answer", data={"answered": True})
    told = done.meaning.verdict if done.meaning else None
    data = {"answered": False, "error": done.error, "verdict": told}
    return Finding("error", f"kimi-code gets no answer: {done.sentence}", done.advice, data)


def _aliases(machine: Machine) -> dict[str, str]:
    """Return one alias for each provider in question, the default where it is one of them."""
    found = {}
    document = machine.document
    default = document.data.get("default_model")
    for provider, aliases in (
        (MANAGED, document.served_by(MANAGED)),
        (OWN, document.aliases_of(OWN)),
    ):
        if aliases:
            found[provider] = str(default) if default in aliases else next(iter(aliases))
    return found


def _platform(one: Captured) -> str | None:
    return next((value for _, value in one.spelled(PLATFORM_HEADER)), None)


def _is_expected(machine: Machine, one: Captured) -> bool:
    """Tell whether the client sent what the config asks for, once."""
    if one.problem or len(one.spelled(PLATFORM_HEADER)) > 1:
        return False
    if one.provider != OWN:
        return True
    wanted = platform_of(machine.document.own or {})
    return wanted is None or _platform(one) == wanted


def _sentence(one: Captured) -> str:
    if one.problem:
        return f"{one.provider}: {one.problem}"
    spelled = one.spelled(PLATFORM_HEADER)
    sent = " and ".join(f"{name}: {value}" for name, value in spelled) or f"no {PLATFORM_HEADER}"
    return f"{one.provider} sends {sent} ({one.method} {one.path})"


def _hint(machine: Machine, recorded: list[Captured]) -> str | None:
    if any(one.problem for one in recorded):
        return "does `kimi --version` run in this shell? kimi-code needs Node 22.19 or later"
    if not all(_is_expected(machine, one) for one in recorded):
        return "run `kimifix apply` again, then look again"
    return None


def _data(one: Captured) -> dict[str, object]:
    names = ("provider", "alias", "method", "path", "credential", "refused", "problem")
    # The name of the machine is nobody's business in a pasted report.
    identity = [
        [name, MASK if name.lower() in _PRIVATE_HEADERS else value] for name, value in one.identity
    ]
    return {**{name: getattr(one, name) for name in names}, "identity": identity}
