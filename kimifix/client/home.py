"""Where kimi-code keeps its data on this machine; the only reader of the environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kimifix.errors import KimifixError
from kimifix.reader import read_text
from kimifix.secret import is_secret_name, register

# `<home>/region`, written by the vendor's install scripts and read before the first
# login, decides where a client without managed provider would sign in (0.38.0, 2.1.0).
_REGION_BASES = {
    "mainland-cn": "https://api.kimi.com/coding/v1",
    "global": "https://api.kimi.ai/coding/v1",
}
_LONGEST_REGION = 100  # bytes
DEFAULT_BASE_URL = _REGION_BASES["mainland-cn"]


@dataclass(frozen=True)
class Home:
    """The client's data directory and where it was learned from.

    ``source`` is `--home`, `KIMI_CODE_HOME`, `default` or `sandbox`.
    """

    path: Path
    source: str

    @property
    def config(self) -> Path:
        """The config, whether or not it exists."""
        return self.path / "config.toml"

    @property
    def region_base_url(self) -> str:
        """The base URL of the region that the install script noted, else the documented one."""
        region = read_text(self.path / "region", _LONGEST_REGION).strip()
        return _REGION_BASES.get(region, DEFAULT_BASE_URL)


def environment() -> Mapping[str, str]:
    """Return the environment; values that are secret by name are registered as such.

    On Windows a name in any case finds a variable.
    """
    for name, value in os.environ.items():
        if is_secret_name(name):
            register(value)
    return os.environ


def user_home(env: Mapping[str, str]) -> Path:
    """Return the user's home as Node sees it: `HOME`, on Windows `USERPROFILE`.

    Raises ``KimifixError`` where neither that nor the system's list of users tells.
    """
    value = env.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    try:
        return _absolute(Path(value or Path.home()))
    except RuntimeError:
        raise KimifixError(
            "the user's home directory is not known", "set HOME, or pass --home DIR"
        ) from None


def find(option: Path | None, env: Mapping[str, str]) -> Home:
    """Return the client's home: ``option``, else `KIMI_CODE_HOME`, else `~/.kimi-code`.

    The folder need not exist. As in the client, a relative `KIMI_CODE_HOME` counts from
    the working directory, and a `~` in it is a name like any other. An empty one counts
    as unset: with it, 2.1.0 takes the working directory, and 0.20.0 and 0.38.0 crash.
    """
    if option is not None:
        if option.parts[:1] == ("~",):  # bash leaves it in `--home=~/x`
            option = user_home(env).joinpath(*option.parts[1:])
        return Home(_absolute(option), "--home")
    if env.get("KIMI_CODE_HOME"):
        return Home(_absolute(Path(env["KIMI_CODE_HOME"])), "KIMI_CODE_HOME")
    return Home(user_home(env) / ".kimi-code", "default")


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError:
        message = f"the working directory is gone: `{path}`"
        raise KimifixError(message, "change to another folder") from None
