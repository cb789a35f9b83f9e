"""The scanner finds every statement, key and value where it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from kimifix.config import scan
from kimifix.config.scan import Statement, comments, inside, statements

Found = tuple[tuple[str, ...], str | None]


def found(text: str) -> list[Found]:
    """Scan a text that tomllib accepts: the path and the source of the value of each statement."""
    tomllib.loads(text)
    return [(s.path, _source(text, s)) for s in statements(text)]


def _source(text: str, statement: Statement) -> str | None:
    return None if statement.is_header else text[slice(*statement.value)]


def only(text: str) -> Statement:
    """Return the only statement of a text."""
    (statement,) = statements(text)
    return statement


def test_a_text_without_statements_has_none() -> None:
    """Blank lines and comments are no statements, with or without a last line end."""
    for text in ("", "\n", "\r\n\r\n", " \t", "# a", "# a\n", " # a\r\n\t# [b]\n\n", "#"):
        assert found(text) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a = 1", ("a",)),
        ("a=1", ("a",)),
        ("\ta\t=\t1", ("a",)),
        ("1 = 1", ("1",)),
        ("-_ = 1", ("-_",)),
        ("a.b.c = 1", ("a", "b", "c")),
        ("a . b\t. c = 1", ("a", "b", "c")),
        ('"a.b" = 1', ("a.b",)),
        ("'a.b'.\"c = d\" = 1", ("a.b", "c = d")),
        ('"" = 1', ("",)),
        ("'' = 1", ("",)),
        (r'"\u00fc\"\\" = 1', ('ü"\\',)),
        (r"'\u00fc' = 1", (r"\u00fc",)),
        ('"ключ 😀 #" = 1', ("ключ 😀 #",)),
        ('"]" = 1', ("]",)),
    ],
)
def test_reads_every_spelling_of_a_key(text: str, path: tuple[str, ...]) -> None:
    """A key is read as tomllib reads it."""
    assert found(text) == [(path, "1")]
    data: Any = tomllib.loads(text)
    for part in path:
        data = data[part]
    assert data == 1


def test_each_part_of_a_key_has_its_bounds() -> None:
    """What can be renamed is one part, with its quotes."""
    text = "a . 'b' . \"c\" = 1"
    assert [text[slice(*part)] for part in only(text).keys] == ["a", "'b'", '"c"']
    text = "[ a . b ]"
    assert [text[slice(*part)] for part in only(text).keys] == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [
        "1",
        "-1_000",
        "0xDEAD_beef",
        "1.5e+3",
        "-inf",
        "true",
        "1979-05-27",
        "1979-05-27 07:32:00",
        "1979-05-27T07:32:00.5-07:00",
        '""',
        "''",
        '"a # b"',
        r'"\"\\"',
        r"'\'",
        '""""""',
        "''''''",
        '"""a"""',
        '"""a\nb # c\n"""',
        '""""a"""',
        '"""a""""',
        '"""a"""""',
        '"""""a""b"""',
        r'"""\""""',
        '"""a\\\n  b"""',
        "''''a'''",
        "'''a''''",
        "'''a'''''",
        "'''a''b\n'c'''",
        "[]",
        "[ ]",
        "[1, 2]",
        "[[1], ['a]', \"b]\"]]",
        "[ # ]\n 1, # ]\n\t2,\n]",
        "[{a = 1}, {b = [2]}]",
        "['''\n]''', \"\"\"\n]\"\"\"]",
        "{}",
        "{ }",
        "{a = 1, b = {c = '}'}}",
        "{a = [\n1, # }\n2\n]}",
    ],
)
@pytest.mark.parametrize("tail", ["", " ", "\t# tail ]}'\"", "\n", "\r\nb = 1", " # tail\r\n[c]\n"])
def test_finds_the_bounds_of_every_kind_of_value(value: str, tail: str) -> None:
    """A value ends where it ends, not at a sign within a string or a comment."""
    first, *rest = found(f"a = {value}{tail}")
    assert first == (("a",), value)
    assert len(rest) == int("b = 1" in tail or "[c]" in tail)


def test_a_statement_spans_its_whole_lines() -> None:
    """Indentation, the comment behind it and the line end belong to a statement."""
    text = "# one\n\n  a = [\n1\n] # two\r\nb = 2\n\t[c] # three\n"
    assert [text[s.start : s.end] for s in statements(text)] == [
        "  a = [\n1\n] # two\r\n",
        "b = 2\n",
        "\t[c] # three\n",
    ]


def test_a_header_gives_its_path_to_what_follows() -> None:
    """Paths lead from the root; `base` is how much of them the header gives."""
    text = "a = 1\n[b]\nc.d = 1\n[ b . 'e' ]\nf = 1\n[[g]]\nh = 1\n[[g]]\n[g.i]\nj = 1\n"
    assert found(text) == [
        (("a",), "1"),
        (("b",), None),
        (("b", "c", "d"), "1"),
        (("b", "e"), None),
        (("b", "e", "f"), "1"),
        (("g",), None),
        (("g", "h"), "1"),
        (("g",), None),
        (("g", "i"), None),
        (("g", "i", "j"), "1"),
    ]
    scanned = list(statements(text))
    assert [s.base for s in scanned if not s.is_header] == [0, 1, 2, 1, 2]
    assert [s.array for s in scanned if s.is_header] == [False, False, True, True, False]


def test_a_header_may_hold_what_looks_like_an_end() -> None:
    """Brackets and hashes in a quoted part of a header are part of its name."""
    assert found('["a]#"] # c\n[[ "b]]" ]]\n') == [(("a]#",), None), (("b]]",), None)]


def within(text: str) -> list[tuple[str | None, list[Found]]]:
    """Return what ``inside`` finds in the last statement of a text, as source."""
    *_, statement = statements(text)
    return [
        (_source(text, container), [(s.path, _source(text, s)) for s in found])
        for container, found in inside(text, statement)
    ]


def test_inline_tables_and_arrays_are_entered_from_the_inside_out() -> None:
    """Members carry whole paths, dotted keys included; elements that of their array."""
    text = "[t]\na = { b = 1 , c.d = { e = 2 },'f' = [ {g = 3} ,\n4 # ]\n, [] ] }"
    array = "[ {g = 3} ,\n4 # ]\n, [] ]"
    assert within(text) == [
        ("{ e = 2 }", [(("t", "a", "c", "d", "e"), "2")]),
        ("{g = 3}", [(("t", "a", "f", "g"), "3")]),
        ("[]", []),
        (array, [(("t", "a", "f"), source) for source in ("{g = 3}", "4", "[]")]),
        (
            text[8:],
            [(("t", "a", "b"), "1"), (("t", "a", "c", "d"), "{ e = 2 }"), (("t", "a", "f"), array)],
        ),
    ]


def test_members_and_elements_have_bounds_without_the_commas() -> None:
    """Their own alone; an element has no key, and nothing in an array a path of its own."""
    text = "a = { b = 1 , c . 'd' = [ 2 ] }"
    array, table = (found for _, found in inside(text, only(text)))
    assert [text[m.start : m.end] for m in table] == ["b = 1", "c . 'd' = [ 2 ]"]
    assert [text[slice(*part)] for m in table for part in m.keys] == ["b", "c", "'d'"]
    assert [(m.base, m.array) for m in table] == [(1, False), (1, False)]
    assert [(e.start, e.end, e.keys, e.array) for e in array] == [(26, 27, (), True)]


def test_only_inline_tables_and_arrays_are_entered() -> None:
    """Everything else has no inside."""
    for text in ("a = 1", "a = '{'", "a = '['", "[a]"):
        assert within(text) == []
    for text in ("a = {}", "a = [ # ]\n]"):
        assert within(text) == [(text[4:], [])]


def test_comments_are_told_from_strings() -> None:
    """A comment goes to the end of its line, without the line end, wherever it stands."""
    text = '# a \'b\r\nc = \'#\' # "d\ne = [ # ]\n"\\"#", """\n#""" #\n]#'
    found = [text[start:end] for start, end in comments(text, 0, len(text))]
    assert found == ["# a 'b", '# "d', "# ]", "#", "#"]


ODD_TEXTS = [
    pytest.param(lambda n: "a = '''" + "'' " * n + "'''", id="literal-quotes"),
    pytest.param(lambda n: 'a = """' + '"" ' * n + '"""', id="quotes"),
    pytest.param(lambda n: 'a = "' + "\\\\" * n + '"', id="backslashes"),
    pytest.param(lambda n: 'a = "' + '\\"' * n + '"', id="escaped-quotes"),
    pytest.param(lambda n: '"' + '\\"' * n + '" = 1', id="escaped-quotes-in-a-key"),
    pytest.param(lambda n: 'a = """' + '\\"""' * n + '"""', id="escaped-closing-quotes"),
    pytest.param(lambda n: "#" + " #" * n + "\na = 1", id="hashes"),
    pytest.param(lambda n: "a = [" + "[], " * n + "]", id="elements"),
    pytest.param(lambda n: "a = [" + '"b" , ' * n + "'c']", id="easy-elements"),
    pytest.param(lambda n: "a = [" + '"b" ' + " " * n + "\n]", id="easy-space"),
    pytest.param(
        lambda n: "a = {" + ", ".join(f"k{i:05} = ''" for i in range(n)) + "}", id="members"
    ),
    pytest.param(lambda n: "a = [" + "# ]\n" * n + "]", id="comments"),
    pytest.param(lambda n: " " * n + "\n" * n + " " * n + "a = 1", id="space"),
    pytest.param(lambda n: " \r\n" * n + "#\n" * n + "a = 1", id="empty-lines"),
    pytest.param(lambda n: "a" * n + " " * n + "=" + " " * n + "[]", id="long-key"),
    pytest.param(lambda n: "a = 1979-05-27" + " " * n, id="trailing-space"),
    pytest.param(lambda n: "[a]\n" + "".join(f"b{i:05} = 1 # c\n" for i in range(n)), id="lines"),
]


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_the_steps_grow_with_the_text(
    odd: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the text takes twice the steps, and a long one of any kind is read at all."""
    looked_at = 0

    def count(characters: int) -> None:
        nonlocal looked_at
        looked_at += characters + 1

    class Counted(str):
        """A text that counts the characters that are cut out and searched."""

        __slots__ = ()

        def __getitem__(self, key: Any) -> str:
            piece = str.__getitem__(self, key)
            count(len(piece))
            return piece

        def find(self, part: str, start: int = 0) -> int:  # type: ignore[override]
            end = str.find(self, part, start)
            count(end - start)
            return end

    class CountedPattern:
        """A pattern that counts the characters that it matches."""

        def __init__(self, pattern: re.Pattern[str]) -> None:
            self.pattern = pattern

        def match(self, text: str, position: int) -> re.Match[str] | None:
            match = self.pattern.match(text, position)
            count(match.end() - position if match else 0)
            return match

        def search(self, text: str, position: int) -> re.Match[str] | None:
            match = self.pattern.search(text, position)
            count(match.end() - position if match else len(text) - position)
            return match

    for name, value in list(vars(scan).items()):
        if isinstance(value, re.Pattern):
            monkeypatch.setattr(scan, name, CountedPattern(value))
    steps = []
    for n in (1_000, 2_000, 50_000):
        text = Counted(odd(n))
        looked_at = 0
        for statement in statements(text):
            for _ in inside(text, statement):
                pass
        for _ in comments(text, 0, len(text)):
            pass
        steps.append(looked_at)
    assert steps[1] <= 2.1 * steps[0]
    assert steps[2] <= 55 * steps[0]
