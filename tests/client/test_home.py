"""Where the client's home is, by option, environment and system."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.command import Kimifix
from support.configs import sign_in, write_config

from kimifix import secret
from kimifix.client import home
from kimifix.client.home import DEFAULT_BASE_URL, Home
from kimifix.errors import KimifixError

posix = pytest.mark.skipif(sys.platform == "win32", reason="USERPROFILE counts there")


@posix
@pytest.mark.parametrize(
    ("option", "env", "expected", "source"),
    [
        pytest.param(None, {}, "/u/.kimi-code", "default", id="nothing"),
        pytest.param(None, {"KIMI_CODE_HOME": ""}, "/u/.kimi-code", "default", id="empty variable"),
        pytest.param(None, {"KIMI_CODE_HOME": "/k"}, "/k", "KIMI_CODE_HOME", id="variable"),
        pytest.param(
            None, {"KIMI_CODE_HOME": "k"}, "{cwd}/k", "KIMI_CODE_HOME", id="relative variable"
        ),
        pytest.param(
            None, {"KIMI_CODE_HOME": "~/k"}, "{cwd}/~/k", "KIMI_CODE_HOME", id="tilde in variable"
        ),
        pytest.param(
            None, {"KIMI_CODE_HOME": " /k"}, "{cwd}/ /k", "KIMI_CODE_HOME", id="blank in variable"
        ),
        pytest.param("/o", {"KIMI_CODE_HOME": "/k"}, "/o", "--home", id="option wins"),
        pytest.param("o", {}, "{cwd}/o", "--home", id="relative option"),
        pytest.param("~/o", {}, "/u/o", "--home", id="tilde in option"),
        pytest.param("~", {}, "/u", "--home", id="tilde alone"),
        pytest.param("~other/o", {}, "{cwd}/~other/o", "--home", id="somebody else's tilde"),
        pytest.param("o/~", {}, "{cwd}/o/~", "--home", id="tilde inside"),
        pytest.param(None, {"USERPROFILE": "/p"}, "/u/.kimi-code", "default", id="USERPROFILE"),
        pytest.param(None, {"HOME": "h"}, "{cwd}/h/.kimi-code", "default", id="relative HOME"),
    ],
)
def test_home(option: str | None, env: dict[str, str], expected: str, source: str) -> None:
    """--home wins over `KIMI_CODE_HOME`, which wins over `~/.kimi-code`; all are absolute."""
    found = home.find(Path(option) if option else None, {"HOME": "/u", **env})
    assert (str(found.path), found.source) == (expected.format(cwd=Path.cwd()), source)


@pytest.mark.skipif(sys.platform != "win32", reason="only there")
def test_variables_of_windows_have_no_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """`My_Kimi_Key` in a config names the variable that was set as `MY_KIMI_KEY`."""
    monkeypatch.setenv("MY_KIMI_KEY", "value")
    env = home.environment()
    assert env["My_Kimi_Key"] == env.get("my_kimi_key") == "value"
    assert "MY_kimi_KEY" in env
    assert "MY_OTHER_KEY" not in env


def test_home_need_not_exist(tmp_path: Path) -> None:
    """Finding looks at names alone and makes nothing."""
    found = home.find(tmp_path / "nowhere", {})
    assert found == Home(tmp_path / "nowhere", "--home")
    assert found.config == tmp_path / "nowhere" / "config.toml"
    assert list(tmp_path.glob("nowhere")) == []


@pytest.mark.parametrize("env", [{}, {"HOME": ""}], ids=["unset", "empty"])
def test_without_a_variable_the_system_tells(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `HOME` the system's list of users tells where the user's home is."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("USERPROFILE")
    if sys.platform != "win32":
        user = SimpleNamespace(pw_dir="/from/the/system")
        monkeypatch.setattr("pwd.getpwuid", lambda _: user)
        assert home.find(None, env).path == Path("/from/the/system/.kimi-code")


@posix
def test_unknown_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells, it is an error that names --home, which then is enough."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(KimifixError) as caught:
        home.find(None, {})
    assert "--home" in (caught.value.hint or "")
    assert home.find(Path("/o"), {}).path == Path("/o")
    assert home.find(None, {"KIMI_CODE_HOME": "/k"}).path == Path("/k")
    with pytest.raises(KimifixError):
        home.find(Path("~/o"), {})


@posix
def test_relative_home_in_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a working directory that was removed no path counts; an absolute one needs none."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for option, env in ((Path("o"), {}), (None, {"KIMI_CODE_HOME": "k"}), (None, {"HOME": "h"})):
        with pytest.raises(KimifixError, match="working directory is gone"):
            home.find(option, env)
    assert home.find(Path("/o"), {}).path == Path("/o")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param({"USERPROFILE": "/p", "HOME": "/u"}, "/p/.kimi-code", id="USERPROFILE wins"),
        pytest.param({"USERPROFILE": "/p", "KIMI_CODE_HOME": "/k"}, "/k", id="variable wins"),
    ],
)
def test_windows_takes_userprofile(
    env: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows the home lies under `%USERPROFILE%`, whatever a Unix shell sets as `HOME`."""
    monkeypatch.setattr(home, "sys", SimpleNamespace(platform="win32"))
    assert home.find(None, env).path == Path(expected).absolute()
    assert home.user_home({"USERPROFILE": "/p"}) == Path("/p").absolute()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(None, DEFAULT_BASE_URL, id="none"),
        pytest.param(b"mainland-cn", "https://api.kimi.com/coding/v1", id="mainland"),
        pytest.param(b" global\r\n", "https://api.kimi.ai/coding/v1", id="global"),
        pytest.param(b"Global", DEFAULT_BASE_URL, id="not as the client writes it"),
        pytest.param(b"", DEFAULT_BASE_URL, id="empty"),
        pytest.param(b"\xff\xfe", DEFAULT_BASE_URL, id="no text"),
    ],
)
def test_region(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """The word that the install script leaves chooses the server; any other is ignored."""
    if content is not None:
        (tmp_path / "region").write_bytes(content)
    assert Home(tmp_path, "default").region_base_url == expected


def test_region_that_is_a_folder(tmp_path: Path) -> None:
    """A marker that cannot be read is no marker."""
    (tmp_path / "region").mkdir()
    assert Home(tmp_path, "default").region_base_url == DEFAULT_BASE_URL


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What variables hold that are secret by name is masked in all output from then on."""
    monkeypatch.setenv("MY_API_KEY", "quite-a-secret-value")
    monkeypatch.setenv("MY_NOTE", "quite-a-public-value")
    env = home.environment()
    assert env["MY_NOTE"] == "quite-a-public-value"
    assert secret.redact("quite-a-secret-value, quite-a-public-value") == (
        "***, quite-a-public-value"
    )


@posix
def test_relative_variable_end_to_end(kimifix: Kimifix, tmp_path: Path) -> None:
    """The command takes a relative `KIMI_CODE_HOME` from the folder it is started in."""
    folder = Path.cwd() / "data"
    folder.mkdir()
    (folder / "config.toml").write_text("broken =\n")
    result = kimifix("apply", "--json", "--yes", env={"KIMI_CODE_HOME": "data"})
    assert result.json["error"]["path"] == str(folder / "config.toml")


@posix
def test_unknown_user_end_to_end(
    kimifix: Kimifix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user whom the system does not know needs --home, and nothing else."""
    folder = tmp_path / "data"
    folder.mkdir()
    sign_in(folder)
    config = write_config(folder)
    monkeypatch.delenv("HOME")
    run = (
        "import pwd, sys\n"
        "from kimifix.cli import run\n"
        "pwd.getpwuid = {{}}.__getitem__\n"
        "sys.argv = ['kimifix', 'apply', '--yes', '--credential', 'login', {}]\n"
        "run()"
    ).format
    without = kimifix.python(run(""))
    assert without.code == 1
    assert "--home" in without.err
    assert kimifix.python(run(f"'--home', '{folder}'")).code == 0
    assert "kimifix" in config.read_text()
