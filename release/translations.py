"""Bring the catalogue of sentences up to date with the source, and compile it.

    python release/translations.py

What people are told is read out of the source: the `.po` is the list of all sentences. New
ones come into it without a translation, or with that of a similar one that is gone, marked
`fuzzy`; what it prints is left to do by hand.
"""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Set
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from struct import pack
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CATALOGUE = "kimifix/locale/zh_CN/LC_MESSAGES/kimifix.po"

# Nobody is told these: what is sent, run, searched, or written down for whoever reads the source.
NO_SENTENCES = {
    *("Anthropic/JS 0.95.2", "basic {}", "Basic {}", "bearer {}", "Bearer {}"),
    *("draft.Proposal | revert.Proposal", "gzip, deflate", "imagename eq kimi.exe"),
    "kimi version |Warning: |See log: |To resume this session",
    *("kimifix {}, Python {}, {}", "llm request failed", "macOS {} {}"),
    *(
        "Reply with one word: pong",
        "--require {}",
        "say pong",
        "{} --verify",
        "Tunnel connection failed: {}",
        "key too weak",
    ),
}
NO_MODULES = (
    *("client/features.py", "client/installs.py", "config/decoy.py"),
    "doctor/report.py",  # for the vendor's support
)
_COMMAND = re.compile(r"(kimifix (apply|doctor|revert)|kimi (-|upgrade)|npm|chmod)\b")
# What no rule finds: how sentences are joined, labels, single words, and what click says.
JOINTS = ("{}: {}", "{}; {}", "{}, {}", "{}, but {}", "{}  [{}]", "{}?")
PHRASES = (
    *("ok", "info", "warning", "error", "skipped", "answer", "login", "read", "write"),
    *("next:", "then:"),
    *("error: ", "warning: ", "notice: ", "hint: ", "note: "),
    *("{} ok", "{} skipped", "{} table", "{} tables", "{} setting", "{} settings"),
    *("Options:", "Commands:", "Positional arguments:"),
    *("Show this message and exit.", "Show the version and exit.", "default: ({})"),
    *("Try '{}' for help.", "Error: {}", "Invalid value: {}", "Invalid value for {}: {}"),
    *("Missing argument {}.", "Missing argument {}. Choose from:", "{} is not one of {}."),
    *("No such command {}.", "No such option {}.", "No such option: {}"),
    *("No such command {}. Did you mean {}?", "No such option {}. Did you mean {}?"),
    *("No such command {}. (Did you mean one of: {}?)",),
    *("No such option {}. (Did you mean one of: {}?)",),
    *("No such option: {} Did you mean {}?", "No such option: {} (Possible options: {})"),
    *("reverted: {}", "Option {} requires an argument."),
    *("Option {} does not take a value.", "Missing command."),
    *("Got unexpected extra argument ({})", "Got unexpected extra arguments ({})"),
)


class Message(NamedTuple):
    """A translation, and whether somebody has looked at it since its sentence has changed."""

    text: str
    fuzzy: bool = False


def sentences(package: Path, exempt: Set[str] = NO_SENTENCES) -> dict[str, str]:
    """Return every sentence of the source with the first module that says it, in their order."""
    found = dict.fromkeys((*JOINTS, *PHRASES), "")
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        if module in NO_MODULES:
            continue
        told = dict(_told(ast.parse(path.read_text(encoding="utf-8"))))
        for text in sorted(told.keys() - exempt, key=lambda text: (told[text], text)):
            found.setdefault(text, module)
    answers = tomllib.loads((package / "server/answers.toml").read_text(encoding="utf-8"))
    rows = (*answers.pop("answer"), *chain.from_iterable(map(dict.values, answers.values())))
    for row in rows:
        for text in filter(None, map(row.get, ("meaning", "sentence", "advice"))):
            found.setdefault(re.sub(r"\{\w*\}", "{}", text), "server/answers.toml")
    return found


def _told(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield what may be a sentence with its line: words with a space between, and no pattern."""
    parts: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(ast.Constant() as docstring):
                parts.add(docstring)
            case ast.FunctionDef(decorator_list=by) if _makes_command(by):
                document = ast.get_docstring(node) or ""
                short = document.partition(".")[0] + "."  # in the list of commands
                for text in (short, *document.split("\n\n")):
                    yield " ".join(text.split()), node.lineno
            case ast.JoinedStr(values):
                parts.update(values)
            case ast.FormattedValue(format_spec=ast.JoinedStr() as spec):
                parts.add(spec)
    for node in ast.walk(tree):
        match node:
            case ast.Constant(str(text)):
                text = re.sub(r"\{\w*\}", "{}", text)
            case ast.JoinedStr(values):
                pieces = (v.value if isinstance(v, ast.Constant) else "{}" for v in values)
                text = "".join(map(str, pieces))
            case _:
                continue
        if re.search(r"\S $", text):  # something is added
            text += "{}"
        is_prose = re.search(r"[a-z]{2}", text) and re.search(r"\S | \S", text)
        is_code = re.search(r"\\|\n|\(\?|\[\^|\w = ", text) or _COMMAND.match(text)
        if is_prose and not is_code and node not in parts:
            yield text, node.lineno


def _makes_command(decorators: list[ast.expr]) -> bool:
    return any(ast.unparse(one).startswith(("main.command", "click.group")) for one in decorators)


def read(path: Path) -> dict[str, Message]:
    """Return what a `.po` file holds, without its head."""
    string = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
    entries = re.findall(
        rf"^(#, fuzzy\n)?msgid {string}msgstr {string}", path.read_text("utf-8"), re.MULTILINE
    )
    found = {
        ast.literal_eval(f"({english})"): Message(ast.literal_eval(f"({chinese})"), bool(fuzzy))
        for fuzzy, english, chinese in entries
    }
    del found[""]
    return found


def compiled(path: Path) -> bytes:
    """Return a `.po` file in the binary form of GNU gettext, without what is left to do."""
    messages = {english: one.text for english, one in read(path).items() if one.text}
    head = "Content-Type: text/plain; charset=UTF-8\n"
    pairs = sorted((a.encode(), b.encode()) for a, b in {**messages, "": head}.items())
    tables, texts = [b"", b""], b""
    start = 28 + 16 * len(pairs)
    for column in (0, 1):
        for pair in pairs:
            tables[column] += pack("<2I", len(pair[column]), start + len(texts))
            texts += pair[column] + b"\0"
    size = 8 * len(pairs)
    return pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + size, 0, 0) + b"".join(tables) + texts


def compile_catalogue() -> None:
    """Write the binary form beside the `.po` file, all at once, if it is not there."""
    path = ROOT / CATALOGUE
    content, out = compiled(path), path.with_suffix(".mo")
    if not out.is_file() or out.read_bytes() != content:
        new = out.with_suffix(f".{os.getpid()}")
        new.write_bytes(content)
        new.replace(out)


def updated(old: Mapping[str, Message], wanted: Mapping[str, str]) -> dict[str, Message]:
    """Return the messages for ``wanted``: known, or like one that is gone, or empty."""
    gone = [english for english in old if english not in wanted]
    new = {}
    for english in wanted:
        like = get_close_matches(english, gone, 1, 0.7)
        text = old[like[0]].text if like else ""
        new[english] = old.get(english) or Message(text, bool(text))
    return new


def write(path: Path, messages: Mapping[str, Message], wanted: Mapping[str, str]) -> None:
    """Write ``messages`` under the head that the file has, in the order of the source."""
    head = path.read_text(encoding="utf-8").partition("\n\n")[0]
    parts = [head]
    for english, (chinese, fuzzy) in messages.items():
        place = f"#: {wanted[english]}\n" if wanted[english] else ""
        mark = "#, fuzzy\n" if fuzzy else ""
        parts.append(f"{place}{mark}msgid {_quoted(english)}\nmsgstr {_quoted(chinese)}")
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def main() -> None:
    """Update and compile, and say what is left."""
    path = ROOT / CATALOGUE
    wanted = sentences(ROOT / "kimifix")
    messages = updated(read(path), wanted)
    write(path, messages, wanted)
    compile_catalogue()
    for english, (chinese, fuzzy) in messages.items():
        if fuzzy or not chinese:
            print(f"{'look at' if fuzzy else 'translate'}: {english}")


if __name__ == "__main__":
    main()
