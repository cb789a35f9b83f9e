"""The copies of kimi-code on this machine: path, version, origin, and which one a shell starts.

Nothing is started here: the version comes from the files beside the program.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kimifix.client import programs
from kimifix.client.features import Version, parse_version
from kimifix.client.home import Home, user_home
from kimifix.client.programs import Kind
from kimifix.errors import KimifixError

_EXTENSION = "moonshot-ai.kimi-code-"
_NO_VERSION = Version((0, 0, 0))
_EDITORS = (
    ".vscode",
    ".vscode-server",
    ".vscode-insiders",
    ".vscode-server-insiders",
    ".vscode-oss",
    ".cursor",
    ".cursor-server",
    ".windsurf",
    ".windsurf-server",
    ".trae",
    ".trae-cn",
)

# Where installers put a `kimi` without making sure that it is on PATH, below the user's home.
_USUAL = (
    ".local/bin",
    ".npm-global/bin",
    ".bun/bin",
    ".local/share/pnpm/bin",
    ".local/share/pnpm",
    "Library/pnpm/bin",
    "Library/pnpm",
    ".yarn/bin",
    ".volta/bin",
    ".local/share/mise/shims",
    ".asdf/shims",
    ".nodenv/shims",
    ".nix-profile/bin",
)
_USUAL_OF_NODE = (
    ".nvm/versions/node/*/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    "Library/Application Support/fnm/node-versions/*/installation/bin",
)
_USUAL_OF_ALL = ("/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin", "/usr/local/bin")
_USUAL_ON_WINDOWS = (
    ("APPDATA", "npm"),
    ("LOCALAPPDATA", "pnpm/bin"),
    ("LOCALAPPDATA", "pnpm"),
    ("LOCALAPPDATA", "Yarn/bin"),
    ("LOCALAPPDATA", "Volta/bin"),
    ("LOCALAPPDATA", "mise/shims"),
    ("PROGRAMFILES", "nodejs"),
    ("USERPROFILE", ".bun/bin"),
    ("USERPROFILE", ".local/bin"),
)


class Install(NamedTuple):
    """One copy of a program called `kimi`.

    ``path`` is what a shell would start, ``target`` the file behind its symlinks.
    ``version`` is None where the files do not tell. ``origin`` says how it came here:
    npm, pnpm, yarn, bun, native, homebrew, nix, vscode or another word of that kind.
    ``on_path`` counts the folders of PATH before it, None where it is not on PATH.
    """

    path: Path
    target: Path
    kind: Kind
    version: str | None
    origin: str
    on_path: int | None = None


def find(env: Mapping[str, str], home: Home) -> list[Install]:
    """Return every copy of `kimi` that can be found, those on PATH first, in its order."""
    try:
        user = user_home(env)
    except KimifixError:  # with --home it is not needed
        user = home.path
    found: dict[Path, Install] = {}
    for position, path in _candidates(env, home, user):
        try:
            target = path.resolve()
            if not target.is_file() or not _can_start(target):
                continue
            program = programs.identify(path, target, env, home, user)
        except (OSError, RuntimeError):  # unreadable, or a loop of symlinks
            continue
        install = Install(path, target, program.kind, program.version, program.origin, position)
        found.setdefault(program.body, install)
    return [*found.values(), *_extensions(user)]


def client_in_use(installs: Iterable[Install]) -> Install | None:
    """Return the kimi-code that a shell starts, else the first one, None where there is none.

    ``installs`` come in the order of ``find``.
    """
    return next((install for install in installs if install.kind == "client"), None)


def _candidates(
    env: Mapping[str, str], home: Home, user: Path
) -> Iterator[tuple[int | None, Path]]:
    """Yield every place to look at, with the number of its folder in PATH."""
    names = _program_names(env)
    for position, folder in enumerate(_path(env)):
        yield from ((position, (folder / name).absolute()) for name in names)
    for folder in _usual_folders(env, home, user):
        yield from ((None, (folder / name).absolute()) for name in names)


def _path(env: Mapping[str, str]) -> list[Path]:
    """Return the folders of PATH as a shell reads them, the first of each once."""
    if sys.platform == "win32":
        parts = [part.strip('"') for part in env.get("PATH", "").split(";")]
        return list(dict.fromkeys(Path(part) for part in parts if part))
    text = env.get("PATH", "")
    # POSIX: an empty part is the working directory.
    return list(dict.fromkeys(Path(part) for part in text.split(":"))) if text else []


def _program_names(env: Mapping[str, str]) -> list[str]:
    if sys.platform != "win32":
        return ["kimi"]
    endings = (env.get("PATHEXT") or ".COM;.EXE;.BAT;.CMD").split(";")
    return list(dict.fromkeys(f"kimi{ending.strip().lower()}" for ending in endings if ending))


def _can_start(program: Path) -> bool:
    """Tell whether a shell would start the file rather than look further."""
    return sys.platform == "win32" or os.access(program, os.X_OK)


def _usual_folders(env: Mapping[str, str], home: Home, user: Path) -> Iterator[Path]:
    """Yield the folders in which installers leave a `kimi` without putting them on PATH."""
    for name in ("KIMI_INSTALL_DIR", "NPM_CONFIG_PREFIX", "npm_config_prefix", "PNPM_HOME"):
        if env.get(name):
            yield Path(env[name]) / "bin"
            yield Path(env[name])
    yield home.path / "bin"
    yield user / ".kimi-code" / "bin"
    if sys.platform == "win32":
        for name, below in _USUAL_ON_WINDOWS:
            if env.get(name):
                yield Path(env[name]) / below
        return
    for below in _USUAL:
        yield user / below
    for pattern in _USUAL_OF_NODE:
        yield from sorted(user.glob(pattern), key=_newest_first)
    for folder in _USUAL_OF_ALL:
        yield Path(folder)


def _newest_first(folder: Path) -> tuple[int, ...]:
    """Sort folders in whose path a version of Node stands."""
    found = next(filter(None, map(parse_version, folder.parts)), None)
    return tuple(-number for number in found.release) if found else ()


def _extensions(user: Path) -> Iterator[Install]:
    """Yield the newest VS Code extension of each editor, with the extension's own version."""
    for editor in _EDITORS:
        found = []
        for folder in (user / editor / "extensions").glob(f"{_EXTENSION}*"):
            data = programs.read_json(folder / "package.json")
            if data is not None:
                version = parse_version(str(data.get("version")))
                found.append((version or _NO_VERSION, folder))
        if found:  # an editor leaves the old ones on disk for a while
            version, folder = max(found)
            told = None if version == _NO_VERSION else str(version)
            yield Install(folder, folder, "unknown", told, "vscode")
