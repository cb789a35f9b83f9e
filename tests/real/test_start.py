"""What keeps the client from starting, or ends it before it asks anybody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from support.clients import node
from support.machine import Machine
from support.verdicts import at_once, examined


@pytest.mark.parametrize("version", ["18.20", "20.20", "22.14", "22.15"])
def test_verdict_knows_on_which_node_the_client_starts(
    ends: dict[str, Machine], version: str
) -> None:
    """Old versions start on Node 20, new ones on 22.15: all of them ask for 22.19."""

    def agree(machine: Machine) -> None:
        folders = (machine.client.programs, node(version), "/usr/bin", "/bin")
        env = {**machine.proxies, "PATH": os.pathsep.join(map(str, folders))}
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        starts = machine.kimi("--version", **env).code == 0
        verdict = examined(machine, env).verdict
        assert verdict.works is starts, verdict

    at_once(ends, agree)


def test_verdict_knows_a_file_that_node_cannot_load_first(ends: dict[str, Machine]) -> None:
    """As in a terminal of an editor that has been updated since: nothing starts there."""
    for name in ("-r /gone/bootloader", '--import="/gone/my loader.js"', "--no-warnings"):
        env = {"NODE_OPTIONS": name}

        def agree(machine: Machine, env: dict[str, str] = env) -> None:
            machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
            verdict = examined(machine, {**machine.proxies, **env}).verdict
            assert verdict.works is machine.ask(**env).answered, verdict

        at_once(ends, agree)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root mounts a disk")
def test_verdict_knows_a_full_disk(ends: dict[str, Machine], tmp_path: Path) -> None:
    """The client ends where it has no room to write down its session."""

    def agree(machine: Machine) -> None:
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        kept = Path(mkdtemp(dir=tmp_path)) / "home"
        shutil.copytree(machine.home, kept)
        mount = ("/bin/mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", machine.home)
        subprocess.run(mount, check=True)
        try:
            shutil.copytree(kept, machine.home, dirs_exist_ok=True)
            left = shutil.disk_usage(machine.home).free
            for room in (left - 16_384, left - 262_144):
                (machine.home / "other").write_bytes(bytes(room))
                verdict = examined(machine, machine.proxies).verdict
                assert verdict.works is machine.ask().answered, verdict
        finally:
            subprocess.run(("/bin/umount", "-l", machine.home), check=True)

    at_once(ends, agree)


def file_for_sessions(machine: Machine) -> None:
    """Have a file where the sessions shall be."""
    (machine.home / "sessions").write_text("")


def folder_for_index(machine: Machine) -> None:
    """Have a folder where the list of sessions shall be."""
    (machine.home / "session_index.jsonl").mkdir()


def link_to_nowhere(machine: Machine) -> None:
    """Have the sessions on a disk that is not there."""
    (machine.home / "sessions").symlink_to("/nowhere/sessions")


def file_for_this_project(machine: Machine) -> None:
    """Have a file where the sessions of this folder shall be."""
    here = sha256(os.fsencode(machine.project)).hexdigest()[:12]
    (machine.home / "sessions").mkdir()
    (machine.home / "sessions" / f"wd_project_{here}").write_text("")


def file_for_another_project(machine: Machine) -> None:
    """Have a file where the sessions of another folder shall be, which is in nobody's way."""
    (machine.home / "sessions").mkdir()
    (machine.home / "sessions" / "wd_project_0123456789ab").write_text("")


def no_json_of_workspaces(machine: Machine) -> None:
    """Have a list of folders as a crash may leave it; old versions have none."""
    (machine.home / "workspaces.json").write_text("")


def workspaces_of_another_editor(machine: Machine) -> None:
    """Have a list of folders that begins with a byte order mark, which is in nobody's way."""
    (machine.home / "workspaces.json").write_text("\ufeff{}")


def device_that_no_header_carries(machine: Machine) -> None:
    """Have the number of the device as a crash may leave it; and the client try once."""
    (machine.home / "device_id").write_bytes(bytes(36))
    once = "[loop_control]\nmax_retries_per_step = 1\nmax_attempts_per_step = 1\n"
    machine.config.write_text(machine.config.read_text(encoding="utf-8") + once)


def device_of_somebody(machine: Machine) -> None:
    """Have a name for it that a header can carry."""
    (machine.home / "device_id").write_text("\ufeffmüller\t7\u3000", encoding="utf-8")


@pytest.mark.parametrize(
    "fault",
    [
        *(file_for_sessions, folder_for_index, link_to_nowhere),
        *(file_for_this_project, file_for_another_project),
        *(no_json_of_workspaces, workspaces_of_another_editor),
        *(device_that_no_header_carries, device_of_somebody),
    ],
    ids=lambda fault: fault.__name__,
)
def test_verdict_knows_what_the_client_needs_of_its_home(
    ends: dict[str, Machine], fault: Callable[[Machine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends where it cannot begin a session or a request, whatever the server would answer."""
    answered = {}
    for machine in ends.values():
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        fault(machine)

    def ask(machine: Machine) -> None:
        answered[machine.home] = machine.ask().answered

    at_once(ends, ask)
    for version, machine in ends.items():
        monkeypatch.chdir(Path(machine.project))
        verdict = examined(machine, machine.proxies).verdict
        assert verdict.works is answered[machine.home], (version, verdict)


def test_the_client_needs_git_bash_on_windows(ends: dict[str, Machine], tmp_path: Path) -> None:
    """It ends without one, and answers with the one that KIMI_SHELL_PATH names.

    Node is told to say that it runs on Windows: the folders in which the client looks are
    those of Windows then, and none of them is here.
    """
    on_windows = tmp_path / "windows.cjs"
    on_windows.write_text('Object.defineProperty(process, "platform", { value: "win32" });')

    def ask(machine: Machine) -> None:
        machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
        env = {"NODE_OPTIONS": f"--require {on_windows}", "USERPROFILE": str(machine.user)}
        refused = machine.ask(**env)
        assert not refused.chats
        assert "Git Bash was not found" in refused.err
        assert machine.ask(**env, KIMI_SHELL_PATH="/bin/bash").answered

    at_once(ends, ask)
