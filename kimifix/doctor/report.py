"""What `doctor --report` hands over: Markdown for who knows nothing of this machine, pure.

Nothing is masked here, for nothing gets in but by `allowed.toml`, beside this module. So no
name, path, host or key is in it, whoever wrote it where.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kimifix.config.document import Document
from kimifix.doctor.finding import Finding, Verdict
from kimifix.reader import tables
from kimifix.server.answers import REQUEST_ID, known_words

_RULES = tables("doctor/allowed.toml")
_ALLOWED = {name: rule for names, rule in _RULES.items() for name in names.split()}
_ALLOWED["request_id"] = REQUEST_ID.pattern
_HIDDEN = "(not shown)"
_WORKS = {True: "works", False: "does not work", None: "may work"}
_REQUESTS = "time request_id surface platform credential for http type verdict says problem"
_SENT = "provider mode method asked platform agent credential refused failed"
_SETTINGS = ("default_thinking", "thinking", "secondary_model", "services")


def markdown(
    options: Iterable[str],
    system: Mapping[str, Any],
    findings: Mapping[str, Finding],
    sentences: Mapping[str, str],
    verdict: Verdict,
    config: Document | None,
) -> str:
    """Return the report of a run of `doctor` with ``options``.

    ``sentences`` say what each check looks for; ``config`` is None where it cannot be read.
    """
    asked = findings["probe"].data.get("answers", ())
    sent = findings["capture"].data.get("captured", ())
    # What is advised for answers is in our words, for anything else it may name a file.
    advice = verdict.advice if verdict.recommendation else "ask the server, with `--probe`"
    client, patch, receipt = (findings[name].data for name in ("client", "patch", "receipt"))
    parts: dict[str, Iterable[str]] = {
        "# kimi-code, as kimifix found it": [
            f"kimi-code {_WORKS[verdict.works]}: {_reason(findings, asked)}. "
            f"The advice of kimifix: {advice}.",
            "",
            f"This is what `{' '.join(['kimifix doctor --report', *options])}` found at "
            f"{_told('time', system['time'])}. {_HIDDEN} stands for what may be private.",
        ],
        "## Versions": [
            f"- kimi-code: {_pairs(client)}",
            f"- Node: {_told('node', sent[0]['node']) if sent else 'only `--capture` tells'}",
            f"- kimifix and the system: {_pairs(system)}",
        ],
        "## What is configured": _configured(config),
        "## What was tried": [
            f"- the fix in the config: {_pairs(patch)}",
            f"- when, by which kimifix, for which kimi-code (`client`): {_pairs(receipt)}",
            "- other ways: see `for` in the next table",
        ],
        "## What the server was asked, and what came back": [
            "`platform` is what it was told of the client (`X-Msh-Platform`). `for` is what that "
            "stands for: `now` what is configured, `again` what kimifix had written, `revert` the "
            "config without it, `anthropic` and `header` the two routes of kimifix.",
            "",
            *_table(_REQUESTS, [{**one, "says": known_words(one["message"])} for one in asked]),
        ],
        "## What kimi-code sent to a recorder on this machine": _table(_SENT, map(_recorded, sent)),
        "## Errors in the logs of kimi-code": _table(
            "time status verdict says times", _kinds(findings["recent-errors"].data)
        ),
        "## All checks": [
            *("| status | check | should be so | tells |", "|---|---|---|---|"),
            *(
                f"| {found.status} | {name} | {sentences.get(name, 'see above')} "
                f"| {_pairs(found.data)} |"
                for name, found in findings.items()
            ),
        ],
    }
    return "\n\n".join(line for head, lines in parts.items() for line in (head, "\n".join(lines)))


def _reason(findings: Mapping[str, Finding], asked: Iterable[Mapping[str, Any]]) -> str:
    """Return why kimi-code works or not, in words that are ours."""
    if findings["verify"].status == "ok":
        return "it got an answer just now"
    meanings = [str(one["meaning"]) for one in asked if one["for"] == "now"]
    failed = [f"see the check `{n}`" for n, found in findings.items() if found.status == "error"]
    return next(iter([*meanings, *failed, "no check says that it cannot"]))


def _configured(config: Document | None) -> Iterator[str]:
    if config is None:
        yield "The config cannot be read."
        return
    default = config.data.get("default_model")
    served = config.provider_of(default) if default in config.models else None
    yield f"- the default model is served by: {_told('provider', served)}"
    for name, entry in config.providers.items():
        yield f"- provider {_told('provider', name)}: {_told('oauth', entry)}"
        models = config.served_by(name).values()
        kinds = dict.fromkeys(_pairs(model) for model in models)
        yield "; ".join([f"  - models: {len(models)}", *kinds])
    yield from (f"- {name}: {_told(name, config.data.get(name))}" for name in _SETTINGS)


def _recorded(one: Mapping[str, Any]) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in one["identity"]}
    names = {"platform": "x-msh-platform", "agent": "user-agent"}
    told = {name: headers.get(header) for name, header in names.items()}
    return {**one, **told, "asked": one["path"], "failed": one["problem"] is not None}


def _kinds(data: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Return the errors that mean the same as one, with the time of the last."""
    kinds: dict[object, dict[str, Any]] = {}
    for error in data.get("errors", ()):
        says = known_words(error["message"])
        kind = kinds.setdefault((error["status"], says), {**error, "says": says, "times": 0})
        kind["times"] += error["times"]
    return kinds.values()


def _table(columns: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    names = columns.split()
    lines = [f"| {' | '.join(_told(name, row[name]) for name in names)} |" for row in rows]
    head = [f"| {' | '.join(names)} |", f"{'|---' * len(names)}|"]
    return [*head, *lines] if lines else ["Nothing (see the checks below)."]


def _pairs(data: Mapping[str, Any]) -> str:
    """Return what may be told of ``data``."""
    return ", ".join(f"{name} = {_told(name, data[name])}" for name in data if name in _ALLOWED)


def _told(name: str, value: object) -> str:
    """Return ``value`` where that may be the value of ``name``, else that there is one."""
    if value is None or value in ("", [], ()):
        return "none"
    if isinstance(value, Mapping):
        more = sum(key not in _ALLOWED for key in value)
        return f"{{{_pairs(value)}{f' and {more} more' if more else ''}}}"
    if isinstance(value, list | tuple):
        told = dict.fromkeys(_told(name, one) for one in value)
        return ", ".join(told) if _ALLOWED[name] or "{" in "".join(told) else str(len(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_word = isinstance(value, str) or (isinstance(value, int) and value.bit_length() < 64)
    fits = is_word and re.fullmatch(_ALLOWED[name], str(value), re.VERBOSE)
    return str(value) if fits else _HIDDEN
