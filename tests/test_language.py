"""The language of the reader: which it is, and that every sentence is said in it."""

from __future__ import annotations

import ctypes
import plistlib
import re
import string
import sys
from collections.abc import Iterator
from itertools import product, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest
import translations
from support.command import Kimifix
from support.configs import install_client, sign_in, write_config
from translations import Message, sentences, updated

from kimifix import __file__ as package
from kimifix import language
from kimifix.catalogue import CATALOGUE, in_chinese
from kimifix.cli import main
from kimifix.server.answers import CATALOGUE as CATALOGUE_OF_ANSWERS
from kimifix.server.answers import Answer, Probe
from kimifix.server.judgement import judge, next_probe
from kimifix.terminal import columns

PACKAGE = Path(package).parent
PO = PACKAGE / CATALOGUE.replace(".mo", ".po")
HOW = "to bring the catalogue up to date: python release/translations.py"
PROSE = re.compile(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}")


@pytest.fixture(scope="module")
def messages() -> dict[str, Message]:
    """The catalogue as it is translated."""
    return translations.read(PO)


def test_every_sentence_is_in_the_catalogue(messages: dict[str, Message]) -> None:
    """Whatever the source says is in the catalogue."""
    assert [text for text in sentences(PACKAGE) if text not in messages] == [], HOW


def test_catalogue_holds_nothing_else(messages: dict[str, Message]) -> None:
    """What nobody says any more is not in the catalogue."""
    wanted = sentences(PACKAGE)
    assert [text for text in messages if text not in wanted] == [], HOW


def test_every_sentence_is_translated(messages: dict[str, Message]) -> None:
    """No sentence waits for its Chinese, or for somebody who looks at it again."""
    assert [text for text, one in messages.items() if one.fuzzy or not one.text] == []


def test_no_value_is_lost_or_invented(messages: dict[str, Message]) -> None:
    """The Chinese has the gaps of the English, by number or in the same order."""
    assert [text for text, one in messages.items() if gaps(one.text) != gaps(text)] == []


def gaps(text: str) -> list[int]:
    """Return the numbers of the placeholders in order; they count where they bear none."""
    names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    return sorted(int(name or number) for number, name in enumerate(names))


def test_commands_to_type_are_made_for_the_machine() -> None:
    """No sentence but the help has a command of ours as text: it might start nothing here."""
    fixed = re.compile(r"kimifix (apply|revert|doctor)\b")
    assert {m for text, m in sentences(PACKAGE).items() if fixed.search(text)} == {"cli.py"}


def test_what_continues_a_sentence_keeps_the_order(messages: dict[str, Message]) -> None:
    """A part that is put behind a sentence has no numbers: that would be one gap too few."""
    parts = [one.text for text, one in messages.items() if text[0] in " ,;"]
    assert parts
    assert [text for text in parts if re.search(r"\{\d", text)] == []


def test_labels_are_as_wide_as_in_english(messages: dict[str, Message]) -> None:
    """What stands in a column of its own does so in Chinese."""
    labels = {text: one.text for text, one in messages.items() if text.endswith("  ")}
    assert labels
    assert {text: columns(text) for text in labels} == {
        text: columns(chinese) for text, chinese in labels.items()
    }


def test_gbk_has_every_character(messages: dict[str, Message]) -> None:
    """A console of Windows in China can show every sentence."""
    for one in messages.values():
        assert one.text.encode("gbk").decode("gbk") == one.text


def test_catalogue_is_compiled_into_the_package() -> None:
    """What the package reads is what the translators wrote."""
    assert (PACKAGE / CATALOGUE).read_bytes() == translations.compiled(PO)


def test_tool_finds_what_people_are_told(tmp_path: Path) -> None:
    """Sentences, also with values or begun, and the help of a command are found; code is not."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "answers.toml").write_text(
        '[[answer]]\nmeaning = "it is so"\nadvice = "do that"\n[problem]\n'
    )
    (tmp_path / "cli.py").write_text(
        '"""What it is."""\n'
        '@main.command("x")\n'
        "def x():\n"
        '    """Do a thing. And\n    more.\n\n    A note."""\n'
        '    say(f"no folder `{path}`", "is broken: " + why, "{platform} is known")\n'
        '    run(f"kimifix apply {word}", r"a\\s b", "word")\n'
    )
    known = {*translations.JOINTS, *translations.PHRASES}
    assert sorted(text for text in sentences(tmp_path) if text not in known) == [
        "A note.",
        "Do a thing.",
        "Do a thing. And more.",
        "do that",
        "is broken: {}",
        "it is so",
        "no folder `{}`",
        "{} is known",
    ]


def test_exceptions_are_in_the_source() -> None:
    """What the tool is told to leave out is there to be left out."""
    assert sorted(translations.NO_SENTENCES - sentences(PACKAGE, set()).keys()) == []


def test_tool_keeps_the_translation_of_a_sentence_that_has_changed_a_little() -> None:
    """It is marked for a second look; a new sentence waits for its Chinese."""
    old = {"no folder `{}`": Message("没有目录 `{}`"), "kept": Message("保留")}
    wanted = dict.fromkeys(["no such folder `{}`", "kept", "quite another thing"], "")
    assert updated(old, wanted) == {
        "no such folder `{}`": Message("没有目录 `{}`", fuzzy=True),
        "kept": Message("保留"),
        "quite another thing": Message(""),
    }


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        pytest.param("not applied", "未应用", id="whole"),
        pytest.param("run `kimi login`", "请运行 `kimi login`", id="fixed"),
        pytest.param(
            "another kimifix is at work on this config: process 17",
            "另一个 kimifix 正在处理这份配置：进程 17",
            id="with-a-value",
        ),
        pytest.param(
            "kimi-code works: the server answers, and no fix is needed",
            "kimi-code 可以使用：服务器正常应答，不需要修复",
            id="joined",
        ),
        pytest.param(
            "the server refuses kimi-code under the name `x`, and lets nothing else in",
            "服务器拒绝自称 `x` 的 kimi-code，也不接受其他任何方式",
            id="sentence-in-a-sentence",
        ),
        pytest.param(
            "lines go that kimifix does not know as its own, in `a.b`, `c.d` and 2 more: "
            "the config as it is now is kept in `/x y`",
            "将删除 `a.b`，`c.d`，另有 2 项 中不是 kimifix 写入的行：现在的配置会保存在 `/x y`",
            id="parts-side-by-side",
        ),
        pytest.param(
            "the config is not valid TOML 1.0: Expected '=' after a key: `/x`, line 2, column 3",
            "配置不是有效的 TOML 1.0：Expected '=' after a key: `/x`，第 2 行，第 3 列",
            id="foreign-text-within",
        ),
        pytest.param(
            "kimi-code 2.1.0 (npm): /Program Files/x; applied: /a b",
            "kimi-code 2.1.0（npm）：/Program Files/x；已写入：/a b",
            id="paths-with-spaces",
        ),
        pytest.param(
            "m sends X: a (OpenAI-style API, b); in editors, by ACP, X-Msh-Platform: c",
            "m 发送 X: a（OpenAI 风格的 API，b）；在编辑器中（经 ACP）发送 X-Msh-Platform: c",
            id="header-behind-a-comma",
        ),
        pytest.param(
            "`default_model` names a model that does not exist: `not applied; run it`",
            "`default_model` 指向不存在的模型：`not applied; run it`",
            id="quoted-is-foreign",
        ),
        *(
            pytest.param(text, text, id=text.replace(" ", "-"))
            for text in (
                "kimifix apply --route header",
                "error while loading shared libraries: libx, from a to b",
                "retry in 5 seconds",
                "an own error of the server {}",
                "https://example.com/a, b and c",
            )
        ),
    ],
)
def test_sentence_is_translated_and_foreign_text_is_not(english: str, chinese: str) -> None:
    """Whole sentences, those within others, and their parts are ours; names and quotes are not."""
    assert in_chinese(english) == chinese


@pytest.mark.parametrize("value", ["2.{}", "/{}"])
def test_no_sentence_is_taken_for_another(messages: dict[str, Message], value: str) -> None:
    """With names in its gaps each is translated by its own Chinese; joints take sentences alone."""
    joints = {*translations.JOINTS, " and {}", ", and {}"}
    texts = [text for text in messages if "{}" in text and text not in joints]
    values = [value.format(number) for number in range(9)]
    assert {text: in_chinese(text.format(*values)) for text in texts} == {
        text: messages[text].text.format(*values) for text in texts
    }


@pytest.mark.parametrize(
    "head", ["kimi-code does not work", "cannot tell yet whether kimi-code works"]
)
def test_what_stands_behind_a_sentence_is_not_part_of_it(
    messages: dict[str, Message], head: str
) -> None:
    """Each is translated by itself, also where both together fit into the gaps of another one."""
    values = [f"2.{number}" for number in range(9)]
    texts = [text for text in messages if text not in translations.JOINTS and text[0].isalpha()]
    begun = f"{in_chinese(head)}："
    assert {text: in_chinese(f"{head}: {text.format(*values)}") for text in texts} == {
        text: begun + messages[text].text.format(*values) for text in texts
    }


PROBES = (
    Probe("openai", "kimi_code_cli", "login", "now"),
    Probe("openai", "kimi_code_cli", "login", "revert"),
    Probe("anthropic", None, "login", "anthropic"),
    Probe("openai", "kimi_cli", "login", "header"),
)


def answers(probe: Probe) -> list[Answer]:
    """Return an answer of each meaning; what it says is nobody's sentence."""
    rows, problems = CATALOGUE_OF_ANSWERS["answer"], CATALOGUE_OF_ANSWERS["problem"]
    status = [int(re.sub(r"\D.*", "", row["status"]) or 418) for row in rows]
    says = [row.get("says", ["zzz"])[0] for row in rows]
    came = [Answer(probe, *one) for one in zip(status, repeat("x_error"), says, strict=False)]
    return came + [Answer(probe, None, None, "zzz", problem) for problem in problems]


def chains(patched: bool) -> Iterator[list[Answer]]:
    """Yield what may be answered to the first question, and to the second one."""
    for now in answers(PROBES[0]):
        yield [now]
        if question := next_probe([now], PROBES, patched=patched):
            yield from ([now, other] for other in answers(question))


def test_every_judgement_is_said_in_chinese() -> None:
    """Whatever comes first, and whatever comes behind it: no half of it stays English."""
    left = set()
    count = 0
    for patched, is_old in product((False, True), repeat=2):
        for chain in chains(patched):
            count += 1
            judged = judge(chain, PROBES, patched=patched, is_old=is_old)
            verdict = f"kimi-code does not work: {judged.sentence}"
            for text in (verdict, judged.advice, *judged.notes):
                said = in_chinese(text)
                for answer in chain:
                    said = said.replace(answer.message or "", "")
                if PROSE.search(re.sub("`[^`]*`", "", said)):
                    left.add((text, said))
    assert count > 300
    assert left == set()


def test_what_the_server_says_spoils_no_sentence(messages: dict[str, Message]) -> None:
    """It stands behind ours as it is."""
    said = "HTTP 429, x_error, The engine is currently overloaded, or so: try again"
    texts = [text for text in messages if "{" not in text and text.count(" ") > 1]
    behind = {text: in_chinese(f"{text}: {said}") for text in texts}
    assert len(behind) > 100
    assert behind == {text: f"{messages[text].text}：{said}" for text in texts}


@pytest.mark.parametrize(
    ("env", "is_chinese"),
    [
        pytest.param({"LANG": "zh_CN.UTF-8"}, True, id="lang"),
        pytest.param({"LANG": "zh_CN.GBK"}, True, id="another-encoding"),
        pytest.param({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, False, id="messages"),
        pytest.param({"LC_ALL": "zh_CN", "LC_MESSAGES": "en_US.UTF-8"}, True, id="all"),
        pytest.param({"LC_ALL": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, True, id="list"),
        pytest.param({"LANGUAGE": "fr:en:zh"}, False, id="first-of-a-list-that-is-spoken"),
        pytest.param({"LANG": "fr_FR.UTF-8"}, False, id="neither"),
        pytest.param({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, True, id="empty-is-unset"),
        pytest.param({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, False, id="c"),
        pytest.param({"KIMIFIX_LANG": "zh", "LC_ALL": "C"}, True, id="own-variable"),
        pytest.param({"KIMIFIX_LANG": "en", "LANG": "zh_CN.UTF-8"}, False, id="own-english"),
    ],
)
def test_environment_names_the_language(
    env: dict[str, str], is_chinese: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`KIMIFIX_LANG` wins; then the variables of the locale count as in gettext."""
    assert chosen(env, monkeypatch) == is_chinese


def chosen(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether Chinese is chosen where ``env`` is all that names a language."""
    for name in ("KIMIFIX_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return language.is_chinese.__wrapped__()


@pytest.mark.parametrize(("identifier", "is_chinese"), [(0x0804, True), (0x0409, False)])
def test_windows_is_asked_for_its_language(
    identifier: int, is_chinese: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no variable names a language, that of the windows and menus counts."""
    kernel32 = SimpleNamespace(GetUserDefaultUILanguage=lambda: identifier)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    assert chosen({}, monkeypatch) == is_chinese
    assert not chosen({"LANG": "en_US.UTF-8"}, monkeypatch)


@pytest.mark.parametrize(
    ("settings", "is_chinese"),
    [
        pytest.param({"AppleLanguages": ["zh-Hans-CN", "en-CN"]}, True, id="chinese"),
        pytest.param({"AppleLanguages": ["en-CN", "zh-Hans-CN"]}, False, id="english"),
        pytest.param({"AppleLanguages": []}, False, id="none"),
        pytest.param(None, False, id="no-file"),
    ],
)
def test_macos_is_asked_for_its_language(
    settings: dict[str, list[str]] | None,
    is_chinese: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Where no variable names a language, the first of the user's list counts."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    if settings is not None:
        folder = tmp_path / "Library" / "Preferences"
        folder.mkdir(parents=True)
        (folder / ".GlobalPreferences.plist").write_bytes(
            plistlib.dumps(settings, fmt=plistlib.FMT_BINARY)
        )
    assert chosen({}, monkeypatch) == is_chinese


@pytest.mark.parametrize("command", ["", *main.commands])
def test_help_is_chinese_and_fits(kimifix: Kimifix, command: str) -> None:
    """No line of the help is wider than the terminal, and none is English."""
    env = {"KIMIFIX_LANG": "zh", "PYTHONIOENCODING": "gbk", "COLUMNS": "80"}
    out = kimifix(*filter(None, [command]), "--help", env=env).out
    assert out.startswith("用法：kimifix")
    assert PROSE.findall(out) == []
    assert [line for line in out.split("\n") if columns(line) > 80] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["apply", "--route", "x"], "错误：'--route' 的值无效：'x' 不在", id="value"),
        pytest.param(["aply"], "错误：没有命令 'aply'", id="command"),
        pytest.param(["apply", "--dry"], "错误：没有选项 ", id="option"),
        pytest.param(["revert", "x"], "错误：多余的参数（x）", id="argument"),
        pytest.param(["apply", "--home"], "错误：选项 '--home' 需要一个值", id="no-value"),
        pytest.param(["apply", "--verify", "--sandbox"], "错误：--verify 不能", id="ours"),
    ],
)
def test_usage_is_explained_in_chinese(
    kimifix: Kimifix, arguments: list[str], message: str
) -> None:
    """What click says of a mistyped command is Chinese, too."""
    result = kimifix(*arguments, env={"KIMIFIX_LANG": "zh", "PYTHONIOENCODING": "utf-8"})
    assert result.code == 2
    assert message in result.err
    assert PROSE.findall(result.err) == []


@pytest.fixture
def signed_in(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client on PATH, signed in, with the config of a fresh login."""
    monkeypatch.setenv("PATH", str(install_client(tmp_path / "npm")))
    sign_in(home)
    write_config(home)


@pytest.mark.usefixtures("signed_in")
def test_json_stays_english(kimifix: Kimifix) -> None:
    """Programs read the same, whatever the language of the reader."""
    arguments = ("apply", "--dry-run", "--json")
    chinese = kimifix(*arguments, env={"KIMIFIX_LANG": "zh"})
    assert chinese.json == kimifix(*arguments).json
    assert chinese.json["notice"].startswith("the vendor's Community Guidelines forbid")


@pytest.mark.usefixtures("signed_in")
def test_strict_gbk_console_is_served(kimifix: Kimifix) -> None:
    """All checks are told in the encoding of the console, and none of them is English."""
    env = {"KIMIFIX_LANG": "zh", "PYTHONIOENCODING": "gbk:strict"}
    out = kimifix("doctor", "--verbose", env=env).out
    assert "正常     client           kimi-code 2.1.0" in out
    assert PROSE.findall(out) == []


def test_console_without_chinese_is_spoken_to_in_english(kimifix: Kimifix) -> None:
    """English can be read where Chinese would be a row of escapes."""
    env = {"KIMIFIX_LANG": "zh", "PYTHONIOENCODING": "ascii"}
    assert kimifix("--help", env=env) == kimifix("--help")
