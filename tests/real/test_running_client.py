"""The config is changed while the real client runs on a terminal and may write it, too."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support.command import Result
from support.kimi_server import KEY, MODELS, model
from support.machine import (
    MANAGED_MODEL,
    OWN_MODEL,
    VERSIONS,
    Machine,
    has_ours,
    since,
    wait_until,
)
from support.terminal import ENTER
from support.verdicts import at_once

NEW_LIST = (*MODELS, model("kimi-next", "Kimi Next"))


class Started:
    """A run of kimifix that goes on while the test does something else."""

    def __init__(self, machine: Machine, *arguments: str, **env: str) -> None:
        self._machine = machine
        self._arguments = arguments
        self._env = env
        self._results: list[Result] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def result(self) -> Result:
        """Wait for its end and return what it left."""
        self._thread.join(60)
        (result,) = self._results
        return result

    def _run(self) -> None:
        home = self._machine.home
        done = self._machine.kimifix(*self._arguments, "--home", home, **self._env)
        self._results.append(done)


@pytest.mark.parametrize("models", [NEW_LIST, MODELS], ids=["new list", "same list"])
def test_apply_during_a_model_refresh(
    all_machines: dict[str, Machine], models: tuple[dict[str, Any], ...]
) -> None:
    """What a client erases that writes a list it had asked for before is written again.

    From 0.40 on it writes even a list in which nothing is new.
    """

    def apply(machine: Machine) -> None:
        machine.server.behaviour.models = models
        machine.server.hold_models()
        with machine.full_screen():
            assert machine.server.models_asked.wait(30)
            apply = Started(machine, "apply", "--yes", KIMIFIX_API_KEY=KEY)
            wait_until(lambda: has_ours(machine), "the patch in the config")
            assert apply.runs
            machine.server.release_models()
            done = apply.result()
            assert "is running" in done.err
        assert done.code == 0, done.err
        assert has_ours(machine)
        assert machine.data["default_model"] == OWN_MODEL
        assert machine.ask().answered

    versions = VERSIONS if models is NEW_LIST else since("0.40.0")
    at_once({version: all_machines[version] for version in versions}, apply)


def test_revert_during_a_model_refresh(all_machines: dict[str, Machine]) -> None:
    """What a client brings back that writes a list it had asked for before is taken out again."""

    def revert(machine: Machine) -> None:
        words = ("apply", "--yes", "--home", machine.home)
        assert machine.kimifix(*words, KIMIFIX_API_KEY=KEY).code == 0
        machine.server.behaviour.models = NEW_LIST
        machine.server.hold_models()
        with machine.full_screen():
            assert machine.server.models_asked.wait(30)
            revert = Started(machine, "revert", "--yes")
            wait_until(lambda: not has_ours(machine), "the config without us")
            assert revert.runs
            machine.server.release_models()
            done = revert.result()
            assert "is running" in done.err
        assert done.code == 0, done.err
        assert not has_ours(machine)
        assert machine.data["default_model"] == MANAGED_MODEL

    at_once(all_machines, revert)


@pytest.mark.parametrize("version", since("0.20.2")[-1:])
def test_apply_beside_an_idle_client(machine: Machine) -> None:
    """A client that has nothing to write leaves the patch alone; a new one answers by it."""
    with machine.full_screen():
        done = machine.kimifix("apply", "--yes")
        assert done.code == 0, done.err
        assert "is running" in done.err
    assert has_ours(machine)
    assert machine.ask().answered


@pytest.mark.parametrize("version", since("0.20.2")[-1:])
def test_client_started_while_apply_asks(machine: Machine) -> None:
    """A client that was started while the user read the question is noticed, too."""
    machine.server.hold_models()
    with machine.kimifix_on_terminal("apply") as question:
        question.wait_for("[y/N]")
        with machine.full_screen():
            assert machine.server.models_asked.wait(30)
            question.write(f"y{ENTER}")
            wait_until(lambda: has_ours(machine), "the patch in the config")
            machine.server.release_models()
            code = question.wait()
    assert code == 0, question.text
    assert has_ours(machine)
