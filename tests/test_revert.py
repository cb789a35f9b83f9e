"""`kimifix revert` as a process, after others have written too."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config
from support.platforms import has_mode, symlinks

K3 = (
    '\n[models."kimi-code/k3"]\nprovider = "managed:kimi-code"\nmodel = "k3"\n'
    "max_context_size = 1000\n"
)


@pytest.fixture
def config(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client with two models."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    sign_in(home)
    return write_config(home, LOGGED_IN + K3)


def data_of(config: Path) -> dict[str, Any]:
    """Parse the config."""
    return tomllib.loads(config.read_text())


def before() -> dict[str, Any]:
    """Return the data before `apply`."""
    return tomllib.loads(LOGGED_IN + K3)


def test_nothing_to_revert_is_no_error(kimifix: Kimifix, config: Path) -> None:
    """Without our entries there is nothing to do, exit 0, and nothing is written."""
    result = kimifix("revert")
    assert result.code == 0
    assert result.out == f"nothing to revert: {Path('~/.kimi-code/config.toml')}\n"
    assert not kimifix.state.exists()


def rewrite(text: str) -> str:
    """Write the same data as another serialiser would, comments and order lost."""
    return tomlkit.dumps(dict(sorted(tomllib.loads(text).items())))


def append(text: str) -> str:
    """Add a table at the end, as the user may do by hand."""
    return text + "\n[hooks]\nafter = 1\n"


def edit_our_block(text: str) -> str:
    """Change and add values in our own entries."""
    return text.replace(
        'X-Msh-Platform = "kimi_cli"', 'X-Msh-Platform = "mine"\nX-Extra = "1"'
    ).replace("[providers.kimifix]", "# mine\n[providers.kimifix]\nextra = 1")


def add_refreshed_alias(text: str) -> str:
    """Add an alias to our provider, as the client's model refresh does."""
    return text + '\n[models."kimifix/new"]\nprovider = "kimifix"\nmodel = "new"\n'


def choose_another_twin(text: str) -> str:
    """Choose another alias of ours, as /model does."""
    return text.replace('"kimifix/kimi-for-coding"', '"kimifix/k3"', 1)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param(rewrite, before(), id="rewritten"),
        pytest.param(append, {**before(), "hooks": {"after": 1}}, id="appended"),
        pytest.param(edit_our_block, before(), id="our block edited"),
        pytest.param(add_refreshed_alias, before(), id="alias added by a refresh"),
        pytest.param(
            choose_another_twin, {**before(), "default_model": "kimi-code/k3"}, id="other twin"
        ),
    ],
)
@pytest.mark.parametrize("state_lost", [False, True])
def test_foreign_edits_stay_and_ours_go(
    kimifix: Kimifix,
    config: Path,
    others: Callable[[str], str],
    expected: dict[str, Any],
    state_lost: bool,
) -> None:
    """After somebody else's edit our entries go key by key, with or without receipt."""
    kimifix("apply", "--yes")
    config.write_text(others(config.read_text()))
    if state_lost:
        shutil.rmtree(kimifix.state)
    result = kimifix("revert", "--yes")
    assert result.code == 0
    assert "\nreverted" in result.out
    assert data_of(config) == expected


def add_alias_of_their_own(text: str) -> str:
    """Give our provider a model of somebody's own, which goes with it."""
    return text + '\n[models.mine]\nprovider = "kimifix"\nmodel = "mine"\n'


@pytest.mark.parametrize(
    ("first", "others", "exact"),
    [
        pytest.param([], add_alias_of_their_own, False, id="before"),
        pytest.param(["--platform", "other"], append, False, id="between"),
        pytest.param(["--platform", "other"], str, True, id="nothing"),
    ],
)
def test_only_bytes_that_were_there_are_called_the_same(
    kimifix: Kimifix, config: Path, first: list[str], others: Callable[[str], str], exact: bool
) -> None:
    """What we have made of edits, before an `apply` or between two, was never in the file."""
    if first:
        assert kimifix("apply", "--yes", *first).code == 0
    config.write_bytes(others(config.read_bytes().decode()).encode())
    assert kimifix("apply", "--yes", "--platform", "kimi_cli").code == 0
    result = kimifix("revert", "--yes", "--json")
    assert result.json["exact"] is exact
    assert not exact or config.read_text() == LOGGED_IN + K3


def test_thinking_of_a_new_login_stays(kimifix: Kimifix, config: Path) -> None:
    """A login sets thinking with the default that it sets, so neither is ours any more."""
    text = (LOGGED_IN + K3).replace("[thinking]\nenabled = true\n\n", "")
    config.write_text(text)
    kimifix("apply", "--yes")
    data = data_of(config)
    assert data["thinking"] == {"enabled": True}
    data["default_model"] = "kimi-code/kimi-for-coding"
    config.write_text(tomlkit.dumps(data))
    assert kimifix("revert", "--yes").code == 0
    assert data_of(config) == before()


@pytest.mark.parametrize("foreign", ["", '[providers.kimifix]\ntype = "openai"\n'])
def test_a_home_made_anew_is_left_alone(kimifix: Kimifix, config: Path, foreign: str) -> None:
    """A receipt of the home that was in the same place before says nothing of this one."""
    config.write_text(config.read_text().replace("[thinking]\nenabled = true\n\n", ""))
    kimifix("apply", "--yes", "--key-stdin", "--route", "anthropic", stdin="sk-kimi-of-the-old")
    anew = LOGGED_IN + foreign
    config.write_text(anew)  # private, as `apply` has left the old one
    result = kimifix("revert", "--yes")
    assert result.out.startswith("nothing to revert: ")
    assert config.read_text() == anew
    applied = kimifix("apply", "--yes")
    assert (applied.code, "kimifix did not write" in applied.err) == (bool(foreign),) * 2
    assert has_mode(config, 0o600)
    assert ("kimi_cli" in config.read_text()) != bool(foreign)
    assert kimifix("revert", "--yes").code == 0
    assert config.read_text() == anew


def test_default_of_the_user_stays(kimifix: Kimifix, config: Path) -> None:
    """A default that the user has chosen since is left, and the output says so."""
    kimifix("apply", "--yes")
    config.write_text(config.read_text().replace('"kimifix/kimi-for-coding"', '"kimi-code/k3"', 1))
    result = kimifix("revert", "--yes")
    assert data_of(config) == {**before(), "default_model": "kimi-code/k3"}
    assert "left as it is, somebody else has changed it since: default_model" in result.out


def test_provider_removed_by_the_client(kimifix: Kimifix, config: Path) -> None:
    """`kimi provider remove kimifix` leaves no default; `revert` puts the old one back."""
    kimifix("apply", "--yes")
    data = data_of(config)
    del data["providers"]["kimifix"], data["default_model"]
    data["models"] = {a: m for a, m in data["models"].items() if m["provider"] != "kimifix"}
    config.write_text(tomlkit.dumps(data))
    assert kimifix("revert", "--yes").code == 0
    assert data_of(config) == before()
    assert kimifix("revert").out.startswith("nothing to revert")


def test_deleted_config_is_not_an_error(kimifix: Kimifix, config: Path) -> None:
    """Where the config is gone `revert` says where the backup lies and makes no new file."""
    kimifix("apply", "--yes")
    config.unlink()
    result = kimifix("revert", "--yes")
    assert result.code == 0
    assert "the config is gone" in result.out
    assert not config.exists()


def test_broken_config_names_the_backup(kimifix: Kimifix, config: Path) -> None:
    """A config that is no TOML any more is left alone; the hint names the backup."""
    kimifix("apply", "--yes")
    config.write_text(config.read_text() + "oops\n")
    broken = config.read_bytes()
    result = kimifix("revert", "--yes")
    assert result.code == 1
    backup = result.err.partition("in its place: `")[2].partition("`")[0]
    assert Path(backup.replace("~", os.environ["HOME"], 1)).read_text() == LOGGED_IN + K3
    assert config.read_bytes() == broken


def test_damaged_backup_does_not_matter(kimifix: Kimifix, config: Path) -> None:
    """Without a sound backup the same bytes come back by the structure."""
    kimifix("apply", "--yes")
    for backup in kimifix.state.rglob("*.toml"):
        backup.write_text("damaged")
    result = kimifix("revert", "--yes")
    assert "byte for byte" in result.out
    assert config.read_text() == LOGGED_IN + K3


@symlinks
def test_symlink_stays_a_symlink(kimifix: Kimifix, config: Path, tmp_path: Path) -> None:
    """A config in a dotfiles folder is edited behind its symlink."""
    real = tmp_path / "dotfiles.toml"
    config.rename(real)
    config.symlink_to(real)
    kimifix("apply", "--yes")
    assert config.is_symlink()
    assert "kimifix" in real.read_text()
    kimifix("revert", "--yes")
    assert config.is_symlink()
    assert real.read_text() == LOGGED_IN + K3


def test_a_key_in_two_spellings_comes_back(kimifix: Kimifix, config: Path) -> None:
    """A key that two lines spell moves and comes back in both, byte for byte."""
    written = f"""{LOGGED_IN}
[secondary_model]
models."kimi-code/kimi-for-coding".a = 1
models.'kimi-code/kimi-for-coding'.b = 2
"""
    config.write_text(written)
    assert "applied" in kimifix("apply", "--yes").out
    assert 'models."kimifix/kimi-for-coding".b = 2' in config.read_text()
    assert "byte for byte as before" in kimifix("revert", "--yes").out
    assert config.read_text() == written


def test_dry_run_and_json(kimifix: Kimifix, config: Path) -> None:
    """`--dry-run` writes nothing, and JSON says what would be."""
    kimifix("apply", "--yes")
    applied = config.read_bytes()
    result = kimifix("revert", "--dry-run", "--json").json
    assert config.read_bytes() == applied
    assert result["status"] == "dry-run"
    assert result["exact"] is True
