"""What the verdict of `doctor --probe` is held against: the real client, server by server."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from support import catalogue
from support.kimi_server import KEY, Behaviour, KimiServer, Request
from support.machine import Machine

from kimifix.config import reading
from kimifix.doctor import Report, doctor

BAD_KEY = "sk-kimi-key-that-nobody-takes"
ASKING = ("--probe", "--verify", "auto")  # what such a command does depends on the server
_SUSPENDED = catalogue.SUSPENDED

Case = TypeVar("Case")

SERVERS: dict[str, Behaviour] = {
    "gate with both routes open": Behaviour(),
    "no gate": Behaviour(chat_identities=frozenset({"kimi_code_cli", "kimi_cli"})),
    "gate that takes no logins at messages": Behaviour(messages_take_login=False),
    "only the legacy identity": Behaviour(messages_open=False),
    "only messages": Behaviour(chat_identities=frozenset()),
    "nobody": Behaviour(chat_identities=frozenset(), messages_open=False),
    "suspended": Behaviour(
        refusal=(_SUSPENDED.status, str(_SUSPENDED.error_type), _SUSPENDED.message)
    ),
}


def at_once(cases: Mapping[str, Case], act: Callable[[Case], object]) -> None:
    """Let ``act`` do its work for all versions at once, and name the one where it fails."""
    with ThreadPoolExecutor() as pool:
        running = {version: pool.submit(act, case) for version, case in cases.items()}
    for version, done in running.items():
        if (failed := done.exception()) is not None:
            failed.add_note(f"kimi-code {version}")
            raise failed


def in_turn(
    machines: Mapping[str, Machine],
    cases: Mapping[str, Case],
    act: Callable[[Machine, str, Case], object],
    *,
    deep: bool,
) -> None:
    """Let ``act`` try each case on one of the machines, by turns; in a deep run on all of them."""
    versions = [*machines]

    def try_some(machine: Machine) -> None:
        first = versions.index(machine.client.version)
        for name in [*cases][0 if deep else first :: 1 if deep else len(versions)]:
            try:
                act(machine, name, cases[name])
            except BaseException as failed:
                failed.add_note(name)
                raise

    at_once(machines, try_some)


def examined(machine: Machine, env: Mapping[str, str], *, verify: bool = False) -> Report:
    """Run `doctor` in this process, to probe or verify: a process for each would take minutes."""
    variables = {**os.environ, "PATH": machine.client.path, **env}
    return doctor(machine.home, variables, lambda _: None, probe=not verify, verify=verify)


def lets_in(server: KimiServer, request: Request | None) -> bool:
    """Tell whether the server, as it behaves now, answers what the client has sent."""
    return request is not None and server.answer(request)[0] == 200


class Ways:
    """What typing has led to, from the home as it is now; back there behind each way."""

    def __init__(self, machine: Machine, env: Mapping[str, str]) -> None:
        self._machine = machine
        self._env = env
        store = reading.read(machine.config).store.folder
        self._places = {"home": machine.home, "store": store}
        self._kept: dict[tuple[str, ...], Path] = {}
        self._keep(())

    def lead_out(self, report: Report, server: str) -> None:
        """Type what `next` says, at most three times."""
        typed: tuple[str, ...] = ()
        for _ in range(3):
            if not report.verdict.next or report.verdict.next[0].endswith("kimi upgrade"):
                break  # which no test can do
            for command in report.verdict.next:
                self._type(typed, command)
                typed += (command,)
            report = examined(self._machine, self._env)
            if report.verdict.works:
                break
        # With this variable a login goes to the vendor's host, and no test does.
        is_far = "KIMI_CODE_BASE_URL" in self._env and "login" in "".join(report.verdict.next)
        if not (report.verdict.works or says_what_else(report) or is_far):
            config = self._machine.config.read_text(encoding="utf-8")
            known = (server, typed, report.verdict, self._env, config)
            pytest.fail("\n".join(map(str, known)))
        self._go_back(())

    def _type(self, typed: tuple[str, ...], command: str) -> None:
        """Go on from what ``typed`` has led to; what was done before is not done again."""
        way = (*typed, command)
        if way in self._kept:
            self._go_back(way)
            return
        run(self._machine, command, self._env)
        if not any(word in earlier for earlier in way for word in ASKING):
            self._keep(way)

    def _keep(self, way: tuple[str, ...]) -> None:
        copy = self._machine.user / "kept" / str(len(self._kept))
        for name, place in self._places.items():
            if place.exists():
                shutil.copytree(place, copy / name)
        self._kept[way] = copy

    def _go_back(self, way: tuple[str, ...]) -> None:
        self._machine.server.take_renewed()
        for name, place in self._places.items():
            shutil.rmtree(place, ignore_errors=True)
            if (copy := self._kept[way] / name).exists():
                shutil.copytree(copy, place)


def run(machine: Machine, command: str, env: Mapping[str, str]) -> None:
    """Run a command as a user would type it, and agree to what it asks."""
    words = shlex.split(command)
    if words[0].startswith("KIMI_CODE_HOME="):
        words = words[1:]
    if words[:2] == ["kimi", "login"]:
        turn = machine.log_in()
        assert turn.code == 0, turn
        return
    if words == ["kimi"]:
        machine.start()
        return
    if words[:2] == ["kimi", "-m"]:
        assert machine.ask(*words[1:], **env).answered, command
        return
    assert words[0] == "kimifix", command
    consent = ["--yes"] if words[1] in ("apply", "revert") else []
    key = {"KIMIFIX_API_KEY": KEY} if "key" in words else {}  # else it is asked for
    done = machine.kimifix(*words[1:], *consent, **env, **key)
    assert done.code in (0, 1), done.err


def says_what_else(report: Report) -> bool:
    """Tell whether the verdict says what to do where no command changes what goes out."""
    if any(" upgrade" in step or " -m " in step for step in report.verdict.next):
        return True
    said: tuple[str, ...] = (
        *("write to", "/model", "a key", "`base_url`", "KIMI_MODEL_NAME"),
        *("unset", "where kimi-code is started", "leave one of", "rename", "take the"),
        *("check HTTPS_PROXY", "without BOM", "move it away", "`device_id`", "mend it"),
    )
    told = " ".join((report.verdict.sentence, str(report.verdict.advice), *report.verdict.notes))
    is_last = not report.verdict.next or "if it stays refused" in told
    if "`kimi login` refuses the config" in report.findings["config"].message:
        said = (*said, "sign in")  # and this finding says what to mend before
    return is_last and any(words in told for words in said)
