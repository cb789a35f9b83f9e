"""What a check has found, and what all of them come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "info", "warning", "error", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: ``message`` says what is, ``hint`` what to do, if anything.

    ``data`` holds the same in a form for programs; no field holds a secret. The name of
    the check is not in it: the report goes by names.
    """

    status: Status
    message: str
    hint: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Whether kimi-code works now, and what to do: the one answer of the whole report.

    ``works`` is None where nothing was asked that could tell. ``sentence`` says what is
    true, ``advice`` what to do about it, if anything. ``next`` are commands, the first to
    be typed first, each as it is; ``notes`` is prose. ``recommendation`` is one word for
    programs, None where the server was not asked.
    """

    works: bool | None
    sentence: str
    advice: str | None = None
    next: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    recommendation: str | None = None
