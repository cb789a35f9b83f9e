"""Processes that are killed, at a given call of the system or at any moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from support.faults import Fault, fault_at

from kimifix.config.storage import Store


def killed_at(number: int, fault: Fault, run: Callable[[], object]) -> bool:
    """Run a function in a child process with a fault that kills; tell whether it was killed.

    The calls that count are those of writing: what is only read, nobody can break. A child
    that gets to its end must have done so without error.
    """
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            with fault_at(number, fault, Store.commit):
                run()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code != 0
