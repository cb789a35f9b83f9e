"""Calls a function as a user who may do nothing, whoever runs the tests."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")

_NOBODY = 65534


def as_nobody(function: Callable[[], _Result]) -> _Result:
    """Return what ``function`` returns in a process without root's rights.

    The process is forked: nobody may not even be able to start this Python.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            os.write(writing, pickle.dumps(function()))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the function did not return: {os.waitstatus_to_exitcode(status)}"
    result: _Result = pickle.loads(content)
    return result


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that everybody can reach; those of pytest are for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="kimifix-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def give_to_nobody(path: Path) -> None:
    """Make nobody the owner, where only root could take the place of somebody else."""
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)
