"""What a shell starts by a name, and what of it keeps kimi-code from starting.

Without Git Bash it ends on Windows as soon as a session begins (source of 0.2.0 to 0.38.0; run
with 0.10.0, 0.20.0, 0.25.0, 0.38.0 and 2.1.0 on a Node that says that it runs on Windows).
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_PRELOADED = re.compile(
    r"(?:^|\s)(?:-r|--require|--import|--(?:experimental-)?loader)(?:=|\s+)"
    r"(?:\"((?:\\.|[^\"\\])*)\"|([^\s\"]+))"
)
_USUAL = (r"C:\Program Files\Git", r"C:\Program Files (x86)\Git")


def folders(env: Mapping[str, str]) -> list[Path]:
    """Return the folders of PATH, each once, in its order."""
    text = env.get("PATH", "")
    if sys.platform == "win32":
        parts = [part for quoted in text.split(";") if (part := quoted.strip(' "'))]
    else:
        parts = text.split(":") if text else []  # an empty part is the working directory
    return [*dict.fromkeys(map(Path, parts))]


def names(program: str, env: Mapping[str, str]) -> list[str]:
    """Return the names of the files that start ``program``, the first first."""
    if sys.platform != "win32":
        return [program]
    endings = (env.get("PATHEXT") or ".com;.exe;.bat;.cmd").lower().split(";")
    return [f"{program}{ending.strip()}" for ending in dict.fromkeys(endings) if ending]


def found(program: str, env: Mapping[str, str]) -> Path | None:
    """Return what a shell starts by the name ``program``, None where that is nothing."""
    places = (folder / name for folder in folders(env) for name in names(program, env))
    return next((place for place in places if is_program(place)), None)


def is_program(place: Path) -> bool:
    """Tell whether a shell would start what lies there; on Windows its name decides."""
    return os.access(place, os.X_OK) and place.is_file()


def lost_preload(env: Mapping[str, str]) -> str | None:
    """Return the file that Node shall load first and that is not there, None for none.

    Then it starts nothing (run: Node 24). Editors set NODE_OPTIONS so in their terminals.
    """
    for match in _PRELOADED.finditer(env.get("NODE_OPTIONS", "")):
        name = re.sub(r"\\(.)", r"\1", match[1]) if match[1] else match[2]
        names = (f"{name}{ending}" for ending in ("", ".js", ".json", ".node"))
        if Path(name).is_absolute() and not any(map(os.path.exists, names)):
            return name
    return None


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
    return (folder for folder in folders(env) if os.access(folder / "git.exe", os.F_OK))
