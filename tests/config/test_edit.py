"""An edit changes what it was asked to and leaves every other byte alone."""

from __future__ import annotations

import datetime
import math
import tomllib
from typing import Any

import pytest

from kimifix.config.edit import Edit, dotted, key_source, source_of
from kimifix.errors import UnsupportedShapeError

PROVIDER = {"type": "kimi", "oauth": {"key": "k"}}
BLOCK = '[providers.kimifix]\ntype = "kimi"\n\n[providers.kimifix.oauth]\nkey = "k"\n'
INLINE = 'kimifix = { type = "kimi", oauth = { key = "k" } }'


def added(text: str) -> str:
    """Add a provider; what tomllib then reads is the old data with the provider in it."""
    edit = Edit(text)
    edit.add_table(("providers", "kimifix"), PROVIDER)
    result = edit.result()
    data = tomllib.loads(text)
    data.setdefault("providers", {})["kimifix"] = PROVIDER
    assert tomllib.loads(result) == data
    return result


def set_to(text: str, path: tuple[str, ...], value: str | bool = "new") -> str:
    """Set a value; what tomllib then reads is the old data with the value in it."""
    edit = Edit(text)
    edit.set(path, source_of(value))
    result = edit.result()
    data: Any = tomllib.loads(text)
    table = data
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value
    assert tomllib.loads(result) == data
    return result


def removed(text: str, *paths: tuple[str, ...]) -> str:
    """Remove what stands at the paths."""
    edit = Edit(text)
    edit.remove(paths)
    result = edit.result()
    tomllib.loads(result)
    return result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", BLOCK),
        ("\n", "\n\n" + BLOCK),
        ("# only a comment", "# only a comment\n\n" + BLOCK),
        ("a = 1\n", "a = 1\n\n" + BLOCK),
        ("a = 1", "a = 1\n\n" + BLOCK),
        ("a = 1\n\n", "a = 1\n\n\n" + BLOCK),
        ("[providers.x]\ny = 1\n", "[providers.x]\ny = 1\n\n" + BLOCK),
        ("providers.x.y = 1\n", "providers.x.y = 1\n\n" + BLOCK),
        ("[providers]\nx.y = 1\n[[z]]\n", "[providers]\nx.y = 1\n[[z]]\n\n" + BLOCK),
        ("providers = {}\n", "providers = {" + INLINE + "}\n"),
        ("providers = { }", "providers = {" + INLINE + " }"),
        ("providers = { x.y = 1 } # c\n", "providers = { x.y = 1, " + INLINE + " } # c\n"),
        ("'providers'={x={y=[1,\n2]}}", "'providers'={x={y=[1,\n2]}, " + INLINE + "}"),
    ],
)
def test_a_new_table_goes_to_the_end_or_into_the_inline_table(text: str, result: str) -> None:
    """A block with headers of its own at the end; only an inline table cannot take one."""
    assert added(text) == result


def test_a_new_table_takes_the_line_end_of_the_last_line() -> None:
    """A CRLF file stays one, and in a mixed file the last line decides."""
    assert added("a = 1\r\n") == "a = 1\r\n\r\n" + BLOCK.replace("\n", "\r\n")
    assert added("a = 1\nb = 1\r\nc = 1") == "a = 1\nb = 1\r\nc = 1\r\n\r\n" + BLOCK.replace(
        "\n", "\r\n"
    )
    assert added("a = 1\r\nb = 1\n") == "a = 1\r\nb = 1\n\n" + BLOCK


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('default_model = "old"', 'default_model = "new"'),
        ("\tdefault_model='old' # c\r\n", '\tdefault_model="new" # c\r\n'),
        ("'default_model' = '''\nold''' \n", "'default_model' = \"new\" \n"),
        ("", 'default_model = "new"\n'),
        ("# c", '# c\ndefault_model = "new"\n'),
        ("a = 1\n# c\n", 'a = 1\ndefault_model = "new"\n# c\n'),
        ("a = 1", 'a = 1\ndefault_model = "new"\n'),
        ("a = [\n1\n]\n\n[b]\n", 'a = [\n1\n]\ndefault_model = "new"\n\n[b]\n'),
        ("a.b = 1\n[c]\n", 'a.b = 1\ndefault_model = "new"\n[c]\n'),
        ("[b]\n", 'default_model = "new"\n[b]\n'),
        (
            "# of the file\n\n# of b\n\t[b]\n",
            '# of the file\n\ndefault_model = "new"\n# of b\n\t[b]\n',
        ),
        ("# of b\r\n[b]\r\n", 'default_model = "new"\r\n# of b\r\n[b]\r\n'),
        ("\n[[b]]\n", '\ndefault_model = "new"\n[[b]]\n'),
    ],
)
def test_a_root_value_is_replaced_or_joins_the_root(text: str, result: str) -> None:
    """Where there is none it goes behind the last root line, before the first header's comment."""
    assert set_to(text, ("default_model",)) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("[t]\nv = false\n", "[t]\nv = true\n"),
        ("[t]\nw = 1\n", "[t]\nv = true\nw = 1\n"),
        ("[t]", "[t]\nv = true\n"),
        ("[t] # c\r\n[u]", "[t] # c\r\nv = true\r\n[u]"),
        ("t.w = 1\n[u]\n", "t.w = 1\nt.v = true\n[u]\n"),
        ("t.w = 1", "t.w = 1\nt.v = true\n"),
        ("t = {}\n", "t = {v = true}\n"),
        ("t = { w = 1 }\n", "t = { w = 1, v = true }\n"),
        ("t = { v = 0 }\n", "t = { v = true }\n"),
        ("t.v = 0\n", "t.v = true\n"),
        ("a = 1\n", "a = 1\n\n[t]\nv = true\n"),
        ("[t.u]\nw = 1\n", "[t.u]\nw = 1\n\n[t]\nv = true\n"),
        ("[[h]]\n[h.t]\n", "[[h]]\n[h.t]\n\n[t]\nv = true\n"),
    ],
)
def test_a_value_in_a_table_joins_the_table_as_the_file_spells_it(text: str, result: str) -> None:
    """Below its header, dotted beside its siblings, within its inline table, or in a new table."""
    assert set_to(text, ("t", "v"), value=True) == result


def test_what_stood_there_comes_back_as_source() -> None:
    """The source of the old value, quotes and all, or whether even its table is new."""
    edit = Edit("a = 'old'\n[t]\nb = 0x1F\n")
    assert edit.set(("a",), '"new"').source == "'old'"
    assert edit.set(("t", "b"), "true").source == "0x1F"
    missing = edit.set(("t", "c"), "true")
    assert (missing.source, missing.new_table) == (None, False)
    new = edit.set(("u", "c"), "true")
    assert (new.source, new.new_table) == (None, True)
    assert edit.rename(("t", "b"), "'d e'").source == "b"
    assert edit.result() == "a = \"new\"\n[t]\nc = true\n'd e' = true\n\n[u]\nc = true\n"


def test_a_key_is_renamed_where_it_stands() -> None:
    """In a table, dotted and inline; the value and the parts before it stay."""
    for text, result in (
        ("[p]\n\"a/b\" = 'x' # c\n", "[p]\nn = 'x' # c\n"),
        ("p.\"a/b\" = 'x'", "p.n = 'x'"),
        ("p = { 'a/b' = 1 }", "p = { n = 1 }"),
    ):
        edit = Edit(text)
        edit.rename(("p", "a/b"), "n")
        assert edit.result() == result


@pytest.mark.parametrize(
    ("text", "result", "old"),
    [
        ("[p.a]\nx = 1\n[p.b]\n", "[p.n]\nx = 1\n[p.b]\n", "a"),
        ("p.a.x = 1\np.a.y.z = 1\n", "p.n.x = 1\np.n.y.z = 1\n", "a"),
        ("[ p . 'a'.x ]\n[p.a]\n", "[ p . n.x ]\n[p.n]\n", "'a'\na"),
        ('[[p.a]]\nx = 1\n[[p."a"]]\n', "[[p.n]]\nx = 1\n[[p.n]]\n", 'a\n"a"'),
        ("[p]\na.x = 1\n[p.a.a]\na = 1\n", "[p]\nn.x = 1\n[p.n.a]\na = 1\n", "a"),
        ("p = { a.x = 1, 'a'.y = 1 }", "p = { n.x = 1, n.y = 1 }", "a\n'a'"),
        ("p = { q = { a = 1 }, a = { a = 1 } }", "p = { q = { a = 1 }, n = { a = 1 } }", "a"),
    ],
)
def test_a_key_is_renamed_wherever_it_is_spelled(text: str, result: str, old: str) -> None:
    """A table may be spread over headers and dotted keys; renamed back, all is as it was."""
    edit = Edit(text)
    replaced = edit.rename(("p", "a"), "n")
    assert (edit.result(), replaced.source) == (result, old)
    back = Edit(result)
    back.rename(("p", "n"), old)
    assert back.result() == text


def test_a_key_that_is_nowhere_is_refused() -> None:
    """Nor has an element of an array a key."""
    for text in ("", "p = [{ a = 1 }]"):
        with pytest.raises(UnsupportedShapeError, match=r"`p\.a` has no key"):
            Edit(text).rename(("p", "a"), "b")


def test_a_value_below_what_is_no_table_is_refused() -> None:
    """The error names the place."""
    for value in ("1", "[{a = 1}]", "'{}'"):
        with pytest.raises(UnsupportedShapeError, match="`providers` is not a table"):
            Edit(f"providers = {value}\n").add_table(("providers", "kimifix"), PROVIDER)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a = 1\n\n[p.x]\nb = 1\n", "a = 1\n"),
        ("[p.x]\nb = 1\n\n\n[q]\n", "\n\n[q]\n"),
        ("a = 1\r\n\r\n[p.x]\r\nb = 1\r\n[p.x.y]\r\n", "a = 1\r\n"),
        ("a = 1\n\r\n[p.x]\n", "a = 1\n"),
        ("a = 1\n \n[p.x]\n", "a = 1\n \n"),
        ("\n[p.x]\n", ""),
        ("\r\n[p.x]\r\n", ""),
        ("[p.x] # c\nb = [\n1]\n# mine\n[q]\n", "# mine\n[q]\n"),
        ("[p]\nx.a = 1\ny = 1\nx.b.c = 2\n", "[p]\ny = 1\n"),
        ("p.x.a = 1\np.y = 1\n", "p.y = 1\n"),
        ("[p.x.deep]\na = 1\n[q]\nb = 1\n[p.x]\nc = 1\n[[p.x.many]]\nd = 1\n", "[q]\nb = 1\n"),
        ("p = { x = 1 }", "p = {  }"),
        ("p = { x = 1}", "p = { }"),
        ("p = {x = 1 }", "p = { }"),
        ("p = { a = 1, x = 2 }", "p = { a = 1 }"),
        ("p = { x = 1, a = 2 }", "p = { a = 2 }"),
        ("p = { a = 1, x = 2, b = 3 }", "p = { a = 1, b = 3 }"),
        ("p = { x.a = 1, x.b = 2, b = 3 }", "p = { b = 3 }"),
        ("p = { x.a = 1, b = 3, x.b = 2 }", "p = { b = 3 }"),
        ("p = { b = 3, x.a = 1, x.b = 2 , c = 4}", "p = { b = 3 , c = 4}"),
        ("p.x = {a = {b = 1}}\nq = {x = 1}", "q = {x = 1}"),
    ],
)
def test_what_is_removed_goes_with_its_lines_and_the_empty_line_above(
    text: str, result: str
) -> None:
    """Header, members, sub-tables and inline members go; all the rest stays, comments too."""
    assert removed(text, ("p", "x")) == result


def test_removing_from_a_nested_inline_table_leaves_the_outer_one() -> None:
    """Only the named member goes, however deep."""
    text = "p = { a = { x = 1, y = 2 }, b = { x = 3 } }"
    assert removed(text, ("p", "a", "x")) == "p = { a = { y = 2 }, b = { x = 3 } }"


def test_a_header_can_go_alone() -> None:
    """Its sub-tables stay, which keeps the table in being."""
    edit = Edit("[t.sub]\nx = 1\n\n[t]\nv = true\n")
    assert edit.is_alone(("t", "v"))
    edit.remove({("t", "v")}, {("t",)})
    assert edit.result() == "[t.sub]\nx = 1\n"
    assert not Edit("[t]\nv = true\nw = 1\n").is_alone(("t", "v"))
    assert not Edit("[t]\nv = true\nw.x = 1\n").is_alone(("t", "v"))


def test_an_addition_is_undone_by_a_removal() -> None:
    """Adding and removing a table gives the old bytes back, for all that ends in a line end."""
    for text in ("", "\n", "a = 1\n", "a = 1\n\n\n", "# c\n", "[p]\n", "p = {}\n", "p = { a = 1 }"):
        edit = Edit(text)
        edit.add_table(("p", "x"), {"v": 1, "t": {"w": 2}})
        assert removed(edit.result(), ("p", "x")) == text


def test_tells_whether_the_last_line_is_completed_or_cut() -> None:
    """A block or line at the end gives a last line its line end, and taking it away cuts it."""
    edit = Edit("a = 1")
    assert not edit.completes_last_line
    edit.set(("a",), '"x"')
    assert not edit.completes_last_line
    edit.set(("b",), '"x"')
    assert edit.completes_last_line
    assert edit.result() == 'a = "x"\nb = "x"\n'
    edit = Edit("a = 1\n")
    edit.set(("b",), '"x"')
    assert not edit.completes_last_line
    edit = Edit("")
    edit.set(("b",), '"x"')
    assert not edit.completes_last_line
    edit = Edit("a = 1\nb = 1\n")
    edit.remove({("a",)})
    assert not edit.cuts_last_line
    edit.remove({("b",)})
    assert edit.cuts_last_line


@pytest.mark.parametrize(
    "value",
    [
        "",
        "plain",
        'quote " and \\',
        "line\nbreak\r\n\ttab",
        "\x00\x1f\x7f",
        "ü 😀 \ufeff",
        True,
        False,
        0,
        -(2**63),
        pytest.param(16**4000, id="beyond-decimals"),
        1.5,
        -0.0,
        1e16,
        5e-324,
        math.inf,
        -math.inf,
        [],
        [1, [2, "x"], {"a": []}],
        {},
        {"a b": {"c": [{"": 1}]}, "\\": "\n"},
        datetime.date(1979, 5, 27),
        datetime.time(7, 32, 0, 999999),
        datetime.datetime(1979, 5, 27, 7, 32),
        datetime.datetime(1979, 5, 27, 7, 32, 0, 1, tzinfo=datetime.UTC),
    ],
    ids=repr,
)
def test_the_source_of_a_value_reads_as_the_value_and_is_one_line(value: object) -> None:
    """What is added says exactly what it should, in any place that takes a value."""
    source = source_of(value)
    assert "\n" not in source
    assert tomllib.loads(f"v = {source}")["v"] == value
    assert tomllib.loads(f"v = [{source}, {{ v = {source} }}]")["v"] == [value, {"v": value}]


def test_the_source_of_nan_is_nan() -> None:
    """The one value that does not equal itself."""
    assert math.isnan(tomllib.loads(f"v = {source_of(math.nan)}")["v"])


@pytest.mark.parametrize("name", ["a", "A-1_", "", "a.b", "a b", "ü", '"', "'", "\\", "\n", "😀"])
def test_the_source_of_a_key_reads_as_the_key(name: str) -> None:
    """Bare where it can be, quoted where it must."""
    assert tomllib.loads(f"{key_source(name)} = 1") == {name: 1}
    assert tomllib.loads(f"[{dotted(('x', name))}]") == {"x": {name: {}}}
    assert (key_source(name) == name) == (name in ("a", "A-1_"))
