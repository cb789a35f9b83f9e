"""The zipapp: one file that runs wherever Python 3.11 or later is, and needs no installation."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_MAIN = """\
import sys
if sys.version_info < (3, 11):
    sys.exit("error: kimifix needs Python 3.11 or later, and this is " + sys.version.split()[0])
from kimifix.cli import run
run()
"""


def make_pyz(wheels: list[Path], out: Path) -> None:
    """Write a zipapp of what is in ``wheels``; the same wheels give the same bytes."""
    files = {"__main__.py": _MAIN.encode()}
    for wheel in wheels:
        with ZipFile(wheel) as archive:
            files |= {name: archive.read(name) for name in archive.namelist()}
    with out.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with ZipFile(file, "w") as archive:
            for name in sorted(files):
                archive.writestr(ZipInfo(name), files[name], ZIP_DEFLATED)
    out.chmod(0o755)
