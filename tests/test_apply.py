"""`kimifix apply` as a process."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config
from support.platforms import has_mode

KEY = "sk-kimi-not-a-real-key-0123456789"
K3 = (
    '\n[models."kimi-code/k3"]\nprovider = "managed:kimi-code"\nmodel = "k3"\n'
    "max_context_size = 1000\n"
)


def data_of(config: Path) -> dict[str, Any]:
    """Parse the config."""
    return tomllib.loads(config.read_text())


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """kimi-code 2.1.0 on PATH."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    return "2.1.0"


@pytest.fixture
def config(home: Path, client: str) -> Path:
    """The config of a signed-in client 2.1.0 that is on PATH."""
    sign_in(home)
    return write_config(home)


def test_writes_provider_aliases_and_default(kimifix: Kimifix, config: Path) -> None:
    """The data afterwards is the data before plus exactly provider, twin and default."""
    before = data_of(config)
    assert kimifix("apply", "--yes").code == 0
    after = data_of(config)
    assert after["default_model"] == "kimifix/kimi-for-coding"
    assert after["providers"].pop("kimifix") == {
        "type": "kimi",
        "base_url": "https://api.kimi.com/coding/v1",
        "oauth": {"storage": "file", "key": "oauth/kimi-code"},
        "custom_headers": {"X-Msh-Platform": "kimi_cli"},
    }
    managed = before["models"]["kimi-code/kimi-for-coding"]
    assert after["models"].pop("kimifix/kimi-for-coding") == {**managed, "provider": "kimifix"}
    assert after == {**before, "default_model": "kimifix/kimi-for-coding"}


def test_changes_one_value_and_appends_one_block(kimifix: Kimifix, config: Path) -> None:
    """All old lines stay in place, but for the value of `default_model`."""
    kimifix("apply", "--yes")
    moved = LOGGED_IN.replace('"kimi-code/kimi-for-coding"', '"kimifix/kimi-for-coding"', 1)
    assert config.read_text().startswith(moved)


def test_twice_writes_once(kimifix: Kimifix, config: Path) -> None:
    """A second `apply` says that it is applied and leaves file and receipt alone."""
    kimifix("apply", "--yes")
    once = config.read_bytes(), config.stat().st_mtime_ns, config.stat().st_ino
    again = kimifix("apply")
    assert again.code == 0
    assert again.out == f"already applied, nothing written: {Path('~/.kimi-code/config.toml')}\n"
    assert (config.read_bytes(), config.stat().st_mtime_ns, config.stat().st_ino) == once


def test_then_revert_gives_the_old_bytes(kimifix: Kimifix, config: Path) -> None:
    """The bytes, the mode and the owner after `revert` are those before `apply`."""
    before = config.read_bytes()
    kimifix("apply", "--yes")
    reverted = kimifix("revert", "--yes")
    assert "byte for byte" in reverted.out
    assert config.read_bytes() == before
    assert has_mode(config, 0o644)


def test_new_managed_models_come_along(kimifix: Kimifix, config: Path) -> None:
    """A model that the client has learned since gets its twin by the next `apply`."""
    kimifix("apply", "--yes")
    with config.open("a") as file:
        file.write(K3)
    theirs = config.read_text()
    assert kimifix("apply", "--yes").code == 0
    assert data_of(config)["models"]["kimifix/k3"]["provider"] == "kimifix"
    assert kimifix("revert", "--yes").code == 0
    assert data_of(config) == {
        **data_of(config),
        "default_model": "kimi-code/kimi-for-coding",
        "models": {
            alias: model
            for alias, model in tomllib.loads(theirs)["models"].items()
            if not alias.startswith("kimifix/")
        },
    }
    assert "kimifix" not in config.read_text()


def test_dry_run_writes_nothing(kimifix: Kimifix, config: Path) -> None:
    """`--dry-run` shows the diff and touches neither config nor state."""
    result = kimifix("apply", "--dry-run")
    assert result.code == 0
    assert '+default_model = "kimifix/kimi-for-coding"' in result.out
    assert config.read_text() == LOGGED_IN
    assert not kimifix.state.exists()


def test_without_terminal_needs_yes(kimifix: Kimifix, config: Path) -> None:
    """Nobody is there to ask: refused, with the way out."""
    result = kimifix("apply")
    assert result.code == 1
    assert "hint: pass --yes" in result.err
    # Git Bash shows a terminal where Windows sees none.
    assert ("winpty" in result.err) == (sys.platform == "win32")
    assert config.read_text() == LOGGED_IN


def test_names_the_policy_on_the_header_route_only(kimifix: Kimifix, config: Path) -> None:
    """The policy notice comes before the change that alters the identity, and only there."""
    assert "Community Guidelines forbid" in kimifix("apply", "--dry-run").err
    assert "Guidelines" not in kimifix("apply", "--dry-run", "--route", "anthropic").err


def test_own_name_is_written_with_all_that_goes_with_it(kimifix: Kimifix, config: Path) -> None:
    """What the client leaves out in editors; none of it is forged, so there is no notice."""
    before = config.read_bytes()
    result = kimifix("apply", "--yes", "--platform", "kimi_code_cli")
    assert (result.code, "notice" in result.err) == (0, False)
    headers = data_of(config)["providers"]["kimifix"]["custom_headers"]
    assert headers["User-Agent"] == "kimi-code-cli/2.1.0"
    assert headers["X-Msh-Platform"] == "kimi_code_cli"
    assert {"X-Msh-Version", "X-Msh-Device-Model", "X-Msh-Os-Version"} < headers.keys()
    assert kimifix("apply", "--yes").out.startswith("already applied")
    assert "notice" in kimifix("apply", "--yes", "--platform", "kimi_cli").err
    headers = data_of(config)["providers"]["kimifix"]["custom_headers"]
    assert headers == {"X-Msh-Platform": "kimi_cli"}
    assert kimifix("revert", "--yes").code == 0
    assert config.read_bytes() == before


def test_no_default_moves_nothing(kimifix: Kimifix, config: Path) -> None:
    """`--no-default` adds our entries, keeps every old byte and says how to use them."""
    result = kimifix("apply", "--yes", "--no-default")
    assert config.read_text().startswith(LOGGED_IN)
    assert "kimi -m kimifix/kimi-for-coding" in result.out
    again = kimifix("apply", "--yes").out
    assert again.startswith("already applied")
    assert "kimi -m kimifix/kimi-for-coding" in again


def test_what_is_to_be_typed_is_for_the_home_that_was_named(
    kimifix: Kimifix, home: Path, config: Path
) -> None:
    """Without it, the commands would act on the usual home."""
    other = home.rename(home.with_name("other home"))
    told = kimifix("apply", "--yes", "--no-default", "--json", "--home", other)
    assert "KIMI_CODE_HOME" in told.json["next"][0]
    told = kimifix("apply", "--yes", "--default", "--home", other)
    commands = [line for line in told.out.split("`") if line.startswith("kimifix ")]
    assert len(commands) == 2
    assert all("--home" in command for command in commands)


def test_foreign_default_stays(kimifix: Kimifix, home: Path, config: Path) -> None:
    """A default that names another provider is the user's own."""
    text = LOGGED_IN.replace('"kimi-code/kimi-for-coding"', '"gpt"', 1) + (
        '[providers.openai]\ntype = "openai"\napi_key = "sk-abcdefghijk"\n'
        '[models.gpt]\nprovider = "openai"\nmodel = "gpt"\nmax_context_size = 1\n'
    )
    write_config(home, text)
    result = kimifix("apply", "--yes")
    assert data_of(config)["default_model"] == "gpt"
    assert "stays" in result.err


def test_foreign_provider_of_our_name_is_refused(kimifix: Kimifix, home: Path, client: str) -> None:
    """A provider called `kimifix` that somebody else wrote is not touched."""
    text = LOGGED_IN + '[providers.kimifix]\ntype = "openai"\nbase_url = "https://example.com"\n'
    config = write_config(home, text)
    sign_in(home)
    result = kimifix("apply", "--yes")
    assert result.code == 1
    assert "kimifix did not write" in result.err
    assert config.read_text() == text
    reverted = kimifix("revert", "--yes")
    assert reverted.code == 0
    assert "nothing to revert" in reverted.out
    assert config.read_text() == text


def test_headers_of_the_managed_provider_are_carried(
    kimifix: Kimifix, home: Path, config: Path
) -> None:
    """Headers that the user set come along; another spelling of ours does not."""
    text = LOGGED_IN.replace(
        'api_key = ""\nbase_url',
        'api_key = ""\ncustom_headers = { X-Team = "blue", x-msh-platform = "other" }\nbase_url',
        1,
    )
    write_config(home, text)
    kimifix("apply", "--yes", "--platform", "kimi_other")
    headers = data_of(config)["providers"]["kimifix"]["custom_headers"]
    assert headers == {"X-Team": "blue", "X-Msh-Platform": "kimi_other"}


@pytest.mark.parametrize("name", ["", "two words", "a\r\nX-Injected: 1", "café"])
def test_platform_takes_nothing_that_injects(kimifix: Kimifix, config: Path, name: str) -> None:
    """A platform that is no printable ASCII token is a usage error."""
    result = kimifix("apply", "--yes", "--platform", name)
    assert result.code == 2
    assert config.read_text() == LOGGED_IN


def test_key_from_stdin_makes_the_config_private(kimifix: Kimifix, config: Path) -> None:
    """A key lands in the config alone, which nobody else can read from then on."""
    result = kimifix("apply", "--yes", "--credential", "key", "--key-stdin", stdin=f"{KEY}\n")
    assert result.code == 0
    assert data_of(config)["providers"]["kimifix"]["api_key"] == KEY
    assert "oauth" not in data_of(config)["providers"]["kimifix"]
    assert has_mode(config, 0o600)
    narrowed = "others lose their right to read it" in result.err
    assert narrowed == (sys.platform != "win32")  # where the folder decides who reads
    assert KEY not in result.out + result.err
    kimifix("revert", "--yes")
    assert has_mode(config, 0o644)
    assert not [p for p in kimifix.state.rglob("*") if p.is_file() and KEY in p.read_text()]


def test_key_from_the_environment(kimifix: Kimifix, config: Path) -> None:
    """KIMIFIX_API_KEY serves `--credential key`."""
    result = kimifix("apply", "--yes", "--credential", "key", env={"KIMIFIX_API_KEY": KEY})
    assert result.code == 0
    assert data_of(config)["providers"]["kimifix"]["api_key"] == KEY


@pytest.mark.parametrize("key", ["", "  \n", "sk-kimi-a b", "sk-kimi-\x07bell", "sk-kimi-é"])
def test_what_cannot_be_a_key_is_refused(kimifix: Kimifix, config: Path, key: str) -> None:
    """An empty key, or one with white space or control characters in it, is refused."""
    result = kimifix("apply", "--yes", "--key-stdin", stdin=key)
    assert result.code == 1
    assert "API key" in result.err
    assert config.read_text() == LOGGED_IN


def test_open_platform_key_is_warned_about(kimifix: Kimifix, config: Path) -> None:
    """A key that is not of the Kimi Code console is written with a warning."""
    result = kimifix("apply", "--yes", "--key-stdin", stdin="sk-abcdefghijklmnop")
    assert result.code == 0
    assert "Open Platform" in result.err


@pytest.mark.parametrize(
    ("version", "credential", "code", "said"),
    [
        pytest.param("2.1.0", "auto", 0, "login", id="new"),
        pytest.param("9.9.9", "auto", 0, "login", id="newer than known"),
        pytest.param("0.20.2", "auto", 0, "login", id="first that shares"),
        pytest.param("0.20.1", "auto", 1, "cannot share its login", id="last that does not"),
        pytest.param("0.20.1", "login", 1, "cannot share its login", id="asked for the impossible"),
        pytest.param("1.0.0-next.3", "auto", 0, "login", id="pre-release"),
        pytest.param("unknown", "auto", 1, "version of kimi-code is unknown", id="no version"),
        pytest.param("unknown", "login", 0, "could not be told", id="no version, user insists"),
    ],
)
def test_login_is_shared_where_the_version_can(
    kimifix: Kimifix,
    home: Path,
    tmp_path: Path,
    version: str,
    credential: str,
    code: int,
    said: str,
) -> None:
    """`auto` shares the login from 0.20.2 on; else it names both ways out."""
    programs = install_client(tmp_path / "npm", version)
    sign_in(home)
    config = write_config(home)
    result = kimifix("apply", "--yes", "--credential", credential, env={"PATH": str(programs)})
    assert result.code == code
    assert said in result.out + result.err
    if code:
        assert "update kimi-code" in result.err
        assert "--credential key" in result.err
        assert config.read_text() == LOGGED_IN


def test_without_install_the_config_is_patched(kimifix: Kimifix, home: Path) -> None:
    """A config without an install that can be found takes the credential asked for."""
    sign_in(home)
    write_config(home)
    result = kimifix("apply", "--yes", "--credential", "login")
    assert result.code == 0
    assert "warning: no copy of kimi-code was found" in result.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "has no config yet", id="no config"),
        pytest.param("", "no managed provider", id="empty config"),
        pytest.param("telemetry = false\n", "no managed provider", id="no managed provider"),
        pytest.param("a = 1\nb = = 2\n", "line 2, column 5", id="broken TOML"),
        pytest.param("a = 1\nb =", "line 2", id="broken at the end"),
        pytest.param("providers = 1\n", "`providers` is not a table", id="providers is a number"),
        pytest.param("[models]\nx = 1\n", "`models.x` is not a table", id="model is a number"),
    ],
)
def test_each_missing_thing_is_one_clear_error(
    kimifix: Kimifix, home: Path, client: str, text: str | None, said: str
) -> None:
    """One error that says what is missing and what to do, exit 1, nothing written."""
    if text is not None:
        write_config(home, text)
    result = kimifix("apply", "--yes")
    assert result.code == 1
    assert result.err.count("error:") == 1
    assert said in result.err
    assert "hint:" in result.err
    assert [path.name for path in home.iterdir()] == ([] if text is None else ["config.toml"])
    assert text is None or (home / "config.toml").read_text() == text
    assert not kimifix.state.exists()


def test_not_signed_in_is_an_error(kimifix: Kimifix, home: Path, client: str) -> None:
    """A config that names a login whose file is gone cannot share it."""
    config = write_config(home)
    result = kimifix("apply", "--yes")
    assert result.code == 1
    assert "kimi login" in result.err
    assert config.read_text() == LOGGED_IN


def test_without_kimi_code_is_an_error(kimifix: Kimifix) -> None:
    """No program and no home: says so and names --home and --sandbox."""
    result = kimifix("apply", "--yes")
    assert result.code == 1
    assert "kimi-code was not found" in result.err
    assert "--sandbox" in result.err


@pytest.mark.parametrize("text", [None, "", "# only a comment", "telemetry = false"])
def test_key_without_managed_provider_gets_the_documented_server(
    kimifix: Kimifix, home: Path, client: str, text: str | None
) -> None:
    """With a key, a config without managed provider gets the documented URL and models."""
    if text is not None:
        write_config(home, text)
    result = kimifix("apply", "--yes", "--key-stdin", stdin=KEY)
    assert result.code == 0
    config = home / "config.toml"
    data = data_of(config)
    assert data["providers"]["kimifix"]["base_url"] == "https://api.kimi.com/coding/v1"
    assert data["models"][data["default_model"]]["model"] == "kimi-for-coding"
    assert has_mode(config, 0o600)
    assert kimifix("apply").out.startswith("already applied")
    assert kimifix("revert", "--yes").code == 0
    assert not config.exists() if text is None else config.read_text() == text


def test_region_marker_chooses_the_server(kimifix: Kimifix, home: Path, client: str) -> None:
    """Without managed provider the region that the install script noted names the server."""
    (home / "region").write_text("global\n")
    kimifix("apply", "--yes", "--key-stdin", stdin=KEY)
    provider = data_of(home / "config.toml")["providers"]["kimifix"]
    assert provider["base_url"] == "https://api.kimi.ai/coding/v1"


def test_sandbox_needs_nothing_and_touches_nothing(kimifix: Kimifix, tmp_path: Path) -> None:
    """On a machine without kimi-code the whole way is gone in a new folder, and back."""
    result = kimifix("apply", "--sandbox", "--json", env={"TMPDIR": str(tmp_path)})
    assert result.code == 0
    sandbox = Path(result.json["sandbox"])
    assert data_of(sandbox / "config.toml")["default_model"] == "kimifix/kimi-for-coding"
    assert has_mode(sandbox, 0o700)
    assert kimifix("revert", "--yes", "--home", sandbox).code == 0
    assert (sandbox / "config.toml").read_text() == LOGGED_IN
    assert not kimifix.state.exists()


def test_sandbox_copies_the_own_config(kimifix: Kimifix, config: Path, tmp_path: Path) -> None:
    """Where there is a config the sandbox holds a copy of it, and the original stays."""
    config.write_text("# mine\n" + LOGGED_IN)
    result = kimifix("apply", "--sandbox", "--json", env={"TMPDIR": str(tmp_path)})
    copied = Path(result.json["config"]).read_text()
    assert copied.startswith("# mine\n")
    assert "kimifix" in copied
    assert config.read_text() == "# mine\n" + LOGGED_IN


def test_thinking_is_kept(kimifix: Kimifix, home: Path, config: Path) -> None:
    """Where nothing sets thinking it is switched on with the default, and out again after."""
    text = LOGGED_IN.replace("[thinking]\nenabled = true\n\n", "")
    write_config(home, text)
    kimifix("apply", "--yes")
    assert data_of(config)["thinking"] == {"enabled": True}
    kimifix("revert", "--yes")
    assert config.read_text() == text


def test_all_that_names_a_managed_alias_moves(kimifix: Kimifix, home: Path, config: Path) -> None:
    """`[secondary_model]`, its pool, `default_provider` and provider defaults move and return."""
    alias = "kimi-code/kimi-for-coding"
    text = (
        'default_provider = "managed:kimi-code"\n'
        + LOGGED_IN.replace('api_key = ""\n', f'api_key = ""\ndefault_model = "{alias}"\n', 1)
        + f'[secondary_model]\ndefault_model = "{alias}"\n'
        + f'[secondary_model.models]\n"{alias}" = "cheap" # mine\n'
    )
    write_config(home, text)
    kimifix("apply", "--yes")
    data = data_of(config)
    twin = "kimifix/kimi-for-coding"
    assert data["default_provider"] == "kimifix"
    assert data["providers"]["managed:kimi-code"]["default_model"] == twin
    assert data["secondary_model"] == {"default_model": twin, "models": {twin: "cheap"}}
    kimifix("revert", "--yes")
    assert config.read_text() == text


def test_anthropic_route_shares_the_login_by_protocol(kimifix: Kimifix, config: Path) -> None:
    """With the login the aliases choose the surface and no header is set."""
    kimifix("apply", "--yes", "--route", "anthropic")
    data = data_of(config)
    assert data["providers"]["kimifix"] == {
        "type": "kimi",
        "base_url": "https://api.kimi.com/coding/v1",
        "oauth": {"storage": "file", "key": "oauth/kimi-code"},
    }
    assert data["models"]["kimifix/kimi-for-coding"]["protocol"] == "anthropic"


@pytest.mark.parametrize("version", ["0.20.1", "0.27.0", "2.1.0", "unknown"])
def test_anthropic_route_with_key(
    kimifix: Kimifix, home: Path, tmp_path: Path, version: str
) -> None:
    """The provider's type and another base lead there, in every version and on a terminal, too."""
    programs = install_client(tmp_path / "npm", version)
    config = write_config(home)
    options = ("--route", "anthropic", "--key-stdin")
    kimifix("apply", "--yes", *options, stdin=KEY, env={"PATH": str(programs)})
    provider = {"type": "anthropic", "base_url": "https://api.kimi.com/coding", "api_key": KEY}
    data = data_of(config)
    assert data["providers"]["kimifix"] == provider
    assert "protocol" not in data["models"]["kimifix/kimi-for-coding"]


@pytest.mark.parametrize("number", ["9007199254740992", "-9007199254740992", f"0x{'f' * 4000}"])
def test_a_number_that_kimi_code_does_not_read_is_named(
    kimifix: Kimifix, config: Path, number: str
) -> None:
    """It keeps kimi-code from the whole config, and what was applied before is taken back."""
    assert kimifix("apply", "--yes").code == 0
    text = config.read_text().replace("= 262144", f"= {number}", 1)
    config.write_text(text)
    refused = kimifix("apply", "--yes", "--platform", "other")
    told = "`models.kimi-code/kimi-for-coding.max_context_size` is a number too large"
    assert (refused.code, told in refused.err) == (1, True)
    assert told in kimifix("doctor", "--json").json["verdict"]
    assert config.read_text() == text
    assert kimifix("revert", "--yes").code == 0
    assert config.read_text() == LOGGED_IN.replace("= 262144", f"= {number}", 1)


def test_switching_needs_one_revert(kimifix: Kimifix, config: Path) -> None:
    """However often route, platform and credential change, one `revert` gives the old bytes."""
    kimifix("apply", "--yes")
    kimifix("apply", "--yes", "--route", "anthropic")
    kimifix("apply", "--yes", "--key-stdin", stdin=KEY)
    assert has_mode(config, 0o600)
    kimifix("apply", "--yes", "--route", "header", "--platform", "other", "--credential", "login")
    provider = data_of(config)["providers"]["kimifix"]
    assert provider["custom_headers"] == {"X-Msh-Platform": "other"}
    assert "api_key" not in provider
    assert has_mode(config, 0o644)
    assert kimifix("revert", "--yes").code == 0
    assert config.read_text() == LOGGED_IN


def test_json_tells_the_change(kimifix: Kimifix, config: Path) -> None:
    """`apply --json` says what was added and what was moved."""
    result = kimifix("apply", "--yes", "--json").json
    assert (result["version"], result["command"], result["status"]) == (1, "apply", "applied")
    assert result["config"] == str(config)
    assert result["added"] == ["providers.kimifix", "models.kimifix/kimi-for-coding"]
    assert [moved["path"] for moved in result["moved"]] == ["default_model"]
