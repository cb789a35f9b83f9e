"""The manifest for a Scoop bucket."""

from __future__ import annotations

import json
from pathlib import Path

from wheels import HOMEPAGE, address, metadata, sha256

_SCRIPT = "run-kimifix.py"


def make_manifest(wheel: Path, dependencies: list[Path], out: Path) -> None:
    """Write the manifest that unpacks the wheels side by side and starts kimifix from there.

    Scoop unpacks what is named `.zip`, which a wheel is, and starts a `.py` with `python`.
    """
    about = metadata(wheel)
    wheels = [wheel, *dependencies]
    manifest = {
        "version": about["Version"],
        "description": about["Summary"],
        "homepage": HOMEPAGE,
        "license": about["License-Expression"],
        "depends": "python",
        "url": [f"{address(path)}#/{path.stem}.zip" for path in wheels],
        "hash": [sha256(path) for path in wheels],
        "pre_install": f'Set-Content "$dir\\{_SCRIPT}" "from kimifix.cli import run; run()"',
        "bin": [[_SCRIPT, "kimifix"]],
    }
    out.write_text(json.dumps(manifest, indent=4) + "\n", encoding="utf-8")
