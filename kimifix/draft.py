"""What `apply` would write: one reading of the config, turned into a proved change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import kimifix
from kimifix import credentials
from kimifix.client import features, login
from kimifix.config import files, redaction, routes, storage
from kimifix.config.change import Moved
from kimifix.config.document import MANAGED, OWN, Document, parse
from kimifix.config.files import Snapshot
from kimifix.config.patch import Patched, patch, same, stands, unpatch
from kimifix.config.receipt import Receipt, digest
from kimifix.config.routes import ApiKey, Credential, Plan, Route
from kimifix.config.storage import Store
from kimifix.credentials import Wanted
from kimifix.errors import KimifixError
from kimifix.secret import Secret, register, secrets_in
from kimifix.surroundings import Surroundings

DEFAULT_PLATFORM = "kimi_cli"

POLICY_NOTICE = (
    "the vendor's Community Guidelines forbid altering client identity information, and this "
    "route makes kimi-code send `X-Msh-Platform: {platform}` instead of `kimi_code_cli`. "
    "Accounts were suspended for a forged identity in May 2026, and restored days later. "
    "The documented route alters nothing: kimifix apply --route anthropic"
)


class Request(NamedTuple):
    """What the user asked for; ``key`` is what came by --key-stdin."""

    home: Path | None = None
    route: Literal["header", "anthropic", "auto"] = "header"
    credential: Wanted = "auto"
    key: Secret | None = None
    key_variable: str | None = None
    platform: str = DEFAULT_PLATFORM
    move_default: bool = True
    dry_run: bool = False
    sandbox: bool = False


class Proposal(NamedTuple):
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

    @property
    def wording(self) -> tuple[Any, ...]:
        """What the user agrees to, apart from where in the file it lands."""
        changed = [line for line in self.diff.splitlines() if not line.startswith("@@")]
        return (self.route, self.platform, self.credential, self.warnings, changed)


class Draft(NamedTuple):
    """A proved change of one snapshot, ready to be written."""

    snapshot: Snapshot
    content: bytes
    base: bytes
    mode: int
    receipt: Receipt
    store: Store
    proposal: Proposal
    patched: Patched

    @property
    def is_empty(self) -> bool:
        """Whether the config is as it would be written."""
        return self.content == self.snapshot.content

    def commit(self) -> None:
        """Write it; raises what ``Store.commit`` raises."""
        base = None if self.receipt.before is None else self.base
        self.store.commit(self.snapshot, self.content, self.receipt, mode=self.mode, backup=base)

    def stands(self, now: Document) -> bool:
        """Tell whether the change is in ``now``, whole."""
        return stands(self.patched, now)

    @property
    def backup_path(self) -> Path | None:
        """Where the bytes from before lie, None where there was no file."""
        before = self.receipt.before
        return self.store.backup_path(before) if before else None


def draft(
    request: Request,
    surroundings: Surroundings,
    env: Mapping[str, str],
    ask_key: Callable[[], Secret | None],
) -> Draft:
    """Read the config and return the change that ``request`` makes of it; writes nothing.

    ``ask_key`` gets an API key from the user, or None. Raises ``KimifixError`` for every
    reason not to make the change.
    """
    place = surroundings.home
    snapshot = files.read(place.config)
    document = parse(snapshot.content or b"", place.config)
    for value in secrets_in(document.data):
        register(value)
    store = Store(storage.state_root(), snapshot.real)
    receipt = store.receipt(snapshot.sha256)
    base, base_bytes = _without_ours(document, snapshot, store, receipt)
    own_key = (document.own or {}).get("api_key")
    available = credentials.Available(
        surroundings.version,
        _no_login(surroundings, snapshot, base, env),
        ask=ask_key,
        key=request.key,
        key_in_env=Secret(env["KIMIFIX_API_KEY"]) if env.get("KIMIFIX_API_KEY") else None,
        own_key=Secret(own_key) if own_key else None,
        key_variable=request.key_variable,
    )
    choice = credentials.choose(request.credential, available)
    route: Route = "anthropic" if request.route == "anthropic" else "header"
    plan = _plan(request, route, surroundings, document, choice.credential)
    patched = patch(base, routes.change(base, plan))
    content = patched.content
    if document.own_entries and same(patched.data, document.data):
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
    return Draft(snapshot, content, base_bytes, mode, new_receipt, store, proposal, patched)


def _without_ours(
    document: Document, snapshot: Snapshot, store: Store, receipt: Receipt | None
) -> tuple[Document, bytes]:
    """Return the config as it would be without kimifix: what the change is made of."""
    if document.own is not None and not receipt and not routes.matches(document):
        raise KimifixError(
            f"the config has a provider named `{OWN}` that kimifix did not write",
            "rename or remove it, then run kimifix again",
        )
    if receipt and receipt.after == snapshot.sha256 and receipt.before:
        backup = store.backup(receipt.before)
        if backup is not None:
            return parse(backup, snapshot.path), backup
    if receipt is None and not document.own_entries:
        return document, snapshot.content or b""
    undone = unpatch(document, receipt.undo if receipt else None)
    return undone, undone.content


def _no_login(
    surroundings: Surroundings, snapshot: Snapshot, base: Document, env: Mapping[str, str]
) -> str | None:
    """Return why there is no login that an own provider could share, None where there is one."""
    if snapshot.content is None:
        return f"kimi-code has no config yet: `{snapshot.path}`"
    # An own provider takes the slot from the copied table, not as the managed one does.
    slot = login.slot_of(base.managed, env, managed=False)
    if slot is None:
        return f"the config has no managed provider with a login: `{snapshot.path}`"
    if surroundings.home.source == "sandbox":
        return None
    found = login.read(surroundings.home, slot)
    if found.present:
        return None
    return f"kimi-code is not signed in, {found.problem or 'there is no file'}: `{found.path}`"


def _plan(
    request: Request,
    route: Route,
    surroundings: Surroundings,
    document: Document,
    credential: Credential,
) -> Plan:
    return Plan(
        route,
        credential,
        request.platform,
        surroundings.home.region_base_url,
        features.thinking_setting(surroundings.version),
        request.move_default,
        tuple(document.aliases_of(OWN).values()),
    )


def _mode(
    snapshot: Snapshot, receipt: Receipt | None, credential: Credential
) -> tuple[int, int | None]:
    """Return the mode to give the config, and the one that this takes away, if any."""
    before = snapshot.mode
    if receipt and receipt.mode_before is not None and snapshot.mode == _private(before):
        before = receipt.mode_before
    if sys.platform == "win32":  # there the folder decides, not the mode
        return before, None
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
    return default in base.served_by(MANAGED)


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
    provider = patched.providers[OWN]
    return Proposal(
        surroundings.home.config,
        client,
        plan.route,
        routes.platform_of(provider),
        plan.credential.name,
        str(provider["base_url"]),
        tuple(".".join(path) for path in patched.own_entries),
        patched.undo.moved,
        redaction.diff(document.text, patched.text, "config.toml"),
        warnings,
    )
