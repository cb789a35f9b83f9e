"""What stands behind a program called `kimi`: which software, its version, how it came here.

Told by the files alone, nothing is started. The layouts are those that npm 11, pnpm 10 and
12, yarn 1.22, bun 1.4 and mise 2026.9 leave (each run with kimi-code 2.1.0), that npm and
pnpm write on Windows (their shim generators run elsewhere), and for the rest those that
their documentation or the source of kimi-code describes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kimifix.client.features import parse_version
from kimifix.client.home import Home

Kind = Literal["client", "legacy", "unrelated", "unknown"]

PACKAGE = "@moonshot-ai/kimi-code"

# Launcher scripts have some kilobytes; the largest that matters is the `kimi.exe` of the
# legacy client on Windows, which ends in a small archive that names its module.
_LAUNCHER_MAX_BYTES = 256 * 1024
_JSON_MAX_BYTES = 1024 * 1024

# A launcher script names the program it starts: absolute, or relative to its own folder
# after a variable, quoted in any of the ways of sh, cmd and PowerShell. That of yarn on
# Windows starts another launcher.
_OURS = r"@moonshot-ai[\\/]kimi-code[\\/]dist[\\/]"
_STARTED = re.compile(
    rf"(?:^|[\"'=])([^\"'=\r\n]*?node_modules)[\\/](?:{_OURS}|\.bin[\\/]kimi\b)", re.MULTILINE
)
_OWN_FOLDER = re.compile(r"(?:\$\{?\w+\}?|%~dp0|%\w+%)[\\/]?")

# Where version managers keep what their shims start, seen from the folder above the shim.
_BELOW_MANAGER = (
    "installs/*/*/lib/node_modules",  # mise, asdf
    "installs/*/*/node_modules",  # the same on Windows
    "installs/*/*/.npm/lib/node_modules",  # older asdf
    "versions/*/lib/node_modules",  # nodenv
    f"tools/image/packages/{PACKAGE}/lib/node_modules",  # Volta
    f"tools/image/packages/{PACKAGE}/node_modules",
)
_PYTHON_BELOW_MANAGER = ("installs/*/*/bin/kimi", "versions/*/bin/kimi")

_ORIGIN_BY_PATH = (
    ("homebrew", "/Cellar/"),
    ("nix", "/nix/store/"),
    ("pnpm", "/.pnpm/"),
    ("pnpm", "/pnpm/"),
    ("bun", "/.bun/"),
    ("yarn", "/yarn/"),
    ("volta", "/.volta/"),
    ("mise", "/mise/"),
)
# What a package manager leaves in `node_modules` or beside it, wherever that is.
_ORIGIN_BY_FILE = (
    ("pnpm", ".modules.yaml"),
    ("yarn", ".yarn-integrity"),
    ("bun", "../bun.lock"),
    ("bun", "../bun.lockb"),
)


class Program(NamedTuple):
    """What a file called `kimi` is.

    ``body`` is the folder or file that holds the program itself: two files with the same
    body start the same copy. ``version`` is None where the files do not tell.
    """

    kind: Kind
    version: str | None
    origin: str
    body: Path


def identify(path: Path, target: Path, env: Mapping[str, str], home: Home, user: Path) -> Program:
    """Return what the file ``path`` is, whose symlinks end at ``target``.

    ``home`` is the client's home and ``user`` the user's.
    """
    text = _text_of(target)
    return (
        _behind_shim(path)
        or _package(target, text)
        or _by_folder(target)
        or _legacy(target, text)
        or _native(target, env, home, user)
        or _script(target, text)
        or Program("unknown", None, "unknown", target)
    )


def _package(target: Path, text: str) -> Program | None:
    """Return the npm package that ``target`` is a file of, or that it starts."""
    found = _package_above(target) or _package_started(target, text)
    if found is None:
        return None
    folder, name, version = found
    if name != PACKAGE:
        return Program("unrelated", version, name, folder)
    return Program("client", version, _origin_of(folder), folder.resolve())


def _by_folder(target: Path) -> Program | None:
    """Return the client where the folder it lies in names it."""
    text = target.as_posix()
    brewed = re.search(r"/Cellar/kimi-code/([^/]+?)(?:_\d+)?/", text)
    if brewed:
        return Program("client", brewed[1], "homebrew", target)
    nix = re.search(r"/nix/store/[0-9a-z]+-kimi-code-(\d[^/]*)/", text)
    return Program("client", nix[1], "nix", target) if nix else None


def _legacy(target: Path, text: str) -> Program | None:
    """Return the Python client where its module or its package is named."""
    named = "/kimi-cli/" in target.as_posix() or "-kimi-cli-" in target.as_posix()
    if named or "kimi_cli" in text:
        return Program("legacy", None, "PyPI kimi-cli", target)
    return None


def _native(target: Path, env: Mapping[str, str], home: Home, user: Path) -> Program | None:
    """Return the client where this is the single binary of the vendor's install script."""
    if target.parent not in _native_folders(env, home, user):
        return None
    return Program("client", _native_version(env, home, user), "native", target)


def _script(target: Path, text: str) -> Program | None:
    """Return the client where a script starts it by a path that only the script knows."""
    return Program("client", None, "script", target) if re.search(_OURS, text) else None


def _package_above(target: Path) -> tuple[Path, str, str | None] | None:
    """Return folder, name and version of the npm package that ``target`` is a file of."""
    for folder in list(target.parents)[:4]:
        data = read_json(folder / "package.json")
        name = data.get("name") if data else None
        if not isinstance(name, str) or data is None:
            continue
        if name == PACKAGE or "node_modules" in folder.parts[-3:-1]:
            return folder, name, _word(data.get("version"))
        return None  # a project that the file merely lies in
    return None


def _package_started(target: Path, text: str) -> tuple[Path, str, str | None] | None:
    """Return folder, name and version of the package that the launcher ``target`` starts."""
    # The launcher that bun writes on Windows is an .exe; what it starts stands in a file
    # beside it, in UTF-16, seen from the folder above.
    beside = target.with_suffix(".bunx")
    if target.suffix == ".exe" and beside.is_file():
        text = _decoded(beside, "utf-16-le")
    for match in _STARTED.finditer(text):
        named = match[1].strip().replace("\\", "/")
        named = _OWN_FOLDER.sub("", named, count=1) if named[:1] in "$%" else named
        for base in (target.parent, target.parent.parent):
            folder = base / named / PACKAGE
            data = read_json(folder / "package.json")
            if data is not None and data.get("name") == PACKAGE:
                return folder, PACKAGE, _word(data.get("version"))
    return None


def _behind_shim(path: Path) -> Program | None:
    """Return what the shim of a version manager at ``path`` starts.

    Which of several versions that is depends on the folder it is started in: None then.
    """
    root = path.parent.parent
    if path.parent.name != "shims" and not (root / "tools" / "image").is_dir():
        return None
    versions, bodies = set(), []
    for pattern in _BELOW_MANAGER:
        for folder in root.glob(f"{pattern}/{PACKAGE}"):
            data = read_json(folder / "package.json")
            if data is not None:
                versions.add(_word(data.get("version")))
                bodies.append(folder.resolve())
    origin = root.name.removeprefix(".")
    if bodies:
        version = versions.pop() if len(versions) == 1 else None
        return Program("client", version, origin, bodies[0] if version else path)
    for pattern in _PYTHON_BELOW_MANAGER:
        for script in root.glob(pattern):
            legacy = _legacy(script, _text_of(script))
            if legacy is not None:
                return legacy
    return None


def _origin_of(folder: Path) -> str:
    text = folder.as_posix()
    for origin, mark in _ORIGIN_BY_PATH:
        if mark in text:
            return origin
    modules = folder.parent.parent
    for origin, name in _ORIGIN_BY_FILE:
        if modules.name == "node_modules" and (modules / name).is_file():
            return origin
    return "npm" if modules.name == "node_modules" else "source"


def _native_folders(env: Mapping[str, str], home: Home, user: Path) -> Iterator[Path]:
    """Yield the folders in which the vendor's install script puts its single binary."""
    roots = [home.path, user / ".kimi-code"]
    roots += [Path(env["KIMI_INSTALL_DIR"])] if env.get("KIMI_INSTALL_DIR") else []
    for root in roots:
        for folder in (root, root / "bin"):
            try:
                yield folder.resolve()
            except (OSError, RuntimeError):  # a loop of symlinks
                continue


def _native_version(env: Mapping[str, str], home: Home, user: Path) -> str | None:
    """Return the version of the single binary, which has no package.json beside it.

    Two places tell, and the later word counts (source of 0.10.0 to 2.1.0): each version
    unpacks its parts into a cache folder of that name, and the updater notes what it has
    fetched.
    """
    told: list[tuple[float, str]] = []
    with suppress(OSError):
        for folder in _native_cache(env, user).iterdir():
            if parse_version(folder.name) is not None:
                told.append((folder.stat().st_mtime, folder.name))
    note = home.path / "updates" / "install.json"
    success = (read_json(note) or {}).get("lastSuccess")
    version = _word(success.get("version")) if isinstance(success, dict) else None
    if isinstance(success, dict) and version:
        told.append((_seconds(success.get("installedAt")), version))
    return max(told)[1] if told else None


def _native_cache(env: Mapping[str, str], user: Path) -> Path:
    if env.get("KIMI_CODE_CACHE_DIR"):
        return Path(env["KIMI_CODE_CACHE_DIR"]) / "native"
    if sys.platform == "darwin":
        return user / "Library" / "Caches" / "kimi-code" / "native"
    if sys.platform == "win32":
        local = env.get("LOCALAPPDATA")
        below = Path(local) if local else user / "AppData" / "Local"
        return below / "kimi-code" / ("native" if local else "Cache/native")
    cache = env.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else user / ".cache") / "kimi-code" / "native"


def _seconds(moment: object) -> float:
    """Return an ISO 8601 moment in Unix seconds, 0 where it is none."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _text_of(path: Path) -> str:
    """Return the text of a launcher, empty for what is too large to be one."""
    return _decoded(path, "utf-8")


def _decoded(path: Path, encoding: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LAUNCHER_MAX_BYTES + 1)
    except OSError:
        return ""
    if len(content) > _LAUNCHER_MAX_BYTES:
        return ""
    return content.decode(encoding, errors="replace")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_JSON_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
