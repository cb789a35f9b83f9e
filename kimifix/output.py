"""The only printer: text and JSON; and the only one who asks the user."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from kimifix import terminal
from kimifix.errors import KimifixError
from kimifix.language import translated
from kimifix.secret import Secret, redact
from kimifix.terminal import Line, OutputError, Styled, visible

if TYPE_CHECKING:
    from kimifix import doctor, draft, revert
    from kimifix.config.change import Moved
    from kimifix.consent import Outcome

Proposal = TypeVar("Proposal", bound="draft.Proposal | revert.Proposal")

_JSON_VERSION = 1
# What the JSON object holds: for all commands, and for each. docs/json.md explains it.
_COMMON = ("status", "error", "warnings", "notes", "next")
_FIELDS = {
    "apply": (
        *("config", "client", "route", "platform", "credential", "base_url"),
        *("added", "moved", "diff", "notice", "reason", "backup", "sandbox"),
    ),
    "revert": ("config", "exact", "removed", "restored", "left", "diff"),
    "doctor": ("works", "verdict", "advice", "recommendation", "findings"),
}
_LISTS = ("warnings", "notes", "next", "added", "moved", "removed", "restored", "left", "findings")

_STATUS_COLOURS = {"ok": "green", "info": "blue", "warning": "yellow", "error": "red"}
_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_SHORTEST_DIFF = 6
_QUESTION_LINES = 1
_QUIET = ("ok", "skipped")
_VERDICTS: Mapping[bool | None, tuple[str, str]] = {
    True: ("kimi-code works", "green"),
    False: ("kimi-code does not work", "red"),
    None: ("cannot tell yet whether kimi-code works", "yellow"),
}


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
        """Print one line of the report as it is."""
        self.put([(Styled(self.shown(line), colour, bold),)])

    def progress(self, text: str) -> None:
        """Say on stderr what is waited for."""
        terminal.wait(self.shown(text))

    def json(self, status: str, *sources: object, **fields: Any) -> None:
        """Print the one JSON object of this run, in ASCII.

        What is not among ``fields`` is an attribute of the first of ``sources`` that has
        it; what is nowhere is null, or an empty list.
        """
        data: dict[str, Any] = {"version": _JSON_VERSION, "command": self.command}
        fields["status"] = status
        for name in (*_COMMON, *_FIELDS[self.command]):
            found = [getattr(source, name) for source in sources if hasattr(source, name)]
            nothing: list[str] | None = [] if name in _LISTS else None
            data[name] = _json(fields.get(name, found[0] if found else nothing))
        self.put((line,) for line in json.dumps(data, indent=2).split("\n"))

    def diff(self, diff: str, room: int | None = None) -> None:
        """Print a unified diff; where there is ``room`` for so many lines only, what fits."""
        lines = [line.removesuffix("\r").expandtabs() for line in diff.split("\n") if line]
        shown, limit = lines, terminal.screen()[0]
        if terminal.is_terminal(sys.stdout):  # which would break a long line where that pleases
            lines = [visible(redact(line)) for line in lines]
            shown = [piece for line in lines for piece in terminal.folded(line, limit)]
        if room is not None and len(shown) > room:
            lines = [line for line in lines[2:] if line not in "+-" and not line.startswith("@@")]
            shown = [terminal.cut(line, limit) for line in lines]
            if len(shown) > (room := max(room, _SHORTEST_DIFF)):
                first, last = room // 2, len(shown) - (room - 1) // 2
                more = f"… {last - first} more lines: see them with --dry-run"
                shown[first:last] = [translated(more)]
        self.put((Styled(line, _DIFF_COLOURS.get(line[:1])),) for line in shown)

    def lines(
        self, text: str | None, *head: Styled, colour: str | None = None, wrap: bool = True
    ) -> list[Line]:
        """Return ``text``, if any, in lines behind ``head``, wrapped to the terminal's width."""
        if not text:
            return []
        head = tuple(part._replace(text=translated(part.text)) for part in head)
        indent = sum(terminal.columns(part.text) for part in head) or terminal.INDENT
        shown = self.shown(text)
        first, *rest = terminal.wrapped(shown, terminal.width() - indent) if wrap else [shown]
        more = ((Styled(" " * indent + line, colour),) for line in rest)
        return [(*head, Styled(first, colour)), *more]

    def labelled(self, word: str, colour: str, text: str | None) -> list[Line]:
        """Return ``text``, if any, for stderr, behind a word that says what it is."""
        # Whoever reads a pipe wants one line for each message.
        head = Styled(f"{word}: ", colour, bold=True)
        return self.lines(text, head, wrap=terminal.is_terminal(sys.stderr))

    def warnings(self, warnings: Iterable[str]) -> list[Line]:
        """Return warnings in lines for stderr."""
        return [line for text in warnings for line in self.labelled("warning", "yellow", text)]

    def explain(self, error: KimifixError, word: str = "error", colour: str = "red") -> None:
        """Say on stderr what is the matter and what to do."""
        lines = self.labelled(word, colour, error.message)
        lines += self.labelled("hint", "cyan", error.hint)
        self.put([*lines, *self.steps(error.next, 6)], err=True)

    def failure(self, error: KimifixError) -> None:
        """Say that ``error`` ended the run, as JSON too if that was asked for."""
        if self.as_json and not isinstance(error, OutputError):
            names = ("message", "hint", "path", "line", "column")
            fields = {name: getattr(error, name, None) for name in names}
            with suppress(OutputError):
                self.json("error", error, error=fields)
        self.explain(error)

    def advice(self, notes: Iterable[str], commands: Iterable[str]) -> None:
        """Print what else should be known, and last what to type, never broken."""
        for note in notes:
            self.put(self.lines(note, Styled("note:    ")))
        self.put(self.steps(commands, 9))

    def steps(self, commands: Iterable[str], room: int) -> list[Line]:
        """Return what to type in lines, behind words that fill ``room`` columns."""
        lines: list[Line] = []
        for command, word in zip(commands, chain(["next:"], repeat("then:")), strict=False):
            # Few shells of Windows know `~`.
            step = visible(redact(command)) if sys.platform == "win32" else self.shown(command)
            lines.append((Styled(terminal.padded(translated(word), room) + step, bold=True),))
        return lines

    def shown(self, text: str) -> str:
        """Return ``text`` as a person gets to see it."""
        return abbreviated(visible(redact(translated(text))), self._home)

    def put(self, lines: Iterable[Line], *, err: bool = False) -> None:
        """Print ``lines``, if any; once the config is written, whether or not that works."""
        try:
            terminal.put(lines, err=err, colour=self._colour)
        except OutputError:
            if not self.is_too_late:
                raise


class TerminalDialogue(Generic[Proposal]):
    """Shows a proposal, the ``whole`` of it or what fits on the terminal, and asks.

    ``describe`` returns what sums it up, the policy notice, and the question; ``yes``
    answers that beforehand.
    """

    def __init__(
        self,
        printer: Printer,
        describe: Callable[[Proposal], tuple[Iterable[str | None], str | None, str]],
        *,
        yes: bool,
        whole: bool,
    ) -> None:
        self._printer = printer
        self._describe = describe
        self._yes = yes
        self._whole = whole
        self._question = ""
        self.progress = printer.progress

    def propose(self, proposal: Proposal) -> None:
        """Show what would be written."""
        summary, notice, self._question = self._describe(proposal)
        above = [line for text in summary for line in self._printer.lines(text)]
        below = self._printer.warnings(proposal.warnings)
        below += self._printer.labelled("notice", "magenta", notice)
        if not self._printer.as_json:
            self._printer.put(above)
            room = terminal.screen()[1] - len(above) - len(below) - _QUESTION_LINES
            fits = self._whole or not terminal.is_terminal(sys.stdout)
            self._printer.diff(proposal.diff, None if fits else room)
        self._printer.put(below, err=True)

    def confirm(self) -> bool:
        """Ask whether to write it; raises ``KimifixError`` where nobody is to be asked."""
        if self._yes:
            return True
        if not self._may_ask:
            reason = (
                "with --json nobody is asked" if terminal.has_terminal() else "there is no terminal"
            )
            hint = "pass --yes to write without asking, or --dry-run to look at it"
            if sys.platform == "win32":
                hint += "; for a terminal in Git Bash, begin the command with `winpty`"
            raise KimifixError(f"the change needs your consent, and {reason}", hint)
        question = f"{self._printer.shown(self._question)} [y/N]"
        while True:
            answer = click.prompt(question, "", show_default=False, err=True).strip().lower()
            if answer in ("", "y", "yes", "n", "no"):
                return answer in ("y", "yes")
            self._printer.explain(KimifixError("the answer is neither y nor n"))

    def ask_key(self, why: str | None, instead: str | None) -> Secret | None:
        """Ask for an API key on the terminal, without showing it.

        ``why`` the login does not serve and what to do ``instead`` are said before.
        """
        if not self._may_ask:
            return None
        if why and instead:
            self._printer.explain(KimifixError(why, instead), "note", "cyan")
        text = "API key of the Kimi Code console (not shown; Enter alone stops)"
        value = click.prompt(translated(text), "", hide_input=True, show_default=False, err=True)
        if not value and why:
            raise KimifixError("no key was given, so nothing was written", instead)
        return Secret(value) if value else None

    def written(self) -> Callable[[], bool]:
        """Let neither Ctrl-C nor a full disk say that nothing was written, from here on."""
        self._printer.is_too_late = True
        pressed: list[int] = []
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
        return lambda: bool(pressed)

    @property
    def _may_ask(self) -> bool:
        return terminal.has_terminal() and not self._printer.as_json


def describe_apply(proposal: draft.Proposal) -> tuple[list[str | None], str | None, str]:
    """Return why it is made and what sums it up, the policy notice, and the question."""
    install = proposal.client
    client = f"kimi-code {install.version or 'of unknown version'}" if install else "no kimi-code"
    platform = f", X-Msh-Platform: {proposal.platform}" if proposal.platform else ""
    summary = (
        f"{client}: {proposal.route} route{platform}, credential {proposal.credential}, "
        f"server {proposal.base_url}"
    )
    settings = f" and {_counted(len(proposal.moved), 'setting')}" if proposal.moved else ""
    tables = _counted(len(proposal.added), "table")
    return (
        [proposal.reason, summary],
        proposal.notice,
        f"Write {tables}{settings} to {proposal.config}?",
    )


def describe_revert(proposal: revert.Proposal) -> tuple[list[None], None, str]:
    """Return the question; there is nothing else to say."""
    taken = f"Take {_counted(len(proposal.removed), 'table')} out of {proposal.config}"
    settings = _counted(len(proposal.restored), "setting")
    return [], None, f"{taken} and put {settings} back?" if proposal.restored else f"{taken}?"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_UNWRITTEN = {
    "not-needed": "not needed, nothing written",
    "unchanged": "already applied, nothing written",
    "nothing": "nothing to revert",
    "dry-run": "dry run, nothing written",
    "declined": "nothing written",
}


def print_apply(printer: Printer, outcome: Outcome[draft.Proposal]) -> None:
    """Print what `apply` has come to."""
    proposal = outcome.proposal
    if printer.as_json:
        moved = [_moved_json(one) for one in proposal.moved] if proposal else []
        i = proposal.client if proposal else None
        client = {"path": i.path, "version": i.version, "origin": i.origin} if i else None
        printer.json(outcome.status, outcome, proposal, moved=moved, client=client)
        return
    if outcome.status == "applied":
        printer.text()
        printer.text(f"applied: {outcome.config}", colour="green", bold=True)
    else:
        if outcome.status == "unchanged":
            printer.put(printer.warnings(proposal.warnings if proposal else ()), err=True)
        printer.text(f"{_UNWRITTEN[outcome.status]}: {outcome.reason or outcome.config}")
    if outcome.backup:
        printer.text(f"backup:  {outcome.backup.parent}")
    if outcome.sandbox:
        printer.text(f"sandbox: {outcome.sandbox} (your own config was not touched)")
    printer.advice(outcome.notes, outcome.next)


def print_revert(printer: Printer, outcome: Outcome[revert.Proposal]) -> None:
    """Print what `revert` has come to."""
    proposal = outcome.proposal
    if printer.as_json:
        printer.json(outcome.status, outcome, proposal)
        return
    if outcome.status == "reverted":
        printer.text()
        exactly = ", byte for byte as before" if proposal and proposal.exact else ""
        printer.text(f"reverted{exactly}: {outcome.config}", colour="green", bold=True)
    else:
        printer.text(f"{_UNWRITTEN[outcome.status]}: {outcome.config}")
    if proposal is not None and not proposal.exact:
        for path in proposal.restored:
            printer.text(f"put back: {path}")
        for path in proposal.left:
            printer.text(f"left as it is, somebody else has changed it since: {path}")
    printer.advice(outcome.notes, outcome.next)


def print_doctor(
    printer: Printer, report: doctor.Report, *, verbose: bool, file: Path | None
) -> None:
    """Print the verdict and what to type, then what is not as it should be, or all of it.

    A report to hand over is printed instead, unless it is in ``file``.
    """
    verdict = report.verdict
    if report.markdown and file is None:
        printer.put((line,) for line in report.markdown.split("\n"))
        return
    if printer.as_json:
        findings = [{"check": name} | asdict(found) for name, found in report.findings.items()]
        printer.json(report.worst, verdict, verdict=verdict.sentence, findings=findings)
        return
    head, colour = _VERDICTS[verdict.works]
    printer.put(printer.lines(f"{head}: {verdict.sentence}", colour=colour))
    if not _is_said(verdict.advice, verdict.next):
        printer.put(printer.lines(verdict.advice, Styled("advice:  ")))
    printer.advice(verdict.notes, verdict.next)
    rows: list[Line] = []
    hidden = Counter[str]()
    for name, found in report.findings.items():
        if not verbose and (found.status in _QUIET or found.message in verdict.sentence):
            hidden[found.status] += 1
            continue
        word = terminal.padded(translated(found.status), 9)
        start = Styled(word, _STATUS_COLOURS.get(found.status))
        rows += printer.lines(found.message, start, Styled(f"{name:17}"))
        if found.hint and (verbose or not _is_said(found.hint, verdict.next)):
            rows += printer.lines(f"hint: {found.hint}", Styled(" " * 26), colour="cyan")
    matrix = report.findings["probe"].data.get("answers", ())
    sent, answer = terminal.padded(translated("sent as"), 15), translated("answer")
    answers = [f"{'API':11}{sent}{'HTTP':6}{answer}"] if matrix else []
    for one in matrix:
        asked = f"{one['surface']:11}{one['platform'] or '-':15}{one['http'] or '-'!s:6}"
        line = printer.shown(asked) + printer.shown(one["meaning"])
        answers.append(terminal.cut(line, terminal.width()))
    for block in (rows, [(line,) for line in answers]):
        printer.put([("",), *block] if block else ())
    if rest := ", ".join(f"{hidden[status]} {status}" for status in _QUIET if hidden[status]):
        printer.text()
        printer.text(f"{rest}: see them with --verbose")
    if file:
        printer.text(f"report: {file}")


def _is_said(advice: str | None, commands: Iterable[str]) -> bool:
    """Tell whether a command that is to be typed says all that ``advice`` does."""
    return advice in [f"run `{command}`" for command in commands]


def _json(value: object) -> object:
    """Return ``value`` for JSON, masked before quoting: in JSON a secret may stand escaped."""
    if isinstance(value, Mapping):
        return {redact(str(key)): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _moved_json(moved: Moved) -> dict[str, Any]:
    """Return a setting that was changed, with its values, not their spelling."""
    from tomllib import loads

    old: object = moved.path[-1] if moved.is_key else moved.old
    if isinstance(old, str) and not moved.is_key:
        old = loads(f"x = {old}")["x"]
    return {"path": ".".join(moved.path), "from": old, "to": moved.new}


def abbreviated(text: str, home: Path) -> str:
    """Return ``text`` with the user's home as `~`, since output gets posted publicly."""
    prefix, separator = re.escape(str(home)), re.escape(os.sep)
    if len(str(home)) <= 1:
        return text
    if sys.platform != "win32":  # in quotes a shell does not expand it
        text = re.sub(f"'{prefix}/", "~/'", text)
    case = re.IGNORECASE if sys.platform == "win32" else 0
    return re.sub(rf"""{prefix}(?=[{separator}`'") :,]|$)""", "~", text, flags=case)
