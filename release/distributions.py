"""The sdist and the wheel, built twice to show that the same source gives the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def build(root: Path, out: Path, *options: str) -> tuple[Path, Path]:
    """Build sdist and wheel of ``root`` into the empty folder ``out``, and return their paths.

    The second build takes the first sdist, in another folder and with another umask. Where
    one byte differs the program ends. ``options`` are for ``python -m build``. POSIX only.
    """
    shutil.rmtree(out, ignore_errors=True)
    env = {**os.environ, **_time_of_commit(root)}
    first = _build(root, out, env, options, umask=0o022)
    with TemporaryDirectory() as folder:
        shutil.unpack_archive(first[0], folder)
        (source,) = Path(folder).iterdir()
        second = _build(source, source / "dist", env, options, umask=0o077)
        for one, other in zip(first, second, strict=True):
            if one.name != other.name or one.read_bytes() != other.read_bytes():
                raise SystemExit(f"error: two builds differ: {one.name}, {other.name}")
    return first


def _time_of_commit(root: Path) -> dict[str, str]:
    """Return the date that the files in the archives bear; hatchling has one of its own."""
    if not (root / ".git").exists():
        return {}
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return {"SOURCE_DATE_EPOCH": done.stdout.strip()}


def _build(
    root: Path, out: Path, env: dict[str, str], options: tuple[str, ...], *, umask: int
) -> tuple[Path, Path]:
    command = [sys.executable, "-m", "build", "--quiet", "--outdir", str(out), *options, str(root)]
    subprocess.run(command, check=True, env=env, umask=umask)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel
