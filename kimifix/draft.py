"""What `apply` would write: one reading of the config, turned into a proved change."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import kimifix
from kimifix import credentials
from kimifix.client import features, login
from kimifix.client.installs import Install
from kimifix.config import reading, redaction, routes
from kimifix.config.change import Moved
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.config.patch import Patched, patch, same
from kimifix.config.reading import Reading, private
from kimifix.config.receipt import Receipt, digest
from kimifix.config.routes import ApiKey, Credential, Plan, Route
from kimifix.consent import Draft
from kimifix.credentials import AskKey, Wanted
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.secret import Secret

DEFAULT_PLATFORM = "kimi_cli"

POLICY_NOTICE = (
    "the vendor's Community Guidelines forbid altering client identity information, and this "
    "route makes kimi-code send `X-Msh-Platform: {platform}` instead of `kimi_code_cli`. "
    "Accounts were suspended for a forged identity in May 2026, and restored days later. "
    "The documented route alters nothing: kimifix apply --route anthropic"
)


@dataclass(frozen=True)
class Request:
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
    verify: bool = False


@dataclass(frozen=True)
class Proposal:
    """The change as the user gets to see it before it is written; no field holds a secret."""

    config: Path
    client: Install | None
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
    def wording(self) -> object:
        """What the user agrees to, apart from where in the file it lands."""
        changed = [line for line in self.diff.splitlines() if not line.startswith("@@")]
        return (self.route, self.platform, self.credential, self.warnings, changed)


def draft(request: Request, machine: Machine, ask_key: AskKey) -> Draft[Proposal]:
    """Read the config and return the change that ``request`` makes of it; writes nothing.

    ``ask_key`` gets an API key from the user, or None. Raises ``KimifixError`` for every
    reason not to make the change.
    """
    read = reading.read(machine.home.config)
    before = read.document
    if read.has_foreign_provider:
        raise KimifixError(
            f"the config has a provider named `{OWN}` that kimifix did not write",
            "rename or remove it, then run kimifix again",
        )
    base = read.base
    choice = credentials.choose(
        request.credential, _available(request, machine, read, base.document, ask_key)
    )
    plan = _plan(request, machine, before, choice.credential)
    patched = patch(base.document, routes.change(base.document, plan))
    document: Document = patched
    if before.own_entries and same(patched.data, before.data):
        document = before
    mode, mode_before = base.mode, None
    if sys.platform != "win32" and isinstance(choice.credential, ApiKey):
        # On Windows the folder decides, not the mode.
        mode = private(base.mode)
        mode_before = base.mode if mode != base.mode else None
    receipt = Receipt(
        config=str(read.snapshot.real),
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        kimifix=kimifix.__version__,
        client=str(machine.version) if machine.version else None,
        route=plan.route,
        credential=choice.credential.name,
        before=None if base.content is None else digest(base.content),
        after=digest(document.content),
        mode_before=mode_before,
        undo=patched.undo,
    )
    warnings = (
        *machine.warnings,
        *choice.warnings,
        *read.warnings,
        *_warnings(request, base.document, plan, mode_before),
    )
    proposal = _proposal(machine, before, patched, plan, warnings)
    return Draft(read, document, document.content, mode, receipt, proposal)


def _available(
    request: Request,
    machine: Machine,
    read: Reading,
    base: Document,
    ask_key: AskKey,
) -> credentials.Available:
    in_env = machine.env.get("KIMIFIX_API_KEY")
    own_key = (read.document.own or {}).get("api_key")
    return credentials.Available(
        machine.version,
        _no_login(machine, read, base),
        ask=ask_key,
        key=request.key,
        key_in_env=Secret(in_env) if in_env else None,
        own_key=Secret(own_key) if own_key else None,
        key_variable=request.key_variable,
    )


def _no_login(machine: Machine, read: Reading, base: Document) -> str | None:
    """Return why there is no login that an own provider could share, None where there is one."""
    config = machine.home.config
    if read.snapshot.content is None:
        return f"kimi-code has no config yet: `{config}`"
    # An own provider takes the slot from the copied table, not as the managed one does.
    slot = login.slot_of(base.managed, machine.env, managed=False)
    if slot is None:
        return f"the config has no managed provider with a login: `{config}`"
    if machine.is_sandbox:
        return None
    found = login.read(machine.home, slot)
    if found.present:
        return None
    return f"kimi-code is not signed in, {found.problem or 'there is no file'}: `{found.path}`"


def _plan(request: Request, machine: Machine, before: Document, credential: Credential) -> Plan:
    return Plan(
        "anthropic" if request.route == "anthropic" else "header",
        credential,
        request.platform,
        machine.home.region_base_url,
        features.thinking_setting(machine.version),
        request.move_default,
        tuple(before.aliases_of(OWN).values()),
    )


def _warnings(request: Request, base: Document, plan: Plan, mode_before: int | None) -> list[str]:
    found = []
    if request.verify:
        found.append("--verify lets kimi-code answer one short prompt, which your plan counts")
    if plan.route == "anthropic" and plan.credential.name == "login":
        found.append(
            "whether the server takes a login on the Anthropic-compatible surface is not known: "
            "`kimifix doctor --probe` tells"
        )
    if mode_before is not None:
        found.append("the config will hold an API key: others lose their right to read it")
    default = base.data.get("default_model")
    moves = request.move_default and isinstance(default, str)
    if moves and default not in base.served_by(MANAGED):
        found.append(f"`default_model` names another provider's `{default}` and stays")
    return found


def _proposal(
    machine: Machine,
    before: Document,
    patched: Patched,
    plan: Plan,
    warnings: tuple[str, ...],
) -> Proposal:
    provider = patched.providers[OWN]
    return Proposal(
        machine.home.config,
        machine.install,
        plan.route,
        routes.platform_of(provider),
        plan.credential.name,
        str(provider["base_url"]),
        tuple(".".join(path) for path in patched.own_entries),
        patched.undo.moved,
        redaction.diff(before.text, patched.text, "config.toml"),
        warnings,
    )
