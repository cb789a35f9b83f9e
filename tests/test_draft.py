"""What `apply` proposes where something is there already, and to whom the credential goes."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config
from support.platforms import alike

from kimifix.config import routes
from kimifix.config.document import Document

KEY = "sk-kimi-not-a-real-key-0123456789"
K3 = (
    '\n[models."kimi-code/k3"]\nprovider = "managed:kimi-code"\nmodel = "k3"\n'
    "max_context_size = 1000\n"
)


def data_of(config: Path) -> dict[str, Any]:
    """Parse the config."""
    return tomllib.loads(config.read_text())


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kimi-code 2.1.0 on PATH."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")


@pytest.fixture
def config(home: Path, client: None) -> Path:
    """The config of a signed-in client 2.1.0 that is on PATH."""
    sign_in(home)
    return write_config(home)


# Once more


@alike
@pytest.mark.parametrize(
    "options",
    [
        pytest.param("", id="all defaults"),
        pytest.param("--route anthropic", id="anthropic, login"),
        pytest.param("--route anthropic --credential key", id="anthropic, key"),
        pytest.param("--credential key --platform other --no-default", id="header, key"),
        pytest.param("--key-env MY_KEY --no-default", id="variable"),
        pytest.param("--no-default --route anthropic", id="anthropic without default"),
    ],
)
def test_plain_apply_keeps_what_is_applied(kimifix: Kimifix, config: Path, options: str) -> None:
    """Route, platform, credential and default stay, also when new models come along."""
    first = ("apply", "--yes", *options.split())
    assert kimifix(*first, env={"KIMIFIX_API_KEY": KEY}).code == 0
    applied = data_of(config)
    again = kimifix("apply", "--yes", env={"KIMIFIX_API_KEY": "sk-kimi-another"})
    assert again.out.startswith("already applied"), again
    with config.open("a") as file:
        file.write(K3)
    assert kimifix("apply", "--yes").code == 0
    after = data_of(config)
    assert after["models"].pop("kimifix/k3")["model"] == "k3"
    after["models"].pop("kimi-code/k3")
    assert after == applied


@pytest.mark.parametrize("thinking", [True, False])
def test_no_default_moves_nothing_back(kimifix: Kimifix, home: Path, thinking: bool) -> None:
    """What an earlier `apply` has moved stays moved, and thinking as it is."""
    sign_in(home)
    text = LOGGED_IN if thinking else LOGGED_IN.replace("[thinking]\nenabled = true\n\n", "")
    config = write_config(home, text)
    assert kimifix("apply", "--yes", "--credential", "login").code == 0
    applied = config.read_text()
    assert kimifix("apply", "--yes", "--no-default", "--credential", "login").code == 0
    assert config.read_text() == applied
    config.write_text(applied + "# by hand\n")
    assert kimifix("apply", "--yes", "--no-default", "--route", "anthropic").code == 0
    data = data_of(config)
    assert data["default_model"] == "kimifix/kimi-for-coding"
    assert data["thinking"] == {"enabled": True}
    assert kimifix("revert", "--yes").code == 0
    assert config.read_text() == text + "# by hand\n"


def test_default_moves_where_that_is_asked_for(kimifix: Kimifix, config: Path) -> None:
    """`--default` makes up for `--no-default`; and who led the default back is led here again."""
    kimifix("apply", "--yes", "--no-default")
    kimifix("apply", "--yes")
    assert data_of(config)["default_model"] == "kimi-code/kimi-for-coding"
    kimifix("apply", "--yes", "--default")
    assert data_of(config)["default_model"] == "kimifix/kimi-for-coding"
    back = config.read_text().replace('"kimifix/kimi-for-coding"', '"kimi-code/kimi-for-coding"', 1)
    config.write_text(back)
    kimifix("apply", "--yes", "--no-default")
    assert data_of(config)["default_model"] == "kimi-code/kimi-for-coding"
    kimifix("apply", "--yes")
    assert data_of(config)["default_model"] == "kimifix/kimi-for-coding"
    kimifix("revert", "--yes")
    assert config.read_text() == LOGGED_IN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("default_model", 'default_model = "kimi-code/retired" #', id="no such model"),
        pytest.param('provider = "managed:kimi-code"', 'provider = "gone"', id="no such provider"),
    ],
)
def test_a_default_that_leads_nowhere_is_made_ours(
    kimifix: Kimifix, config: Path, old: str, new: str
) -> None:
    """With it `kimi -m` would fail, too (0.38.0 and 2.1.0); `revert` gives the old bytes."""
    config.write_text(text := LOGGED_IN.replace(old, new, 1))
    result = kimifix("apply", "--yes")
    assert result.code == 0
    assert data_of(config)["default_model"] == "kimifix/kimi-for-coding"
    assert "kimi -m" not in result.out.partition("note:")[0]
    kimifix("revert", "--yes")
    assert config.read_text() == text


# What others have built on ours

MINE = '\n# my own\n[models.mine]\nprovider = "kimifix"\nmodel = "k2" # an older one\n'


def test_what_is_built_on_ours_stays(kimifix: Kimifix, config: Path) -> None:
    """Aliases of another name, byte for byte, a default that names one, and added fields."""
    kimifix("apply", "--yes")
    text = config.read_text() + MINE
    text = text.replace('"kimifix/kimi-for-coding"', '"mine"', 1)
    header = '[models."kimifix/kimi-for-coding"]\n'
    text = text.replace(header, f"{header}max_output_size = 5\n")
    text = text.replace('X-Msh-Platform = "kimi_cli"', 'X-Msh-Platform = "kimi_cli"\nX-Team = "a"')
    text = text.replace("[providers.kimifix]\n", "[providers.kimifix]\nextra = 1\n")
    config.write_text(text)
    by_hand = data_of(config)
    assert kimifix("apply", "--yes").out.startswith("already applied")
    config.write_text(text + K3)
    assert kimifix("apply", "--yes", "--route", "anthropic").code == 0
    assert MINE in config.read_text()
    after = data_of(config)
    assert after["default_model"] == "mine"
    assert after["models"]["mine"] == by_hand["models"]["mine"]
    assert after["models"]["kimifix/kimi-for-coding"]["max_output_size"] == 5
    assert after["providers"]["kimifix"]["extra"] == 1
    assert after["providers"]["kimifix"]["custom_headers"] == {"X-Team": "a"}
    assert kimifix("apply").out.startswith("already applied")


@pytest.mark.parametrize("again", [True, False], ids=["apply between", "at once"])
def test_revert_keeps_a_copy_of_what_others_built_on_ours(
    kimifix: Kimifix, config: Path, again: bool
) -> None:
    """All that needs our provider goes with it, and the bytes lie where the warning says."""
    kimifix("apply", "--yes")
    config.write_text(config.read_text() + MINE)
    if again:
        config.write_text(config.read_text() + K3)
        kimifix("apply", "--yes")
    applied = config.read_text()
    result = kimifix("revert", "--yes")
    warning = next(line for line in result.err.splitlines() if "`models.mine`" in line)
    folder = Path(warning.split("`")[-2].replace("~", os.environ["HOME"], 1))
    assert applied in [path.read_text() for path in folder.iterdir()]
    assert "kimifix" not in config.read_text()
    assert data_of(config)["default_model"] == "kimi-code/kimi-for-coding"


def test_apply_keeps_a_copy_of_what_it_puts_right(kimifix: Kimifix, config: Path) -> None:
    """A value that somebody has changed in our entries is ours again; the warning names it."""
    kimifix("apply", "--yes")
    edited = "1000".join(config.read_text().rsplit("262144", 1))
    config.write_text(edited)
    result = kimifix("apply", "--yes")
    assert "in `models.kimifix/kimi-for-coding`: the config as it is now is kept" in result.err
    assert edited in [path.read_text() for path in kimifix.state.rglob("*.toml")]


def test_what_the_client_changes_elsewhere_leaves_no_copy(kimifix: Kimifix, config: Path) -> None:
    """As long as our entries are as we wrote them nothing but the base is kept."""
    kimifix("apply", "--yes", "--key-stdin", stdin=KEY)
    config.write_text(config.read_text() + K3)
    kimifix("apply", "--yes")
    config.write_text("telemetry = true\n" + config.read_text())
    assert "kept" not in kimifix("revert", "--yes").err
    assert not [p for p in kimifix.state.rglob("*") if p.is_file() and KEY in p.read_text()]


def test_own_provider_is_recognised_with_what_others_built_on_it(
    kimifix: Kimifix, config: Path
) -> None:
    """Without a receipt the structure tells, whatever else names our provider."""
    kimifix("apply", "--yes")
    config.write_text(config.read_text() + MINE)
    shutil.rmtree(kimifix.state)
    assert kimifix("apply").out.startswith("already applied")
    assert kimifix("revert", "--yes").code == 0
    assert data_of(config) == tomllib.loads(LOGGED_IN)


# A model that is gone, and other drift


@pytest.mark.parametrize("gone", ["kimi-for-coding", "k3"])
def test_a_retired_model_goes(kimifix: Kimifix, config: Path, gone: str) -> None:
    """Its twin goes by the next `apply`, and the default to a model that is still there."""
    config.write_text(LOGGED_IN + K3)
    kimifix("apply", "--yes")
    data = data_of(config)
    data["default_model"] = f"kimifix/{gone}"
    del data["models"][f"kimi-code/{gone}"]
    config.write_text(tomlkit.dumps(data))
    assert routes.drift(Document(data)).stale == (f"kimifix/{gone}",)
    assert kimifix("apply", "--yes").code == 0
    after = data_of(config)
    assert routes.drift(Document(after)) == routes.Drift()
    assert set(after["models"]) == {*data["models"]} - {f"kimifix/{gone}"}
    assert after["default_model"] in after["models"]


def test_a_model_with_not_a_number_is_not_outdated(kimifix: Kimifix, config: Path) -> None:
    """NaN is NaN: a twin with it is as it should be."""
    text = LOGGED_IN.replace("max_context_size = 262144", "max_context_size = 262144\nx = nan")
    config.write_text(text)
    kimifix("apply", "--yes")
    assert routes.drift(Document(data_of(config))) == routes.Drift()
    assert kimifix("apply").out.startswith("already applied")


# To whom the credential goes


@pytest.mark.parametrize(
    ("old", "new", "env"),
    [
        pytest.param("https://api.kimi.com", "https://example.com", {}, id="another server"),
        pytest.param('"oauth/kimi-code"', '"oauth/other"', {}, id="another slot"),
        pytest.param("", "", {"KIMI_CODE_BASE_URL": "https://example.com"}, id="by environment"),
        pytest.param("", "", {"KIMI_OAUTH_HOST": "https://example.com"}, id="host by environment"),
    ],
)
def test_a_login_goes_to_no_other_server(
    kimifix: Kimifix, home: Path, client: None, old: str, new: str, env: dict[str, str]
) -> None:
    """Where kimi-code would not use the login that the config names, neither does our provider."""
    sign_in(home)
    sign_in(home, slot="other")
    text = LOGGED_IN.replace(old, new)
    config = write_config(home, text)
    result = kimifix("apply", "--yes", env=env)
    assert result.code == 1
    assert "another" in result.err
    assert "--credential key" in result.err
    assert config.read_text() == text


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://api.kimi.ai/coding/v1", []),
        ("https://kimi.com:443/coding/v1", []),
        ("http://127.0.0.1:8080/v1", []),
        ("http://localhost/v1", []),
        ("http://api.kimi.com/coding/v1", ["unencrypted"]),
        ("https://gateway.example/v1", ["not the vendor's"]),
        ("http://gateway.example/v1", ["not the vendor's", "unencrypted"]),
        ("https://api.kimi.com@example.com/v1", ["not the vendor's"]),
        ("https://api.kimi.com.example.com/v1", ["not the vendor's"]),
        ("https://notkimi.com/v1", ["not the vendor's"]),
        ("http://127.0.0.1.example.com/", ["not the vendor's", "unencrypted"]),
    ],
)
def test_strange_servers_are_warned_of(
    kimifix: Kimifix, home: Path, client: None, url: str, warned: list[str]
) -> None:
    """Before a credential goes to a host that is not the vendor's, or goes unencrypted."""
    write_config(home, LOGGED_IN.replace("https://api.kimi.com/coding/v1", url))
    result = kimifix("apply", "--dry-run", "--key-stdin", stdin=KEY)
    assert result.code == 0
    for words in ("not the vendor's", "unencrypted"):
        assert (words in result.err) == (words in warned)


def test_own_key_stays_with_its_server(kimifix: Kimifix, config: Path) -> None:
    """Where the managed provider moves to another server, our key does not follow it."""
    kimifix("apply", "--yes", "--key-stdin", stdin=KEY)
    config.write_text(config.read_text().replace("api.kimi.com", "api.kimi.ai", 1) + K3)
    assert routes.drift(Document(data_of(config))).provider is False
    kimifix("apply", "--yes")
    own = data_of(config)["providers"]["kimifix"]
    assert (own["api_key"], own["base_url"]) == (KEY, "https://api.kimi.com/coding/v1")
    kimifix("apply", "--yes", "--key-stdin", stdin="sk-kimi-another-key")
    assert data_of(config)["providers"]["kimifix"]["base_url"] == "https://api.kimi.ai/coding/v1"
