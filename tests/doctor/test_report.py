"""`doctor --report`: what it tells to people who know nothing, and what it tells nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from support import catalogue
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, slot_at, write_config
from support.platforms import posix, symlinks
from support.stub_server import Request, Stub, response, stream

from kimifix.config import routes
from kimifix.doctor import CHECKS, report
from kimifix.doctor.finding import Finding, Verdict
from kimifix.server import answers

REQUEST_ID = "0c5b2d1e-8f3a-4b6c-9d7e-0123456789ab"
# In every text of somebody's own, however it is spelled there.
MARK = "plant"


@pytest.fixture
def server() -> Iterator[Stub]:
    """A server that lets in `kimi_cli` alone, and says who it is and what it calls a request."""

    def talk(connection: socket.socket, request: Request) -> None:
        headers = {name.lower(): value for name, value in request.headers}
        asked = (f"x-request-id: {MARK}-proxy", f"x-msh-request-id: {REQUEST_ID}")
        if headers.get("x-msh-platform") == "kimi_cli":
            chunk = {"object": "chat.completion.chunk", "choices": [], "id": MARK}
            connection.sendall(response(200, stream(chunk), *asked))
            return
        told = f"{catalogue.IDENTITY.message} {MARK}ed for /home/{MARK} by {MARK}@example.test"
        body = replace(catalogue.IDENTITY, message=told).body("openai")
        connection.sendall(response(403, body, *asked))

    with Stub(talk) as stub:
        yield stub


@pytest.fixture
def locked_out(server: Stub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client that this server does not let in."""
    programs = install_client(tmp_path / MARK)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")
    slot = slot_at(server.base_url)
    sign_in(home, slot=slot)
    text = LOGGED_IN.replace("https://api.kimi.com/coding/v1", server.base_url)
    return write_config(home, text.replace("oauth/kimi-code", f"oauth/{slot}"))


def section(text: str, title: str) -> str:
    """Return what stands under a heading."""
    (found,) = (part for part in text.split("\n## ") if part.startswith(title))
    return found


# --- what it tells ---------------------------------------------------------------------------


def test_report_of_a_locked_out_machine_answers_five_questions(
    kimifix: Kimifix, locked_out: Path
) -> None:
    """What was run, asked, answered, configured and tried."""
    assert kimifix("apply", "--yes", "--platform", "kimi_code_vscode").code == 0
    result = kimifix("doctor", "--report", "--probe")
    assert (result.code, result.out.isascii()) == (1, True)
    summary = result.out.split("\n## ")[0]
    assert "kimi-code does not work: the server does not let this client in." in summary
    assert "take the header route" in summary
    assert "`kimifix doctor --report --probe`" in summary
    assert "version = 2.1.0, origin = npm" in section(result.out, "Versions")
    assert "X-Msh-Platform = kimi_code_vscode" in section(result.out, "What is configured")
    assert "state = complete, route = header" in section(result.out, "What was tried")
    rows = section(result.out, "What the server was asked").split("\n")[-8:]
    asked = [
        tuple(cell.strip() for cell in row.split("|")[2:9]) for row in rows if REQUEST_ID in row
    ]
    assert asked == [
        (
            REQUEST_ID,
            "openai",
            "kimi_code_vscode",
            "login",
            "now",
            "403",
            "access_terminated_error",
        ),
        (
            REQUEST_ID,
            "openai",
            "kimi_code_cli",
            "login",
            "revert",
            "403",
            "access_terminated_error",
        ),
        (
            REQUEST_ID,
            "anthropic",
            "kimi_code_cli",
            "login",
            "anthropic",
            "403",
            "access_terminated_error",
        ),
        (REQUEST_ID, "openai", "kimi_cli", "login", "header", "200", "none"),
    ]
    assert "only available for coding agents" in result.out


def test_errors_in_the_logs_are_told_by_kind(
    kimifix: Kimifix, locked_out: Path, home: Path
) -> None:
    """How often, when last, and what the catalogue knows of the message."""
    log = home / "logs" / "kimi-code.log"
    log.parent.mkdir()
    now = datetime.now(UTC).replace(microsecond=0)
    told = [(300, "Access terminated"), (200, "access TERMINATED, Plant"), (100, "Plant!")]
    log.write_text(
        "".join(
            f"{now - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%S.000Z} WARN  llm request failed  "
            f'errorMessage="403 {message}" statusCode=403\n'
            for ago, message in told
        )
    )
    text = kimifix("doctor", "--report").out
    last = (f"{now - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}" for ago in (100, 200))
    assert section(text, "Errors in the logs").split("\n")[-4:-1] == [
        "|---|---|---|---|---|",
        f"| {next(last)} | 403 | unknown | none | 1 |",
        f"| {next(last)} | 403 | suspended | access terminated | 2 |",
    ]


def test_recorded_requests_are_told_by_mode() -> None:
    """What goes out in print mode and for editors, and by which Node, and nothing private of it."""
    one = {
        "provider": "kimifix",
        "alias": MARK,
        "method": "POST",
        "path": "/coding/v1/chat/completions",
        "credential": "authorization",
        "refused": [f"{MARK}.example.test"],
        "node": "v24.21.0",
    }
    names = [["User-Agent", "kimi-code-cli/2.1.0"], ["X-Msh-Platform", "kimi_cli"]]
    names += [["X-Msh-Device-Name", MARK], ["X-Msh-Other", MARK]]
    agent = [["User-Agent", "OpenAI/JS 6.34.0"]]
    sent = [
        {**one, "mode": "print", "identity": names, "problem": None},
        {**one, "mode": "ACP", "identity": agent, "problem": None, "refused": []},
        {
            **one,
            "mode": "ACP",
            "provider": MARK,
            "path": f"/{MARK}",
            "identity": [],
            "problem": MARK,
        },
    ]
    text = written(capture=Finding("ok", MARK, data={"captured": sent}))
    assert section(text, "What kimi-code sent").split("\n")[-5:-1] == [
        "|---|---|---|---|---|---|---|---|---|",
        "| kimifix | print | POST | /coding/v1/chat/completions | kimi_cli | kimi-code-cli/2.1.0 "
        "| authorization | 1 | no |",
        "| kimifix | ACP | POST | /coding/v1/chat/completions | none | OpenAI/JS 6.34.0 "
        "| authorization | none | no |",
        "| (not shown) | ACP | POST | (not shown) | none | none | authorization | 1 | yes |",
    ]
    assert "Node: v24.21.0" in text
    assert MARK not in text


def written(**findings: Finding) -> str:
    """Return a report in which all but these ``findings`` say nothing."""
    names = [check.__name__.removeprefix("check_").replace("_", "-") for check in CHECKS]
    nothing = Finding("skipped", MARK)
    found = {**dict.fromkeys([*names, "probe", "capture", "verify"], nothing), **findings}
    system = {"time": "2026-11-25T12:00:00Z"}
    return report.markdown([], system, found, {}, Verdict(None, MARK, MARK), None)


# --- what it tells nobody ---------------------------------------------------------------------

PLANTED = f"""
telemetry_{MARK} = "{MARK}"
default_provider = "{MARK}"

[providers."managed:kimi-code".custom_headers]
Authorization = "Bearer {MARK}-0123456789"
X-{MARK} = "{MARK}"
X-Msh-Platform = "{MARK}"
x-MSH-platform = "{MARK}"
User-Agent = "{MARK}/1.0"

[providers.{MARK}]
type = "{MARK}"
base_url = "https://user:{MARK}@{MARK}.example.test/{MARK}?key={MARK}#{MARK}"
api_key = "sk-{MARK}-0123456789"
source = "{MARK}"
default_model = "{MARK}"

[providers."{MARK} `rm` | <b>\\n# {MARK}"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1/{MARK}"
api_key_env = "{MARK.upper()}_KEY"
{MARK} = [["{MARK}"], {{ {MARK} = "{MARK}" }}, 1979-05-27, 1.5, nan]

[providers.{MARK}2]
type = "kimi"
base_url = "https://api.kimi.com.{MARK}.test/coding/v1"
env = {{ KIMI_API_KEY = "{MARK}", {MARK.upper()} = "{MARK}" }}
oauth = {{ storage = "{MARK}", key = "oauth/{MARK}", oauth_host = "https://auth.kimi.com@{MARK}" }}

[models."{MARK}/the alias of {MARK}"]
provider = "{MARK}"
model = "{MARK}"
protocol = "{MARK}"
display_name = "{MARK}"
max_context_size = 1
capabilities = ["{MARK}"]

[secondary_model]
model = "{MARK}"
{MARK} = "{MARK}"

[services.{MARK}]
base_url = "https://{MARK}"

[services.moonshot_other]
api_key = "{MARK}"

[mcp.{MARK}]
command = "{MARK}"
"""


def plant_config(config: Path) -> None:
    """Add names, hosts, keys and headers of somebody's own."""
    text = config.read_text().replace("[thinking]", f'[thinking]\neffort = "{MARK}"\n{MARK} = 1')
    config.write_text(text + PLANTED)


def plant_home(home: Path) -> None:
    """Leave logs, a device and an installation that name somebody."""
    (home / "device_id").write_text(MARK)
    (home / "region").write_text(MARK)
    (home / "updates").mkdir()
    (home / "updates" / "install.json").write_text(json.dumps({"lastSuccess": {"version": MARK}}))
    log = home / "logs" / "kimi-code.log"
    log.parent.mkdir()
    now = datetime.now(UTC)
    log.write_text(
        f"{now:%Y-%m-%dT%H:%M:%S.000Z} WARN  llm request failed  "
        f'errorMessage="403 Access terminated for {MARK} at /home/{MARK}" statusCode=403\n'
        f"{now:%Y-%m-%dT%H:%M:%S.000Z} ERROR startup failed\n  Error: {MARK} sk-{MARK}-01234567\n"
    )


def plant_programs(folder: Path) -> str:
    """Install other programs called `kimi`, and return their folders for PATH."""
    named = folder / f"{MARK}-programs"
    old = install_client(named, f"0.38.0-{MARK}")
    other = named / "lib" / "node_modules" / f"kimi-{MARK}"
    other.mkdir()
    (other / "package.json").write_text(json.dumps({"name": f"kimi-{MARK}", "version": MARK}))
    (other / "kimi").write_text(f"#!/bin/sh\n# {MARK}\n")
    (other / "kimi").chmod(0o755)
    return f"{old}{os.pathsep}{other}"


def plant_receipts(state: Path) -> None:
    """Let the receipt name somebody where it holds text."""
    (path,) = state.rglob("receipt.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | dict.fromkeys(("time", "kimifix", "client"), MARK)))


ENVIRONMENT = {
    "HTTPS_PROXY": f"http://{MARK}:{MARK}@{MARK}.example.test:1",
    "NO_PROXY": "127.0.0.1",
    "KIMI_CODE_CUSTOM_HEADERS": f"X-{MARK}: {MARK}\nX-Msh-Device-Name: {MARK}",
    f"KIMI_MODEL_{MARK.upper()}": MARK,
    f"{MARK.upper()}_KEY": f"sk-{MARK}-0123456789",
    "KIMI_SECONDARY_MODEL": MARK,
    "KIMIFIX_API_KEY": f"sk-kimi-{MARK}-0123456789",
}


@posix("the programs are POSIX ones")
@pytest.mark.parametrize("options", [(), ("--probe",)])
def test_nothing_of_anybody_is_in_it(
    kimifix: Kimifix, locked_out: Path, home: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """No secret, user, path, host, account, alias, provider or header, wherever it was planted."""
    assert kimifix("apply", "--yes").code == 0
    plant_config(locked_out)
    plant_home(home)
    plant_receipts(kimifix.state)
    path = f"{os.environ['PATH']}{os.pathsep}{plant_programs(tmp_path)}"
    env = {**ENVIRONMENT, "PATH": path}
    text = kimifix("doctor", "--report", *options, env=env)
    told = kimifix("doctor", "--json", *options, env=env).out
    assert told.lower().count(MARK) > 20  # it was there to be found
    for private in (MARK, str(tmp_path), str(home), socket.gethostname(), "127.0.0.1", "example"):
        assert private.lower() not in text.out.lower(), private
    hidden = (
        "{type = (not shown), base_url = (not shown), api_key = (not shown), source = (not shown)"
    )
    assert hidden in text.out


@pytest.mark.parametrize(
    "value",
    [MARK, f"v1.0.0-{MARK}", f"kimi_cli\n{MARK}", -1, 1 << 20000, 1.5],
    ids=["word", "version", "lines", "negative", "huge", "float"],
)
def test_no_name_takes_any_value(value: object) -> None:
    """But for those whose values are the catalogue's own, and what is there at all."""
    for name in report._ALLOWED.keys() - {"says"}:
        assert report._told(name, value) == "(not shown)"
        assert (
            report._told(name, {name: value, MARK: value}) == f"{{{name} = (not shown) and 1 more}}"
        )
        assert MARK not in report._told(name, [value, {MARK: value}])


def test_what_kimifix_says_itself_is_allowed() -> None:
    """No verdict, problem, way, type or state of ours is taken for somebody's own."""
    for name, kind in {
        "verdict": answers.Verdict,
        "problem": answers.Problem,
        "surface": answers.Surface,
        "for": answers.Way,
        "route": routes.Route,
    }.items():
        assert {report._told(name, word) for word in get_args(kind)} == {*get_args(kind)}
    for row in catalogue.ROWS:
        assert report._told("type", row.error_type) == (row.error_type or "none")


# --- where things are broken ------------------------------------------------------------------


def unreadable(home: Path) -> None:
    """Break the config."""
    write_config(home, f'a = 1\nb = "{MARK}\n')


def missing(home: Path) -> None:
    """Take the home away."""
    shutil.rmtree(home)


def no_folder(home: Path) -> None:
    """Put a file in place of the home."""
    shutil.rmtree(home)
    home.write_text(MARK)


def odd_types(home: Path) -> None:
    """Write values of other types than the client takes."""
    write_config(home, f'default_model = ["{MARK}"]\nproviders = "{MARK}"\n')


@pytest.mark.parametrize("breakage", [unreadable, missing, no_folder, odd_types])
@pytest.mark.parametrize("options", [(), ("--probe", "--capture", "--verify")])
def test_it_is_written_where_half_of_the_checks_fail(
    kimifix: Kimifix, home: Path, breakage: Callable[[Path], None], options: tuple[str, ...]
) -> None:
    """All sections are there, and all checks, and nothing private."""
    breakage(home)
    result = kimifix("doctor", "--report", *options)
    assert result.code == 1
    assert "Traceback" not in result.err
    titles = re.findall("^## (.*)$", result.out, re.MULTILINE)
    assert titles == re.findall("^## (.*)$", written(), re.MULTILINE)
    assert len(re.findall("^[|] (ok|info|warning|error|skipped) ", result.out, re.MULTILINE)) == 19
    assert MARK not in result.out


# --- where it goes ----------------------------------------------------------------------------


def test_file_is_private_and_the_rest_is_said_as_always(
    kimifix: Kimifix, locked_out: Path, tmp_path: Path
) -> None:
    """FILE holds what stdout would, and stdout what it holds without, and where FILE is."""
    file = tmp_path / "report.md"
    result = kimifix("doctor", "--report", file)
    assert (result.code, result.err) == (0, "")
    assert result.out == kimifix("doctor").out + f"report: {file}\n"
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    printed = kimifix("doctor", "--report").out
    assert re.sub(time, "", file.read_text() + "\n") == re.sub(time, "", printed)
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    data = kimifix("doctor", "--report", file, "--json", "--yes")
    assert data.json["command"] == "doctor"


def test_file_that_is_there_stays(
    kimifix: Kimifix, locked_out: Path, tmp_path: Path, server: Stub
) -> None:
    """It takes --yes to overwrite it; without, nothing is asked before that is said."""
    file = tmp_path / "report.md"
    file.write_text("mine")
    refused = kimifix("doctor", "--report", file, "--probe")
    assert (refused.code, refused.out) == (1, "")
    assert "there is something already" in refused.err
    assert "--yes" in refused.err
    assert (file.read_text(), server.requests) == ("mine", [])
    assert kimifix("doctor", "--report", file, "--yes").code == 0
    assert file.read_text().startswith("# kimi-code")


@symlinks
def test_link_is_replaced_and_its_target_stays(
    kimifix: Kimifix, locked_out: Path, tmp_path: Path
) -> None:
    """A report lands where it was told to, and nowhere else."""
    file, target = tmp_path / "report.md", tmp_path / "target"
    target.write_text("mine")
    file.symlink_to(target)
    assert kimifix("doctor", "--report", file).code == 1
    assert kimifix("doctor", "--report", file, "--yes").code == 0
    assert (target.read_text(), file.is_symlink()) == ("mine", False)


@pytest.mark.parametrize(
    ("name", "told"),
    [("nowhere/report.md", "could not write the report"), ("user", "there is something already")],
)
def test_file_that_cannot_be_written_is_told(
    kimifix: Kimifix, locked_out: Path, tmp_path: Path, name: str, told: str
) -> None:
    """In one error, with --json too, and nothing is left behind."""
    before = sorted(tmp_path.iterdir())
    for options in ((), ("--json",)):
        result = kimifix("doctor", "--report", tmp_path / name, "--yes", *options)
        assert result.code == 1
        assert told in result.err
        assert sorted(tmp_path.iterdir()) == before
        if options:
            assert told in result.json["error"]["message"]


def test_json_and_report_do_not_share_stdout(kimifix: Kimifix) -> None:
    """With --json the report needs a FILE."""
    result = kimifix("doctor", "--report", "--json")
    assert (result.code, result.out) == (2, "")
