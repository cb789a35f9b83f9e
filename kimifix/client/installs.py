"""The copies of kimi-code on this machine: path, version, origin, and which one a shell starts.

Nothing is started here: the version comes from the files beside the program.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kimifix.client.home import Home, user_home

Kind = Literal["client", "legacy", "unrelated", "unknown"]

PACKAGE = "@moonshot-ai/kimi-code"
_EXTENSION = "moonshot-ai.kimi-code-"
_EDITORS = (".vscode", ".vscode-server", ".vscode-insiders", ".cursor", ".windsurf", ".vscodium")
# A launcher script names the program it starts, relative to itself or absolute:
# npm, pnpm and yarn shims on Windows, pnpm and wrapper scripts elsewhere.
_LAUNCHED = re.compile(
    r"(?:\$basedir|%~dp0|%dp0%|\$\{?SCRIPT_DIR\}?)?[\\/]?((?:[A-Za-z]:)?[^\s\"'=;%$]*?"
    r"@moonshot-ai[\\/]kimi-code)[\\/]dist"
)
_LAUNCHER_MAX_BYTES = 16_384


@dataclass(frozen=True)
class Install:
    """One copy of a program called `kimi`.

    ``path`` is what a shell would start, ``target`` the file behind it. ``version`` is
    None where the files do not tell. ``origin`` says how it came here: npm, pnpm, yarn,
    bun, native, homebrew, nix, vscode or another word of that kind. ``on_path`` counts
    the folders of PATH before it, None where it is not on PATH.
    """

    path: Path
    target: Path
    kind: Kind
    version: str | None
    origin: str
    on_path: int | None = None


def find(env: Mapping[str, str], home: Home) -> list[Install]:
    """Return every copy of `kimi` that can be found, those on PATH first, in its order."""
    found: dict[Path, Install] = {}
    native = _native_folders(env, home)
    for position, path in _candidates(env, home):
        try:
            target = path.resolve()
            if not target.is_file():
                continue
        except (OSError, RuntimeError):
            continue
        install = _describe(path, target, home, position, native)
        key = target if install.kind != "unknown" else path
        found.setdefault(key, install)
    for extension in _extensions(env):
        found.setdefault(extension.path, extension)
    return list(found.values())


def client_in_use(installs: list[Install]) -> Install | None:
    """Return the kimi-code that a shell starts, else the first one, None where there is none."""
    clients = [install for install in installs if install.kind == "client"]
    on_path = [install for install in clients if install.on_path is not None]
    return next(iter(on_path or clients), None)


def _candidates(env: Mapping[str, str], home: Home) -> Iterator[tuple[int | None, Path]]:
    names = _program_names(env)
    separator = ";" if sys.platform == "win32" else ":"
    folders = [part.strip('"') for part in env.get("PATH", "").split(separator)]
    for position, folder in enumerate(folders):
        if folder:
            yield from ((position, Path(folder) / name) for name in names)
    for usual in _usual_folders(env, home):
        yield from ((None, usual / name) for name in names)


def _program_names(env: Mapping[str, str]) -> list[str]:
    if sys.platform != "win32":
        return ["kimi"]
    endings = env.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(";")
    return [f"kimi{ending.lower()}" for ending in endings if ending]


def _usual_folders(env: Mapping[str, str], home: Home) -> Iterator[Path]:
    """Yield the folders in which installers leave a `kimi` without putting them on PATH."""
    user = user_home(env)
    for name in ("KIMI_INSTALL_DIR", "NPM_CONFIG_PREFIX", "npm_config_prefix", "PNPM_HOME"):
        if env.get(name):
            yield Path(env[name]) / "bin"
            yield Path(env[name])
    yield home.path / "bin"
    yield user / ".kimi-code" / "bin"
    if sys.platform == "win32":
        for name, below in (("APPDATA", "npm"), ("LOCALAPPDATA", "pnpm"), ("LOCALAPPDATA", "Yarn")):
            if env.get(name):
                yield Path(env[name]) / below
        return
    for below in (
        ".local/bin",
        ".npm-global/bin",
        ".bun/bin",
        ".local/share/pnpm",
        "Library/pnpm",
        ".yarn/bin",
        ".volta/bin",
        ".nix-profile/bin",
    ):
        yield user / below
    for pattern in (
        ".nvm/versions/node/*/bin",
        ".local/share/fnm/node-versions/*/installation/bin",
    ):
        yield from sorted(user.glob(pattern), reverse=True)
    for folder in ("/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin", "/usr/local/bin"):
        yield Path(folder)


def _describe(
    path: Path, target: Path, home: Home, position: int | None, native: set[Path]
) -> Install:
    package = _package_above(target) or _package_of_launcher(path, target)
    if package is not None:
        folder, data = package
        kind: Kind = "client" if data.get("name") == PACKAGE else "unrelated"
        origin = _origin_of_package(folder) if kind == "client" else str(data.get("name"))
        return Install(path, target, kind, _text(data.get("version")), origin, position)
    parts = target.parts
    if "Cellar" in parts and "kimi-code" in parts[parts.index("Cellar") + 1 :][:1]:
        version = parts[parts.index("Cellar") + 2]
        return Install(path, target, "client", version, "homebrew", position)
    nix = re.search(r"/nix/store/[0-9a-z]+-kimi-code-([^/]+)/", target.as_posix())
    if nix:
        return Install(path, target, "client", nix[1], "nix", position)
    if _is_legacy(target):
        return Install(path, target, "legacy", None, "PyPI kimi-cli", position)
    if target.parent in native:
        return Install(path, target, "client", _native_version(home), "native", position)
    return Install(path, target, "unknown", None, "unknown", position)


def _native_folders(env: Mapping[str, str], home: Home) -> set[Path]:
    """Return the folders in which the vendor's install script puts its single binary."""
    roots = [home.path, user_home(env) / ".kimi-code"]
    roots += [Path(env["KIMI_INSTALL_DIR"])] if env.get("KIMI_INSTALL_DIR") else []
    return {folder.resolve() for root in roots for folder in (root, root / "bin")}


def _package_above(target: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the npm package that ``target`` is a program of."""
    for folder in list(target.parents)[:4]:
        data = _json(folder / "package.json")
        if data is not None and "kimi" in str(data.get("name", "")):
            return folder, data
    return None


def _package_of_launcher(path: Path, target: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the npm package that the launcher script ``target`` starts."""
    try:
        if target.stat().st_size > _LAUNCHER_MAX_BYTES:
            return None
        text = target.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for match in _LAUNCHED.finditer(text):
        for base in (target.parent, path.parent):
            folder = base / match[1].replace("\\", "/").lstrip("/")
            for candidate in (folder, Path(match[1])):
                data = _json(candidate / "package.json")
                if data is not None and data.get("name") == PACKAGE:
                    return candidate, data
    return None


def _origin_of_package(folder: Path) -> str:
    text = folder.as_posix()
    for origin, mark in (
        ("homebrew", "/Cellar/"),
        ("nix", "/nix/store/"),
        ("pnpm", "/pnpm/"),
        ("pnpm", "/.pnpm/"),
        ("bun", "/.bun/"),
        ("yarn", "/yarn/"),
        ("volta", "/.volta/"),
    ):
        if mark in text:
            return origin
    return "npm"


def _is_legacy(target: Path) -> bool:
    """Tell whether this is the entry script of the Python client, or a symlink into its tool."""
    if {"kimi-cli", "kimi_cli"} & set(target.parts):
        return True
    try:
        with target.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    return head.startswith(b"#!") and b"kimi_cli" in head


def _native_version(home: Home) -> str | None:
    """Return what the vendor's updater noted as its last success (source of kimi-code)."""
    data = _json(home.path / "updates" / "install.json")
    success = data.get("lastSuccess") if data else None
    return _text(success.get("version")) if isinstance(success, dict) else None


def _extensions(env: Mapping[str, str]) -> Iterator[Install]:
    user = user_home(env)
    for editor in _EDITORS:
        for folder in sorted((user / editor / "extensions").glob(f"{_EXTENSION}*"), reverse=True):
            data = _json(folder / "package.json")
            if data is not None:
                version = _text(data.get("version"))
                yield Install(folder, folder, "unknown", version, "vscode")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
