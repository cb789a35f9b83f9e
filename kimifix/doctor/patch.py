"""Whether our entries are in the config, whole and of use, and can be taken out exactly."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from kimifix.client import features
from kimifix.config import routes
from kimifix.config.document import MANAGED, OWN, get
from kimifix.doctor.finding import Finding
from kimifix.machine import Machine
from kimifix.outgoing import describe
from kimifix.words import span

_FRESH_SECONDS = 14 * 86_400


def check_patch(machine: Machine) -> Finding:
    """Our entries are absent, or complete."""
    entries = machine.document.own_entries
    if not entries:
        receipt = machine.reading.receipt
        if receipt and receipt.before != machine.reading.snapshot.sha256:
            again, end = machine.kimifix("apply"), machine.kimifix("revert")
            hint = f"`{again}` writes them again, `{end}` ends it"
            message = "was applied, but is gone from the config"
            return Finding("warning", message, hint, {"state": "gone"})
        return Finding("ok", "not applied", data={"state": "absent"})
    if machine.reading.has_foreign_provider:
        message = f"a provider named `{OWN}` is there that kimifix did not write"
        hint = "`apply` will refuse: rename it if you want to use kimifix"
        return Finding("warning", message, hint, {"state": "foreign"})
    route = routes.route_of(machine.document)
    data = {"state": "complete", "route": route, "entries": [".".join(p) for p in entries]}
    if not (faults := list(_faults(machine))):
        if reason := _reason_to_ask(machine):
            message = f"applied and complete, route {route}; {reason}"
            hint = f"ask again whether it is needed: `{machine.kimifix('doctor', '--probe')}`"
            return Finding("info", message, hint, data)
        return Finding("ok", f"applied and complete, route {route}", data=data)
    data |= {"state": "incomplete", "faults": [fault for fault, _ in faults]}
    hints = dict.fromkeys(hint for _, hint in faults)
    message = "is incomplete: " + "; ".join(fault for fault, _ in faults)
    return Finding("warning", message, "; ".join(hints), data)


def _reason_to_ask(machine: Machine) -> str | None:
    """Return what has changed since `apply` so that it may be needed no more, None for nothing."""
    receipt, version = machine.reading.receipt, machine.version
    if receipt is None:
        return None
    then = features.parse_version(receipt.client)
    if then is not None and version is not None and then < version:
        return f"kimi-code was {then} then, and is {version} now"
    with suppress(TypeError, ValueError):  # a receipt of somebody else's making
        age = machine.now - datetime.fromisoformat(receipt.time).timestamp()
        return f"written {span(age)} ago" if age > _FRESH_SECONDS else None
    return None


def _faults(machine: Machine) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a patch that is there, each with its remedy."""
    again = f"run `{machine.kimifix('apply')}`"
    document = machine.document
    if document.own is None:
        yield f"the provider `{OWN}` is gone", again
    drift = routes.drift(document)
    if drift.missing:
        yield f"missing: {', '.join(drift.missing)}", again
    if drift.outdated:
        yield f"out of date: {', '.join(drift.outdated)}", again
    if drift.stale:
        yield f"no longer offered: {', '.join(drift.stale)}", again
    if drift.provider:
        yield f"the provider `{OWN}` no longer fits kimi-code's own", again
    managed = document.served_by(MANAGED)
    for reference in document.references:
        if reference.alias in managed and _was_moved(machine, reference.path):
            yield f"`{'.'.join(reference.path)}` has moved back to {reference.alias}", again
    services = routes.service_platforms(document)
    if dropped := [p[1] for p, name in services.items() if not name and _was_moved(machine, p)]:
        yield f"{', '.join(dropped)} lost the header, as by a login", again
    if _thinking_switched_off(machine):
        yield "thinking was switched off by the client", "switch it on again with /model"
    for alias in list(document.aliases_of(OWN))[:1]:
        obstacle = describe(machine, document, alias).obstacle
        if obstacle is not None and not obstacle.client_can:
            steps = "".join(f", `{step}`" for step in obstacle.next)
            yield obstacle.message, f"{obstacle.hint}{steps}"


def _was_moved(machine: Machine, path: tuple[str, ...]) -> bool:
    receipt = machine.reading.receipt
    return receipt is not None and any(moved.path == path for moved in receipt.undo.moved)


def _thinking_switched_off(machine: Machine) -> bool:
    now = get(machine.document.data, features.thinking_setting(machine.engine))
    receipt = machine.reading.receipt
    wrote_on = receipt is not None and any(moved.new is True for moved in receipt.undo.moved)
    return now is False and wrote_on


def check_receipt(machine: Machine) -> Finding:
    """The receipt and the backup that an exact `revert` needs are there."""
    receipt, store = machine.reading.receipt, machine.reading.store
    data = {"folder": store.folder, "backups": len(store.backup_paths())}
    kept = f"backups lie in {store.backups}"
    hint = f"`{machine.kimifix('revert')}` still works, but cannot promise the same bytes"
    if not machine.document.own_entries and receipt is None:
        return Finding("ok", f"none needed; {kept}", data=data)
    if receipt is None:
        return Finding("warning", "lost, or written on another machine", hint, data)
    data |= {"time": receipt.time, "kimifix": receipt.kimifix, "client": receipt.client}
    if receipt.before and store.backup(receipt.before) is None:
        message = f"its backup is gone or damaged: {store.backups}"
        return Finding("warning", message, hint, data)
    state = "config untouched since" if machine.reading.untouched else "config edited since"
    return Finding("ok", f"applied {receipt.time}, {state}; {kept}", data=data)
