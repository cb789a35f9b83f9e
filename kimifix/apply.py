"""The story of `kimifix apply`: observe, choose, propose, ask, write, look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from kimifix.client import features
from kimifix.config import files
from kimifix.config.document import OWN, Document
from kimifix.config.sample import SAMPLE
from kimifix.consent import Dialogue
from kimifix.draft import Proposal, Request, draft
from kimifix.errors import ChangedMeanwhileError, KimifixError
from kimifix.secret import Secret
from kimifix.surroundings import Surroundings, look_again, observe

if TYPE_CHECKING:
    from kimifix.server.judgement import Judgement

_ATTEMPTS = 5


class Outcome(NamedTuple):
    """What came of it.

    ``proposal`` is None where no fix was needed, as `--route auto` may find; ``reason`` is
    why it chose what it did.
    """

    status: Literal["applied", "unchanged", "dry-run", "declined", "not-needed"]
    config: Path
    proposal: Proposal | None = None
    next_steps: tuple[str, ...] = ()
    backup: Path | None = None
    sandbox: Path | None = None
    reason: str | None = None


def apply(request: Request, env: Mapping[str, str], dialogue: Dialogue[Proposal]) -> Outcome:
    """Write our provider, aliases and default into the config, unless they are there.

    Raises ``KimifixError`` when that is refused or fails; the config is then as it was.
    """
    surroundings = observe(request.home, env)
    sandbox = None
    if request.sandbox:
        surroundings, sandbox = _sandboxed(surroundings)
    else:
        _require_client(surroundings)
    place = surroundings.home
    ask_key = cache(dialogue.ask_key)
    reason = None
    if request.route == "auto":
        judgement = _judge(request, surroundings, env, ask_key, dialogue)
        reason = judgement.sentence
        if judgement.recommendation in ("not-needed", "revert"):
            advice = (judgement.next_command,) if judgement.next_command else ()
            return Outcome("not-needed", place.config, None, advice, None, sandbox, reason)
        dialogue.progress(f"{reason}: {judgement.advice}")
        anthropic = judgement.recommendation == "apply-anthropic"
        request = request._replace(route="anthropic" if anthropic else "header")
    outcome = partial(Outcome, config=place.config, sandbox=sandbox, reason=reason)
    agreed = None
    for _ in range(_ATTEMPTS):
        change = draft(request, surroundings, env, ask_key)
        proposal = change.proposal
        if change.is_empty:
            if not request.dry_run:
                change.store.settle(change.snapshot)
            return outcome("unchanged", proposal=proposal)
        if agreed is None or agreed.wording != proposal.wording:
            dialogue.propose(proposal)
            if request.dry_run:
                return outcome("dry-run", proposal=proposal)
            if sandbox is None and not dialogue.confirm():
                return outcome("declined", proposal=proposal)
            agreed = proposal
        try:
            change.commit()
        except ChangedMeanwhileError as error:
            last = error
            continue
        watched = look_again(surroundings, change.stands, dialogue.progress, "apply")
        steps = [] if sandbox else _next_steps(change.patched, watched)
        return outcome(
            "applied", proposal=proposal, next_steps=tuple(steps), backup=change.backup_path
        )
    raise last


def _require_client(surroundings: Surroundings) -> None:
    place = surroundings.home
    if place.path.is_dir():
        return
    if surroundings.install is None and not place.path.exists():
        raise KimifixError(
            f"kimi-code was not found: no program called `kimi`, and no folder `{place.path}`",
            "pass --home DIR if its data lies elsewhere, or try kimifix out with --sandbox",
        )
    raise KimifixError(
        f"kimi-code has no data here yet: `{place.path}`",
        "start `kimi` once and sign in, or pass --home DIR if its data lies elsewhere",
    )


def _sandboxed(real: Surroundings) -> tuple[Surroundings, Path]:
    """Return surroundings in a new private folder, with a copy of the config or a sample."""
    import tempfile

    config = files.read(real.home.config)
    content = config.content or SAMPLE.encode()
    folder = Path(tempfile.mkdtemp(prefix="kimifix-sandbox-"))
    sandbox = real.home._replace(path=folder, source="sandbox")
    sandbox.config.touch(mode=0o600)
    sandbox.config.write_bytes(content)
    version = real.version or features.NEWEST_KNOWN
    nobody = real.running._replace(pids=())
    return real._replace(home=sandbox, version=version, running=nobody), folder


def _judge(
    request: Request,
    surroundings: Surroundings,
    env: Mapping[str, str],
    ask_key: Callable[[], Secret | None],
    dialogue: Dialogue[Proposal],
) -> Judgement:
    """Ask the server which route it accepts; raises ``KimifixError`` where none would help."""
    from kimifix import ask as probing
    from kimifix.machine import Machine

    key = request.key
    if key is None and request.credential == "key":
        key = Secret(env["KIMIFIX_API_KEY"]) if env.get("KIMIFIX_API_KEY") else ask_key()
    machine = Machine(surroundings.home, env)
    judgement = probing.probe(machine, dialogue.progress, key).judgement
    if judgement.recommendation in ("none", "update"):
        raise KimifixError(judgement.sentence, judgement.advice)
    return judgement


def _next_steps(document: Document, watched: bool) -> list[str]:
    aliases = list(document.aliases_of(OWN))
    default = document.data.get("default_model")
    steps = []
    if default in aliases:
        steps.append("quit kimi-code and start it again: a running session keeps its model")
        alias = default
    else:
        alias = aliases[0]
        steps.append(f"start kimi-code with the new model: kimi -m {alias}")
    steps += [
        f"a resumed session keeps its old model unless told: kimi -S <id> -m {alias}",
        "`/usage` shows no plan block meanwhile; web search and fetch go by headers of their own",
        "take it all back: kimifix revert",
    ]
    if watched:
        steps.insert(1, "then see that the change is still there: kimifix doctor")
    return steps
