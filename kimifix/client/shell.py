"""Git Bash, without which kimi-code ends on Windows as soon as a session begins.

Source of 0.2.0 to 0.38.0; run with 0.10.0, 0.20.0, 0.25.0, 0.38.0 and 2.1.0 on a Node that
says that it runs on Windows.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_USUAL = (r"C:\Program Files\Git", r"C:\Program Files (x86)\Git")


def git_bash(env: Mapping[str, str]) -> Path | None:
    """Return the `bash.exe` that the client takes, None where no file tells; Windows only."""
    if sys.platform != "win32":
        return None
    chosen, local = env.get("KIMI_SHELL_PATH", "").strip(), env.get("LOCALAPPDATA", "").strip()
    roots = [folder.parent for folder in _with_git(env) if folder.name.lower() in ("cmd", "bin")]
    roots += [*map(Path, _USUAL), *([Path(local, "Programs", "Git")] if local else [])]
    places = [Path(chosen)] if chosen else []
    places += [root / below for root in roots for below in ("bin/bash.exe", "usr/bin/bash.exe")]
    return next((place for place in places if os.access(place, os.F_OK)), None)


def is_lacking(env: Mapping[str, str]) -> bool:
    """Tell whether the client finds no Git Bash for sure: it also asks a `git.exe` on PATH."""
    return sys.platform == "win32" and not (git_bash(env) or any(_with_git(env)))


def _with_git(env: Mapping[str, str]) -> Iterator[Path]:
    folders = (Path(part.strip()) for part in env.get("PATH", "").split(";") if part.strip())
    return (folder for folder in folders if os.access(folder / "git.exe", os.F_OK))
