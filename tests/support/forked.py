"""Functions that run in a process of their own, forked: it needs to import nothing anew."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class Forked(Generic[_Result]):
    """A child process that runs a function, as soon as ``gate`` is open where there is one."""

    def __init__(self, function: Callable[[], _Result], gate: Gate | None = None) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:  # pragma: no cover
            status = 1
            try:
                if gate is not None:
                    gate.wait()
                os.write(writing, pickle.dumps(function()))
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        self._reading = reading

    def result(self) -> _Result:
        """Return what the function has returned; its error, if any, is on stderr."""
        with os.fdopen(self._reading, "rb") as stream:
            content = stream.read()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code == 0, f"the function did not return: exit code {code}"
        result: _Result = pickle.loads(content)
        return result


class Gate:
    """Where child processes wait for one another: they go when the parent opens it."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def wait(self) -> None:
        """Wait, in a child, until the gate is open."""
        os.close(self._writing)
        os.read(self._reading, 1)

    def open(self) -> None:
        """Let all children go at once."""
        os.close(self._writing)
        os.close(self._reading)
