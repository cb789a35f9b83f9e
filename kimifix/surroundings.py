"""What `apply` and `revert` look at before they decide: home, client, running copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from kimifix.client import features, home, installs, processes
from kimifix.client.features import Version
from kimifix.client.home import Home
from kimifix.client.installs import Install
from kimifix.config import files
from kimifix.config.document import Document, parse
from kimifix.errors import KimifixError

# A client that starts asks for its model list within a second, and overwrites an edit
# made meanwhile 10 to 16 ms after the answer. The request has no time limit of its own
# (Node gives up after 300 s), so no watch proves that an edit will stay; this one covers
# every server that answers in a usual time (measured, 0.20.0 to 2.1.0).
WATCH_SECONDS = 10.0
_WATCH_PAUSE_SECONDS = 0.1


class Surroundings(NamedTuple):
    """The client's home, the copy of the client in use, and those that run on that home.

    ``version`` is that of ``install``, None where there is none or it is unknown.
    """

    home: Home
    install: Install | None
    version: Version | None
    running: processes.Running

    @property
    def warnings(self) -> list[str]:
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
        return found


def observe(option: Path | None, env: Mapping[str, str]) -> Surroundings:
    """Return the surroundings; raises ``KimifixError`` when the home is no folder."""
    place = home.find(option, env)
    if place.path.exists() and not place.path.is_dir():
        raise KimifixError(
            f"the home of kimi-code is not a folder: `{place.path}`",
            "see --home and KIMI_CODE_HOME",
        )
    install = installs.client_in_use(installs.find(env, place))
    version = features.parse_version(install.version) if install else None
    return Surroundings(place, install, version, processes.running(place.path))


def look_again(
    surroundings: Surroundings,
    holds: Callable[[Document], bool],
    progress: Callable[[str], None],
    verb: str,
) -> bool:
    """Watch whether a running client leaves the config so that ``holds`` is true of it.

    Returns whether there was a client to watch, one that was started meanwhile included.
    Raises ``KimifixError`` as soon as it is not.
    """
    if not (surroundings.running.pids or processes.running(surroundings.home.path).pids):
        return False
    config = surroundings.home.config
    try:
        progress(f"kimi-code is running: watching the config for {WATCH_SECONDS:.0f} seconds")
        stays = _stays(config, holds)
    except KeyboardInterrupt:
        progress("no longer watching; the change is written")
        return True
    if not stays:
        what = "erased the change, or a part of it" if verb == "apply" else "undone the change"
        raise KimifixError(
            f"a running kimi-code has {what}: `{config}`",
            f"quit every running kimi-code, then run `kimifix {verb}` again",
        )
    return True


def _stays(config: Path, holds: Callable[[Document], bool]) -> bool:
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        try:
            document = parse(files.read(config).content or b"", config)
        except KimifixError:
            document = None  # caught in the middle of somebody's write; the next look tells
        if document is not None and not holds(document):
            return False
        time.sleep(_WATCH_PAUSE_SECONDS)
    return True
