"""The documents beside the package: complete, equal in both languages, and true.

A `console` block of a README is a real session. The comment before it names the commands,
which run one after the other in the home of a signed-in user, on the config of a fresh
login::

    <!-- run: kimifix apply --yes; kimifix revert --yes -->

The block shows `$ COMMAND` and what it prints, for each of them or for some; `…` in a line
stands for anything, and a line of `…` alone for any number of lines.
"""

from __future__ import annotations

import ast
import datetime
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.metadata import metadata
from pathlib import Path
from typing import get_args

import click
import pytest
from support.configs import install_client, sign_in, write_config

import kimifix
from kimifix.cli import main
from kimifix.doctor.finding import Finding, Status

ROOT = Path(__file__).parents[1]
PACKAGE = Path(kimifix.__file__).parent
NAMES = ("README.md", "README.zh-CN.md")
MOST_LINES = 180

# What the system, npm and other programs set and read; nobody sets it for kimifix.
OF_THE_SYSTEM = {
    "APPDATA",
    "COLUMNS",
    "COMSPEC",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOCALAPPDATA",
    "NPM_CONFIG_PREFIX",
    "PATH",
    "PATHEXT",
    "PNPM_HOME",
    "PROGRAMFILES",
    "SYSTEMROOT",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "USERPROFILE",
    "WINDIR",
    "XDG_CACHE_HOME",
    "npm_config_prefix",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the comment on the line before it."""

    language: str
    text: str
    comment: str


def text_of(name: str) -> str:
    """Return the text of a document of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(name: str) -> list[Block]:
    """Return the fenced blocks of a document in their order."""
    found = re.findall(
        r"^(?:<!-- ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL
    )
    return [Block(language, text, comment) for comment, language, text in found]


def prose_of(name: str) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```\w*\n.*?^```$", "", text_of(name), flags=re.MULTILINE | re.DOTALL)


def shape_of(name: str) -> list[str]:
    """Return what a document is made of, without its words: headings, tables, blocks, lists."""
    shape = []
    text = re.sub(r"^```(\w*)\n.*?^```$", r"```\1", text_of(name), flags=re.MULTILINE | re.DOTALL)
    for line in text.splitlines():
        if match := re.match(r"#+ |```\w*|<!-- .*-->|!?\[[^]]*\]\(|- |\d\. ", line):
            shape.append(re.sub(r"\[.*", "[", match[0]).strip())
        elif line.startswith("|"):
            shape.append(f"row of {line.count(' | ')}")
    return shape


def says(text: str, word: str) -> bool:
    """Tell whether ``word`` stands in ``text`` as a word of its own."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.ASCII) is not None


def missing(text: str, words: set[str]) -> list[str]:
    """Return the words that ``text`` does not have."""
    return sorted(word for word in words if not says(text, word))


@pytest.mark.parametrize("name", NAMES)
def test_names_every_command(name: str) -> None:
    """Each command is named as one types it."""
    assert missing(text_of(name), {f"kimifix {command}" for command in main.commands}) == []


@pytest.mark.parametrize("name", NAMES)
def test_names_every_option(name: str) -> None:
    """Each option of each command is named, in its long and its short form."""
    parameters = [p for command in main.commands.values() for p in command.params]
    options = {
        option
        for parameter in parameters
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert options >= {"--json", "--route", "-y"}
    assert missing(text_of(name), options | {"-h", "--help"}) == []


@pytest.mark.parametrize("name", NAMES)
def test_names_every_choice(name: str) -> None:
    """Each value that an option takes is named."""
    parameters = [p for command in main.commands.values() for p in command.params]
    choices = {
        str(choice)
        for parameter in parameters
        if isinstance(parameter.type, click.Choice)
        for choice in parameter.type.choices
    }
    assert choices >= {"header", "login"}
    assert missing(prose_of(name), choices) == []


@pytest.mark.parametrize("name", NAMES)
def test_explains_every_exit_code(name: str) -> None:
    """The table of exit codes has a row for each code that the command line can end with."""
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", text_of(name), re.MULTILINE)}
    assert rows == set(exit_codes())


def exit_codes() -> Iterator[int]:
    """Yield the exit codes in the source of the command line, and those of click."""
    yield 0
    yield click.UsageError.exit_code
    for node in ast.walk(ast.parse((PACKAGE / "cli.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit":
            values: list[ast.expr] = node.args
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code":
            values = [node.value]
        else:
            continue
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, int):
                yield value.value


def test_names_every_status_and_field_of_a_finding() -> None:
    """Who reads the JSON finds every status and every field explained."""
    words = {"check", *get_args(Status), *(field.name for field in fields(Finding))}
    assert [word for word in sorted(words) if f"`{word}`" not in text_of("docs/json.md")] == []


@pytest.mark.parametrize("name", NAMES)
def test_names_every_environment_variable(name: str) -> None:
    """Each variable that kimifix looks up is named, but for those that nobody sets for it."""
    variables = set(variables_read())
    assert variables >= {"KIMI_CODE_HOME", "KIMIFIX_API_KEY", "NO_COLOR"}
    assert missing(text_of(name), variables - OF_THE_SYSTEM) == []


def variables_read() -> Iterator[str]:
    """Yield the names that the package looks up in an environment, where they stand literally."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Subscript(value=env, slice=ast.Constant(value=str(name))):
                    pass
                case ast.Call(
                    func=ast.Attribute(value=env, attr="get"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    pass
                case ast.Compare(left=ast.Constant(value=str(name)), comparators=[env]):
                    pass
                case _:
                    continue
            if ast.unparse(env).rpartition(".")[2] in ("env", "environ"):
                yield name


def test_readmes_have_one_shape() -> None:
    """Both languages have the same headings, tables, lists, blocks and comments in one order."""
    first, second = (shape_of(name) for name in NAMES)
    assert second == first


def test_readmes_show_the_same_sessions() -> None:
    """What one types and what one sees is the same in both languages."""
    first, second = ([b for b in blocks_of(n) if b.language == "console"] for n in NAMES)
    assert second == first


@pytest.mark.parametrize("name", NAMES)
def test_readme_is_short(name: str) -> None:
    """A README is no book."""
    assert 0 < text_of(name).count("\n") <= MOST_LINES


@pytest.mark.parametrize("name", [*NAMES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link and picture is a file of the repository."""
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", prose_of(name))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_ci_runs_the_test_command(name: str) -> None:
    """The one line that runs the tests stands in a block of its own, and CI takes it from there."""
    ci = ROOT / ".ci" / "run"
    if not ci.is_file():
        pytest.skip("a source distribution has no CI")
    script = re.search(r"sed -n '(.+)' README\.md", ci.read_text(encoding="utf-8"))
    assert script
    taken = re.fullmatch(r"s/\^\\\((.+)\\\)\$/\\1/p", script[1])
    assert taken
    commands = [line for line in text_of(name).splitlines() if re.fullmatch(taken[1], line)]
    assert len(commands) == 1
    assert commands[0] in [block.text.strip() for block in blocks_of(name)]


@pytest.mark.parametrize("name", NAMES)
def test_every_session_can_be_run(name: str) -> None:
    """Each `console` block says which commands made it, and shows none besides."""
    sessions = [block for block in blocks_of(name) if block.language == "console"]
    assert sessions
    for block in sessions:
        commands = iter(commands_of(block))
        shown = re.findall(r"^\$ (.+)$", block.text, re.MULTILINE)
        assert shown
        assert all(command in commands for command in shown), block.comment


@pytest.mark.parametrize("name", NAMES)
def test_help_is_quoted_from_a_run(name: str) -> None:
    """Help stands in sessions that are run, and nowhere else."""
    quoting = [block for block in blocks_of(name) if "Usage: " in block.text]
    assert [block.text for block in quoting if block.language != "console"] == []


SESSIONS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in NAMES
    for number, block in enumerate(blocks_of(name))
    if block.language == "console"
]


@pytest.mark.skipif(sys.platform != "linux", reason="the sessions show the paths of Linux")
@pytest.mark.parametrize("block", SESSIONS)
def test_session_is_true(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever types what a README shows gets what it shows."""
    user = tmp_path / "user"
    programs = install_client(user / ".npm-global")
    program = Path(sysconfig.get_path("scripts"), "kimifix")
    (programs / program.name).symlink_to(program)  # as pipx and uv do
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), "/usr/bin", "/bin"]))
    monkeypatch.delenv("XDG_STATE_HOME")
    home = user / ".kimi-code"
    home.mkdir(mode=0o700)
    sign_in(home)
    write_config(home, mode=0o600)
    outputs = [(command, output_of(command)) for command in commands_of(block)]
    parts = re.split(r"^\$ (.+)\n", block.text, flags=re.MULTILINE)
    assert parts[0] == ""
    for command, expected in zip(parts[1::2], parts[2::2], strict=True):
        real = next(output for shown, output in outputs if shown == command)
        assert re.fullmatch(pattern_of(expected), real), f"$ {command}\n{real}"


def commands_of(block: Block) -> list[str]:
    """Return the commands that the comment before a session names."""
    kind, _, commands = block.comment.partition(": ")
    return [command.strip() for command in commands.split(";")] if kind == "run" else []


def output_of(command: str) -> str:
    """Run a command of a session and return what a terminal of 80 columns would show."""
    words = shlex.split(command)
    assert words[0] == "kimifix"
    return subprocess.run(
        words,
        env={**os.environ, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    ).stdout


def pattern_of(expected: str) -> str:
    """Return a regular expression for what a session shows."""
    lines = []
    for line in expected.splitlines():
        if line == "…":
            lines.append(r"(?:[^\n]*\n)*")
        else:
            lines.append("[^\\n]*".join(map(re.escape, line.split("…"))) + "\\n")
    return "".join(lines)


def test_changelog_tells_of_this_version() -> None:
    """The newest release in the changelog is the version of the package, with its date."""
    releases = re.findall(r"^## \[?([^\]\s]+)\]? - (\S+)$", text_of("CHANGELOG.md"), re.MULTILINE)
    version, date = releases[0]
    assert version == kimifix.__version__
    assert datetime.date.fromisoformat(date)


def test_workflows_run_pinned_actions() -> None:
    """The workflows name actions of others by commit alone."""
    used = [line for name in ("ci.yml", "release.yml") for line in actions_of(name)]
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one)] == []


def test_ci_runs_on_oldest_and_newest_python() -> None:
    """CI runs on the first and the last version of Python that the package supports."""
    workflow = workflow_of("ci.yml")
    supported = [
        match[1]
        for line in metadata("kimifix").get_all("Classifier", [])
        if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert f'python: ["{supported[0]}", "{supported[-1]}"]' in workflow
    assert "bash .ci/run" in workflow


def test_release_waits_for_ci_and_needs_no_password() -> None:
    """Nothing is published before CI is green, and each job has no more rights than it uses."""
    assert "  workflow_call:\n" in workflow_of("ci.yml")
    text = workflow_of("release.yml")
    parts = re.split(r"^  (\w+):\n", text.partition("\njobs:\n")[2], flags=re.MULTILINE)
    jobs = dict(zip(parts[1::2], parts[2::2], strict=True))
    needs = {name: re.findall(r"^    needs: (\w+)$", job, re.M) for name, job in jobs.items()}
    assert needs == {"ci": [], "build": ["ci"], "pypi": ["build"], "github": ["pypi"]}
    assert jobs["ci"].strip() == "uses: ./.github/workflows/ci.yml"
    rights = {name: re.findall(r"([\w-]+): write$", job, re.M) for name, job in jobs.items()}
    assert rights == {
        "ci": [],
        "build": [],
        "pypi": ["id-token"],
        "github": ["attestations", "contents", "id-token"],
    }
    assert "secrets." not in text


def workflow_of(name: str) -> str:
    """Return the text of a workflow."""
    path = ROOT / ".github" / "workflows" / name
    if not path.is_file():
        pytest.skip("a source distribution has no workflow")
    return path.read_text(encoding="utf-8")


def actions_of(name: str) -> list[str]:
    """Return the actions of others that a workflow uses, with the comments behind them."""
    used = re.findall(r"uses: ([^.\n].*)", workflow_of(name))
    assert used
    return used


@pytest.mark.skipif(sys.platform != "linux", reason="the pictures show the paths of Linux")
def test_pictures_show_what_doctor_prints(tmp_path: Path) -> None:
    """The pictures in the READMEs are what their script draws now."""
    script = ROOT / "docs" / "make_svg.py"
    if not script.is_file():
        pytest.skip("a source distribution has no pictures")
    if shutil.which("openssl", path="/usr/bin:/bin") is None:
        pytest.skip("there is no openssl to make a certificate with")
    env = {**os.environ, "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, script, "--output", tmp_path], check=True, env=env, timeout=60)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    assert len(drawn) == 2
    assert drawn == {name: text_of(f"docs/{name}") for name in drawn}
