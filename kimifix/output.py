"""The only printer: text and JSON; and the only one who asks the user."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

import click

from kimifix.errors import ConfigError, KimifixError
from kimifix.secret import Secret
from kimifix.terminal import (
    Line,
    OutputError,
    Styled,
    has_terminal,
    is_terminal,
    masked,
    put,
    visible,
    wait,
    width,
    wrapped,
)

if TYPE_CHECKING:
    from kimifix import apply, doctor, draft, revert
    from kimifix.config.change import Moved

Proposal = TypeVar("Proposal")

_JSON_VERSION = 1
_STATUS_WIDTH = 9
_NAME_WIDTH = 17
_STATUS_COLOURS = {"ok": "green", "info": "blue", "warning": "yellow", "error": "red"}
_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


class Printer:
    """Writes the report to stdout and everything else to stderr, as text or as JSON.

    ``home`` is the user's home, which text shows as `~`. ``colour`` is None for "on a
    terminal", and False where `NO_COLOR` forbids it.
    """

    def __init__(self, command: str, *, as_json: bool, home: Path, colour: bool | None) -> None:
        self.command = command
        self.as_json = as_json
        self._home = home
        self._colour = colour
        self.is_too_late = False  # once the config is written, no error of output counts

    def text(self, line: str = "", *, colour: str | None = None, bold: bool = False) -> None:
        """Print one line of the report."""
        self._put([(Styled(self.shown(line), colour, bold),)])

    def aside(self, line: str) -> None:
        """Print one line that is not part of the report, to stderr."""
        self._put([(self.shown(line),)], err=True)

    def progress(self, text: str) -> None:
        """Say on stderr what is waited for."""
        wait(self.shown(text))

    def json(self, fields: Mapping[str, Any]) -> None:
        """Print the one JSON object of this run."""
        data = {"version": _JSON_VERSION, "command": self.command, **fields}
        text = json.dumps(_json(data), indent=2, ensure_ascii=not _speaks_unicode(sys.stdout))
        self._put((visible(line, lambda c: json.dumps(c)[1:-1]),) for line in text.split("\n"))

    def diff(self, diff: str) -> None:
        """Print a unified diff."""
        lines = (line.removesuffix("\r").expandtabs() for line in diff.split("\n"))
        self._put((Styled(line, _DIFF_COLOURS.get(line[:1])),) for line in lines if line)

    def row(self, status: str, name: str, message: str, hint: str | None) -> None:
        """Print one row of a table, wrapped to the terminal's width, and its hint below."""
        head = Styled(f"{status:{_STATUS_WIDTH}}", _STATUS_COLOURS.get(status))
        indent = " " * (_STATUS_WIDTH + _NAME_WIDTH)
        first, *rest = self._wrapped(message, len(indent))
        hints = self._wrapped(f"hint: {hint}", len(indent)) if hint else []
        self._put(
            [
                (head, f"{name:{_NAME_WIDTH}}{first}"),
                *((indent + line,) for line in rest),
                *((Styled(indent + line, "cyan"),) for line in hints),
            ]
        )

    def paragraph(self, head: str, text: str, *, bold: bool = False) -> None:
        """Print ``text`` behind ``head``, wrapped to the terminal's width."""
        first, *rest = self._wrapped(text, len(head))
        lines = (head + first, *(" " * len(head) + line for line in rest))
        self._put((Styled(line, bold=bold),) for line in lines)

    def warnings(self, warnings: tuple[str, ...]) -> None:
        """Print warnings to stderr."""
        for warning in warnings:
            self._label("warning", "yellow", warning)

    def notice(self, notice: str) -> None:
        """Print the policy notice to stderr."""
        self._label("notice", "magenta", notice)

    def error(self, error: KimifixError) -> None:
        """Say what was refused or failed and what to do: to stderr, and as JSON if asked for."""
        if self.as_json and not isinstance(error, OutputError):
            fields: dict[str, Any] = {"message": error.message, "hint": error.hint}
            if isinstance(error, ConfigError):
                fields |= {"path": error.path, "line": error.line, "column": error.column}
            with suppress(OutputError):
                self.json({"error": fields})
        self._label("error", "red", error.message)
        if error.hint:
            self._label("hint", "cyan", error.hint)

    def reason(self, why: str, instead: str) -> None:
        """Say why something is asked, and what could be done instead."""
        self._label("note", "cyan", why)
        self._label("hint", "cyan", instead)

    def shown(self, text: str) -> str:
        """Return ``text`` as a person gets to see it."""
        return abbreviated(visible(masked(text)), self._home)

    def _label(self, word: str, colour: str, text: str) -> None:
        head = f"{word}:"
        lines = [self.shown(text)]
        if is_terminal(sys.stderr):  # whoever reads a pipe wants one line for each message
            lines = self._wrapped(text, len(head) + 1)
        first, *rest = lines
        indent = " " * (len(head) + 1)
        self._put(
            [(Styled(head, colour, bold=True), f" {first}"), *((indent + line,) for line in rest)],
            err=True,
        )

    def _wrapped(self, text: str, indent: int) -> list[str]:
        return wrapped(self.shown(text), width() - indent)

    def _put(self, lines: Iterable[Line], *, err: bool = False) -> None:
        try:
            put(lines, err=err, colour=self._colour)
        except OutputError:
            if not self.is_too_late:
                raise


class TerminalDialogue(Generic[Proposal]):
    """Shows a proposal with ``show``, asks ``question``; ``yes`` answers it beforehand."""

    def __init__(
        self,
        printer: Printer,
        show: Callable[[Printer, Proposal], None],
        question: str,
        *,
        yes: bool,
    ) -> None:
        self._printer = printer
        self._show = show
        self._question = question
        self._yes = yes

    def propose(self, proposal: Proposal) -> None:
        """Show what would be written."""
        self._show(self._printer, proposal)

    def confirm(self) -> bool:
        """Ask whether to write it; raises ``KimifixError`` where nobody is to be asked."""
        if self._yes:
            return True
        if not self._may_ask:
            reason = "with --json nobody is asked" if has_terminal() else "there is no terminal"
            raise KimifixError(
                f"the change needs your consent, and {reason}",
                "pass --yes to write without asking, or --dry-run to look at it",
            )
        return click.confirm(self._printer.shown(self._question), default=False, err=True)

    def ask_key(self, why: str | None, instead: str | None) -> Secret | None:
        """Ask for an API key on the terminal, without showing it.

        ``why`` the login does not serve and what to do ``instead`` are said before.
        """
        if not self._may_ask:
            return None
        if why and instead:
            self._printer.reason(why, instead)
        value = click.prompt(
            "API key of the Kimi Code console (not shown; Enter alone stops)",
            hide_input=True,
            default="",
            show_default=False,
            err=True,
        )
        return Secret(value) if value else None

    def written(self) -> Callable[[], bool]:
        """Let neither Ctrl-C nor a full disk say that nothing was written, from here on."""
        self._printer.is_too_late = True
        pressed: list[int] = []
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
        return lambda: bool(pressed)

    def progress(self, text: str) -> None:
        """Say what is being waited for, on stderr."""
        self._printer.progress(text)

    @property
    def _may_ask(self) -> bool:
        return has_terminal() and not self._printer.as_json


def show_apply(printer: Printer, proposal: draft.Proposal) -> None:
    """Print client, config, route, diff and policy notice."""
    if not printer.as_json:
        _facts(printer, proposal)
        printer.text()
        printer.diff(proposal.diff)
    printer.warnings(proposal.warnings)
    if proposal.notice:
        printer.notice(proposal.notice)


def show_revert(printer: Printer, proposal: revert.Proposal) -> None:
    """Print the config and the diff."""
    if not printer.as_json:
        printer.text(f"{'config':11}{proposal.config}")
        printer.text()
        printer.diff(proposal.diff)
    printer.warnings(proposal.warnings)


def print_apply(printer: Printer, outcome: apply.Outcome) -> None:
    """Print what `apply` has come to."""
    proposal = outcome.proposal
    if printer.as_json:
        printer.json(_apply_json(outcome))
        return
    match outcome.status:
        case "not-needed":
            printer.text(f"not needed, nothing written: {outcome.reason}")
        case "unchanged":
            printer.warnings(proposal.warnings if proposal else ())
            printer.text(f"already applied, nothing written: {outcome.config}")
        case "dry-run":
            printer.text(f"dry run, nothing written: {outcome.config}")
        case "declined":
            printer.text(f"nothing written: {outcome.config}")
        case "applied":
            printer.text()
            printer.text(f"applied: {outcome.config}", colour="green", bold=True)
            if outcome.backup:
                printer.text(f"backup:  {outcome.backup}")
    for note in outcome.notes:
        printer.text(f"note:    {note}")
    if outcome.sandbox:
        printer.text(f"sandbox: {outcome.sandbox} (your own config was not touched)")
    for command in outcome.next:
        printer.text(f"next:    {command}")


def _apply_json(outcome: apply.Outcome) -> dict[str, Any]:
    proposal = outcome.proposal
    fields: dict[str, Any] = {"status": outcome.status, "config": outcome.config}
    if proposal is not None:
        fields |= {
            "client": proposal.client,
            "route": proposal.route,
            "platform": proposal.platform,
            "credential": proposal.credential,
            "base_url": proposal.base_url,
            "added": proposal.added,
            "moved": [_moved_json(moved) for moved in proposal.moved],
            "diff": proposal.diff if outcome.status != "unchanged" else "",
            "notice": proposal.notice,
            "warnings": proposal.warnings,
        }
    return fields | {
        "reason": outcome.reason,
        "next": outcome.next,
        "notes": outcome.notes,
        "backup": outcome.backup,
        "sandbox": outcome.sandbox,
    }


def print_revert(printer: Printer, outcome: revert.Outcome) -> None:
    """Print what `revert` has come to."""
    proposal = outcome.proposal
    if printer.as_json:
        fields = {} if proposal is None else asdict(proposal)
        printer.json(
            {"status": outcome.status, "config": outcome.config, "note": outcome.note} | fields
        )
        return
    match outcome.status:
        case "nothing":
            printer.text(f"nothing to revert: {outcome.note or outcome.config}")
        case "dry-run":
            printer.text(f"dry run, nothing written: {outcome.config}")
        case "declined":
            printer.text(f"nothing written: {outcome.config}")
        case "reverted":
            how = (
                "byte for byte as before" if proposal and proposal.exact else "our entries are out"
            )
            printer.text()
            printer.text(f"reverted, {how}: {outcome.config}", colour="green", bold=True)
    if proposal is not None:
        for path in proposal.restored if not proposal.exact else ():
            printer.text(f"put back: {path}")
        for path in proposal.left:
            printer.text(f"left as it is, somebody else has changed it since: {path}")


def print_doctor(printer: Printer, report: doctor.Report) -> None:
    """Print the findings as a table that fits the terminal, then the verdict."""
    if printer.as_json:
        findings = [{"check": name} | asdict(found) for name, found in report.findings.items()]
        printer.json(
            {
                "status": report.worst,
                "works": report.verdict.works,
                "verdict": report.verdict.sentence,
                "recommendation": report.verdict.recommendation,
                "next": report.verdict.next,
                "notes": report.verdict.notes,
                "findings": findings,
            }
        )
        return
    for name, finding in report.findings.items():
        printer.row(finding.status, name, finding.message, finding.hint)
    if answers := report.findings["probe"].data.get("answers"):
        printer.text()
        printer.text(f"{'surface':11}{'X-Msh-Platform':16}{'HTTP':6}meaning")
        for answer in answers:
            head = (
                f"{answer['surface']:11}{answer['platform'] or '-':16}{answer['http'] or '-'!s:6}"
            )
            meaning = answer["message"] or answer["meaning"]
            printer.paragraph(head, f"{answer['verdict']}: {meaning}")
    printer.text()
    printer.paragraph("verdict: ", report.verdict.sentence, bold=True)
    for note in report.verdict.notes:
        printer.paragraph("note:    ", note)
    for command in report.verdict.next:
        printer.paragraph("next:    ", command, bold=True)


def _json(value: object) -> object:
    """Return ``value`` for JSON, masked before quoting: in JSON a secret may stand escaped."""
    if isinstance(value, Mapping):
        return {masked(str(key)): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else masked(str(value))


def _speaks_unicode(stream: TextIO | None) -> bool:
    return stream is None or (stream.encoding or "").lower().replace("-", "") == "utf8"


def abbreviated(text: str, home: Path) -> str:
    """Return ``text`` with the user's home as `~`, since output gets posted publicly."""
    prefix = str(home)
    if len(prefix) <= 1:
        return text
    if sys.platform != "win32":  # in quotes a shell does not expand it
        text = text.replace(f"'{prefix}{os.sep}", f"~{os.sep}'")
    for separator in (os.sep, "`", "'", '"', ")", " ", ":", ","):
        text = text.replace(prefix + separator, "~" + separator)
    return text.removesuffix(prefix) + "~" if text.endswith(prefix) else text


def _facts(printer: Printer, proposal: draft.Proposal) -> None:
    identity = f"X-Msh-Platform: {proposal.platform}" if proposal.platform else "identity unaltered"
    for name, value in (
        ("client", f"kimi-code {proposal.client or 'not found'}"),
        ("config", proposal.config),
        ("server", proposal.base_url),
        ("route", f"{proposal.route} ({identity})"),
        ("credential", proposal.credential),
    ):
        printer.text(f"{name:11}{value}")


def _moved_json(moved: Moved) -> dict[str, Any]:
    return {"path": ".".join(moved.path), "from": moved.old, "to": moved.new}
