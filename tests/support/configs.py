"""Configs as the client writes them, and installs and logins as it leaves them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import kimifix
from kimifix.client.login import slot_of

FAR_FUTURE = 4_102_444_800  # 2100-01-01 in Unix seconds

LOGGED_IN = (Path(kimifix.__file__).parent / "config" / "sample.toml").read_text("utf-8")

_LAUNCHERS = Path(__file__).parents[1] / "client" / "data" / "launchers"


def write_config(home: Path, text: str = LOGGED_IN, mode: int = 0o644) -> Path:
    """Write the config of ``home`` and return its path."""
    path = home / "config.toml"
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def slot_at(base_url: str, oauth_host: str | None = None) -> str:
    """Return the name under which the client keeps its login at another server."""
    provider = {"base_url": base_url, "oauth": {"oauth_host": oauth_host}}
    return str(slot_of(provider, {}, managed=True)).removeprefix("oauth/")


def sign_in(
    home: Path,
    token: str = "token-of-the-login",
    expires_at: float = FAR_FUTURE,
    slot: str = "kimi-code",
) -> Path:
    """Leave the credentials file of a login in ``home``."""
    folder = home / "credentials"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{slot}.json"
    path.write_text(
        json.dumps(
            {
                "access_token": token,
                "refresh_token": "refresh-token-of-the-login",
                "expires_at": expires_at,
                "scope": "kimi-code",
                "token_type": "Bearer",
                "expires_in": 3600,
            }
        )
    )
    path.chmod(0o600)
    return path


def install_client(folder: Path, version: str = "2.1.0") -> Path:
    """Lay out kimi-code as npm does, without Node, and return the folder for PATH."""
    windows = sys.platform == "win32"
    package = folder / ("" if windows else "lib") / "node_modules" / "@moonshot-ai" / "kimi-code"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text(
        json.dumps({"name": "@moonshot-ai/kimi-code", "version": version}), encoding="utf-8"
    )
    main = package / "dist" / "main.mjs"
    main.write_text("#!/usr/bin/env node\n", encoding="utf-8")
    if windows:
        shutil.copy(_LAUNCHERS / "npm.cmd", folder / "kimi.cmd")
        return folder
    main.chmod(0o755)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "kimi").symlink_to(main)
    return programs
