"""`kimifix doctor` as a process, on healthy and broken machines."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.command import START, Kimifix, Result
from support.configs import LOGGED_IN, install_client, sign_in, slot_at, write_config
from support.platforms import posix, symlinks

from kimifix.client.home import Home
from kimifix.doctor import look
from kimifix.doctor.client import check_client
from kimifix.doctor.finding import Finding
from kimifix.errors import ConfigError, KimifixError
from kimifix.machine import Machine

KEY = "sk-kimi-not-a-real-key-0123456789"
MOVED = slot_at("https://api.kimi.com/coding/v1", "https://auth.example")
ORDER = [
    "client",
    "other-copies",
    "running",
    "home",
    "config",
    "config-mode",
    "login",
    "environment",
    "default-model",
    "managed-headers",
    "identity",
    "services",
    "look-alikes",
    "patch",
    "receipt",
    "recent-errors",
    "probe",
    "capture",
    "verify",
]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kimi-code 2.1.0, which is on PATH."""
    programs = install_client(tmp_path / "npm")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")
    return programs


@pytest.fixture
def config(home: Path, client: Path) -> Path:
    """The config of a signed-in client."""
    sign_in(home)
    return write_config(home)


def findings(result: Result) -> dict[str, dict[str, Any]]:
    """Return the findings by check."""
    return {finding["check"]: finding for finding in result.json["findings"]}


def test_healthy_machine_has_nothing_to_complain_about(kimifix: Kimifix, config: Path) -> None:
    """A signed-in client without patch gives no warning, and leads to --probe."""
    result = kimifix("doctor", "--json")
    assert result.code == 0
    assert {finding["status"] for finding in findings(result).values()} <= {"ok", "info", "skipped"}
    assert result.json["next"] == ["kimifix doctor --probe"]


def test_json_is_pinned(kimifix: Kimifix, config: Path) -> None:
    """The order of checks and their statuses are a promise to programs."""
    result = kimifix("doctor", "--json").json
    assert [finding["check"] for finding in result["findings"]] == ORDER
    for finding in result["findings"]:
        assert finding["status"] in ("ok", "info", "warning", "error", "skipped")


def test_doctor_writes_nothing(kimifix: Kimifix, config: Path, tmp_path: Path) -> None:
    """Not a file is made or changed, neither in the home nor in the state folder."""
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    kimifix("doctor")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_text_fits_eighty_columns(kimifix: Kimifix, config: Path) -> None:
    """No line of ordinary words is wider than a terminal of 80 columns."""
    lines = kimifix("doctor", "--verbose").out.splitlines()
    too_wide = [line for line in lines if len(line) > 80 and " " in line[26:].strip()]
    assert too_wide == []


def no_config(home: Path) -> None:
    """Leave a home without config."""


def empty_config(home: Path) -> None:
    """Write an empty config."""
    write_config(home, "")


def broken_toml(home: Path) -> None:
    """Write a config with an error in line 3."""
    write_config(home, 'a = 1\nb = 2\nc = "open\n')


def not_utf8(home: Path) -> None:
    """Write bytes that are no UTF-8 into line 2."""
    (home / "config.toml").write_bytes(b"a = 1\nb = '\xff'\n")


def with_bom(home: Path) -> None:
    """Write a config with a byte order mark."""
    write_config(home, "\ufeff" + LOGGED_IN)
    sign_in(home)


def folder_as_config(home: Path) -> None:
    """Make the config a folder."""
    (home / "config.toml").mkdir()


def dangling_symlink(home: Path) -> None:
    """Make the config a symlink to nowhere."""
    (home / "config.toml").symlink_to(home / "gone.toml")


def signed_out(home: Path) -> None:
    """Leave a config whose login has no file."""
    write_config(home)


def expired_without_renewal(home: Path) -> None:
    """Leave an expired login without a refresh token."""
    write_config(home)
    path = sign_in(home, expires_at=1000)
    data = json.loads(path.read_text())
    del data["refresh_token"]
    path.write_text(json.dumps(data))


def garbage_login(home: Path) -> None:
    """Leave a credentials file that is no JSON."""
    write_config(home)
    sign_in(home).write_text("{oops")


def key_for_everyone(home: Path) -> None:
    """Leave a key in a config that everyone can read."""
    write_config(home, LOGGED_IN + f'[providers.other]\ntype = "openai"\napi_key = "{KEY}"\n')
    sign_in(home)


def type_that_login_refuses(home: Path) -> None:
    """Have a provider of a type that `kimi login` does not know, unlike the rest of 2.1.0."""
    write_config(home, LOGGED_IN + '[providers.other]\ntype = "morse"\n')
    sign_in(home)


def header_on_managed(home: Path) -> None:
    """Write the header where it does not last."""
    text = LOGGED_IN.replace(
        'api_key = ""\nbase', 'api_key = ""\ncustom_headers = { X-Msh-Platform = "x" }\nbase', 1
    )
    write_config(home, text)
    sign_in(home)


def dangling_default(home: Path) -> None:
    """Let the default name an alias that does not exist."""
    write_config(home, LOGGED_IN.replace('"kimi-code/kimi-for-coding"', '"gone"', 1))
    sign_in(home)


@pytest.mark.parametrize(
    ("breakage", "check", "status", "message", "hint"),
    [
        (no_config, "config", "error", "there is no config", "sign in"),
        (empty_config, "config", "warning", "is empty", "kimi login"),
        (broken_toml, "config", "error", "line 3, column 10", "mend this line"),
        (not_utf8, "config", "error", "line 2", "UTF-8"),
        (with_bom, "config", "warning", "byte order mark", "without BOM"),
        (type_that_login_refuses, "config", "warning", "`kimi login` refuses the", "mend it"),
        (folder_as_config, "config", "error", "a folder", None),
        pytest.param(
            *(dangling_symlink, "config", "error", "does not exist", "symlink"), marks=symlinks
        ),
        (signed_out, "login", "error", "not signed in", "kimi login"),
        (expired_without_renewal, "login", "error", "expired", "kimi login"),
        (garbage_login, "login", "error", "not valid JSON", "kimi login"),
        pytest.param(
            *(key_for_everyone, "config-mode", "warning", "others can read it", "chmod 600"),
            marks=posix("the folder says who can read a file"),
        ),
        (header_on_managed, "managed-headers", "warning", "do not last", "kimifix apply"),
        (dangling_default, "default-model", "error", "does not exist", "/model"),
    ],
)
def test_each_breakage_is_named_with_its_remedy(
    kimifix: Kimifix,
    home: Path,
    client: Path,
    breakage: Callable[[Path], None],
    check: str,
    status: str,
    message: str,
    hint: str | None,
) -> None:
    """The check in question says what is wrong and what to do; all others run, too."""
    breakage(home)
    result = kimifix("doctor", "--json")
    assert [finding["check"] for finding in result.json["findings"]] == ORDER
    finding = findings(result)[check]
    assert finding["status"] == status
    assert message in finding["message"]
    assert hint is None or hint in finding["hint"]
    assert result.code == (1 if status == "error" or breakage is empty_config else 0)
    if status == "error":
        assert message in result.json["verdict"]


@pytest.mark.parametrize(
    ("breakage", "hint"),
    [
        (type_that_login_refuses, "mend it before you sign in"),
        (with_bom, "save it as UTF-8 without BOM"),
    ],
)
def test_a_login_that_would_be_refused_is_not_named(
    kimifix: Kimifix, home: Path, client: Path, breakage: Callable[[Path], None], hint: str
) -> None:
    """What `next:` says works when typed, and `kimi login` would refuse this config."""
    breakage(home)
    (home / "credentials" / "kimi-code.json").unlink()
    result = kimifix("doctor", "--json")
    assert "not signed in" in result.json["verdict"]
    assert findings(result)["config"]["hint"] == hint
    assert result.json["next"] == []


def ask_for_node(programs: Path) -> None:
    """Have the client in this folder say that it needs a Node, as the published one does."""
    (package,) = programs.parent.rglob("package.json")
    package.write_text(json.dumps(json.loads(package.read_text()) | {"engines": {}}))


def test_node_that_is_too_old_is_what_counts(
    kimifix: Kimifix, config: Path, client: Path, tmp_path: Path
) -> None:
    """Whatever else is in order: the client does not start, and nothing typed here mends that."""
    ask_for_node(client)
    node = tmp_path / ("node.exe" if sys.platform == "win32" else "node")
    node.write_text("https://nodejs.org/download/release/v22.14.0/node-v22.14.0.tar.gz")
    node.chmod(0o755)
    path = os.pathsep.join(map(str, (client, tmp_path)))
    result = kimifix("doctor", "--json", env={"PATH": path})
    assert result.code == 1
    assert result.json["verdict"].startswith("Node 22.14.0 is too old")
    assert result.json["next"] == []
    assert findings(result)["client"]["data"]["node"] == "22.14.0"
    node.write_text(node.read_text().replace("v22.14.0/", "v22.15.0/"))
    assert kimifix("doctor", env={"PATH": path}).code == 0
    node.unlink()
    result = kimifix("doctor", "--json", env={"PATH": path})
    assert (result.code, result.json["next"]) == (1, [])
    assert "no Node is on PATH" in result.json["verdict"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sessions", "cannot write here, and ends"),
        ("workspaces.json", "cannot read this, and ends"),  # as a crash may leave it
    ],
)
def test_what_a_session_needs_is_what_counts(
    kimifix: Kimifix, config: Path, name: str, told: str
) -> None:
    """The client ends before it asks the server; the other checks are there all the same."""
    (config.parent / name).write_text("")
    result = kimifix("doctor", "--json")
    assert result.code == 1
    assert told in result.json["verdict"]
    assert "move it away" in result.json["advice"]
    assert findings(result)["config"]["status"] == "ok"


def test_a_lost_preload_is_what_counts(kimifix: Kimifix, config: Path, tmp_path: Path) -> None:
    """Node starts nothing then; and the path is whole, though it holds a blank."""
    gone = tmp_path / "my editor" / "bootloader.js"
    quoted = str(gone).replace("\\", "\\\\")
    result = kimifix("doctor", "--json", env={"NODE_OPTIONS": f'--require "{quoted}"'})
    assert result.code == 1
    assert result.json["verdict"].endswith(f"`{gone}`")
    assert "unset NODE_OPTIONS" in result.json["advice"]


def test_windows_without_git_bash_is_what_counts(
    config: Path, client: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kimi-code ends there, and says where to get it; so does doctor."""
    env = {name: value for name, value in os.environ.items() if name != "KIMI_SHELL_PATH"}
    machine = Machine(Home(config.parent, "default"), {**env, "PATH": str(client)})
    assert machine.install is not None  # before this is another system
    monkeypatch.setattr("kimifix.client.shell.sys", SimpleNamespace(platform="win32"))
    finding = check_client(machine)
    assert finding.status == "error"
    assert "without Git Bash" in finding.message
    assert "KIMI_SHELL_PATH" in str(finding.hint)


def test_says_that_kimi_code_is_newer_than_what_was_tried(
    kimifix: Kimifix, home: Path, tmp_path: Path
) -> None:
    """Nobody knows what the next version sends; the user is told how to see that it works."""
    write_config(home)
    path = {"PATH": str(install_client(tmp_path / "npm", "99.0.0"))}
    client = findings(kimifix("doctor", "--json", env=path))["client"]
    assert client["status"] == "info"
    assert "newer than 2.1.0" in client["message"]
    assert "`kimifix doctor --verify`" in client["hint"]


@posix("a program is no link")
@pytest.mark.parametrize("beside", ["nothing", "the legacy client"])
def test_what_to_type_starts_kimi_code_and_nothing_else(
    kimifix: Kimifix, home: Path, tmp_path: Path, beside: str
) -> None:
    """Where it is not on PATH, or another program of this name comes first, its path does."""
    write_config(home)
    kimi = home.parent / ".local" / "bin" / "kimi"
    kimi.parent.mkdir(parents=True)
    kimi.symlink_to(install_client(tmp_path / "npm") / "kimi")
    first = tmp_path / "first"
    first.mkdir()
    if beside == "the legacy client":
        (first / "kimi").write_text("#!/usr/bin/python3\nfrom kimi_cli.__main__ import main\n")
        (first / "kimi").chmod(0o755)
    path = [first] if beside == "nothing" else [first, kimi.parent]
    result = kimifix("doctor", "--json", env={"PATH": os.pathsep.join(map(str, path))})
    assert result.json["next"] == [f"{kimi} login"]
    result = kimifix("doctor", "--json", env={"PATH": str(kimi.parent)})
    assert result.json["next"] == ["kimi login"]


@posix("a program is no link")
def test_what_to_type_starts_kimi_code_on_its_own_node(
    kimifix: Kimifix, home: Path, tmp_path: Path
) -> None:
    """As nvm leaves it, with a Node beside it; on PATH there may be none, or an old one."""
    write_config(home)
    version = home.parent / ".nvm" / "versions" / "node" / "v24.0.0"
    kimi = install_client(version) / "kimi"
    ask_for_node(kimi.parent)
    node = kimi.with_name("node")
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    result = kimifix("doctor", "--json", env={"PATH": str(tmp_path)})
    assert result.json["next"] == [f"{node} {kimi} login"]


@posix("a program is no script")
@pytest.mark.parametrize("way", ["module", "virtual environment", "uvx", "installed"])
def test_what_to_type_starts_kimifix_again(
    config: Path, client: Path, tmp_path: Path, way: str
) -> None:
    """However it was started: a shell need not find it by its name, or will not any more."""
    prefix = tmp_path / "venv"  # as far as it matters: the packages are those of the tests
    program = prefix / "bin" / "kimifix"
    program.parent.mkdir(parents=True)
    here = f"import sys; sys.prefix = {str(prefix)!r}\n"
    program.write_text(f"#!{sys.executable}\n{here if way == 'uvx' else ''}{START}\n")
    program.chmod(0o755)
    words = [sys.executable, "-m", "kimifix"] if way == "module" else [str(program)]
    usual = f"{client}:/usr/bin:/bin"
    longer = {**os.environ, "PATH": f"{program.parent}:{usual}"}
    env = longer if way in ("uvx", "installed") else {**os.environ, "PATH": usual}
    first = subprocess.run([*words, "doctor", "--json"], env=env, capture_output=True, check=False)
    (step,) = json.loads(first.stdout)["next"]
    assert step == f"{'kimifix' if way == 'installed' else shlex.join(words)} doctor --probe"
    shell = longer if way == "installed" else {**os.environ, "PATH": usual}
    command = ["/bin/sh", "-c", f"{step} --help"]
    again = subprocess.run(command, env=shell, capture_output=True, check=False)
    assert again.returncode == 0, again


def test_without_kimi_code_says_so(kimifix: Kimifix) -> None:
    """No program and no home are two errors with a remedy each."""
    result = kimifix("doctor", "--json")
    assert result.code == 1
    assert findings(result)["client"]["status"] == "error"
    assert findings(result)["home"]["status"] == "error"


def test_patch_is_complete_after_apply(kimifix: Kimifix, config: Path) -> None:
    """After `apply` the patch and the receipt are there and the identity is another."""
    kimifix("apply", "--yes")
    found = findings(kimifix("doctor", "--json"))
    assert found["patch"]["data"]["state"] == "complete"
    assert found["identity"]["data"]["platform"] == "kimi_cli"
    assert "config untouched since" in found["receipt"]["message"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        pytest.param(
            'default_model = "kimifix/', 'default_model = "kimi-code/', "moved back", id="default"
        ),
        pytest.param(
            "[providers.kimifix", "[providers.gone", "provider `kimifix` is gone", id="provider"
        ),
        pytest.param(
            'max_context_size = 262144\ncapabilities = ["thinking"',
            'max_context_size = 1\ncapabilities = ["thinking"',
            "out of date: kimifix/kimi-for-coding",
            id="out of date",
        ),
        pytest.param(
            "[services.moonshot_search]",
            '[models."kimi-code/k3"]\nprovider = "managed:kimi-code"\nmodel = "k3"\n'
            "max_context_size = 1\n\n[services.moonshot_search]",
            "missing: kimifix/k3",
            id="missing",
        ),
        pytest.param(
            'provider = "managed:kimi-code"\nmodel = "kimi-for-coding"',
            'provider = "managed:kimi-code"\nmodel = "k3"',
            "no longer offered: kimifix/kimi-for-coding",
            id="retired model",
        ),
        pytest.param(
            'key = "oauth/kimi-code"\n\n[models',
            f'key = "oauth/{MOVED}"\noauth_host = "https://auth.example"\n\n[models',
            "no longer fits",
            id="login moved",
        ),
    ],
)
def test_incomplete_patch_is_found_and_mended(
    kimifix: Kimifix, config: Path, old: str, new: str, fault: str
) -> None:
    """Each way in which a patch falls apart is named, and `apply` mends it."""
    sign_in(config.parent, slot=MOVED)
    kimifix("apply", "--yes")
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1 if "[providers" not in old else -1))
    finding = findings(kimifix("doctor", "--json"))["patch"]
    assert finding["status"] == "warning"
    assert fault in finding["message"]
    assert "kimifix apply" in finding["hint"]
    assert kimifix("apply", "--yes").code == 0
    assert findings(kimifix("doctor", "--json"))["patch"]["data"]["state"] == "complete"


def test_thinking_switched_off_is_found(kimifix: Kimifix, home: Path, config: Path) -> None:
    """Where the client has switched off the thinking that `apply` had kept on, doctor says so."""
    write_config(home, LOGGED_IN.replace("[thinking]\nenabled = true\n\n", ""))
    kimifix("apply", "--yes")
    config.write_text(config.read_text().replace("enabled = true", "enabled = false"))
    assert "thinking" in findings(kimifix("doctor", "--json"))["patch"]["message"]


def test_credential_that_the_version_cannot_use(
    kimifix: Kimifix, home: Path, config: Path, tmp_path: Path
) -> None:
    """A login that an old client cannot share makes the patch incomplete."""
    kimifix("apply", "--yes")
    old = install_client(tmp_path / "old", "0.20.1")
    found = findings(kimifix("doctor", "--json", env={"PATH": str(old)}))
    assert "0.20.1 cannot share its login" in found["patch"]["message"]
    assert found["client"]["status"] == "warning"


def test_environment_that_changes_requests_is_named(kimifix: Kimifix, config: Path) -> None:
    """Variables are named with their effect, never with their value."""
    value = "value-that-nobody-should-see"
    result = kimifix(
        "doctor", env={"KIMI_MODEL_NAME": value, "KIMI_CODE_CUSTOM_HEADERS": f"X: {value}"}
    )
    assert "KIMI_MODEL_NAME: replaces the default model" in " ".join(result.out.split())
    assert value not in result.out + result.err


def test_secrets_never_appear(kimifix: Kimifix, home: Path, client: Path) -> None:
    """Secrets in config, credentials, environment and logs reach no output, text or JSON."""
    planted = {
        "config": "sk-planted-in-config-000000",
        "header": "planted-in-header-00000000",
        "token": "planted-in-token-000000000",
        "env": "planted-in-env-00000000000",
        "log": "sk-planted-in-log-00000000",
    }
    write_config(
        home,
        LOGGED_IN
        + f'[providers.x]\ntype = "openai"\napi_key = "{planted["config"]}"\n'
        + f'custom_headers = {{ Authorization = "{planted["header"]}" }}\n',
    )
    sign_in(home, token=planted["token"])
    logs = home / "logs"
    logs.mkdir()
    (logs / "kimi-code.log").write_text(
        '2026-11-22T15:35:11.462Z ERROR startup failed  operation="run prompt"\n'
        f"  Error: provider.api_error: 403 key {planted['log']} and {planted['token']}\n"
    )
    env = {"KIMI_API_KEY": planted["env"], "KIMIFIX_API_KEY": planted["env"]}
    for arguments in (("doctor",), ("doctor", "--json"), ("apply", "--dry-run", "--json")):
        result = kimifix(*arguments, env=env)
        for place, secret in planted.items():
            assert secret not in result.out + result.err, (arguments, place)


def test_a_check_that_fails_for_a_reason_of_its_own_says_so(tmp_path: Path) -> None:
    """Only what needs a config that cannot be read is skipped for it."""
    machine = Machine(Home(tmp_path, "--home"), {})

    def check_disk(_: Machine) -> Finding:
        raise KimifixError("the folder is full", "free some space")

    def check_text(_: Machine) -> Finding:
        raise ConfigError(tmp_path, "not valid TOML")

    told = Finding("warning", "could not check: the folder is full", "free some space")
    assert look(check_disk, machine) == told
    assert look(check_text, machine).status == "skipped"


def test_a_crashing_check_hides_no_other() -> None:
    """An observation that fails unexpectedly is a warning, and no crash."""

    def check_odd(_: Machine) -> Finding:
        raise TypeError

    found = look(check_odd, Machine(Home(Path("none"), "option"), {}))
    assert (found.status, found.message) == ("warning", "could not check: TypeError")


@pytest.mark.parametrize("text", ["default_model = []", "[providers.x]\napi_key = 1"])
def test_a_value_of_another_type_is_an_error(
    kimifix: Kimifix, home: Path, client: Path, text: str
) -> None:
    """Doctor names it, the verbs that write refuse it, and nothing crashes."""
    write_config(home, text)
    result = kimifix("doctor", "--json")
    assert result.code == 1
    assert [finding["check"] for finding in result.json["findings"]] == ORDER
    found = findings(result)
    assert found["config"]["status"] == "error"
    assert " is not a string but a" in found["config"]["message"]
    assert "could not check" not in result.out
    for verb in ("apply", "revert"):
        refused = kimifix(verb, "--yes")
        assert (refused.code, "is not a string but a" in refused.err) == (1, True)


def fifo(path: Path) -> None:
    """Make a FIFO that nobody ever writes to."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """Make a link to a device that never ends."""
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    """Make a file that claims to hold a terabyte."""
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no special files")
@pytest.mark.parametrize("made", [fifo, device, sparse], ids=lambda made: made.__name__)
def test_nothing_is_waited_for_that_never_ends(
    kimifix: Kimifix, home: Path, config: Path, tmp_path: Path, made: Callable[[Path], None]
) -> None:
    """Whatever lies in place of a file that is read, all checks come to an end, and `apply` too."""
    session = "sessions/wd_a/session_b"
    (package,) = tmp_path.glob("npm/**/package.json")
    for path in (
        package,
        home / "region",
        home / "device_id",
        home / "updates/install.json",
        home / "credentials/kimi-code.json",
        home / "logs/kimi-code.log",
        home / session / "logs/kimi-code.log",
        home / session / "agents/main/wire.jsonl",
        home.parent / ".vscode/extensions/moonshot-ai.kimi-code-1/package.json",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        made(path)
    told = [finding["message"] for finding in kimifix("doctor", "--json").json["findings"]]
    assert [message for message in told if "could not check" in message] == []
    key = ("--credential", "key", "--key-env", "MY_KEY")
    assert kimifix("apply", "--dry-run", *key, env={"MY_KEY": KEY}).code == 0
