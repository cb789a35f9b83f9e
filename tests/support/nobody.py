"""Calls a function as a user who may do nothing, whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from support.forked import Forked

_Result = TypeVar("_Result")

_NOBODY = 65534


def as_nobody(function: Callable[[], _Result]) -> _Result:
    """Return what ``function`` returns in a process without root's rights.

    The process is forked: nobody may not even be able to start this Python.
    """

    def without_rights() -> _Result:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        return function()

    return Forked(without_rights).result()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that everybody can reach; those of pytest are for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="kimifix-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        for inside in folder.iterdir():  # a test may have locked it
            if inside.is_dir():
                inside.chmod(0o700)
        shutil.rmtree(folder)


def give_to_nobody(path: Path) -> None:
    """Make nobody the owner, where only root could take the place of somebody else."""
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)
