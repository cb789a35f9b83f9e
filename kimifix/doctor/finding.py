"""What a check has found."""

from __future__ import annotations

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
