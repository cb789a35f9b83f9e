"""The story of `kimifix apply`: observe, choose, propose, ask, write, look again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from kimifix.client import sessions
from kimifix.client.home import Home
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.config.storage import STATE_IN_HOME
from kimifix.consent import Dialogue, Draft, Outcome, carry_out
from kimifix.credentials import AskKey
from kimifix.draft import Proposal, Request, draft
from kimifix.errors import KimifixError
from kimifix.machine import Machine, observe
from kimifix.reader import shipped

if TYPE_CHECKING:
    from kimifix.server.judgement import Judgement


def apply(
    request: Request, env: Mapping[str, str], dialogue: Dialogue[Proposal]
) -> Outcome[Proposal]:
    """Write our provider, aliases and default into the config, unless they are there.

    Raises ``KimifixError`` when that is refused or fails; the config is then as it was.
    """
    machine = observe(request.home, env)
    sandbox = None
    if request.sandbox:
        machine = _sandboxed(machine)
        sandbox = machine.home.path
    else:
        _require_client(machine)
    ask_key = cache(dialogue.ask_key)
    outcome = partial(Outcome[Proposal], config=machine.home.config, sandbox=sandbox)
    if request.route == "auto":
        request, judgement, steps = _chosen(request, machine, ask_key, dialogue)
        outcome = partial(outcome, reason=judgement.sentence)
        if request.route == "auto":
            return outcome("not-needed", next=steps)
    done = carry_out(
        lambda: draft(request, machine, ask_key),
        dialogue,
        machine,
        "apply",
        dry_run=request.dry_run,
        try_out=partial(_verify, request, machine, dialogue),
    )
    proposal = done.draft.proposal
    match done.status:
        case "empty":
            _verify(request, machine, dialogue, done.draft)
            steps, _ = _what_next(machine, done.draft.document, False)
            return outcome("unchanged", proposal=proposal, next=steps)
        case "written":
            outcome = partial(outcome, proposal=proposal, backup=done.draft.backup_path)
            if sandbox:
                return outcome("applied", next=(machine.kimifix("revert"),))
            document = done.draft.document
            steps, notes = _what_next(machine, document, done.watched)
            theirs, ours = document.served_by(MANAGED), document.aliases_of(OWN)
            steps += sessions.resumed(machine.kimi, machine.home.path, theirs, ours)
            return outcome("applied", next=steps, notes=notes)
        case status:
            return outcome(status, proposal=proposal)


def _require_client(machine: Machine) -> None:
    if machine.home_mode is not None:
        return
    if machine.install is None:
        raise KimifixError(
            "kimi-code was not found: no program called `kimi`, "
            f"and no folder `{machine.home.path}`",
            "pass --home DIR if its data lies elsewhere, or try kimifix out with --sandbox",
        )
    raise KimifixError(
        f"kimi-code has no data here yet: `{machine.home.path}`",
        "start `kimi` once and sign in, or pass --home DIR if its data lies elsewhere",
    )


def _sandboxed(real: Machine) -> Machine:
    """Return the machine with a new private home, in it a copy of the config or a sample."""
    import tempfile

    # The sample is what `kimi login` of 0.38.0 and 2.1.0 wrote (the same bytes) against a
    # stand-in for the vendor's hosts.
    sample = shipped("config/sample.toml")
    content = real.reading.snapshot.content or sample
    folder = Path(tempfile.mkdtemp(prefix="kimifix-sandbox-"))
    machine = Machine(Home(folder, "sandbox"), real.env, real.now)
    machine.installs = real.installs
    (folder / STATE_IN_HOME).mkdir(mode=0o700)  # nothing of it shall lie elsewhere
    machine.home.config.touch(mode=0o600)
    machine.home.config.write_bytes(content)
    return machine


def _chosen(
    request: Request, machine: Machine, ask_key: AskKey, dialogue: Dialogue[Proposal]
) -> tuple[Request, Judgement, tuple[str, ...]]:
    """Ask the server, and return the request with the route that it lets in.

    The route stays `auto` where kimi-code needs none; then there are commands to type, if
    anything. Raises ``KimifixError`` where no route would help.
    """
    from kimifix import ask

    probed = ask.probe(machine, dialogue.progress, request, ask_key)
    judgement = probed.judgement
    if judgement.works and judgement.recommendation in ("not-needed", "revert"):
        return request, judgement, probed.next
    is_open = judgement.works or judgement.recommendation.startswith("apply")
    if probed.request is None or not is_open:
        raise KimifixError(judgement.sentence, judgement.advice, *probed.next)
    reason = f"{judgement.sentence}: {judgement.advice}"
    return replace(probed.request, reason=reason), judgement, ()


def _verify(
    request: Request, machine: Machine, dialogue: Dialogue[Proposal], draft: Draft[Proposal]
) -> None:
    """Have the client answer with what the draft holds; raises ``KimifixError`` if it does not."""
    if not request.verify:
        return
    from kimifix.verify import verify

    try:
        verify(machine, draft.document, _alias(draft.document), dialogue.progress)
    except KimifixError as error:
        raise KimifixError(f"nothing written, {error.message}", error.hint, *error.next) from error
    dialogue.progress("kimi-code got an answer")


def _alias(document: Document) -> str:
    """Return the default model where it is ours, else the first that is."""
    ours = document.aliases_of(OWN)
    return document.default if document.default in ours else next(iter(document.twins))


def _what_next(
    machine: Machine, document: Document, watched: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the commands to type next, and what else should be known."""
    ours = machine.kimi("-m", _alias(document))
    steps = (machine.kimifix("doctor"),) if watched else ()
    notes = (
        f"a resumed session keeps its old model unless told: `{ours} -S <id>`",
        "until you revert, `/usage` shows no plan; if web search is refused: "
        f"`{machine.kimifix('apply', '--services')}`",
        f"`{machine.kimifix('revert')}` takes it all back",
    )
    if document.default not in document.aliases_of(OWN):
        return (*steps, ours), notes
    return steps, ("quit kimi-code and start it again: a running session keeps its model", *notes)
