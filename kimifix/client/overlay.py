"""A home of its own for a run of the client, and what the run has said."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kimifix.client.leash import Leash
from kimifix.reader import read_end
from kimifix.secret import SEQUENCE, redact

_OUTPUT_BYTES = 8192
_LONGEST_WORDS = 300
_SAYS_NOTHING = re.compile(r"kimi version |See log: |To resume this session")


@dataclass(frozen=True)
class Overlay:
    """Where one run of the client lives: its user, home, project and temporary files.

    ``answer`` and ``output`` get its stdout and stderr.
    """

    user: Path
    home: Path
    project: Path
    temporary: Path
    answer: Path
    output: Path

    @classmethod
    def make(cls, folder: Path, config: str) -> Overlay:
        """Make ``folder`` and what is in it, all for this user alone; raises ``OSError``."""
        names = ("home", "project", "tmp", "answer", "output")
        made = cls(folder, *(folder / name for name in names))
        for new in (folder, made.home, made.project, made.temporary):
            new.mkdir(mode=0o700)
        # The client looks for instructions and settings of a project upwards, up to this.
        (made.project / ".git").mkdir()
        write_private(made.home / "config.toml", config)
        return made

    def run(
        self,
        leash: Leash,
        program: Path,
        prompt: str,
        alias: str | None,
        env: Mapping[str, str],
        *,
        seconds: float,
        enough: Callable[[], bool] = lambda: False,
    ) -> int | None:
        """Ask ``program`` for the answer to ``prompt`` here; otherwise like ``Leash.run``.

        ``alias`` is None for the default model.
        """
        folders = env.get("PATH", "").split(os.pathsep)
        if str(program.parent) not in folders:  # its Node lies beside it, as nvm does
            folders = [str(program.parent), *filter(None, folders)]
        variables = {
            **env,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary)),
            "PATH": os.pathsep.join(folders),
            "KIMI_CODE_HOME": str(self.home),
            "KIMI_CODE_NO_AUTO_UPDATE": "1",
            "KIMI_DISABLE_TELEMETRY": "1",
            "TERM": "dumb",
        }
        command = [str(program), "-p", prompt, *(() if alias is None else ("-m", alias))]
        with self.answer.open("wb") as answer, self.output.open("wb") as output:
            return leash.run(
                command, variables, self.project, answer, output, seconds=seconds, enough=enough
            )

    @property
    def has_answer(self) -> bool:
        """Whether there is a word on stdout."""
        text = read_end(self.answer, _OUTPUT_BYTES).decode("utf-8", errors="replace")
        return any(map(str.isalnum, text))

    def last_words(self) -> str:
        """Return the line that says most: the last error on stderr, else the last line."""
        text = redact(read_end(self.output, _OUTPUT_BYTES).decode("utf-8", errors="replace"))
        text = SEQUENCE.sub("", text)
        printable = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
        lines = [line.strip() for line in printable.split("\n")]
        lines = [line for line in lines if line and not _SAYS_NOTHING.match(line)]
        errors = [line for line in lines if re.match(r"\w*error\b", line, re.IGNORECASE)]
        return (errors or lines or [""])[-1][:_LONGEST_WORDS]


def write_private(path: Path, text: str) -> None:
    """Write a new file for this user alone; raises ``OSError`` where that fails."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", newline="")
