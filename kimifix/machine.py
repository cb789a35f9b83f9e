"""What there is of kimi-code on this machine, for all three verbs.

Each thing is observed when it is first asked for: what nobody needs costs nothing, and an
observation that fails takes down only what needs it.
"""

import re
import stat
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from kimifix.client import features, home, installs, login, logs, processes, shell
from kimifix.client.features import Version
from kimifix.client.home import Home
from kimifix.client.installs import Install
from kimifix.client.login import Login
from kimifix.client.logs import LogError
from kimifix.client.processes import Running
from kimifix.config import reading
from kimifix.config.document import Document
from kimifix.config.reading import Reading
from kimifix.errors import KimifixError
from kimifix.words import quoted, typed


class Machine:
    """The machine as it is at ``now`` (Unix seconds), with the client's data in ``home``."""

    def __init__(self, home: Home, env: Mapping[str, str], now: float | None = None) -> None:
        self.home = home
        self.env = env
        self.now = time.time() if now is None else now

    @cached_property
    def installs(self) -> list[Install]:
        """Every copy of `kimi` on this machine."""
        return installs.find(self.env, self.home)

    @property
    def install(self) -> Install | None:
        """The copy of kimi-code in use."""
        return installs.client_in_use(self.installs)

    @property
    def first(self) -> Install | None:
        """What a shell starts by `kimi`, whatever it is; None where that is nothing."""
        return next((one for one in self.installs if one.on_path is not None), None)

    @property
    def version(self) -> Version | None:
        """The version of the copy in use, None where there is none or it is unknown."""
        version = features.parse_version(self.install.version) if self.install else None
        return features.NEWEST_KNOWN if version is None and self.is_sandbox else version

    @property
    def engine(self) -> Version | None:
        """The version whose rules the copy in use follows, None where that is unknown."""
        return features.engine(self.version, self.env) if self.version else None

    @property
    def rules(self) -> Version:
        """The version by whose rules to judge: that of the engine, else the newest known."""
        return self.engine or features.NEWEST_KNOWN

    @cached_property
    def node_program(self) -> Path | None:
        """The Node that starts the copy in use, None where there is none, or it takes none."""
        return installs.node_of(self.install, self.env) if self.install else None

    @cached_property
    def node(self) -> Version | None:
        """The version of that Node, None where it cannot be told."""
        return installs.version_of(self.node_program) if self.node_program else None

    @property
    def is_sandbox(self) -> bool:
        """Whether the home is one that kimifix made."""
        return self.home.source == "sandbox"

    @cached_property
    def running(self) -> Running:
        """The clients that ran on this home at the first look."""
        return self.running_now()

    def running_now(self) -> Running:
        """Return the clients that run on this home; on a sandbox, there is none."""
        return Running(()) if self.is_sandbox else processes.running(self.home.path)

    @property
    def older(self) -> tuple[int, ...]:
        """The running clients that are older than the last change by kimifix."""
        try:
            changed = self.reading.store.folder.stat().st_mtime
        except (OSError, KimifixError):
            return ()
        return tuple(p for p in self.running.pids if (processes.started(p) or changed) < changed)

    @cached_property
    def home_mode(self) -> int | None:
        """The mode of the home, None where there is nothing.

        Raises ``KimifixError`` where it is no folder, or the system does not let us see it.
        """
        hint = "see --home and KIMI_CODE_HOME"
        try:
            mode = self.home.path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            message = f"the home of kimi-code cannot be used: {reason}: `{self.home.path}`"
            raise KimifixError(message, hint) from None
        if not stat.S_ISDIR(mode):
            raise KimifixError(f"the home of kimi-code is not a folder: `{self.home.path}`", hint)
        return stat.S_IMODE(mode)

    @cached_property
    def reading(self) -> Reading:
        """The config, as it was at the first look."""
        return reading.read(self.home.config)

    @property
    def document(self) -> Document:
        """What the config says; empty where there is none."""
        return self.reading.document

    @cached_property
    def login(self) -> Login | None:
        """The login of the managed provider, else of ours; None where the config names none.

        The slot that the client works out for itself comes before the one that the config
        names, which older clients and own providers use.
        """
        provider = self.document.managed or self.document.own or {}
        slots = [login.slot_of(provider, self.env, managed=by) for by in (True, False)]
        found = [self.login_in(slot) for slot in dict.fromkeys(slots) if slot]
        return next((one for one in found if one.present), next(iter(found), None))

    def login_in(self, slot: str) -> Login:
        """Return the login in ``slot``."""
        return login.read(self.home, slot)

    def kimifix(self, *words: object) -> str:
        """Return a command of ours for this home, to be typed as it is."""
        home = () if self._is_found_anyway else ("--home", self.home.path)
        return typed(*self._ourselves, *words, *home)

    @cached_property
    def _ourselves(self) -> tuple[object, ...]:
        """What starts kimifix: its name, or what was started where a shell does not know that."""
        started, name = Path(sys.argv[0]), "kimifix"
        on_path = shell.found(name, self.env)
        # A virtual environment may be on PATH for this process alone, as by `uvx`.
        if on_path and (sys.prefix == sys.base_prefix or not on_path.is_relative_to(sys.prefix)):
            return (name,)
        if started.parts[-2:] == (name, "__main__.py"):
            return sys.executable, "-m", name
        if started.suffix == ".pyz":
            return sys.executable, started.absolute()
        return (started.absolute() if started.stem == name else name,)

    def kimi(self, *words: object) -> str:
        """Return a command of the client for this home, to be typed as it is."""
        # Without a path a shell would find nothing, or another program of this name; and a
        # link would find another Node than the one beside it, or none.
        program: tuple[object, ...] = ("kimi",)
        if (install := self.install) and install != self.first:
            is_link = install.on_path is None and install.path.is_symlink()
            node = (self.node_program,) if is_link and self.node_program else ()
            program = (*node, install.path)
        command = typed(*program, *words)
        if self._is_found_anyway:
            return command
        if sys.platform == "win32":
            # All that PowerShell takes for a single quote is doubled; nothing else acts in them.
            path = re.sub("['\\u2018-\\u201b]", r"\g<0>\g<0>", str(self.home.path))
            return f"$env:KIMI_CODE_HOME = '{path}'; {command}"
        return f"KIMI_CODE_HOME={quoted(self.home.path)} {command}"

    @property
    def _is_found_anyway(self) -> bool:
        return self.home.source in ("default", "KIMI_CODE_HOME")

    @cached_property
    def log_errors(self) -> list[LogError]:
        """The errors in the client's logs of the last days, newest first."""
        return logs.recent_errors(self.home.path, now=self.now)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about the client before anything is written."""
        found = []
        if self.install is None:
            found.append("no copy of kimi-code was found, so its version is unknown")
        elif self.version is None:
            version = f": `{self.install.version}`" if self.install.version else ""
            found.append(f"the version of kimi-code could not be told{version}")
        if self.running.pids:
            pids = ", ".join(map(str, self.running.pids))
            found.append(
                f"kimi-code is running (process {pids}) and may undo a change of its config: "
                "better quit it first"
            )
        return tuple(found)


def observe(option: Path | None, env: Mapping[str, str]) -> Machine:
    """Return the machine with the home that ``option`` or the environment names.

    Raises ``KimifixError`` where neither does and the user's home is not known.
    """
    return Machine(home.find(option, env), env)
