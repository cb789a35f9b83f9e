"""Make all that a release consists of, and print the SHA-256 of each file.

    python release/make.py

`dist/` gets what goes to PyPI, `build/` the zipapp, the Homebrew formula and the Scoop
manifest. Options are handed to `python -m build`, for instance `--no-isolation`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from distributions import build
from homebrew import make_formula
from pyz import make_pyz
from scoop import make_manifest
from wheels import dependencies, sha256

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Make the files."""
    sdist, wheel = build(ROOT, ROOT / "dist", *sys.argv[1:])
    folder = ROOT / "build"
    shutil.rmtree(folder, ignore_errors=True)
    others = dependencies(wheel, folder / "wheels")
    pyz, formula, manifest = (folder / f"kimifix.{kind}" for kind in ("pyz", "rb", "json"))
    make_pyz([wheel, *others], pyz)
    make_formula(sdist, wheel, others, formula)
    make_manifest(wheel, others, manifest)
    for path in (sdist, wheel, pyz, formula, manifest):
        print(f"{sha256(path)}  {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
