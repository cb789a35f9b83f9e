"""The checks of `doctor`: one function for each thing looked at, facts -> finding.

``CHECKS`` is the table of contents and the order of the report. A check decides and
words, nothing else; what it needs is observed by ``Machine``.
"""

from __future__ import annotations

from collections.abc import Callable

from kimifix.doctor.client import (
    check_client,
    check_environment,
    check_home,
    check_login,
    check_other_copies,
    check_recent_errors,
    check_running,
)
from kimifix.doctor.config import (
    check_config,
    check_config_mode,
    check_default_model,
    check_identity,
    check_managed_headers,
)
from kimifix.doctor.finding import Finding
from kimifix.doctor.patch import check_patch, check_receipt
from kimifix.errors import KimifixError
from kimifix.machine import Machine

Check = Callable[[Machine], Finding]

CHECKS: tuple[Check, ...] = (
    check_client,
    check_other_copies,
    check_running,
    check_home,
    check_config,
    check_config_mode,
    check_login,
    check_environment,
    check_default_model,
    check_managed_headers,
    check_identity,
    check_patch,
    check_receipt,
    check_recent_errors,
)


def name_of(check: Check) -> str:
    """Return the kebab-case name under which a check reports."""
    name = getattr(check, "__name__", "capture")
    return str(name).removeprefix("check_").replace("_", "-")


def run(check: Check, machine: Machine) -> Finding:
    """Return what ``check`` finds; a crash is a finding, too."""
    try:
        return check(machine)
    except KimifixError:
        return Finding(name_of(check), "skipped", "needs a config that can be read")
    except Exception as error:  # one broken check must not hide the others
        return Finding(
            name_of(check),
            "warning",
            f"could not check: {type(error).__name__}",
            "please report this as a bug of kimifix",
        )
