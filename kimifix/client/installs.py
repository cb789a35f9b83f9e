"""The copies of kimi-code on this machine: path, version, origin, and which one a shell starts.

Nothing is started here: the files alone tell. The layouts are those that npm 11, pnpm 10
and 12, yarn 1.22, bun 1.4 and mise 2026.9 leave (each run with kimi-code 2.1.0), that npm
and pnpm write on Windows (their shim generators run elsewhere), and for the rest those that
their documentation or the source of kimi-code describes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kimifix.client.features import Version, parse_version
from kimifix.client.home import Home, user_home
from kimifix.errors import KimifixError
from kimifix.reader import read, read_json

Kind = Literal["client", "legacy", "unrelated", "unknown"]

PACKAGE = "@moonshot-ai/kimi-code"
_EXTENSION = "moonshot-ai.kimi-code-"
_NO_VERSION = Version((0, 0, 0))

# Launcher scripts have some kilobytes; the largest that matters is the `kimi.exe` of the
# legacy client on Windows, which ends in a small archive that names its module.
_LAUNCHER_MAX_BYTES = 256 * 1024

_EDITORS = """
.vscode .vscode-server .vscode-insiders .vscode-server-insiders .vscode-oss
.cursor .cursor-server .windsurf .windsurf-server .trae .trae-cn
"""

# Where installers put a `kimi` without making sure that it is on PATH: from the root, or
# below the user's home or the folder that a variable names. Versions of Node: newest first.
_USUAL = """
KIMI_INSTALL_DIR/bin    KIMI_INSTALL_DIR      NPM_CONFIG_PREFIX/bin    NPM_CONFIG_PREFIX
npm_config_prefix/bin   npm_config_prefix     PNPM_HOME/bin            PNPM_HOME
~/.kimi-code/bin        ~/.local/bin          ~/.bun/bin
"""
_USUAL_ON_POSIX = """
~/.npm-global/bin       ~/.local/share/pnpm/bin       ~/.local/share/pnpm
~/Library/pnpm/bin      ~/Library/pnpm                ~/.yarn/bin
~/.volta/bin            ~/.local/share/mise/shims     ~/.asdf/shims
~/.nodenv/shims         ~/.nix-profile/bin            ~/.nvm/versions/node/*/bin
FNM_DIR/node-versions/*/installation/bin
~/.local/share/fnm/node-versions/*/installation/bin
~/Library/Application?Support/fnm/node-versions/*/installation/bin
/opt/homebrew/bin       /home/linuxbrew/.linuxbrew/bin      /usr/local/bin
"""
_USUAL_ON_WINDOWS = """
APPDATA/npm             LOCALAPPDATA/pnpm/bin         LOCALAPPDATA/pnpm
LOCALAPPDATA/Yarn/bin   LOCALAPPDATA/Volta/bin        LOCALAPPDATA/mise/shims
PROGRAMFILES/nodejs     APPDATA/fnm/node-versions/*/installation
FNM_DIR/node-versions/*/installation                  ~/scoop/shims
~/scoop/apps/nodejs*/current/bin                      SCOOP/shims
SCOOP/apps/nodejs*/current/bin
"""

# A launcher script names the program it starts: absolute, or relative to its own folder
# after a variable, quoted in any of the ways of sh, cmd and PowerShell. That of yarn on
# Windows starts another launcher.
_OURS = r"@moonshot-ai[\\/]kimi-code[\\/]dist[\\/]"
_STARTED = re.compile(
    rf"(?:^|[\"'=])([^\"'=\r\n]*?node_modules)[\\/](?:{_OURS}|\.bin[\\/]kimi\b)", re.MULTILINE
)
_OWN_FOLDER = re.compile(r"(?:\$\{?\w+\}?|%~dp0|%\w+%)[\\/]?")
# Homebrew and Nix build the version into the path.
_BREWED = re.compile(r"/Cellar/kimi-code/(?P<version>[^/]+?)(?:_\d+)?/")
_NIX = re.compile(r"/nix/store/[0-9a-z]+-kimi-code-(?P<version>\d[^/]*)/")

# Where version managers keep what their shims start, seen from the folder above the shim:
# mise and asdf, the same on Windows, older asdf, nodenv, Volta (twice).
_BEHIND_SHIMS = [
    f"{folder}/{PACKAGE}"
    for folder in (
        "installs/*/*/lib/node_modules",
        "installs/*/*/node_modules",
        "installs/*/*/.npm/lib/node_modules",
        "versions/*/lib/node_modules",
        f"tools/image/packages/{PACKAGE}/lib/node_modules",
        f"tools/image/packages/{PACKAGE}/node_modules",
    )
]
_PYTHON_BEHIND_SHIMS = ("installs/*/*/bin/kimi", "versions/*/bin/kimi")

# How a copy came here, by a part of its path or by what a package manager leaves in
# `node_modules` or beside it, wherever that is.
_ORIGIN_BY_PATH = {
    "/Cellar/": "homebrew",
    "/nix/store/": "nix",
    "/.pnpm/": "pnpm",
    "/pnpm/": "pnpm",
    "/.bun/": "bun",
    "/yarn/": "yarn",
    "/.volta/": "volta",
    "/mise/": "mise",
}
_ORIGIN_BY_FILE = {
    ".modules.yaml": "pnpm",
    ".yarn-integrity": "yarn",
    "../bun.lock": "bun",
    "../bun.lockb": "bun",
}


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


class Program(NamedTuple):
    """What a file called `kimi` is.

    ``body`` is the folder or file that holds the program itself: two files with the same
    body start the same copy. ``version`` is None where the files do not tell.
    """

    kind: Kind
    version: str | None
    origin: str
    body: Path


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
            # On Windows the ending decides whether a shell would start it or look further.
            if not target.is_file() or not (_windows() or os.access(target, os.X_OK)):
                continue
            kind, version, origin, body = identify(path, target, env, home, user)
        except (OSError, RuntimeError):  # unreadable, or a loop of symlinks
            continue
        found.setdefault(body, Install(path, target, kind, version, origin, position))
    return [*found.values(), *_extensions(user)]


def client_in_use(installs: Iterable[Install]) -> Install | None:
    """Return the kimi-code that a shell starts, else the first one, None where there is none.

    ``installs`` come in the order of ``find``.
    """
    return next((install for install in installs if install.kind == "client"), None)


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


# --- where to look -----------------------------------------------------------------------


def _windows() -> bool:
    return sys.platform == "win32"


def _candidates(
    env: Mapping[str, str], home: Home, user: Path
) -> Iterator[tuple[int | None, Path]]:
    """Yield every place to look at, with the number of its folder in PATH."""
    names = ["kimi"]
    if _windows():
        endings = (env.get("PATHEXT") or ".COM;.EXE;.BAT;.CMD").split(";")
        names = [f"kimi{ending.strip().lower()}" for ending in dict.fromkeys(filter(None, endings))]
    for position, folder in enumerate(_path(env)):
        yield from ((position, (folder / name).absolute()) for name in names)
    places = (_USUAL + (_USUAL_ON_WINDOWS if _windows() else _USUAL_ON_POSIX)).split()
    for folder in [home.path / "bin", *(f for place in places for f in _folders(place, env, user))]:
        yield from ((None, (folder / name).absolute()) for name in names)


def _path(env: Mapping[str, str]) -> list[Path]:
    """Return the folders of PATH as a shell reads them, the first of each once."""
    text = env.get("PATH", "")
    if _windows():
        parts = [part for quoted in text.split(";") if (part := quoted.strip('"'))]
    else:
        parts = text.split(":") if text else []  # an empty part is the working directory
    return list(dict.fromkeys(map(Path, parts)))


def _folders(place: str, env: Mapping[str, str], user: Path) -> list[Path]:
    """Return the folders that a usual place stands for."""
    start, _, below = place.partition("/")
    root = str(user) if start == "~" else env.get(start) if start else "/"
    if not root:
        return []
    if not re.search("[*?]", below):
        return [Path(root, below)]
    with suppress(OSError):
        return sorted(Path(root).glob(below), key=_age)
    return []


def _age(folder: Path) -> tuple[int, ...]:
    """Sort folders in whose path a version of Node stands, the newest first."""
    found = next(filter(None, map(parse_version, folder.parts)), None)
    return tuple(-number for number in found.release) if found else ()


def _extensions(user: Path) -> Iterator[Install]:
    """Yield the newest VS Code extension of each editor, with the extension's own version."""
    for editor in _EDITORS.split():
        found = []
        for folder in (user / editor / "extensions").glob(f"{_EXTENSION}*"):
            data = read_json(folder / "package.json")
            if data is not None:
                version = parse_version(str(data.get("version")))
                found.append((version or _NO_VERSION, folder))
        if found:  # an editor leaves the old ones on disk for a while
            version, folder = max(found)
            told = None if version == _NO_VERSION else str(version)
            yield Install(folder, folder, "unknown", told, "vscode")


# --- what it is --------------------------------------------------------------------------


def _package(target: Path, text: str) -> Program | None:
    """Return the npm package that ``target`` is a file of, or that it starts."""
    found = _package_above(target) or _package_started(target, text)
    if found is None:
        return None
    folder, data = found
    version = _word(data.get("version"))
    if data["name"] != PACKAGE:
        return Program("unrelated", version, data["name"], folder)
    return Program("client", version, _origin_of(folder), folder.resolve())


def _package_above(target: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the npm package that ``target`` is a file of, its folder and its own word."""
    for folder in list(target.parents)[:4]:
        data = read_json(folder / "package.json")
        if data is not None and _word(data.get("name")):
            # Any other is a project that the file merely lies in.
            installed = data["name"] == PACKAGE or "node_modules" in folder.parts[-3:-1]
            return (folder, data) if installed else None
    return None


def _package_started(target: Path, text: str) -> tuple[Path, dict[str, Any]] | None:
    """Return the package that the launcher ``target`` starts, its folder and its own word."""
    # The launcher that bun writes on Windows is an .exe; what it starts stands in a file
    # beside it, in UTF-16, seen from the folder above.
    if target.suffix == ".exe":
        text = _text_of(target.with_suffix(".bunx"), "utf-16-le") or text
    for match in _STARTED.finditer(text):
        named = match[1].strip().replace("\\", "/")
        named = _OWN_FOLDER.sub("", named, count=1) if named[:1] in "$%" else named
        for base in (target.parent, target.parent.parent):
            folder = base / named / PACKAGE
            data = read_json(folder / "package.json")
            if data is not None and data.get("name") == PACKAGE:
                return folder, data
    return None


def _behind_shim(path: Path) -> Program | None:
    """Return what the shim of a version manager at ``path`` starts.

    Which of several versions that is depends on the folder it is started in: None then.
    """
    root = path.parent.parent
    if path.parent.name != "shims" and not (root / "tools" / "image").is_dir():
        return None
    packages = [folder for pattern in _BEHIND_SHIMS for folder in root.glob(pattern)]
    found = {f.resolve(): data for f in packages if (data := read_json(f / "package.json"))}
    if found:
        versions = {_word(data.get("version")) for data in found.values()}
        version = versions.pop() if len(versions) == 1 else None
        body = next(iter(found)) if version else path
        return Program("client", version, root.name.removeprefix("."), body)
    scripts = (script for pattern in _PYTHON_BEHIND_SHIMS for script in root.glob(pattern))
    return next(filter(None, (_legacy(script, _text_of(script)) for script in scripts)), None)


def _by_folder(target: Path) -> Program | None:
    """Return the client where the folder it lies in names it."""
    found = _BREWED.search(target.as_posix()) or _NIX.search(target.as_posix())
    origin = "homebrew" if found and found.re is _BREWED else "nix"
    return Program("client", found["version"], origin, target) if found else None


def _legacy(target: Path, text: str) -> Program | None:
    """Return the Python client where its module or its package is named."""
    named = re.search(r"/kimi-cli/|-kimi-cli-", target.as_posix())
    if named or "kimi_cli" in text:
        return Program("legacy", None, "PyPI kimi-cli", target)
    return None


def _script(target: Path, text: str) -> Program | None:
    """Return the client where a script starts it by a path that only the script knows."""
    return Program("client", None, "script", target) if re.search(_OURS, text) else None


def _origin_of(folder: Path) -> str:
    text = folder.as_posix()
    modules = folder.parent.parent
    if modules.name != "node_modules":
        by_file = {"": "source"}
    else:
        by_file = {name: o for name, o in _ORIGIN_BY_FILE.items() if (modules / name).is_file()}
    by_path = [origin for part, origin in _ORIGIN_BY_PATH.items() if part in text]
    return next(iter([*by_path, *by_file.values(), "npm"]))


def _native(target: Path, env: Mapping[str, str], home: Home, user: Path) -> Program | None:
    """Return the client where this is the single binary of the vendor's install script."""
    roots = [home.path, user / ".kimi-code"]
    roots += [Path(env["KIMI_INSTALL_DIR"])] if env.get("KIMI_INSTALL_DIR") else []
    for folder in (folder for root in roots for folder in (root, root / "bin")):
        with suppress(OSError, RuntimeError):  # a loop of symlinks
            if folder.resolve() == target.parent:
                return Program("client", _native_version(env, home, user), "native", target)
    return None


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
    note = read_json(home.path / "updates" / "install.json") or {}
    success = note.get("lastSuccess")
    version = _word(success.get("version")) if isinstance(success, dict) else None
    if isinstance(success, dict) and version:
        told.append((_seconds(success.get("installedAt")), version))
    return max(told)[1] if told else None


def _native_cache(env: Mapping[str, str], user: Path) -> Path:
    if env.get("KIMI_CODE_CACHE_DIR"):
        return Path(env["KIMI_CODE_CACHE_DIR"], "native")
    if sys.platform == "darwin":
        return user / "Library" / "Caches" / "kimi-code" / "native"
    if _windows():
        local = env.get("LOCALAPPDATA")
        below = Path(local) if local else user / "AppData" / "Local"
        return below / "kimi-code" / ("native" if local else "Cache/native")
    return Path(env.get("XDG_CACHE_HOME") or user / ".cache") / "kimi-code" / "native"


def _seconds(moment: object) -> float:
    """Return an ISO 8601 moment in Unix seconds, 0 where it is none."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _text_of(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a launcher, empty for what is too large to be one."""
    with suppress(OSError):
        return read(path, _LAUNCHER_MAX_BYTES).decode(encoding, errors="replace")
    return ""


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
