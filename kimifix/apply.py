"""The story of `kimifix apply`: observe, choose, propose, ask, write, look again."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import kimifix
from kimifix import credentials
from kimifix.client import features, login
from kimifix.config import redaction, routes, storage
from kimifix.config.document import MANAGED, OWN, Document, aliases_of, parse, providers, served_by
from kimifix.config.patch import Moved, Patched, own_entries, patch, same, unpatch
from kimifix.config.receipt import Receipt, digest
from kimifix.config.routes import ApiKey, Credential, Plan, Route
from kimifix.config.sample import SAMPLE
from kimifix.config.storage import Snapshot, Store
from kimifix.credentials import Wanted
from kimifix.dialogue import Dialogue
from kimifix.errors import ChangedMeanwhileError, KimifixError
from kimifix.secret import Secret, register, secrets_in
from kimifix.surroundings import Surroundings, look_again, observe

DEFAULT_PLATFORM = "kimi_cli"

POLICY_NOTICE = """\
The vendor's Community Guidelines forbid altering client identity information.
This route makes kimi-code say `X-Msh-Platform: {platform}` instead of `kimi_code_cli`.
Accounts were suspended for a forged identity in May 2026 (and restored days later).
The documented route alters nothing: kimifix apply --route anthropic"""

_ATTEMPTS = 5


@dataclass(frozen=True)
class Request:
    """What the user asked for; ``key`` is what came by --key-stdin."""

    home: Path | None = None
    route: Literal["header", "anthropic"] = "header"
    credential: Wanted = "auto"
    key: Secret | None = None
    key_variable: str | None = None
    platform: str = DEFAULT_PLATFORM
    move_default: bool = True
    dry_run: bool = False
    sandbox: bool = False


@dataclass(frozen=True)
class Proposal:
    """The change as the user gets to see it before it is written; no field holds a secret."""

    config: Path
    client: str | None
    route: Route
    platform: str | None
    credential: str
    base_url: str
    added: tuple[str, ...]
    moved: tuple[Moved, ...]
    diff: str
    warnings: tuple[str, ...]

    @property
    def notice(self) -> str | None:
        """The policy notice, None where the client's identity stays as it is."""
        return POLICY_NOTICE.format(platform=self.platform) if self.platform else None


@dataclass(frozen=True)
class Outcome:
    """What came of it; ``status`` is one of applied, unchanged, dry-run, declined."""

    status: Literal["applied", "unchanged", "dry-run", "declined"]
    proposal: Proposal
    next_steps: tuple[str, ...] = ()
    backup: Path | None = None
    sandbox: Path | None = None


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
    ask_key = cache(dialogue.ask_key)
    agreed = None
    for _ in range(_ATTEMPTS):
        draft = _draft(request, surroundings, env, ask_key)
        proposal = draft.proposal
        if draft.content == draft.snapshot.content:
            return Outcome("unchanged", proposal, sandbox=sandbox)
        if agreed is None or _wording(agreed) != _wording(proposal):
            dialogue.propose(proposal)
            if request.dry_run:
                return Outcome("dry-run", proposal, sandbox=sandbox)
            if sandbox is None and not dialogue.confirm():
                return Outcome("declined", proposal)
            agreed = proposal
        try:
            draft.commit()
        except ChangedMeanwhileError as error:
            last = error
            continue
        look_again(surroundings, dialogue.progress, patched=True)
        steps = _next_steps(draft.patched.data, surroundings)
        return Outcome("applied", proposal, tuple(steps), draft.backup_path, sandbox)
    raise last


@dataclass(frozen=True)
class _Draft:
    """A proved change of one snapshot, ready to be written."""

    snapshot: Snapshot
    content: bytes
    base: bytes
    mode: int
    receipt: Receipt
    store: Store
    proposal: Proposal
    patched: Patched

    def commit(self) -> None:
        base = None if self.receipt.before is None else self.base
        self.store.commit(self.snapshot, self.content, self.receipt, mode=self.mode, backup=base)

    @property
    def backup_path(self) -> Path | None:
        before = self.receipt.before
        return self.store.backup_path(before) if before else None


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
    config = storage.read(real.home.config)
    content = config.content or SAMPLE.encode()
    folder = Path(tempfile.mkdtemp(prefix="kimifix-sandbox-"))
    sandbox = replace(real.home, path=folder, source="sandbox")
    sandbox.config.touch(mode=0o600)
    sandbox.config.write_bytes(content)
    version = real.version or features.NEWEST_KNOWN
    nobody = replace(real.running, pids=())
    return replace(real, home=sandbox, version=version, running=nobody), folder


def _draft(
    request: Request,
    surroundings: Surroundings,
    env: Mapping[str, str],
    ask_key: Callable[[], Secret | None],
) -> _Draft:
    place = surroundings.home
    snapshot = storage.read(place.config)
    document = parse(snapshot.content or b"", place.config)
    for value in secrets_in(document.data):
        register(value)
    store = Store(storage.state_root(), snapshot.real)
    receipt = store.receipt(snapshot.sha256)
    base, base_bytes = _without_ours(document, snapshot, store, receipt)
    own_key = providers(document.data).get(OWN, {}).get("api_key")
    available = credentials.Available(
        surroundings.version,
        _no_login(surroundings, snapshot, base, env),
        ask=ask_key,
        key=request.key,
        key_in_env=Secret(env["KIMIFIX_API_KEY"]) if "KIMIFIX_API_KEY" in env else None,
        own_key=Secret(own_key) if own_key else None,
        key_variable=request.key_variable,
    )
    choice = credentials.choose(request.credential, available)
    plan = _plan(request, surroundings, document, choice.credential)
    patched = patch(base, routes.change(base.data, plan))
    content = document.encode(patched.text)
    if own_entries(document.data) and same(patched.data, document.data):
        content = snapshot.content or b""
    mode, mode_before = _mode(snapshot, receipt, choice.credential)
    existed = snapshot.content is not None and not (receipt and receipt.before is None)
    new_receipt = Receipt(
        config=str(snapshot.real),
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        kimifix=kimifix.__version__,
        client=str(surroundings.version) if surroundings.version else None,
        route=plan.route,
        credential=choice.credential.name,
        before=digest(base_bytes) if existed else None,
        after=digest(content),
        mode_before=mode_before,
        undo=patched.undo,
    )
    warnings = (
        *surroundings.warnings,
        *choice.warnings,
        *_warnings(request, base, plan, mode_before),
    )
    proposal = _proposal(surroundings, document, patched, plan, warnings)
    return _Draft(snapshot, content, base_bytes, mode, new_receipt, store, proposal, patched)


def _without_ours(
    document: Document, snapshot: Snapshot, store: Store, receipt: Receipt | None
) -> tuple[Document, bytes]:
    """Return the config as it would be without kimifix: what the change is made of."""
    if OWN in providers(document.data) and not receipt and not routes.matches(document.data):
        raise KimifixError(
            f"the config has a provider named `{OWN}` that kimifix did not write",
            "rename or remove it, then run kimifix again",
        )
    if receipt and receipt.after == snapshot.sha256 and receipt.before:
        backup = store.backup(receipt.before)
        if backup is not None:
            return parse(backup, snapshot.path), backup
    if receipt is None and not own_entries(document.data):
        return document, snapshot.content or b""
    undone = unpatch(document, receipt.undo if receipt else None)
    base = replace(document, text=undone.text, data=undone.data)
    return base, base.encode(base.text)


def _no_login(
    surroundings: Surroundings, snapshot: Snapshot, base: Document, env: Mapping[str, str]
) -> str | None:
    """Return why there is no login that an own provider could share, None where there is one."""
    if snapshot.content is None:
        return f"kimi-code has no config yet: `{snapshot.path}`"
    slot = login.slot_of(providers(base.data).get(MANAGED, {}), env, managed=True)
    if slot is None:
        return f"the config has no managed provider with a login: `{snapshot.path}`"
    if surroundings.home.source == "sandbox":
        return None
    found = login.read(surroundings.home, slot)
    if found.present:
        return None
    return f"kimi-code is not signed in, {found.problem or 'there is no file'}: `{found.path}`"


def _plan(
    request: Request, surroundings: Surroundings, document: Document, credential: Credential
) -> Plan:
    return Plan(
        request.route,
        credential,
        request.platform,
        surroundings.home.region_base_url,
        features.thinking_setting(surroundings.version),
        request.move_default,
        tuple(aliases_of(document.data, OWN).values()),
    )


def _mode(
    snapshot: Snapshot, receipt: Receipt | None, credential: Credential
) -> tuple[int, int | None]:
    """Return the mode to give the config, and the one that this takes away, if any."""
    before = snapshot.mode
    if receipt and receipt.mode_before is not None and snapshot.mode == _private(before):
        before = receipt.mode_before
    if isinstance(credential, ApiKey) and before != _private(before):
        return _private(before), before
    return before, None


def _private(mode: int) -> int:
    return mode & ~0o077


def _warnings(request: Request, base: Document, plan: Plan, mode_before: int | None) -> list[str]:
    found = []
    if plan.route == "anthropic" and plan.credential.name == "login":
        found.append(
            "whether the server takes a login on the Anthropic-compatible surface is not known: "
            "`kimifix doctor --probe` tells"
        )
    if mode_before is not None:
        found.append("the config will hold an API key: others lose their right to read it")
    default = base.data.get("default_model")
    if request.move_default and isinstance(default, str) and not _is_moved(base, default):
        found.append(f"`default_model` names another provider's `{default}` and stays")
    return found


def _is_moved(base: Document, default: str) -> bool:
    return default in served_by(base.data, MANAGED)


def _proposal(
    surroundings: Surroundings,
    document: Document,
    patched: Patched,
    plan: Plan,
    warnings: tuple[str, ...],
) -> Proposal:
    install = surroundings.install
    client = None
    if install is not None:
        client = f"{install.version or 'of unknown version'} ({install.origin}) at {install.path}"
    provider = providers(patched.data)[OWN]
    return Proposal(
        surroundings.home.config,
        client,
        plan.route,
        routes.platform_of(provider),
        plan.credential.name,
        str(provider["base_url"]),
        tuple(".".join(path) for path in own_entries(patched.data)),
        patched.undo.moved,
        redaction.diff(document.text, patched.text, "config.toml"),
        warnings,
    )


def _wording(proposal: Proposal) -> tuple[Any, ...]:
    """Return what the user agreed to, apart from where in the file it lands."""
    changed = [line for line in proposal.diff.splitlines() if not line.startswith("@@")]
    return (proposal.route, proposal.platform, proposal.credential, proposal.warnings, changed)


def _next_steps(data: dict[str, Any], surroundings: Surroundings) -> list[str]:
    aliases = [path[1] for path in own_entries(data) if path[0] == "models"]
    default = data.get("default_model")
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
    if surroundings.running.pids:
        steps.insert(1, "then see that the change is still there: kimifix doctor")
    return steps


def valid_platform(name: str) -> bool:
    """Tell whether ``name`` may be sent as `X-Msh-Platform`: printable ASCII without spaces."""
    return re.fullmatch(r"[!-~]+", name) is not None
