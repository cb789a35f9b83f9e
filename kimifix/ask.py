"""Asking the server, for `doctor --probe` and `apply --route auto`: what to ask, and to whom."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from kimifix import credentials, draft
from kimifix.client import features, identity
from kimifix.config import routes
from kimifix.config.change import Change
from kimifix.config.document import MANAGED, OWN, Document
from kimifix.config.routes import OWN_PLATFORM, Credential, Route
from kimifix.credentials import AskKey, Wanted
from kimifix.draft import Request
from kimifix.errors import KimifixError
from kimifix.machine import Machine
from kimifix.outgoing import Outgoing, describe, is_remade
from kimifix.server import judgement as judging
from kimifix.server.answers import CATALOGUE, Answer, Probe, Surface, Way
from kimifix.server.judgement import Judgement
from kimifix.server.probe import ask, protocols, usage
from kimifix.steps import apply_command, applying, by_itself, signing_in, starting
from kimifix.words import API

# The verdicts behind which more is asked: only there it matters why that was not possible.
_LEADS_ON = (None, "identity", "credential", "overload")


@dataclass(frozen=True)
class Probed:
    """The answers and what they say together; ``next`` is what to type for it.

    ``request`` is the `apply` that leads to what was let in or keeps it, None where that is
    no work of ours. ``notes`` say what else should be known.
    """

    answers: tuple[Answer, ...]
    judgement: Judgement
    next: tuple[str, ...]
    request: Request | None
    notes: tuple[str, ...] = ()


class _Candidate(NamedTuple):
    """Something that could go out, and how to get there."""

    probe: Probe
    out: Outgoing
    command: str = ""
    request: Request | None = None


def probe(
    machine: Machine,
    progress: Callable[[str], None],
    request: Request | None = None,
    ask_key: AskKey = lambda *_: None,
) -> Probed:
    """Ask what goes out now, then what else is open, mildest first, as little as needed.

    ``request`` and ``ask_key`` are those of `apply --route auto`. Raises ``KimifixError``
    where nothing can be asked: a login is never renewed here.
    """
    now = describe(machine)
    if now.obstacle and (request is None or now.obstacle.client_can):
        raise now.obstacle
    notes: list[str] = []
    found = list(_candidates(machine, now, request or Request(), ask_key, notes))
    candidates = {one.probe: one for one in found if not one.out.obstacle}
    if now.obstacle and not candidates:
        raise now.obstacle
    answers, probes = list[Answer](), list(candidates)
    patched = not now.is_of_environment and _is_ours(machine)
    while question := judging.next_probe(answers, probes, patched=patched):
        name = f"as {question.platform}" if question.platform else "without a name"
        progress(f"asking the server {name} ({API[question.surface]})")
        answers.append(_ask(machine, candidates[question]))
    is_old = machine.version is not None and machine.version < features.NEWEST_KNOWN
    own = now.provider == OWN and machine.document.own
    named = routes.platform_of(own or {}) == OWN_PLATFORM
    judged = judging.judge(
        answers, probes, patched=patched, is_old=is_old, renewable=now.renewable, named=named
    )
    lasting = next((one for one in probes if one.way == "anthropic"), None)
    judged = _on_terminal(machine, now, judged, answers, lasting)
    taken = candidates[judged.open or answers[0].probe]
    steps = _next(machine, judged, taken)
    notes = [*judged.notes, *_notes(machine, judged, taken, answers, steps, notes)]
    return Probed(tuple(answers), judged, steps, taken.request, tuple(notes))


def _notes(
    machine: Machine,
    judged: Judgement,
    taken: _Candidate,
    answers: list[Answer],
    steps: tuple[str, ...],
    unasked: list[str],
) -> list[str]:
    """Return what else should be known; ``unasked`` says why no more was asked."""
    if judged.recommendation.startswith("apply") and not steps:
        return [f"first rename the provider `{OWN}`, which kimifix did not write"]
    if judged.verdict == "quota" and len(answers) < judging.MOST_REQUESTS:
        return [*usage(taken.out.base_url, taken.out.secret, _network(machine))]
    if judged.recommendation == "keep" and judged.open:
        return [f"`{taken.command}` takes the milder route"]
    if judged.verdict == "overload" and judged.open and not steps:
        tried = f"{taken.command} --verify" if taken.request else taken.command
        return [*unasked, f"if it stays so, try `{tried}`"]
    matters = judged.recommendation in ("none", "update") and judged.verdict in _LEADS_ON
    notes = unasked if matters else []
    needed = features.oldest_node(features.NEWEST_KNOWN)
    if judged.recommendation == "update" and (node := machine.node) and node < needed:
        return [*notes, f"first update Node to 22.19 or later: here it is {node}"]
    return notes


def _on_terminal(
    machine: Machine, now: Outgoing, judged: Judgement, answers: list[Answer], lasting: Probe | None
) -> Judgement:
    """Return ``judged``, or what is so where kimi-code goes another way on a terminal: ask that.

    ``lasting`` is the route that is the same in both.
    """
    by_list: Surface = "openai" if now.surface == "anthropic" else "anthropic"
    other = _candidate("now", replace(now, surface=by_list))
    there = next((answer for answer in answers if judging.tells(answer, other.probe)), None)
    may_differ = judged.verdict == "identity" or (judged.works and by_list == "openai")
    may_differ = may_differ and (there is None or (there.verdict == "accepted") is not judged.works)
    if not may_differ or len(answers) == judging.MOST_REQUESTS or not _is_relisted(machine, now):
        return judged
    if there is None:
        answers.append(there := _ask(machine, other))
    told = judged.works, there.verdict
    if told == (False, "accepted"):
        # A `protocol` that is listed comes into the config, one that is not may stay there.
        row = "start" if by_list == "anthropic" else "terminal"
        return Judgement("identity", **CATALOGUE["answered"][row], works=None)
    if lasting and told == (True, "identity"):
        return replace(judged, **CATALOGUE["answered"]["print"], open=lasting, works=None)
    return judged


def _is_relisted(machine: Machine, out: Outgoing) -> bool:
    """Tell whether kimi-code goes to the other surface by the server's list of models."""
    owner = "kimi-code" if out.provider == MANAGED else out.provider
    is_named = (out.kind, out.alias) == ("kimi", f"{owner}/{out.model}")
    if not (is_named and is_remade(machine, out.alias)):
        return False
    listed = protocols(out.base_url, out.secret, _network(machine))
    is_other = (listed.get(out.model) == "anthropic") != (out.surface == "anthropic")
    return out.model in listed and is_other


def _is_ours(machine: Machine) -> bool:
    return machine.document.own is not None and not machine.reading.has_foreign_provider


def _candidates(
    machine: Machine, now: Outgoing, request: Request, ask_key: AskKey, notes: list[str]
) -> Iterator[_Candidate]:
    """Yield what can be asked, what goes out now first; ``notes`` gets why it is not more."""
    kept = replace(request, route=None)  # what is applied stays
    yield _candidate("now", now, request=kept if now.provider == OWN else None)
    if now.is_of_environment:
        return
    document, read = machine.document, machine.reading
    try:
        base = read.base.document
    except KimifixError as error:
        notes.append(f"{error.message}: {error.hint}")
        return
    choices = _choices(machine, request, ask_key, notes)
    if _is_ours(machine):
        if now.provider != OWN and document.twins:
            twin = describe(machine, alias=next(iter(document.twins)))
            if read.has_foreign_default:  # which no `apply` moves
                yield _candidate("again", twin, machine.kimi("-m", twin.alias))
            else:
                option = next(iter(choices.values()), None)  # None keeps what our provider has
                words = ("--credential", option) if option else ()
                wanted = replace(kept, credential=option or kept.credential)
                yield _candidate("again", twin, applying(machine, *words), wanted)
        yield _candidate("revert", describe(machine, base), machine.kimifix("revert"))
    ways: tuple[Route, ...] = ("header",) if request.services else ("anthropic", "header")
    for way in ways:
        for credential, option in choices.items():
            wanted = replace(request, route=way, credential=option)
            if way == "header":
                wanted = replace(wanted, platform=request.platform or draft.DEFAULT_PLATFORM)
            plan = draft.plan_of(wanted, machine, read, credential)
            out = describe(machine, *_changed(read.ground, routes.change(read.ground, plan)))
            command = apply_command(machine, way, credential, out.platform)
            yield _candidate(way, out, command, wanted)


def _candidate(
    way: Way, out: Outgoing, command: str = "", request: Request | None = None
) -> _Candidate:
    probe = Probe(out.surface, out.platform, out.credential or "login", way)
    return _Candidate(probe, out, command, request)


def _choices(
    machine: Machine, request: Request, ask_key: AskKey, notes: list[str]
) -> dict[Credential, Wanted | None]:
    """Return what our provider could be given, each with the option that says so.

    First comes what `apply` would take, then, unless it was asked for, the other kind.
    """
    available = draft.available(request, machine, machine.reading, ask_key)
    if not _is_ours(machine):
        available = available._replace(own=None)
    found: dict[Credential, Wanted | None] = {}
    problem = ""
    asked = request.credential or request.key or request.key_variable
    for option in (request.credential,) if asked else (None, "login", "key"):
        ask = ask_key if asked else lambda *_: None
        try:
            found.setdefault(credentials.choose(option, available._replace(ask=ask))[0], option)
        except KimifixError as error:
            if asked:
                raise
            problem = problem or f"{error.message}: {error.hint}"
    if problem and not found:
        notes.append(problem)
    return found


def _changed(base: Document, change: Change) -> tuple[Document, str]:
    """Return ``base`` with ``change`` made to its data, and the alias that is asked then."""
    data = {**base.data}
    for (section, name), table in change.tables.items():
        data[section] = {**data.get(section, {}), name: table}
    twins = [name for section, name in change.tables if section == "models"]
    default = change.values.get(("default_model",))
    return Document(data), str(default) if default in twins else twins[0]


def _ask(machine: Machine, candidate: _Candidate) -> Answer:
    out = candidate.out
    headers = identity.request_headers(
        out.surface,
        out.own_platform,
        version=str(machine.version or features.NEWEST_KNOWN),
        home=machine.home.path,
        computer=identity.this_computer(),
        lowest=out.lowest,
        custom=out.custom,
    )
    return ask(
        candidate.probe,
        base_url=out.base_url,
        model=out.model,
        headers=headers,
        credential=out.secret,
        env=_network(machine),
    )


def _network(machine: Machine) -> Mapping[str, str]:
    """Return the environment, without a proxy for a client that takes none."""
    if machine.version and not features.has("proxies", machine.version):
        return {**machine.env, "NO_PROXY": "*", "no_proxy": "*"}
    return machine.env


def _next(machine: Machine, judged: Judgement, taken: _Candidate) -> tuple[str, ...]:
    out, steps = taken.out, tuple[str, ...]()
    if judged.recommendation == "revert":
        steps = (machine.kimifix("revert"),)
    elif judged.recommendation == "update":
        steps = (machine.kimi("upgrade"),)
    elif judged.recommendation == "start":
        steps = starting(machine)
    elif judged.recommendation.startswith("apply") and not machine.reading.has_foreign_provider:
        steps = (taken.command,)
        if taken.request and machine.reading.has_foreign_default:
            steps += (machine.kimi("-m", out.alias),)
    elif judged.works is None and judged.verdict != "identity":
        steps = (by_itself(machine),)
    elif out.provider == OWN and judged.verdict == "model":
        is_stale = out.alias in routes.drift(machine.document).stale  # there is another by now
        steps = (machine.kimifix("apply"),) if is_stale else ()
    elif (judged.verdict, out.credential, out.surface) == ("credential", "login", "openai"):
        steps = signing_in(machine, out.provider)  # the other surface may take no login at all
    return steps
