"""The scanner finds every statement, key and value where it stands."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from kimifix.config.scan import Statement, elements, members, newline_at, statements

Found = tuple[tuple[str, ...], str | None]


def found(text: str) -> list[Found]:
    """Scan a text that tomllib accepts: the path and the source of the value of each statement."""
    tomllib.loads(text)
    return [(s.path, _source(text, s)) for s in statements(text)]


def _source(text: str, statement: Statement) -> str | None:
    return None if statement.value is None else text[slice(*statement.value)]


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


def test_the_bounds_of_a_key_are_those_of_its_last_part() -> None:
    """What can be renamed is the last part, with its quotes."""
    text = "a . 'b' . \"c\" = 1"
    assert text[slice(*only(text).key)] == '"c"'
    text = "[ a . b ]"
    assert text[slice(*only(text).key)] == "b"


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


def test_members_are_those_of_one_level() -> None:
    """Members carry whole paths, dotted keys included, and bounds without the commas."""
    text = "[t]\na = { b = 1 , c.d = { e = 2 },'f' = [ {g = 3} ] }"
    (statement,) = [s for s in statements(text) if not s.is_header]
    inside = members(text, statement)
    assert [(m.path, _source(text, m)) for m in inside] == [
        (("t", "a", "b"), "1"),
        (("t", "a", "c", "d"), "{ e = 2 }"),
        (("t", "a", "f"), "[ {g = 3} ]"),
    ]
    assert [text[m.start : m.end] for m in inside] == [
        "b = 1",
        "c.d = { e = 2 }",
        "'f' = [ {g = 3} ]",
    ]
    (deep,) = members(text, inside[1])
    assert deep.path == ("t", "a", "c", "d", "e")


def test_only_inline_tables_have_members_and_only_arrays_elements() -> None:
    """Everything else has none of either."""
    for value in ("1", "'{'", "[]", "[{a = 1}]"):
        assert members(f"a = {value}", only(f"a = {value}")) == []
    for value in ("1", "'['", "{}", "{a = [1]}"):
        assert elements(f"a = {value}", only(f"a = {value}")) == []
    assert members("[a]", only("[a]")) == []
    assert elements("[a]", only("[a]")) == []
    assert members("a = {}", only("a = {}")) == []


def test_elements_have_the_path_of_their_array() -> None:
    """An array is taken apart whatever stands between its elements."""
    text = "a.b = [ # ]\n1, {c = 2}, # ,\n'''\n,''' ,[3],\n]"
    inside = elements(text, only(text))
    assert [_source(text, e) for e in inside] == ["1", "{c = 2}", "'''\n,'''", "[3]"]
    assert {e.path for e in inside} == {("a", "b")}
    (member,) = members(text, inside[1])
    assert member.path == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "position", "newline"),
    [
        ("", 0, "\n"),
        ("a", 1, "\n"),
        ("\n", 1, "\n"),
        ("\r\n", 2, "\r\n"),
        ("a\r\nb", 4, "\r\n"),
        ("a\r\nb\nc", 6, "\n"),
        ("a\nb\r\nc", 6, "\r\n"),
        ("a\nb\r\nc", 2, "\n"),
        ("a\r\nb", 0, "\r\n"),
    ],
)
def test_the_line_end_in_use_is_the_last_before_a_place(
    text: str, position: int, newline: str
) -> None:
    """In a file of mixed line ends the nearest above counts, else the first below, else LF."""
    assert newline_at(text, position) == newline


def test_a_large_config_takes_no_more_than_its_length() -> None:
    """No pattern backtracks: a megabyte of the worst kinds of line is read at once."""
    text = "\n".join(
        [
            "a = '''" + "'' " * 100_000 + "'''",
            'b = "' + "\\\\" * 100_000 + '"',
            "#" + " #" * 100_000,
            "c = [" + "[], " * 50_000 + "]",
            'd = """' + '"" ' * 50_000 + '"""',
            " " * 100_000,
        ]
    )
    assert [path for path, _ in found(text)] == [("a",), ("b",), ("c",), ("d",)]
