"""Faults of the operating system: any one of its calls fails, is interrupted or ends the process.

The calls are found, not listed by hand: a run without a fault counts them, and each
further run meets its fault one call later.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kimifix.config import files

CALLS = (
    *("open", "close", "read", "write", "fsync", "ftruncate", "fstat", "fchmod", "fchown"),
    *("replace", "rename", "unlink", "mkdir", "stat", "lstat", "readlink", "scandir"),
    *("listxattr", "getxattr", "setxattr", "removexattr"),
)
# The renames that Python knows nothing of go through a function of our own.
PLACES = [*((os, name) for name in CALLS if hasattr(os, name)), (files, "rename")]

Fault = Callable[[str, Callable[[], Any]], Any]


class Watch:
    """The calls that were made, by name, while a fault was lying in wait."""

    def __init__(self) -> None:
        self.calls: list[str] = []


@contextmanager
def fault_at(
    number: int, fault: Fault, inside: Callable[..., Any] | None = None
) -> Iterator[Watch]:
    """Have ``fault`` take the place of the call with this number, counted from 0.

    With ``inside`` only calls that are made on behalf of this function count.
    """
    watch = Watch()
    real = [getattr(module, name) for module, name in PLACES]

    def replaced(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if inside is not None and not _is_running(inside):
                return function(*arguments, **options)
            watch.calls.append(name)
            if len(watch.calls) - 1 == number:
                return fault(name, lambda: function(*arguments, **options))
            return function(*arguments, **options)

        return call

    for (module, name), function in zip(PLACES, real, strict=True):
        setattr(module, name, replaced(name, function))
    try:
        yield watch
    finally:
        for (module, name), function in zip(PLACES, real, strict=True):
            setattr(module, name, function)


def _is_running(function: Callable[..., Any]) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is function.__code__:
            return True
        frame = frame.f_back
    return False


def no_fault(_: str, call: Callable[[], Any]) -> Any:
    """Go on as if nothing were."""
    return call()


def failure(number: int) -> Fault:
    """Fail with this error number; a file that cannot be closed is closed all the same."""

    def fault(name: str, call: Callable[[], Any]) -> Any:
        if name == "close":
            call()
        raise OSError(number, os.strerror(number))

    return fault


def interrupted_before(_: str, call: Callable[[], Any]) -> Any:
    """Ctrl-C just before the call."""
    signal.raise_signal(signal.SIGINT)
    return call()


def interrupted_after(name: str, call: Callable[[], Any]) -> Any:
    """Ctrl-C just after the call: it took effect, and nobody learns its result."""
    result = call()
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        if name == "scandir":
            result.close()
        raise
    return result


def killed_before(_: str, call: Callable[[], Any]) -> Any:
    """The end of the process just before the call."""
    os.kill(os.getpid(), signal.SIGKILL)
    return call()


def killed_after(_: str, call: Callable[[], Any]) -> Any:
    """The end of the process just after the call."""
    try:
        return call()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
