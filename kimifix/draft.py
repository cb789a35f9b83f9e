"""What `apply` would write: one reading of the config, turned into a proved change."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import kimifix
from kimifix import credentials
from kimifix.client import features, login
from kimifix.client.installs import Install
from kimifix.config import reading, redaction, routes
from kimifix.config.change import Change, KeyPath, Moved
from kimifix.config.document import MANAGED, OWN, Document, same
from kimifix.config.patch import moved_in, patch
from kimifix.config.reading import Reading, private
from kimifix.config.receipt import Receipt, digest, fingerprint
from kimifix.config.routes import LOGIN, Credential, Plan, Route
from kimifix.consent import Draft
from kimifix.credentials import AskKey, Wanted
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.outgoing import document_read, server_warnings
from kimifix.secret import Secret

DEFAULT_PLATFORM = "kimi_cli"

POLICY_NOTICE = (
    "the vendor's Community Guidelines forbid altering client identity information, and this "
    "route makes kimi-code send `X-Msh-Platform: {platform}` instead of `kimi_code_cli`. "
    "Accounts were suspended for a forged identity in May 2026, and restored days later. "
    "The documented route alters nothing: pass `--route anthropic`"
)

_CLOSED = "the config will hold an API key: others lose their right to read it"


@dataclass(frozen=True)
class Request:
    """What the user asked for; ``key`` is what came by --key-stdin.

    None is what was not asked for: as it is where something is applied, else the default.
    ``reason`` is why the server has just let in what is asked for, None where it was not asked.
    """

    home: Path | None = None
    route: Literal["header", "anthropic", "auto"] | None = None
    credential: Wanted | None = None
    key: Secret | None = None
    key_variable: str | None = None
    platform: str | None = None
    move_default: bool | None = None
    services: bool | None = None
    dry_run: bool = False
    sandbox: bool = False
    verify: bool = False
    reason: str | None = None


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
    reason: str | None = None

    @property
    def notice(self) -> str | None:
        """The policy notice, None where the client's identity stays as it is."""
        honest = self.platform in (None, routes.OWN_PLATFORM)
        return None if honest else POLICY_NOTICE.format(platform=self.platform)

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
    document_read(machine, before)  # raises where kimi-code could read nothing of what is written
    if read.has_foreign_provider:
        raise KimifixError(
            f"the config has a provider named `{OWN}` that kimifix did not write",
            "rename or remove it, then run kimifix again",
        )
    base, ground = read.base, read.ground
    if request.services and _route(request, read) == "anthropic":
        raise KimifixError(
            "--services goes with the header route alone",
            "the Anthropic route alters no name: leave --services out",
        )
    choice = credentials.choose(request.credential, available(request, machine, read, ask_key))
    plan = plan_of(request, machine, read, choice.credential)
    change = routes.change(ground, plan)
    patched = patch(ground, routes.with_additions(change, before, read.edited))
    document: Document = patched
    if before.own_entries and same(patched.data, before.data):
        document = before
    # On Windows the folder decides, not the mode.
    is_secret = sys.platform != "win32" and choice.credential.name == "key"
    mode = private(base.mode) if is_secret else base.mode
    is_managed = bool(ground.served_by(MANAGED))
    receipt = Receipt(
        config=str(read.snapshot.real),
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        kimifix=kimifix.__version__,
        client=str(machine.version) if machine.version else None,
        route=plan.route,
        credential=choice.credential.name,
        before=None if base.content is None else digest(base.content),
        after=digest(document.content),
        mode_before=base.mode if mode != base.mode else None,
        undo=patched.undo,
        wrote=tuple(
            fingerprint(path, table)
            for path, table in change.tables.items()
            # Where nothing is managed, a twin that somebody has edited is the model itself.
            if is_managed or path not in read.edited
        ),
        exact=base.exact,
    )
    provider = patched.providers[OWN]
    proposal = Proposal(
        machine.home.config,
        machine.install,
        plan.route,
        routes.platform_of(provider),
        choice.credential.name,
        provider["base_url"],
        tuple(".".join(path) for path in change.tables),
        patched.undo.moved,
        redaction.diff(before.text, patched.text, "config.toml"),
        (
            *machine.warnings,
            *choice.warnings,
            *read.warnings,
            *_warnings(request, machine, read, plan, change),
            *([_CLOSED] if mode != base.mode else []),
            *read.losses(document),
        ),
        request.reason,
    )
    return Draft(read, document, document.content, mode, receipt, proposal)


def available(
    request: Request, machine: Machine, read: Reading, ask_key: AskKey
) -> credentials.Available:
    """Return what the credential can be chosen from."""
    in_env = machine.env.get("KIMIFIX_API_KEY")
    return credentials.Available(
        machine.version,
        _no_login(machine, read),
        ask=ask_key,
        key=request.key,
        key_in_env=Secret(in_env) if in_env else None,
        own=routes.credential_of(read.document),
        key_variable=request.key_variable,
    )


def _no_login(machine: Machine, read: Reading) -> str | None:
    """Return why there is no login that an own provider could share, None where there is one."""
    config, managed = machine.home.config, read.document.managed
    if read.snapshot.content is None:
        return f"kimi-code has no config yet: `{config}`"
    # An own provider takes the slot from the copied table, and the client sends what is in it
    # wherever the provider says. For its own provider it takes the slot of the server alone.
    slot = login.slot_of(managed, machine.env, managed=False)
    if slot is None:
        return f"the config has no managed provider with a login: `{config}`"
    if not login.is_shareable(managed, machine.env):
        url = managed.get("base_url")
        led = "or KIMI_CODE_BASE_URL or KIMI_CODE_OAUTH_HOST leads to another"
        return f"the login `{slot}` is not the one of `{url}`, {led}"
    found = login.read(machine.home, slot)
    if machine.is_sandbox or found.present:
        return None
    return f"kimi-code is not signed in, {found.problem or 'there is no file'}: `{found.path}`"


def plan_of(request: Request, machine: Machine, read: Reading, credential: Credential) -> Plan:
    """Return the plan that ``request`` makes for ``read`` with ``credential``."""
    present, route = read.document, _route(request, read)
    platform = request.platform or routes.platform_of(present.own or {}) or DEFAULT_PLATFORM
    return Plan(
        route,
        credential,
        platform,
        routes.base_url_of(present, credential) or machine.home.region_base_url,
        features.thinking_setting(machine.engine),
        _moving(request.move_default, read),
        route != "anthropic" and _names_services(request.services, read),
        _whole_identity(machine) if platform == routes.OWN_PLATFORM else {},
        present,
    )


def _route(request: Request, read: Reading) -> Route:
    """Return the route that is asked for, else the one that was applied, else `header`."""
    applied = routes.route_of(read.document) or (read.receipt.route if read.receipt else None)
    return "anthropic" if (request.route or applied) == "anthropic" else "header"


def _whole_identity(machine: Machine) -> dict[str, str]:
    """Return what the client says of itself, which it leaves out for editors, by ACP."""
    if machine.version is None:
        return {}
    from kimifix.client import identity

    version, home = str(machine.version), machine.home.path
    computer = identity.this_computer()
    headers = identity.identity_headers(routes.OWN_PLATFORM, version, home, computer)
    return {
        name: value for name, value in headers.items() if value.isascii() and value.isprintable()
    }


def _names_services(wanted: bool | None, read: Reading) -> bool:
    """Tell whether search and fetch shall name the platform: as they did, if nothing is wanted."""
    undo = read.receipt.undo if read.receipt else None
    moved = {was.path for was in moved_in(read.document, undo)}
    return (
        not moved.isdisjoint(routes.service_platforms(read.document)) if wanted is None else wanted
    )


def _moving(wanted: bool | None, read: Reading) -> Collection[KeyPath] | None:
    """Return the settings that shall name ours afterwards, None for all that can."""
    if not read.document.own_entries:
        return () if wanted is False else None
    restored = [path for path in read.undone.restored if path[0] in read.document.data]
    ours = {place for path in restored for place in (path, path[:-1])}
    return None if wanted or (wanted is None and not read.keeps_default) else ours


def _warnings(
    request: Request, machine: Machine, read: Reading, plan: Plan, change: Change
) -> Iterator[str]:
    """Yield what the user should know about the change itself."""
    if request.verify:
        yield "--verify lets kimi-code answer one short prompt, which your plan counts"
    for url in dict.fromkeys(table.get("base_url", "") for table in change.tables.values()):
        yield from server_warnings(url)
    if request.services and not routes.service_platforms(read.ground):
        yield "the config has neither web search nor fetch, so --services changes nothing"
    if plan.route == "anthropic":
        if request.platform:
            yield "the Anthropic route sends no platform, whatever --platform says"
        known = request.reason or routes.route_of(read.document) == "anthropic"
        if plan.credential == LOGIN and not known:
            yield (
                "whether the server takes a login on the Anthropic-compatible API is not known: "
                f"`{machine.kimifix('doctor', '--probe')}` tells"
            )
    if read.has_foreign_default and plan.moving is None:
        yield f"`default_model` names another provider's `{read.ground.default}` and stays"
