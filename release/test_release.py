"""What `release/make.py` has made: `dist/` and `build/`, as users get them.

It needs these files, so it is no part of the ordinary tests: `.ci/run` makes them first.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest
from pyz import make_pyz
from support.configs import install_client, sign_in, write_config
from wheels import address, metadata, sha256

import kimifix

ROOT = Path(__file__).parents[1]
PYZ, FORMULA, MANIFEST = (ROOT / "build" / f"kimifix.{kind}" for kind in ("pyz", "rb", "json"))
if not MANIFEST.is_file():
    pytest.exit("there is nothing to test yet: python release/make.py", returncode=1)
(WHEEL,) = (ROOT / "dist").glob("*.whl")
(SDIST,) = (ROOT / "dist").glob("*.tar.gz")
DEPENDENCIES = sorted(path for path in (ROOT / "build/wheels").iterdir() if path.name != WHEEL.name)
VERSION = f"kimifix {kimifix.__version__}\n"


def run(
    *arguments: str | Path, env: Mapping[str, str], code: int = 0, python: str = sys.executable
) -> str:
    """Run Python, with nothing but the standard library and ``env``, and return its stdout."""
    done = subprocess.run(
        [python, "-I", "-S", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=env,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """An environment that has nothing but a home folder of its own, to keep that of the tester."""
    return {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}


def test_archives_hold_one_date() -> None:
    """Every file in sdist and wheel bears one date, readable modes, and nobody's name."""
    with tarfile.open(SDIST) as archive:
        members = archive.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, "", "")}
    assert len({m.mtime for m in members}) == 1
    with ZipFile(WHEEL) as archive:
        entries = archive.infolist()
    assert len({entry.date_time for entry in entries}) == 1
    assert {stat.S_IMODE(entry.external_attr >> 16) for entry in entries} <= {0o644, 0o664}


def test_one_set_of_wheels_serves_every_system() -> None:
    """No package asks for another by system or version of Python; all run on each of them."""
    names = {metadata(path)["Name"] for path in DEPENDENCIES}
    assert names == {"certifi", "click", "platformdirs", "tomlkit"}
    required = [
        line for path in DEPENDENCIES for line in metadata(path).get_all("Requires-Dist", [])
    ]
    assert [line for line in required if "extra ==" not in line] == []


def test_address_is_where_pypi_keeps_the_file(tmp_path: Path) -> None:
    """The URL of a file is made of its bytes; this one is that of an empty file."""
    empty = tmp_path / "empty"
    empty.touch()
    assert address(empty) == (
        "https://files.pythonhosted.org/packages/0e/57/"
        "51c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8/empty"
    )


def test_zipapp_is_reproducible(tmp_path: Path) -> None:
    """The same wheels make the same bytes, whenever and in whatever order."""
    make_pyz([*reversed(DEPENDENCIES), WHEEL], tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == PYZ.read_bytes()


def test_zipapp_can_be_started_by_name(user: dict[str, str]) -> None:
    """The file is executable, and takes the `python3` of the path."""
    env = {**user, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run([PYZ, "--version"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == VERSION


def test_zipapp_looks_round_in_an_empty_environment(tmp_path: Path) -> None:
    """Without a single variable `doctor` and `revert` say what there is, and write nothing."""
    out = run(PYZ, "doctor", "--home", tmp_path, "--json", env={}, code=1)
    assert json.loads(out)["command"] == "doctor"
    out = run(PYZ, "revert", "--home", tmp_path, "--json", env={})
    assert json.loads(out)["status"] == "nothing"
    assert list(tmp_path.iterdir()) == []


def test_zipapp_tries_itself(user: dict[str, str]) -> None:
    """`apply --sandbox` writes the change into a copy, on a machine that has nothing."""
    out = json.loads(run(PYZ, "apply", "--sandbox", "--yes", "--json", env=user))
    config = Path(out["config"])
    assert "[providers.kimifix]" in config.read_text(encoding="utf-8")
    (step,) = out["next"]  # works when typed, though no shell knows kimifix by its name
    subprocess.run(["/bin/sh", "-c", f"{step} --yes"], env=user, check=True)
    assert "[providers.kimifix]" not in config.read_text(encoding="utf-8")


def test_zipapp_applies_and_reverts(user: dict[str, str], tmp_path: Path) -> None:
    """All three verbs work on a real config, and in the end it has its old bytes."""
    home = tmp_path / ".kimi-code"
    home.mkdir()
    sign_in(home)
    config = write_config(home)
    env = {**user, "PATH": str(install_client(tmp_path / "npm"))}
    before = config.read_bytes()
    run(PYZ, "apply", "--yes", env=env)
    assert config.read_bytes() != before
    findings = json.loads(run(PYZ, "doctor", "--json", env=env))["findings"]
    assert {f["status"] for f in findings if f["check"] == "patch"} == {"ok"}
    run(PYZ, "revert", "--yes", env=env)
    assert config.read_bytes() == before


def test_zipapp_finds_its_data(user: dict[str, str]) -> None:
    """The catalogue of answers, the guard and the certificates are read from inside the archive."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from kimifix.server.answers import classify; print(classify(500, None, None).verdict)\n"
        "import pkgutil; print(len(pkgutil.get_data('kimifix.client', 'guard.cjs')) > 0)\n"
        "from kimifix.server.transport import _tls_context\n"
        "print(len(_tls_context({}).get_ca_certs()) > 100)"
    )
    assert run("-c", program, PYZ, env=user) == "server\nTrue\nTrue\n"


def test_zipapp_speaks_chinese(user: dict[str, str]) -> None:
    """The compiled catalogue is in the wheel, and is read from inside the archive."""
    env = {**user, "KIMIFIX_LANG": "zh", "PYTHONIOENCODING": "utf-8"}
    assert run(PYZ, "--help", env=env).startswith("用法")


def test_formula_names_the_files(user: dict[str, str]) -> None:
    """The formula has the URL and the checksum of the sdist and of every dependency, in pairs."""
    pairs = re.findall(r'^ +url "(.+)"\n +sha256 "(.+)"$', FORMULA.read_text(), re.MULTILINE)
    assert pairs == [(address(path), sha256(path)) for path in (SDIST, *DEPENDENCIES)]
    names = re.findall(r'^  resource "(.+)" do$', FORMULA.read_text(), re.MULTILINE)
    assert names == [metadata(path)["Name"] for path in DEPENDENCIES]


def test_formula_obeys_the_rules_of_homebrew() -> None:
    """The description is short and plain, the wheels are of the kind that Homebrew installs."""
    formula = FORMULA.read_text(encoding="utf-8")
    (description,) = re.findall(r'^  desc "([A-Z].*[^.])"$', formula, re.MULTILINE)
    assert len(description) <= 80
    assert "kimifix" not in description.lower()
    # The pattern by which Homebrew's language/python.rb knows a wheel that it can install.
    urls = re.findall(r'^    url "(.+)"$', formula, re.MULTILINE)
    assert [url for url in urls if not re.search(r"[.-]py3[^-]*-none-any.whl$", url)] == []
    assert re.search(r'^  depends_on "python@3\.\d+"$', formula, re.MULTILINE)


def test_formula_is_ruby() -> None:
    """Every block is closed, no placeholder is left; where Ruby is installed, it agrees."""
    formula = FORMULA.read_text(encoding="utf-8")
    opened = re.findall(r"^ *(?:class|def) |\bdo$", formula, re.MULTILINE)
    assert (
        len(opened) == len(re.findall(r"^ *end$", formula, re.MULTILINE)) == 3 + len(DEPENDENCIES)
    )
    assert re.findall(r"(?<!#)\{[a-z_0-9]+\}", formula) == []
    if ruby := shutil.which("ruby"):
        subprocess.run([ruby, "-c", FORMULA], check=True, capture_output=True)


def test_manifest_has_the_fields_of_scoop() -> None:
    """The manifest has the fields of Scoop's schema, and a hash for each URL."""
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    known = {"version", "description", "homepage", "license", "depends", "url", "hash"}
    assert set(manifest) == known | {"pre_install", "bin"}
    assert manifest["version"] == kimifix.__version__
    assert manifest["license"] == "MIT"
    files = zip(manifest["url"], manifest["hash"], strict=True)
    assert [(url.partition("#/")[0], digest) for url, digest in files] == [
        (address(path), sha256(path)) for path in (WHEEL, *DEPENDENCIES)
    ]
    assert all(url.endswith(".zip") for url in manifest["url"])


def test_manifest_installs_what_runs(user: dict[str, str], tmp_path: Path) -> None:
    """What Scoop does with the manifest, unpack and write one line, gives a program that runs."""
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    for path in (WHEEL, *DEPENDENCIES):
        ZipFile(path).extractall(tmp_path / "app")
    written = re.fullmatch(r'Set-Content "\$dir\\(.+?)" "(.+)"', manifest["pre_install"])
    assert written
    ((script, name),) = manifest["bin"]
    assert (script, name) == (written[1], "kimifix")
    program = tmp_path / "app" / script
    program.write_text(written[2], encoding="utf-8")
    # Not isolated: like the interpreter that Scoop calls, it finds what lies beside the script.
    done = subprocess.run(
        [sys.executable, "-S", program, "--version"],
        env=user,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == VERSION
