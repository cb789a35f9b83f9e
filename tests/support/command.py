"""Runs `kimifix` as users do: a process with an exit code, stdout and stderr."""

from __future__ import annotations

import json
import locale
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kimifix.config import storage

# Lead the state of kimifix elsewhere: on Linux and on Windows. On macOS HOME does.
STATE_VARIABLES = ("XDG_STATE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA")

# Starts kimifix as if a shell found it by its name, which is then in what it says to type.
START = "from kimifix.__main__ import main; main()"


@dataclass(frozen=True)
class Result:
    """What a run left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object on stdout."""
        data = json.loads(self.out)
        assert isinstance(data, dict)
        return data


class Kimifix:
    """A callable: ``kimifix("apply", "--yes")`` runs the command and returns its result."""

    @property
    def state(self) -> Path:
        """The folder of its state in the environment of the test."""
        return storage.state_root(Path())

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run the command in the environment of the test plus ``env``."""
        return self._run(["-c", START, *map(str, arguments)], stdin, env)

    def python(self, code: str) -> Result:
        """Run Python code in the environment of the test."""
        return self._run(["-c", code], None, None)

    def _run(
        self, arguments: list[str], stdin: str | None, env: Mapping[str, str] | None
    ) -> Result:
        env = {**os.environ, **(env or {})}
        done = subprocess.run(
            [sys.executable, *arguments],
            input="" if stdin is None else stdin,
            capture_output=True,
            encoding=env.get("PYTHONIOENCODING", locale.getencoding()).partition(":")[0],
            env=env,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)
