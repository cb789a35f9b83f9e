"""Which copies of kimi-code are found, in every layout that an installer leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.nobody import as_nobody, open_folder
from support.platforms import posix, symlinks

from kimifix.client import installs, shell
from kimifix.client.home import Home
from kimifix.client.installs import Install, client_in_use

PACKAGE = "@moonshot-ai/kimi-code"
# As npm 11, pnpm 10 and pnpm 12 have written them, those for Windows by their generators.
LAUNCHERS = Path(__file__).parent / "data" / "launchers"

# The entry script that pip, pipx and uv write for the Python client.
LEGACY = """\
#!{python}
import sys
from kimi_cli.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""


class Machine:
    """A user's home, and the installers that have been at work there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.user = root / "user"
        self.home = Home(self.user / ".kimi-code", "default")

    def find(self, *path: Path | str, separator: str = os.pathsep, **env: str) -> list[Install]:
        """Find the copies with these folders as PATH; not those of the machine itself."""
        text = separator.join(map(str, path))
        user = str(self.user)
        found = installs.find({"HOME": user, "USERPROFILE": user, "PATH": text, **env}, self.home)
        return [install for install in found if install.path.is_relative_to(self.root)]

    def one(self, *path: Path | str, separator: str = os.pathsep, **env: str) -> Install:
        """Find the only copy there is."""
        (install,) = self.find(*path, separator=separator, **env)
        return install

    def package(
        self, modules: Path, version: str | None = "2.1.0", name: str = PACKAGE, main: str = ""
    ) -> Path:
        """Lay out an npm package in a `node_modules` folder and return its program."""
        program = modules / name / (main or "dist/main.mjs")
        data = {"name": name} | ({"version": version} if version else {})
        self.file(modules / name / "package.json", json.dumps(data), mode=0o644)
        return self.file(program, "#!/usr/bin/env node\n")

    def npm(self, prefix: Path, version: str | None = "2.1.0") -> Path:
        """Install as `npm install --global --prefix` does and return the folder for PATH."""
        if sys.platform == "win32":
            self.package(prefix / "node_modules", version)
            return self.launcher(prefix / "kimi.cmd", "npm.cmd").parent
        program = self.package(prefix / "lib" / "node_modules", version)
        self.link(prefix / "bin" / "kimi", os.path.relpath(program, prefix / "bin"))
        return prefix / "bin"

    def native(self, version: str | None = None, installed: str = "2026-01-01T00:00:00Z") -> Path:
        """Install as the vendor's script does; ``version`` is what the updater has noted."""
        if version:
            success = {"version": version, "installedAt": installed, "notifiedAt": None}
            note = {"active": None, "lastFailure": None, "lastSuccess": success}
            self.file(self.home.path / "updates" / "install.json", json.dumps(note), mode=0o600)
        return self.program(self.home.path / "bin", "\x7fELF")

    def program(self, folder: Path, text: str) -> Path:
        """Write a `kimi` that the system would start, and return its folder."""
        return self.file(folder / ("kimi.exe" if sys.platform == "win32" else "kimi"), text).parent

    def launcher(self, path: Path, recorded: str) -> Path:
        """Put a launcher that a package manager has written at ``path``."""
        text = (LAUNCHERS / recorded).read_bytes().decode()
        return self.file(path, text.replace("@PNPM_HOME@", str(path.parent)))

    def file(self, path: Path, text: str, mode: int = 0o755) -> Path:
        """Write a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        path.chmod(mode)
        return path

    def link(self, path: Path, target: Path | str) -> Path:
        """Make a symlink."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        return path


elsewhere = posix("no program is a link, or a script without an ending")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing on it."""
    return Machine(tmp_path)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules under test take their Windows branch."""
    for module in (installs, shell, sys.modules["kimifix.client.home"]):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))


def told(install: Install) -> tuple[str, str | None, str]:
    """Return what is told about a copy."""
    return install.kind, install.version, install.origin


def test_nothing_is_nothing(machine: Machine) -> None:
    """On a machine without any `kimi` nothing is found."""
    assert machine.find() == []
    assert client_in_use([]) is None


# --- package managers -------------------------------------------------------------------


def test_npm(machine: Machine) -> None:
    """Npm links `kimi` into the package; the package tells the version."""
    folder = machine.npm(machine.root / "prefix")
    install = machine.one(folder)
    assert told(install) == ("client", "2.1.0", "npm")
    if sys.platform != "win32":
        assert install.path == folder / "kimi"


@pytest.mark.parametrize("recorded", ["npm.cmd", "npm.ps1", "npm.sh"])
def test_npm_on_windows(machine: Machine, recorded: str) -> None:
    """Each of the three launchers that npm writes beside `node_modules` leads to the package."""
    folder = machine.root / "npm"
    program = machine.package(folder / "node_modules")
    launcher = machine.launcher(folder / "kimi", recorded)
    found = installs.identify(launcher, launcher, {}, machine.home, machine.user)
    assert found == installs.Install(program.parents[1], "client", "2.1.0", "npm")


@elsewhere
@pytest.mark.parametrize(
    ("recorded", "program", "modules"),
    [
        pytest.param(
            "pnpm-10.sh",
            "kimi",
            f"global/5/.pnpm/{PACKAGE.replace('/', '+')}@2.1.0/node_modules",
            id="pnpm 10",
        ),
        pytest.param(
            "pnpm-12.sh",
            "bin/kimi",
            "global/v11/4d4c82b913abf03f9262fae85b8441a5462d560e6fbb7343e68e5a0e505bfc20/"
            "node_modules",
            id="pnpm 12",
        ),
    ],
)
def test_pnpm(machine: Machine, recorded: str, program: str, modules: str) -> None:
    """Pnpm writes a shell script, in a folder that differs by version."""
    home = machine.root / "pnpm-home"
    machine.package(home / modules)
    machine.file(home / modules / ".modules.yaml", "", mode=0o644)
    launcher = machine.launcher(home / program, recorded)
    assert told(machine.one(launcher.parent)) == ("client", "2.1.0", "pnpm")
    assert told(machine.one(PNPM_HOME=str(home))) == ("client", "2.1.0", "pnpm")


@elsewhere
def test_yarn(machine: Machine) -> None:
    """Yarn links to a link."""
    modules = machine.user / ".config/yarn/global/node_modules"
    machine.package(modules)
    machine.link(modules / ".bin/kimi", f"../{PACKAGE}/dist/main.mjs")
    folder = machine.user / ".yarn/bin"
    machine.link(folder / "kimi", "../../.config/yarn/global/node_modules/.bin/kimi")
    assert told(machine.one(folder)) == ("client", "2.1.0", "yarn")


def test_yarn_on_windows(machine: Machine, windows: None) -> None:
    """Yarn starts a launcher that starts another one."""
    data = machine.root / "Local" / "Yarn"
    modules = data / "Data/global/node_modules"
    machine.package(modules)
    machine.file(modules / ".yarn-integrity", "{}", mode=0o644)
    machine.file(
        data / "bin/kimi.cmd", '@"%~dp0\\..\\Data\\global\\node_modules\\.bin\\kimi.cmd"   %*\r\n'
    )
    found = machine.one(LOCALAPPDATA=str(machine.root / "Local"))
    assert told(found) == ("client", "2.1.0", "yarn")


@elsewhere
def test_bun(machine: Machine) -> None:
    """Bun links into its own global folder."""
    program = machine.package(machine.user / ".bun/install/global/node_modules")
    machine.link(machine.user / ".bun/bin/kimi", program)
    assert told(machine.one()) == ("client", "2.1.0", "bun")


def test_bun_on_windows(machine: Machine, windows: None) -> None:
    """Bun writes an .exe, and what it starts into a file beside it, in UTF-16."""
    machine.package(machine.user / ".bun/install/global/node_modules")
    folder = machine.user / ".bun/bin"
    machine.file(folder / "kimi.exe", "MZ")
    named = f"install\\global\\node_modules\\{PACKAGE}\\dist\\main.mjs".replace("/", "\\")
    (folder / "kimi.bunx").write_bytes(f'{named}"\0node \0'.encode("utf-16-le"))
    assert told(machine.one()) == ("client", "2.1.0", "bun")


@elsewhere
@pytest.mark.parametrize(
    ("shim", "modules", "origin"),
    [
        pytest.param(
            ".volta/bin/kimi",
            f".volta/tools/image/packages/{PACKAGE}/lib/node_modules",
            "volta",
            id="volta",
        ),
        pytest.param(
            ".local/share/mise/shims/kimi",
            ".local/share/mise/installs/npm-moonshot-ai-kimi-code/2.1.0/lib/node_modules",
            "mise",
            id="mise",
        ),
        pytest.param(
            ".asdf/shims/kimi",
            ".asdf/installs/nodejs/24.1.0/lib/node_modules",
            "asdf",
            id="asdf",
        ),
        pytest.param(
            ".asdf/shims/kimi",
            ".asdf/installs/nodejs/24.1.0/.npm/lib/node_modules",
            "asdf",
            id="older asdf",
        ),
        pytest.param(
            ".nodenv/shims/kimi", ".nodenv/versions/24.1.0/lib/node_modules", "nodenv", id="nodenv"
        ),
    ],
)
def test_shim_of_a_version_manager(machine: Machine, shim: str, modules: str, origin: str) -> None:
    """What the shim on PATH starts is found in the manager's folder."""
    manager = machine.package(machine.root / "node_modules", "2026.9.15", "manager", "manager")
    machine.link(machine.user / shim, manager)
    machine.package(machine.user / modules)
    install = machine.one((machine.user / shim).parent)
    assert told(install) == ("client", "2.1.0", origin)
    assert install.path == machine.user / shim
    assert told(machine.one()) == ("client", "2.1.0", origin)


@elsewhere
def test_shim_before_several_versions(machine: Machine) -> None:
    """Which of several versions a shim starts depends on the folder: it cannot be told."""
    shim = machine.file(machine.user / ".asdf/shims/kimi", "#!/bin/sh\nexec asdf exec kimi\n")
    for node, version in (("22.1.0", "0.20.0"), ("24.1.0", "2.1.0")):
        machine.package(machine.user / f".asdf/installs/nodejs/{node}/lib/node_modules", version)
    assert told(machine.one(shim.parent)) == ("client", None, "asdf")
    direct = machine.user / ".asdf/installs/nodejs/24.1.0/bin"
    machine.link(direct / "kimi", f"../lib/node_modules/{PACKAGE}/dist/main.mjs")
    assert [i.version for i in machine.find(shim.parent, direct)] == [None, "2.1.0"]


@elsewhere
def test_shim_before_one_version_twice(machine: Machine) -> None:
    """Links such as `latest` beside the real folder are no further version."""
    folder = machine.user / ".local/share/mise/installs/npm-moonshot-ai-kimi-code"
    machine.package(folder / "2.1.0/lib/node_modules")
    machine.link(folder / "latest", "./2.1.0")
    machine.file(machine.user / ".local/share/mise/shims/kimi", "mise")
    assert told(machine.one()) == ("client", "2.1.0", "mise")


@elsewhere
@pytest.mark.parametrize(
    "below",
    [
        ".nvm/versions/node/v{}/bin",
        ".local/share/fnm/node-versions/v{}/installation/bin",
        "Library/Application Support/fnm/node-versions/v{}/installation/bin",
    ],
)
def test_node_version_managers_off_path(tmp_path: Path, below: str) -> None:
    """Copies of Node that no shell has activated are looked into, the newest first.

    A folder above the user's own may look like a version, too.
    """
    machine = Machine(tmp_path / "3.11.2")
    for node, version in (("9.1.0", "0.14.0"), ("24.1.0", "2.1.0"), ("22.19.0", "0.38.0")):
        machine.npm((machine.user / below.format(node)).parent, version)
    assert [install.version for install in machine.find()] == ["2.1.0", "0.38.0", "0.14.0"]


@pytest.mark.parametrize(
    ("folder", "variables"),
    [
        pytest.param("APPDATA/fnm/node-versions/v24.1.0/installation", ["APPDATA"], id="fnm"),
        pytest.param("FNM_DIR/node-versions/v24.1.0/installation", ["FNM_DIR"], id="fnm elsewhere"),
        pytest.param("user/scoop/apps/nodejs-lts/current/bin", [], id="scoop"),
        pytest.param("SCOOP/apps/nodejs/current/bin", ["SCOOP"], id="scoop elsewhere"),
    ],
)
def test_node_version_managers_on_windows(
    machine: Machine, windows: None, folder: str, variables: list[str]
) -> None:
    """There npm puts launcher and package into one folder, wherever its manager wants it."""
    machine.package(machine.root / folder / "node_modules")
    machine.launcher(machine.root / folder / "kimi.cmd", "npm.cmd")
    found = machine.one(**{name: str(machine.root / name) for name in variables})
    assert told(found) == ("client", "2.1.0", "npm")


# --- other ways to install ---------------------------------------------------------------


@elsewhere
@pytest.mark.parametrize("folder", ["2.1.0", "2.1.0_1"])
def test_homebrew(machine: Machine, folder: str) -> None:
    """A keg tells by its folder, whose revision is not part of the version."""
    keg = machine.root / "Cellar" / "kimi-code" / folder
    machine.file(keg / "bin/kimi", "#!/bin/sh\nexec node main.mjs\n")
    machine.link(machine.root / "bin/kimi", keg / "bin/kimi")
    assert told(machine.one(machine.root / "bin")) == ("client", "2.1.0", "homebrew")


@elsewhere
def test_homebrew_with_package(machine: Machine) -> None:
    """A keg that holds the npm package is still Homebrew's."""
    keg = machine.root / "Cellar/kimi-code/2.1.0"
    program = machine.package(keg / "libexec/lib/node_modules")
    machine.link(keg / "libexec/bin/kimi", program)
    machine.link(keg / "bin/kimi", "../libexec/bin/kimi")
    machine.link(machine.root / "bin/kimi", keg / "bin/kimi")
    assert told(machine.one(machine.root / "bin")) == ("client", "2.1.0", "homebrew")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kimi-code-2.1.0", ("client", "2.1.0", "nix")),
        ("kimi-cli-1.47.0", ("legacy", None, "PyPI kimi-cli")),
    ],
)
def test_nix(name: str, expected: tuple[str, str | None, str]) -> None:
    """A store path names software and version; the wrapper in it says nothing."""
    program = Path(f"/nix/store/0c9cq3rwrjv2qcfs7fqdbiij7ck1bd4y-{name}/bin/kimi")
    found = installs.identify(program, program, {}, Home(Path("/h"), "default"), Path("/u"))
    assert (found.kind, found.version, found.origin) == expected


def test_native_without_a_word(machine: Machine) -> None:
    """A single binary that has neither run nor updated itself has an unknown version."""
    assert told(machine.one(machine.native())) == ("client", None, "native")


def test_native_version_from_the_updater(machine: Machine) -> None:
    """What the updater has noted as its last success is the version."""
    assert told(machine.one(machine.native("0.38.0"))) == ("client", "0.38.0", "native")


@pytest.mark.parametrize(
    ("platform", "env", "cache"),
    [
        ("linux", {}, "user/.cache/kimi-code/native"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/kimi-code/native"),
        ("darwin", {}, "user/Library/Caches/kimi-code/native"),
        ("win32", {}, "user/AppData/Local/kimi-code/Cache/native"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/kimi-code/native"),
        ("darwin", {"KIMI_CODE_CACHE_DIR": "cache"}, "cache/native"),
    ],
)
def test_native_version_from_its_cache(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    env: dict[str, str],
    cache: str,
) -> None:
    """The folder into which the binary unpacks itself bears the version."""
    folder = machine.native()
    for name in ("kimi", "kimi.exe"):
        machine.file(folder / name, "MZ")
    (machine.root / cache / "2.1.0" / "linux-x64").mkdir(parents=True)
    (machine.root / cache / "of-somebody-else").mkdir()
    for module in (installs, shell):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform=platform))
    env = {name: str(machine.root / value) for name, value in env.items()}
    assert told(machine.one(folder, **env)) == ("client", "2.1.0", "native")


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        pytest.param("2000-01-01T00:00:00.000Z", "0.38.0", id="unpacked after the update"),
        pytest.param("2100-01-01T00:00:00.000Z", "0.32.0", id="updated since"),
        pytest.param("yesterday", "0.38.0", id="no moment"),
    ],
)
def test_later_word_on_the_native_version_counts(
    machine: Machine, noted: str, expected: str
) -> None:
    """Of what was unpacked and what the updater notes, the later is true."""
    folder = machine.native("0.32.0", installed=noted)
    cache = machine.root / "cache/native"
    for version, moment in (("0.36.0", 1_000_000_000), ("0.38.0", 1_700_000_000)):
        (cache / version).mkdir(parents=True)
        os.utime(cache / version, (moment, moment))
    found = machine.one(folder, KIMI_CODE_CACHE_DIR=str(machine.root / "cache"))
    assert found.version == expected


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"lastSuccess": null}', '{"lastSuccess": {"version": 3}}', "[" * 9999]
)
def test_native_with_a_broken_note(machine: Machine, text: str) -> None:
    """An updater's note that says nothing leaves the version unknown."""
    folder = machine.native()
    machine.file(machine.home.path / "updates/install.json", text, mode=0o600)
    assert machine.one(folder).version is None


def test_native_elsewhere(machine: Machine) -> None:
    """The folder that was given to the install script is known from its variable."""
    folder = machine.program(machine.root / "tools/bin", "\x7fELF")
    assert told(machine.one(folder))[0] == "unknown"
    assert told(machine.one(folder, KIMI_INSTALL_DIR=str(folder.parent)))[0] == "client"
    assert told(machine.one(KIMI_INSTALL_DIR=str(folder)))[0] == "client"


@elsewhere
def test_native_behind_a_link(machine: Machine) -> None:
    """A link in `~/.local/bin` leads to the same copy."""
    machine.native("2.1.0")
    machine.link(machine.user / ".local/bin/kimi", machine.home.path / "bin/kimi")
    assert machine.one(machine.user / ".local/bin").path == machine.user / ".local/bin/kimi"


def test_editor_extension(machine: Machine) -> None:
    """The newest extension of each editor is listed, and never taken for the client."""
    for folder, version in (
        (".vscode/extensions/moonshot-ai.kimi-code-0.9.0-linux-x64", "0.9.0"),
        (".vscode/extensions/moonshot-ai.kimi-code-0.10.0-linux-x64", "0.10.0"),
        (".cursor/extensions/moonshot-ai.kimi-code-0.8.1-universal", "0.8.1"),
    ):
        data = json.dumps({"name": "kimi-code", "version": version})
        machine.file(machine.user / folder / "package.json", data, mode=0o644)
    found = machine.find()
    assert [told(install) for install in found] == [
        ("unknown", "0.10.0", "vscode"),
        ("unknown", "0.8.1", "vscode"),
    ]
    assert client_in_use(found) is None


def test_script_of_the_user(machine: Machine) -> None:
    """A script that starts kimi-code by a path only it knows is kimi-code of unknown version."""
    text = f'#!/bin/sh\nexec node "$TOOLS/node_modules/{PACKAGE}/dist/main.mjs" "$@"\n'
    folder = machine.program(machine.root / "bin", text)
    assert told(machine.one(folder)) == ("client", None, "script")


@elsewhere
def test_checkout(machine: Machine) -> None:
    """A checkout of the source is a copy like any other."""
    folder = machine.root / "src/kimi-code/apps/kimi-code"
    data = {"name": PACKAGE, "version": "2.2.0-dev.1"}
    machine.file(folder / "package.json", json.dumps(data))
    program = machine.file(folder / "dist/main.mjs", "")
    machine.link(machine.root / "bin/kimi", program)
    assert told(machine.one(machine.root / "bin")) == ("client", "2.2.0-dev.1", "source")


# --- other programs of the name ----------------------------------------------------------


@elsewhere
@pytest.mark.parametrize(
    "tool", ["", ".local/share/pipx/venvs/kimi-cli", ".local/share/uv/tools/x"]
)
def test_legacy_client(machine: Machine, tool: str) -> None:
    """The entry script of the Python client is told by its module."""
    script = machine.user / tool / "bin/kimi"
    machine.file(script, LEGACY.format(python=script.with_name("python")))
    folder = machine.link(machine.root / "bin/kimi", script).parent
    assert told(machine.one(folder)) == ("legacy", None, "PyPI kimi-cli")


def test_legacy_client_on_windows(machine: Machine, windows: None) -> None:
    """There the script is the end of an .exe."""
    folder = machine.root / "Scripts"
    folder.mkdir()
    script = LEGACY.format(python="python.exe").encode()
    program = folder / "kimi.exe"
    program.write_bytes(b"MZ" + bytes(108_000) + script + bytes(22))
    program.chmod(0o755)  # there every file is one that can be started
    assert told(machine.one(folder, separator=";")) == ("legacy", None, "PyPI kimi-cli")


@elsewhere
def test_legacy_client_behind_pyenv(machine: Machine) -> None:
    """The shim of pyenv is the same for all programs; the version's folder tells."""
    machine.file(machine.user / ".pyenv/versions/3.13.1/bin/kimi", LEGACY)
    shim = machine.file(
        machine.user / ".pyenv/shims/kimi", '#!/usr/bin/env bash\nexec pyenv exec "${0##*/}" "$@"\n'
    )
    assert told(machine.one(shim.parent))[0] == "legacy"


def test_large_program_is_not_searched(machine: Machine) -> None:
    """A bundle that mentions the legacy client somewhere is not taken for it."""
    text = "#!/usr/bin/env node\nconst legacy = 'kimi_cli';\n" + "//\n" * 100_000
    assert machine.one(machine.program(machine.root / "bin", text)).kind == "unknown"


@elsewhere
@pytest.mark.parametrize(("name", "version"), [("kimi-code", "1.0.11"), ("@somebody/agent", None)])
def test_unrelated_package(machine: Machine, name: str, version: str | None) -> None:
    """Another package of npm that has a program of the name is named."""
    program = machine.package(machine.root / "lib/node_modules", version, name, "index.js")
    machine.link(machine.root / "bin/kimi", program)
    assert told(machine.one(machine.root / "bin")) == ("unrelated", version, name)


def test_project_around_a_script_is_no_package(machine: Machine) -> None:
    """A package.json above a script that is not part of it says nothing about the script."""
    machine.file(machine.user / "package.json", '{"name": "kimi-notes", "version": "1.0.0"}')
    folder = machine.program(machine.user / "bin", "#!/bin/sh\n")
    assert told(machine.one(folder)) == ("unknown", None, "unknown")
    assert told(machine.find(machine.native("2.1.0"))[0]) == ("client", "2.1.0", "native")


# --- which one a shell starts --------------------------------------------------------------


def test_order_is_that_of_path(machine: Machine) -> None:
    """Copies come in the order of PATH, each once; the client in use is the first client."""
    legacy = machine.program(machine.root / "legacy", LEGACY)
    old = machine.npm(machine.root / "old", "0.20.0")
    new = machine.npm(machine.root / "new", "2.1.0")
    machine.native("0.38.0")
    found = machine.find(legacy, old, new, old, legacy)
    assert [(install.version, install.on_path) for install in found] == [
        (None, 0),
        ("0.20.0", 1),
        ("2.1.0", 2),
        ("0.38.0", None),
    ]
    in_use = client_in_use(found)
    assert in_use is not None
    assert in_use.version == "0.20.0"


def test_client_off_path_is_used_where_there_is_no_other(machine: Machine) -> None:
    """With nothing but the legacy client on PATH, the copy in a usual place counts."""
    legacy = machine.program(machine.root / "legacy", LEGACY)
    machine.native("0.38.0")
    in_use = client_in_use(machine.find(legacy))
    assert in_use is not None
    assert in_use.version == "0.38.0"


@elsewhere
def test_two_ways_to_one_copy(machine: Machine) -> None:
    """A folder and a link to it, or two launchers of one package, are one copy."""
    folder = machine.npm(machine.root / "prefix")
    machine.link(machine.root / "link", folder)
    shell = f'#!/bin/sh\nexec node "$basedir/../prefix/lib/node_modules/{PACKAGE}/dist/main.mjs"\n'
    other = machine.file(machine.root / "other/kimi", shell).parent
    assert machine.one(machine.root / "link", folder, other).path == machine.root / "link/kimi"


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode there")
def test_file_that_cannot_be_started_is_skipped(machine: Machine) -> None:
    """A shell goes on to the next folder when `kimi` is not executable, and so do we."""
    machine.file(machine.root / "first/kimi", LEGACY, mode=0o644)
    (machine.root / "second/kimi").mkdir(parents=True)
    machine.link(machine.root / "third/kimi", machine.root / "gone")
    machine.link(machine.root / "fourth/kimi", "kimi")
    good = machine.npm(machine.root / "prefix")
    folders = [machine.root / name for name in ("first", "second", "third", "fourth", "missing")]
    assert machine.one(*folders, good).on_path == 5


@pytest.mark.parametrize("version", [None, "", "unknown", "1.0.0-next.3"])
def test_version_is_passed_on_as_it_is(machine: Machine, version: str | None) -> None:
    """A version that means nothing to us is told all the same; none is None."""
    assert machine.one(machine.npm(machine.root / "prefix", version)).version == (version or None)


@pytest.mark.parametrize("text", ["", "[1]", '{"name": 3}', "{", "\udcff"])
def test_broken_package(machine: Machine, text: str) -> None:
    """A package.json that says nothing leaves a program that nobody knows."""
    folder = machine.npm(machine.root / "prefix")
    (package,) = (machine.root / "prefix").rglob("package.json")
    package.write_bytes(text.encode(errors="surrogateescape"))
    found = machine.one(folder)
    # On Windows the launcher names what it starts.
    assert found.kind == ("client" if sys.platform == "win32" else "unknown")
    assert found.version is None


@pytest.mark.skipif(sys.platform == "win32", reason="PATH is read otherwise there")
def test_path_is_read_as_a_shell_does(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty and relative parts count from the working directory, and quotes are letters."""
    folder = machine.npm(machine.root / "prefix")
    monkeypatch.chdir(folder)
    assert machine.one("", "/x").path == folder / "kimi"
    monkeypatch.chdir(machine.root)
    assert machine.one("prefix/bin").path == folder / "kimi"
    assert machine.find(f'"{folder}"') == []
    assert machine.find("x" * 5000, "/dev/null", folder)[0].on_path == 2


def test_path_on_windows(machine: Machine, windows: None) -> None:
    """There semicolons part the folders, quotes may surround them, empty ones count nothing."""
    folder = machine.root / "npm files"
    machine.package(folder / "node_modules")
    machine.launcher(folder / "kimi.cmd", "npm.cmd")
    machine.launcher(folder / "kimi", "npm.sh")
    install = machine.one("", f'"{folder}"', "C:\\Windows", separator=";")
    assert told(install) == ("client", "2.1.0", "npm")
    assert (install.path.name, install.on_path) == ("kimi.cmd", 0)


@pytest.mark.parametrize(
    ("pathext", "names"),
    [
        pytest.param(None, ["kimi.exe", "kimi.cmd"], id="unset"),
        pytest.param("", ["kimi.exe", "kimi.cmd"], id="empty"),
        pytest.param(".CMD;.EXE;;.CMD", ["kimi.cmd", "kimi.exe"], id="own order"),
        pytest.param(".COM", [], id="neither"),
    ],
)
def test_pathext_says_which_program_starts(
    machine: Machine, windows: None, pathext: str | None, names: list[str]
) -> None:
    """`PATHEXT` tells what is a program, and which of two in one folder comes first."""
    folder = machine.root / "programs"
    machine.file(folder / "kimi.exe", "MZ")
    machine.file(folder / "kimi.cmd", "@echo off\r\n")
    machine.file(folder / "kimi.txt", "")
    env = {} if pathext is None else {"PATHEXT": pathext}
    assert [i.path.name for i in machine.find(folder, separator=";", **env)] == names


@pytest.mark.parametrize(
    ("variable", "below"),
    [("APPDATA", "npm"), ("LOCALAPPDATA", "pnpm"), ("LOCALAPPDATA", "pnpm/bin")],
)
def test_usual_places_on_windows(
    machine: Machine, windows: None, variable: str, below: str
) -> None:
    """The folders of npm and pnpm are looked into when they are not on PATH."""
    folder = machine.root / "data" / below
    machine.package(folder / "node_modules")
    machine.launcher(folder / "kimi.cmd", "npm.cmd")
    install = machine.one(**{variable: str(machine.root / "data")})
    assert (install.kind, install.on_path) == ("client", None)


def test_windows_native_binary(machine: Machine, windows: None) -> None:
    """The single binary lies under `%USERPROFILE%` as `kimi.exe`."""
    machine.file(machine.home.path / "bin/kimi.exe", "MZ")
    assert told(machine.one()) == ("client", None, "native")


# --- manners -------------------------------------------------------------------------------


@symlinks
def test_loops_and_an_unknown_user_do_no_harm(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that is a loop of symlinks, or a user without a home, is no crash."""
    folder = machine.npm(machine.root / "prefix")
    machine.link(machine.home.path, machine.home.path)
    assert machine.one(folder).version == "2.1.0"
    if sys.platform != "win32":
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
        found = installs.find({"PATH": str(folder)}, Home(machine.root, "--home"))
        assert found[0].version == "2.1.0"


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode there")
def test_unreadable_folders_are_passed_over() -> None:
    """A folder of PATH and a usual place that may not be read are as good as empty."""
    with open_folder() as root:
        machine = Machine(root)
        hidden = machine.npm(machine.root / "hidden", "0.20.0")
        machine.npm(machine.user / ".nvm/versions/node/v24.1.0", "0.25.0")
        seen = machine.npm(machine.root / "seen")
        closed = (machine.root / "hidden", machine.user / ".nvm")
        for folder in closed:
            folder.chmod(0)
        found = as_nobody(lambda: [(i.version, i.on_path) for i in machine.find(hidden, seen)])
        for folder in closed:
            folder.chmod(0o755)
    assert found == [("2.1.0", 1)]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_odd_places_hide_no_copy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is gone, and a name too long for the system, are passed over."""
    folder = machine.npm(machine.root / "prefix")
    (machine.root / "gone").mkdir()
    monkeypatch.chdir(machine.root / "gone")
    (machine.root / "gone").rmdir()
    found = machine.find("", "relative", folder, HOME="/" + "x" * 5000, FNM_DIR="y" * 5000)
    assert [install.on_path for install in found] == [2]


NODE = "node.exe" if sys.platform == "win32" else "node"
HEADER = (
    "#define NODE_MAJOR_VERSION {}\n#define NODE_MINOR_VERSION {}\n#define NODE_PATCH_VERSION {}\n"
)


def with_header(machine: Machine, version: str) -> Path:
    """Install a Node as its makers, nvm and most others do, and return its folder for PATH."""
    prefix = machine.root / f"node-{version}"
    text = HEADER.format(*version.split(".")) + "#define NODE_MODULE_VERSION 115\n"
    machine.file(prefix / "include/node/node_version.h", text)
    return machine.file(prefix / "bin" / NODE, "").parent


def alone(machine: Machine, version: str) -> Path:
    """Install a Node as on Windows, without anything beside it, and return its folder."""
    far = "\0" * (1024 * 1024 - 50)  # the address lies across two blocks of what is read
    text = f"{far}https://nodejs.org/download/release/v{version}/node-v{version}.tar.gz\0"
    return machine.file(machine.root / f"alone-{version}" / NODE, text).parent


def nameless(machine: Machine, _: str) -> Path:
    """Install a Node that does not say which one it is, as some distributions build it."""
    return machine.file(machine.root / "usr/bin" / NODE, "\x7fELF").parent


def npm_with_engines(machine: Machine) -> Path:
    """Install the client as published, with a word about Node, and return its folder."""
    folder = machine.npm(machine.root / "npm")
    (package,) = folder.parent.rglob("package.json")
    data = json.loads(package.read_text()) | {"engines": {"node": ">=22.19.0"}}
    package.write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize(
    ("install", "told"), [(with_header, "20.19.2"), (alone, "20.19.2"), (nameless, None)]
)
def test_node_tells_its_version(
    machine: Machine, install: Callable[[Machine, str], Path], told: str | None
) -> None:
    """By a file beside it, or by the address that is built into it; else nothing is claimed."""
    path = (npm_with_engines(machine), install(machine, "20.19.2"), with_header(machine, "18.1.0"))
    node = installs.node_of(machine.one(*path), {"PATH": os.pathsep.join(map(str, path))})
    assert node is not None
    found = installs.version_of(node)
    assert (str(found) if found else None) == told


def test_node_is_the_one_that_the_launcher_would_start(machine: Machine) -> None:
    """That is the first on PATH, but a launcher that is a script looks beside itself before."""
    folder, node = npm_with_engines(machine), with_header(machine, "22.1.0")
    beside = machine.file(folder / NODE, "nodejs.org/download/release/v24.0.0/")
    env = {"PATH": os.pathsep.join(map(str, (node, folder)))}
    beside_it, on_path = folder / NODE, node / NODE
    found = installs.node_of(machine.one(node, folder), env)
    assert found == (beside_it if sys.platform == "win32" else on_path)
    # Whoever starts a copy that is not on PATH has its Node there, or lies beside it.
    away = machine.one(folder)._replace(on_path=None)
    assert installs.node_of(away, {"PATH": str(node)}) == beside_it
    beside.unlink()
    assert installs.node_of(away, {"PATH": str(node)}) == on_path
    assert installs.node_of(away, {"PATH": str(machine.root)}) is None


def test_a_copy_that_brings_its_own_node_takes_none(machine: Machine) -> None:
    """As the single binary does; and a package that asks for no Node may start on any."""
    node = with_header(machine, "18.1.0")
    for folder in (machine.native("2.1.0"), machine.npm(machine.root / "fork")):
        env = {"PATH": os.pathsep.join(map(str, (folder, node)))}
        found = [i for i in machine.find(folder, node) if i.path.parent == folder]
        assert [installs.node_of(install, env) for install in found] == [None]


# Notes what is opened and started from then on.
_WATCHED = """
import sys
from pathlib import Path
from kimifix.client import installs
from kimifix.client.home import Home

opened, started = [], []
STARTING = ("subprocess", "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket")

def note(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    elif event.startswith(STARTING):
        started.append(event)

sys.addaudithook(note)
root, user, path = sys.argv[1:]
installs.find({"PATH": path, "HOME": user}, Home(Path(user, ".kimi-code"), "default"))
print(len([name for name in opened if name.startswith(root)]), started, "subprocess" in sys.modules)
"""


def test_nothing_is_started_and_little_is_read(machine: Machine) -> None:
    """Finding starts no process, and opens only what is called `kimi` or lies beside it."""
    folder = machine.npm(machine.root / "prefix")
    machine.native("2.1.0")
    machine.file(machine.user / ".nvm/versions/node/v24.1.0/bin/node", "")
    many = [machine.root / f"folder-{number}" for number in range(200)]
    for empty in many:
        machine.file(empty / "node", "")
    path = os.pathsep.join(map(str, [*many, folder]))
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, str(machine.root), str(machine.user), path],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    opened, _, rest = done.stdout.strip().partition(" ")
    assert rest == "[] False"
    assert 0 < int(opened) < 20
