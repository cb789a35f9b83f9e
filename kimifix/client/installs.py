"""The copies of kimi-code on this machine: path, version, origin, and which one a shell starts.

Nothing is started here: the files alone tell. The layouts are those that npm 11, pnpm 10
and 12, yarn 1.22, bun 1.4 and mise 2026.9 leave (each run with kimi-code 2.1.0), that npm
and pnpm write on Windows (their shim generators run elsewhere), and for the rest those that
their documentation or the source of kimi-code describes.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Literal, NamedTuple

from kimifix.client import shell
from kimifix.client.features import Version, parse_version
from kimifix.client.home import Home, user_home
from kimifix.errors import KimifixError
from kimifix.reader import opened, read_json, read_text, tables
from kimifix.words import filled

Kind = Literal["client", "legacy", "unrelated", "unknown"]

PACKAGE = "@moonshot-ai/kimi-code"
_EXTENSION = "moonshot-ai.kimi-code-"
_NO_VERSION = Version((0, 0, 0))

# Launcher scripts have some kilobytes; the largest that matters is the `kimi.exe` of the
# legacy client on Windows, which ends in a small archive that names its module.
_LAUNCHER_MAX_BYTES = 256 * 1024

# Every path that somebody's installer made, and what it tells.
_PLACES = tables("client/places.toml")

# A launcher script names the program it starts: absolute, or relative to its own folder
# after a variable, quoted in any of the ways of sh, cmd and PowerShell. That of yarn on
# Windows starts another launcher.
_OURS = r"@moonshot-ai[\\/]kimi-code[\\/]dist[\\/]"
_STARTED = re.compile(
    rf"(?:^|[\"'=])([^\"'=\r\n]*?node_modules)[\\/](?:{_OURS}|\.bin[\\/]kimi\b)", re.MULTILINE
)
_OWN_FOLDER = re.compile(r"(?:\$\{?\w+\}?|%~dp0|%\w+%)[\\/]?")

# What these install takes the Node on PATH; the launchers of version managers choose one.
_ON_PATH = ("npm", "pnpm", "yarn", "bun")
_NODE = "node.exe" if sys.platform == "win32" else "node"
# In every Node but those that Linux distributions have built.
_RELEASE = re.compile(rb"nodejs\.org/download/release/v(\d+\.\d+\.\d+)/")
_NODE_MAX_MEGABYTES = 256


class Install(NamedTuple):
    """One copy of a program called `kimi`.

    ``path`` is what a shell would start. ``version`` is None where the files do not tell.
    ``origin`` says how it came here: npm, pnpm, yarn, bun, native, homebrew, nix, vscode or
    another word of that kind. ``on_path`` counts the folders of PATH before it, None where
    it is not on PATH. ``on_node`` is whether it needs a Node, and takes the one on PATH.
    """

    path: Path
    kind: Kind
    version: str | None
    origin: str
    on_path: int | None = None
    on_node: bool = False


def find(env: Mapping[str, str], home: Home) -> list[Install]:
    """Return every copy of `kimi` that can be found, those on PATH first, in its order."""
    user = home.path
    with suppress(KimifixError):  # with --home it is not needed
        user = user_home(env)
    found: dict[Path, Install] = {}
    for position, candidate in _candidates(env, home, user):
        with suppress(OSError, RuntimeError):  # unreadable, or a loop of symlinks
            path = candidate.absolute()
            target = path.resolve()
            if shell.is_program(target):
                copy = identify(path, target, env, home, user)
                found.setdefault(copy.path, copy._replace(path=path, on_path=position))
    return [*found.values(), *_extensions(env, user)]


def client_in_use(installs: Iterable[Install]) -> Install | None:
    """Return the first kimi-code, the one that a shell starts in the order of ``find``."""
    return next((install for install in installs if install.kind == "client"), None)


def identify(path: Path, target: Path, env: Mapping[str, str], home: Home, user: Path) -> Install:
    """Return what the file ``path`` is, whose symlinks end at ``target``.

    The ``path`` of what is returned is the folder or file that holds the program itself: two
    files with the same one start the same copy. ``home`` is the client's, ``user`` the user's.
    """
    text = read_text(target, _LAUNCHER_MAX_BYTES)
    return (
        _behind_shim(path)
        or _package(target, text)
        or _told(target, text)
        or _native(target, env, home, user)
        or Install(target, "unknown", None, "unknown")
    )


def node_of(install: Install, env: Mapping[str, str]) -> Path | None:
    """Return the Node that starts ``install``, None where there is none, or it takes none."""
    if not install.on_node:
        return None
    beside = install.path.with_name(_NODE)
    # A launcher that is a script looks beside itself; so does who starts one off PATH.
    if (not install.path.is_symlink() or install.on_path is None) and shell.is_program(beside):
        return beside
    return shell.found("node", env)


def version_of(node: Path) -> Version | None:
    """Return the version of a Node by what lies beside it or in it, None where neither tells."""
    with suppress(OSError, RuntimeError):
        node = node.resolve()
        header = read_text(node.parents[1] / "include/node/node_version.h", _LAUNCHER_MAX_BYTES)
        numbers = re.findall(r"NODE_(?:MAJOR|MINOR|PATCH)_VERSION (\d+)", header)
        return parse_version(".".join(numbers)) or _released(node)
    return None


def _released(node: Path) -> Version | None:
    """Return the version of a Node by the address of its release, which is built into it."""
    before = b""
    with opened(node) as handle:
        chunks = iter(partial(os.read, handle, 1 << 20), b"")
        for chunk in islice(chunks, _NODE_MAX_MEGABYTES):
            if found := _RELEASE.search(before + chunk):
                return parse_version(found[1].decode())
            before = chunk[-100:]
    return None


def _candidates(
    env: Mapping[str, str], home: Home, user: Path
) -> Iterator[tuple[int | None, Path]]:
    """Yield every place to look at, with the number of its folder in PATH."""
    places = _PLACES["usual"]
    system = "windows" if sys.platform == "win32" else "posix"
    usual = _folders(f"{places['everywhere']} {places[system]}", env, user)
    off_path = zip(repeat(None), chain([home.path / "bin"], usual))
    for position, folder in chain(enumerate(shell.folders(env)), off_path):
        yield from ((position, folder / name) for name in shell.names("kimi", env))


def _folders(places: str, env: Mapping[str, str], user: Path) -> Iterator[Path]:
    """Yield the folders that usual places stand for, those of a newer Node first."""
    for place in places.split():
        start, _, below = place.partition("/")
        root = str(user) if start == "~" else env.get(start) if start else "/"
        if root and not re.search("[*?]", below):
            yield Path(root, below)
        elif root:
            with suppress(OSError):
                yield from sorted(Path(root).glob(below), key=_version_in, reverse=True)


def _version_in(folder: Path) -> Version:
    return next(filter(None, map(parse_version, reversed(folder.parts))), _NO_VERSION)


def _extensions(env: Mapping[str, str], user: Path) -> Iterator[Install]:
    """Yield the newest VS Code extension of each editor, with the extension's own version."""
    for editor in _PLACES["usual"]["editors"].split():
        found = [
            (parse_version(str(data.get("version"))) or _NO_VERSION, folder)
            for folder in _folders(f"~/{editor}/extensions/{_EXTENSION}*", env, user)
            if (data := read_json(folder / "package.json")) is not None
        ]
        if found:  # an editor leaves the old ones on disk for a while
            version, folder = max(found)
            told = None if version == _NO_VERSION else str(version)
            yield Install(folder, "unknown", told, "vscode")


def _package(target: Path, text: str) -> Install | None:
    """Return the npm package that ``target`` is a file of, or that it starts."""
    for folder in chain(list(target.parents)[:4], _started(target, text)):
        data = read_json(folder / "package.json") or {}
        name, version = filled(data.get("name")), filled(data.get("version"))
        if name == PACKAGE:
            origin = _origin_of(folder)
            on_node = "engines" in data and origin in _ON_PATH
            return Install(folder.resolve(), "client", version, origin, on_node=on_node)
        if name and "node_modules" in folder.parts[-3:-1]:  # no project around the file
            return Install(folder, "unrelated", version, name)
    return None


def _started(target: Path, text: str) -> Iterator[Path]:
    """Yield where the package may lie that the launcher ``target`` starts."""
    # The launcher that bun writes on Windows is an .exe; what it starts stands in a file
    # beside it, in UTF-16, seen from the folder above.
    if target.suffix == ".exe":
        started = target.with_suffix(".bunx")
        text = read_text(started, _LAUNCHER_MAX_BYTES, "utf-16-le") or text
    for match in _STARTED.finditer(text):
        named = match[1].strip().replace("\\", "/")
        named = _OWN_FOLDER.sub("", named, count=1) if named[:1] in "$%" else named
        yield from (base / named / PACKAGE for base in (target.parent, target.parent.parent))


def _behind_shim(path: Path) -> Install | None:
    """Return what the shim of a version manager at ``path`` starts.

    Which of several versions that is depends on the folder it is started in: None then.
    """
    root = path.parent.parent
    if path.parent.name != "shims" and not (root / "tools" / "image").is_dir():
        return None
    packages = [
        f / PACKAGE for place in _PLACES["shims"]["packages"].split() for f in root.glob(place)
    ]
    found = {f.resolve(): data for f in packages if (data := read_json(f / "package.json"))}
    if found:
        versions = {filled(data.get("version")) for data in found.values()}
        version = versions.pop() if len(versions) == 1 else None
        body = next(iter(found)) if version else path
        return Install(body, "client", version, root.name.removeprefix("."))
    scripts = (
        script for pattern in _PLACES["shims"]["python"].split() for script in root.glob(pattern)
    )
    told = (_told(script, read_text(script, _LAUNCHER_MAX_BYTES)) for script in scripts)
    return next(filter(None, told), None)


def _told(target: Path, text: str) -> Install | None:
    """Return what path and text of ``target`` tell."""
    for sign in _PLACES["telltale"]:
        if found := re.match(sign["pattern"], f"{target.as_posix()}\n{text}"):
            version = found[1] if found.re.groups else None
            return Install(target, sign["kind"], version, sign["origin"])
    return None


def _origin_of(folder: Path) -> str:
    modules = folder.parent.parent
    is_installed = modules.name == "node_modules"
    for mark, origin in _PLACES["origins"].items():
        if mark in folder.as_posix() or (is_installed and (modules / mark).is_file()):
            return str(origin)
    return "npm" if is_installed else "source"


def _native(target: Path, env: Mapping[str, str], home: Home, user: Path) -> Install | None:
    """Return the client where this is the single binary of the vendor's install script."""
    places = "KIMI_INSTALL_DIR KIMI_INSTALL_DIR/bin ~/.kimi-code ~/.kimi-code/bin"
    for folder in (home.path, home.path / "bin", *_folders(places, env, user)):
        with suppress(OSError, RuntimeError):  # a loop of symlinks
            if folder.resolve() == target.parent:
                return Install(target, "client", _native_version(env, home, user), "native")
    return None


def _native_version(env: Mapping[str, str], home: Home, user: Path) -> str | None:
    """Return the version of the single binary, which has no package.json beside it.

    Two places tell, and the later word counts (source of 0.10.0 to 2.1.0): each version
    unpacks its parts into a cache folder of that name, and the updater notes what it has
    fetched.
    """
    caches = _PLACES["native"].get(sys.platform, _PLACES["native"]["linux"])
    folder = next(_folders(f"KIMI_CODE_CACHE_DIR/native {caches}", env, user))
    told: list[tuple[float, str]] = []
    with suppress(OSError):
        for unpacked in folder.iterdir():
            if parse_version(unpacked.name) is not None:
                told.append((unpacked.stat().st_mtime, unpacked.name))
    note = read_json(home.path / "updates" / "install.json") or {}
    success = note.get("lastSuccess")
    if isinstance(success, dict) and (version := filled(success.get("version"))):
        told.append((0.0, version))
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(str(success.get("installedAt")))
            told.append((moment.timestamp(), version))
    return max(told)[1] if told else None
