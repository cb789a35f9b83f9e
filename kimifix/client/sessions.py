"""Sessions of the client: what one needs to begin, and which alias each goes on with.

That is the one it was left with, whatever the default. It is noted in
`<home>/sessions/wd_*/session_*/agents/main/wire.jsonl`: as `modelAlias`, at every change and,
from 0.25.0 on, with every request; in 0.20.0 as `model` of the usage.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from kimifix.client.features import Version, has
from kimifix.client.logs import newest_files
from kimifix.reader import parsed, read, read_end

_PLACE = "sessions/wd_*/session_*/agents/main/wire.jsonl"
_MOST_FILES = 20
_TAIL_BYTES = 256 * 1024
_MOST_BYTES = 32 << 20
_ROOM = 64 * 1024
# Within a conversation the quotes would be escaped.
_ALIAS = re.compile(rb'(?<!\\)"(?:modelAlias|usage\.record","model)":("(?:[^"\\\n]|\\.)*")')


def obstacle(home: Path, version: Version) -> Path | None:
    """Return what the client cannot write when a session begins in this folder: it ends then.

    None where nothing is in its way. Run, with each of them: 0.25.0, 0.38.0, 2.1.0 (and
    without a folder for the sessions: 0.10.0, 0.20.0).
    """
    sessions, index = home / "sessions", home / "session_index.jsonl"
    if not home.is_dir():
        return None  # it is the client's to make
    here = sha256(os.fsencode(Path.cwd().as_posix())).hexdigest()[:12]
    folders = [home, sessions, *sessions.glob(f"wd_*_{here}")]
    if not has("new-engine", version) and all(map(os.path.exists, (sessions, index))):
        folders.remove(home)  # it replaces no file there
    for path in (*folders, index):
        mode = os.W_OK if path is index else os.W_OK | os.X_OK
        may = os.access(path, mode) and path.is_file() == (path is index)
        if os.path.lexists(path) and not may:
            return path
    return None


def is_full(home: Path) -> bool:
    """Tell whether there is no room for a session: the client ends then (run: 0.25.0, 2.1.0)."""
    from shutil import disk_usage

    with suppress(OSError):
        disk = disk_usage(home)
        return disk.free < _ROOM and disk.total > 0  # which not every file system tells
    return False


def unreadable(home: Path, version: Version) -> Path | None:
    """Return what the client cannot read when a session begins, None for nothing: it ends then.

    Run, without the right to read it, as a folder, and with what is no JSON: 0.33.0, 0.38.0,
    0.40.0 and 2.1.0; versions before do not read it.
    """
    path = home / "workspaces.json"
    if has("new-engine", version):
        try:
            parsed(read(path, _MOST_BYTES).removeprefix(b"\xef\xbb\xbf"))
        except (FileNotFoundError, NotADirectoryError, RecursionError):
            return None
        except (OSError, ValueError):
            return path
    return None


def newest(home: Path) -> Iterator[tuple[str, str]]:
    """Yield id and alias of the sessions that were used last, the last one first."""
    for path in newest_files(home, (_PLACE,), _MOST_FILES):
        with suppress(OSError, ValueError):
            noted = _ALIAS.findall(read_end(path, _TAIL_BYTES))
            if noted:
                yield path.parents[2].name, json.loads(noted[-1])


def resumed(
    kimi: Callable[..., str],
    home: Path,
    old: Mapping[str, Mapping[str, Any]],
    new: Mapping[str, Mapping[str, Any]],
) -> tuple[str, ...]:
    """Return the commands that go on with the newest sessions, three at most, by ``new`` aliases.

    Those that use one of the ``old`` aliases count; both are model entries by alias. ``kimi``
    makes a command of its words.
    """
    aliases = {model.get("model"): alias for alias, model in new.items()}
    twins = {alias: aliases.get(model.get("model")) for alias, model in old.items()}
    found = ((session, twins.get(alias)) for session, alias in newest(home))
    commands = (kimi("-S", session, "-m", twin) for session, twin in found if twin)
    return tuple(islice(commands, 3))
