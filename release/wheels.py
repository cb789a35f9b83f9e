"""The wheels of a release: ours, those it depends on, and where PyPI keeps a file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

HOMEPAGE = "https://pypi.org/project/kimifix/"


def dependencies(wheel: Path, folder: Path) -> list[Path]:
    """Download the wheels that ``wheel`` needs besides itself; they run on every system."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    subprocess.run([*pip, "--dest", folder, wheel], check=True)
    wheels = sorted(path for path in folder.glob("*.whl") if path.name != wheel.name)
    if bound := [path.name for path in wheels if not path.name.endswith("-none-any.whl")]:
        raise SystemExit(f"error: made for one system only: {', '.join(bound)}")
    return wheels


def metadata(wheel: Path) -> Message:
    """Return the core metadata of a wheel; it can be asked like a mapping."""
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def address(path: Path) -> str:
    """Return the URL under which PyPI serves a file: its path is the BLAKE2b-256 of the bytes."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
    parts = f"{digest[:2]}/{digest[2:4]}/{digest[4:]}"
    return f"https://files.pythonhosted.org/packages/{parts}/{path.name}"
