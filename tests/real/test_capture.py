"""What the real client sends, as the capture finds out; nobody else is asked."""

from __future__ import annotations

import pkgutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Literal

import pytest
from support import rounds
from support.clients import client
from support.machine import Machine, oldest_and_newest

from kimifix.client.capture import capture
from kimifix.client.recorder import Captured
from kimifix.config.decoy import decoy
from kimifix.config.document import Document

VERSIONS = pytest.mark.parametrize("version", ["0.38.0", "2.1.0"])
NEWEST = VERSIONS if rounds.FACTOR > 1 else pytest.mark.parametrize("version", ["2.1.0"])
BOTH = {
    "managed:kimi-code": "kimi-code/kimi-for-coding",
    "kimifix": "kimifix/kimi-for-coding",
}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def captured(
    machine: Machine, mode: Literal["print", "ACP"] = "print", **env: str
) -> dict[str, Captured]:
    """Return what the client of ``machine`` sends with its config, by provider."""
    data = tomllib.loads(machine.config.read_text())
    found = [Captured(*one, mode) for one in BOTH.items() if one[0] in data["providers"]]
    capture(
        machine.client.programs / "kimi",
        lambda url, alias: decoy(Document({**data, "default_model": alias}), url),
        found,
        env=machine.env | env,
        seconds=60,
        progress=lambda _: None,
    )
    return {one.provider: one for one in found}


def files(home: Path) -> dict[Path, bytes]:
    """Return every file of the home."""
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("version", ["2.1.0"])
def test_the_report_tells_what_each_mode_sends(machine: Machine) -> None:
    """In one table, with the Node that runs the client."""
    assert machine.kimifix("apply", "--yes", "--credential", "login").code == 0
    text = machine.kimifix("doctor", "--report", "--capture").out
    request = "POST | /coding/v1/chat/completions"
    agent = "kimi-code-cli/2.1.0"
    for row in (
        f"| managed:kimi-code | print | {request} | kimi_code_cli | {agent} |",
        f"| managed:kimi-code | ACP | {request} | none | OpenAI/JS 6.34.0 |",
        f"| kimifix | print | {request} | kimi_cli | {agent} |",
        f"| kimifix | ACP | {request} | kimi_cli | OpenAI/JS 6.34.0 |",
    ):
        assert row in text
    assert "- Node: v" in text


@VERSIONS
def test_the_header_route_is_told_from_the_managed_provider(
    machine: Machine, version: str, temporary: Path
) -> None:
    """Managed says `kimi_code_cli`, ours `kimi_cli`; the rest of the identity is the same."""
    assert machine.kimifix("apply", "--yes", "--credential", "login").code == 0
    before = files(machine.home)
    machine.server.reset()
    found = captured(machine)
    managed, own = found["managed:kimi-code"], found["kimifix"]
    assert managed.problem is None
    assert own.problem is None
    assert managed.spelled("x-msh-platform") == (("X-Msh-Platform", "kimi_code_cli"),)
    assert own.spelled("x-msh-platform") == (("X-Msh-Platform", "kimi_cli"),)
    assert managed.path == own.path == "/coding/v1/chat/completions"
    agent = (("User-Agent", f"kimi-code-cli/{version}"),)
    assert managed.spelled("user-agent") == own.spelled("user-agent") == agent
    assert managed.credential == own.credential == "authorization"
    assert managed.refused == own.refused == []
    assert machine.server.requests == []
    assert machine.server.strangers == []
    assert files(machine.home) == before
    assert not list(temporary.iterdir())


@NEWEST
def test_the_anthropic_route_is_honest(machine: Machine, version: str, temporary: Path) -> None:
    """Ours goes to `/messages` there, as `kimi_code_cli`, by another credential header."""
    options = ("--route", "anthropic", "--credential", "login")
    assert machine.kimifix("apply", "--yes", *options).code == 0
    own = captured(machine)["kimifix"]
    assert own.problem is None
    assert own.path is not None
    assert own.path.startswith("/coding/v1/messages")
    assert [value for _, value in own.spelled("x-msh-platform")] == ["kimi_code_cli"]
    assert own.credential is not None
    assert own.credential.lower() == "x-api-key"


@NEWEST
def test_another_spelling_is_told(machine: Machine, version: str, temporary: Path) -> None:
    """A header that the user spelled otherwise comes back in just that spelling."""
    assert machine.kimifix("apply", "--yes", "--credential", "login").code == 0
    text = machine.config.read_text()
    machine.config.write_text(text.replace("X-Msh-Platform", "x-msh-platform"))
    own = captured(machine)["kimifix"]
    assert ("x-msh-platform", "kimi_cli") in own.spelled("X-Msh-Platform")


@NEWEST
def test_headers_of_the_environment_are_part_of_it(
    machine: Machine, version: str, temporary: Path
) -> None:
    """`KIMI_CODE_CUSTOM_HEADERS` adds to the identity, and nothing but identity is passed on."""
    headers = "X-Msh-Tag: tag\nX-Gate: secret"
    managed = captured(machine, KIMI_CODE_CUSTOM_HEADERS=headers)["managed:kimi-code"]
    assert managed.spelled("x-msh-tag") == (("X-Msh-Tag", "tag"),)
    assert managed.spelled("x-msh-platform") == (("X-Msh-Platform", "kimi_code_cli"),)


@pytest.mark.parametrize("version", oldest_and_newest(["0.25.0", "0.38.0", "2.1.0"]))
def test_editors_get_another_identity(machine: Machine, version: str, temporary: Path) -> None:
    """In ACP mode the client says from 0.33.0 on no more than what our provider tells it to."""
    assert machine.kimifix("apply", "--yes", "--credential", "login").code == 0
    found = captured(machine, "ACP")
    managed, own = found["managed:kimi-code"], found["kimifix"]
    assert own.spelled("x-msh-platform") == (("X-Msh-Platform", "kimi_cli"),)
    honest = version == "0.25.0"
    assert len(managed.spelled("x-msh-platform")) == honest
    (agent,) = managed.spelled("user-agent")
    assert agent[1].startswith(f"kimi-code-cli/{version}" if honest else "OpenAI/JS ")
    assert managed.refused == own.refused == []


@NEWEST
def test_editors_can_have_the_identity_of_the_terminal(
    machine: Machine, version: str, temporary: Path
) -> None:
    """With --platform kimi_code_cli our provider says in ACP mode what managed says in a terminal.

    Nothing of it is forged, so there is no notice; another platform takes it all out again.
    """
    applied = machine.kimifix("apply", "--yes", "--platform", "kimi_code_cli")
    assert applied.code == 0, applied.err
    assert "notice" not in applied.err
    honest = dict(captured(machine)["managed:kimi-code"].identity)
    assert len(honest) == 7
    # Where it is recorded the client has a home of its own, and a device of its own.
    honest["X-Msh-Device-Id"] = (machine.home / "device_id").read_text().strip()
    assert dict(captured(machine)["kimifix"].identity) == honest
    assert dict(captured(machine, "ACP")["kimifix"].identity) == honest
    assert machine.kimifix("apply", "--yes", "--platform", "kimi_cli").code == 0
    assert machine.data["providers"]["kimifix"]["custom_headers"] == {"X-Msh-Platform": "kimi_cli"}


def test_the_guard_keeps_node_on_loopback(machine_node: Path, tmp_path: Path) -> None:
    """No connection and no look-up leaves loopback, however it is asked for."""
    guard = tmp_path / "with space" / "guard.cjs"
    guard.parent.mkdir()
    guard.write_bytes(pkgutil.get_data("kimifix.client", "guard.cjs") or b"")
    script = """
        const net = require("node:net"), tls = require("node:tls"), dns = require("node:dns");
        const socket = (made) => new Promise((done, fail) => {
          made.on("connect", () => { made.destroy(); done("connected"); }).on("error", fail);
        });
        const server = net.createServer((peer) => peer.destroy()).listen(0, "127.0.0.1");
        server.on("listening", async () => {
          const port = server.address().port;
          const attempts = {
            fetch: () => fetch("https://example.invalid"),
            address: () => fetch("http://192.0.2.1"),
            tls: () => socket(tls.connect(443, "example.invalid")),
            raw: () => socket(net.connect({ host: "192.0.2.1", port: 80 })),
            lookup: () => dns.promises.lookup("example.invalid"),
            callback: () => new Promise((done, fail) => dns.lookup("example.invalid", (error) => {
              error ? fail(error) : done("found");
            })),
            resolve: async () => (await import("node:dns/promises")).resolve4("example.invalid"),
            loopback: () => socket(net.connect(port, "127.0.0.1")),
            localhost: () => socket(net.connect({ host: "127.0.0.1", port })),
          };
          for (const [name, attempt] of Object.entries(attempts)) {
            const result = await attempt().catch((error) => (error.cause ?? error).code);
            console.log(name, result);
          }
          server.close();
        });
    """
    done = subprocess.run(
        [machine_node, "-e", script],
        env={"NODE_OPTIONS": f'--require "{guard}"'},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    results = dict(line.split(" ") for line in done.stdout.splitlines())
    assert results == {
        **dict.fromkeys(
            ["fetch", "address", "tls", "raw", "lookup", "callback", "resolve"], "ENETUNREACH"
        ),
        **dict.fromkeys(["loopback", "localhost"], "connected"),
    }, done.stderr


@pytest.fixture
def machine_node() -> Path:
    """The Node that the tests of the real client run."""
    return client("2.1.0").node / "node"
