"""The only printer: text and JSON, redacted; and the only one who asks the user."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

import click

from kimifix.errors import ConfigError, KimifixError
from kimifix.secret import Secret, redact

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

    def text(self, line: str = "", *, colour: str | None = None, bold: bool = False) -> None:
        """Print one line of the report."""
        self._echo(self._shown(line), colour=colour, bold=bold)

    def aside(self, line: str) -> None:
        """Print one line that is not part of the report, to stderr."""
        self._echo(self._shown(line), err=True)

    def json(self, fields: Mapping[str, Any]) -> None:
        """Print the one JSON object of this run."""
        data = {"version": _JSON_VERSION, "command": self.command, **fields}
        text = json.dumps(_redacted(data), indent=2, ensure_ascii=not _speaks_unicode(sys.stdout))
        self._echo(text)

    def diff(self, diff: str) -> None:
        """Print a unified diff."""
        lines = redact(diff).splitlines()
        coloured = (click.style(line, fg=_DIFF_COLOURS.get(line[:1])) for line in lines)
        self._echo("\n".join(coloured))

    def row(self, status: str, name: str, message: str, hint: str | None) -> None:
        """Print one row of a table, wrapped to the terminal's width, and its hint below."""
        head = click.style(f"{status:{_STATUS_WIDTH}}", fg=_STATUS_COLOURS.get(status))
        indent = " " * (_STATUS_WIDTH + _NAME_WIDTH)
        first, *rest = self._wrapped(message, len(indent))
        self._echo(f"{head}{name:{_NAME_WIDTH}}{first}")
        for line in rest:
            self._echo(indent + line)
        for line in self._wrapped(f"hint: {hint}", len(indent)) if hint else ():
            self._echo(indent + line, colour="cyan")

    def paragraph(self, head: str, text: str, *, bold: bool = False) -> None:
        """Print ``text`` behind ``head``, wrapped to the terminal's width."""
        first, *rest = self._wrapped(text, len(head))
        for line in (head + first, *(" " * len(head) + line for line in rest)):
            self._echo(line, bold=bold)

    def _wrapped(self, text: str, indent: int) -> list[str]:
        width = min(max(shutil.get_terminal_size((80, 24)).columns, 60), 100) - indent
        shown = self._shown(text)
        lines = textwrap.wrap(shown, width, break_long_words=False, break_on_hyphens=False)
        return lines or [""]

    def warnings(self, warnings: tuple[str, ...]) -> None:
        """Print warnings to stderr."""
        for warning in warnings:
            self._label("warning", "yellow", warning)

    def notice(self, notice: str) -> None:
        """Print the policy notice to stderr."""
        self._label("notice", "magenta", notice)

    def error(self, error: KimifixError) -> None:
        """Say what was refused or failed and what to do: to stderr, and as JSON if asked for."""
        if self.as_json:
            fields: dict[str, Any] = {"message": error.message, "hint": error.hint}
            if isinstance(error, ConfigError):
                fields |= {"path": error.path, "line": error.line, "column": error.column}
            self.json({"error": fields})
        self._label("error", "red", error.message)
        if error.hint:
            self._label("hint", "cyan", error.hint)

    def _label(self, word: str, colour: str, text: str) -> None:
        head = f"{word}:"
        lines = [self._shown(text)]
        if sys.stderr.isatty():  # whoever reads a pipe wants one line for each message
            lines = self._wrapped(text, len(head) + 1)
        first, *rest = lines
        self._echo(f"{click.style(head, fg=colour, bold=True)} {first}", err=True)
        for line in rest:
            self._echo(" " * (len(head) + 1) + line, err=True)

    def _shown(self, text: str) -> str:
        return redact(abbreviated(text, self._home))

    def _echo(
        self, text: str, *, err: bool = False, colour: str | None = None, bold: bool = False
    ) -> None:
        stream = sys.stderr if err else sys.stdout
        encoding = stream.encoding or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        if colour or bold:
            text = click.style(text, fg=colour, bold=bold)
        click.echo(text, err=err, color=self._colour)


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
        """Ask whether to write it; raises ``KimifixError`` where there is no terminal."""
        if self._yes:
            return True
        if not _has_terminal():
            raise KimifixError(
                "nobody there to confirm the change: no terminal",
                "pass --yes to write without asking",
            )
        return click.confirm(self._question, default=False, err=True)

    def ask_key(self) -> Secret | None:
        """Ask for an API key on the terminal, without showing it."""
        if not _has_terminal():
            return None
        value = click.prompt(
            "API key of the Kimi Code console (not shown)",
            hide_input=True,
            default="",
            show_default=False,
            err=True,
        )
        return Secret(value) if value else None

    def progress(self, text: str) -> None:
        """Say what is being waited for, on stderr."""
        self._printer.aside(text)


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
    for step in outcome.next_steps:
        printer.text(f"next:    {step}")
    if outcome.sandbox:
        printer.text(f"sandbox: {outcome.sandbox} (your own config was not touched)")
        printer.text(f"next:    kimifix revert --home {outcome.sandbox}")


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
        "next": outcome.next_steps,
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
        verdict = {"verdict": report.verdict, "next": report.next_command}
        printer.json({"status": report.worst, "findings": findings, **verdict})
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
    printer.paragraph("verdict: ", report.verdict, bold=True)
    if report.next_command:
        printer.paragraph("next:    ", report.next_command, bold=True)


def _redacted(value: object) -> object:
    """Return ``value`` for JSON, masked before quoting: in JSON a secret may stand escaped."""
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _speaks_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def abbreviated(text: str, home: Path) -> str:
    """Return ``text`` with the user's home as `~`, since output gets posted publicly."""
    prefix = str(home)
    if len(prefix) <= 1:
        return text
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


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
