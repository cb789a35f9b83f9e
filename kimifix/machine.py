"""What `doctor` looks at; each thing is observed when the first check asks for it.

So an observation that fails takes down only the checks that need it.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from kimifix.client import features, installs, login, logs, processes
from kimifix.client.features import Version
from kimifix.client.home import Home
from kimifix.client.installs import Install
from kimifix.client.login import Login
from kimifix.client.logs import LogError
from kimifix.config import files, storage
from kimifix.config.document import Document, parse
from kimifix.config.files import Snapshot
from kimifix.config.receipt import Receipt
from kimifix.config.storage import Store
from kimifix.secret import register, secrets_in


class Machine:
    """The machine as `doctor` sees it at ``now`` (Unix seconds)."""

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
    def version(self) -> Version | None:
        """The version of the copy in use."""
        return features.parse_version(self.install.version) if self.install else None

    @cached_property
    def running(self) -> processes.Running:
        """The clients that run on this home."""
        return processes.running(self.home.path)

    @cached_property
    def home_mode(self) -> int | None:
        """The mode of the home, None where there is no such folder."""
        path = self.home.path
        return stat.S_IMODE(path.stat().st_mode) if path.is_dir() else None

    @cached_property
    def snapshot(self) -> Snapshot:
        """The config as it lies on disk."""
        return files.read(self.home.config)

    @cached_property
    def document(self) -> Document:
        """The config, parsed; empty where there is none."""
        document = parse(self.snapshot.content or b"", self.home.config)
        for value in secrets_in(document.data):
            register(value)
        return document

    @cached_property
    def login(self) -> Login | None:
        """The login of the managed provider, None where the config names none.

        The slot that the client works out for itself comes before the one that the config
        names, which older clients and own providers use.
        """
        slots = [login.slot_of(self.document.managed, self.env, managed=by) for by in (True, False)]
        found = [login.read(self.home, slot) for slot in dict.fromkeys(slots) if slot]
        return next((one for one in found if one.present), next(iter(found), None))

    @cached_property
    def store(self) -> Store:
        """What kimifix remembers of this config."""
        return Store(storage.state_root(), self.snapshot.real)

    @cached_property
    def receipt(self) -> Receipt | None:
        """The receipt that holds for the config."""
        return self.store.receipt(self.snapshot.sha256)

    @cached_property
    def log_errors(self) -> list[LogError]:
        """The errors in the client's logs of the last days, newest first."""
        return logs.recent_errors(self.home.path, now=self.now)

    @property
    def state_folder(self) -> Path:
        """Where receipt and backups lie."""
        return self.store.folder
