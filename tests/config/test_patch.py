"""The change goes in exactly and comes out again, whatever the config looks like."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from support.configs import LOGGED_IN

from kimifix.config import routes
from kimifix.config.change import Change, Moved, Undo
from kimifix.config.document import Document, parse, same
from kimifix.config.patch import Patched, Unpatched, patch, unpatch
from kimifix.config.routes import LOGIN, Credential, Plan
from kimifix.errors import UnsupportedShapeError

HEADER = Plan("header", LOGIN, "kimi_cli", "https://api.kimi.com/coding/v1")
ANTHROPIC = replace(HEADER, route="anthropic", credential=Credential("key", "sk-kimi-x"))

# What the client writes at its first start, the same in 0.10.0 to 2.1.0.
STUB = """\
# ~/.kimi-code/config.toml
# Runtime settings for Kimi Code.
# This file starts empty so built-in defaults can apply.
# Login will populate managed Kimi provider and model entries.
"""

MANAGED = """\
[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"
oauth = { storage = "file", key = "oauth/kimi-code" }

[models."kimi-code/k3"]
provider = "managed:kimi-code"
model = "k3"
capabilities = ["thinking"]
"""

SET = 'default_model = "kimi-code/k3"\nthinking.enabled = true\n'

SHAPES = {
    "login": LOGGED_IN,
    "dotted": """\
default_model = "kimi-code/k3"
thinking.enabled = true
providers."managed:kimi-code".type = "kimi"
providers."managed:kimi-code".oauth.key = "oauth/kimi-code"
models."kimi-code/k3".provider = "managed:kimi-code"
models."kimi-code/k3".model = "k3"
models."kimi-code/k3".overrides.default_effort = "low"
""",
    "dotted-below-headers": SET
    + """\
[providers]
"managed:kimi-code".type = "kimi"
"managed:kimi-code".oauth.key = "oauth/kimi-code"
[models]
'kimi-code/k3'.provider = 'managed:kimi-code'
'kimi-code/k3' . model = 'k3'
[other]
""",
    "inline": """\
default_model = 'kimi-code/k3' # which
thinking = { enabled = true }
providers = { "managed:kimi-code" = { type = "kimi", oauth = { key = "oauth/kimi-code" } } } # all
models = { "kimi-code/k3" = { provider = "managed:kimi-code", model = "k3" } }
secondary_model = { default_model = "kimi-code/k3", models = { "kimi-code/k3" = "" } }
""",
    "inline-with-dots": SET
    + """\
providers = {"managed:kimi-code".type="kimi","managed:kimi-code".oauth.key="oauth/kimi-code"}
models={'kimi-code/k3'.provider='managed:kimi-code','kimi-code/k3'.model='k3'}
""",
    "inline-over-lines": SET
    + """\
providers = { "managed:kimi-code" = { type = "kimi", oauth = { key = "k" }, list = [ # {
  1, # }
] } }
models = { "kimi-code/k3" = { provider = "managed:kimi-code", model = '''
k3''', tags = [
] } }
""",
    "entries-inline": SET
    + """\
[providers]
"managed:kimi-code" = { type = "kimi", oauth = { key = "k" } }
[models]
"kimi-code/k3" = { provider = "managed:kimi-code", model = "k3" }
""",
    "out-of-order": SET
    + """\
[models."kimi-code/k3".overrides]
default_effort = "low"
[providers."managed:kimi-code".oauth]
key = "oauth/kimi-code"
[models."kimi-code/k3"]
provider = "managed:kimi-code"
model = "k3"
[providers]
[models]
[providers."managed:kimi-code"]
type = "kimi"
""",
    "interleaved": SET
    + """\
[[hooks]]
event = "a"
[providers."managed:kimi-code"]
type = "kimi"
[[hooks]]
event = "b"
[hooks.env]
TOKEN = "x"
[models."kimi-code/k3"]
provider = "managed:kimi-code"
model = "k3"
[[hooks]]
event = "c"
[providers."managed:kimi-code".oauth]
key = "oauth/kimi-code"
""",
    "quoted": """\
"default_model" = '''kimi-code/k3'''
'thinking' . "enabled" = true
["providers" . 'managed:kimi-code']
"type" = "kimi"
"oauth" = { 'key' = "oauth/kimi-code" }
[ "\\u006dodels" . "kimi-code\\u002fk3" ]
"provider" = "managed:kimi\\u002dcode"
"model" = "k3"
""",
    "unicode": """\
default_model = "ключ/модель 😀"
thinking.enabled = true
[providers."managed:kimi-code"]
type = "kimi"
oauth.key = "oauth/kimi-code"
[models."ключ/модель 😀"]
provider = "managed:kimi-code"
model = "модель \\"😀\\""
display_name = "Кими ☃"
["другое"]
"🔑" = "значение"
""",
    "comments": """\
# of the file

# of the default
default_model = "kimi-code/k3" # [not.a.header]
thinking.enabled = true # "
# before a table
[providers."managed:kimi-code"] # behind a header
# in a table
type = "kimi" # behind a value
oauth = { key = "k" } # }

# before another

[models."kimi-code/k3"]#
provider = "managed:kimi-code"
model = "k3"
   # indented
# at the end
""",
    "tabs": (SET + MANAGED).replace("\n", "\n\t").replace(" = ", "\t=\t"),
    "blank-lines": "\n\n" + (SET + MANAGED).replace("\n", "\n\n \n") + "\n\n\n",
    "trailing-space": (SET + MANAGED).replace("\n", " \t\n"),
    "ends-with-spaces": SET + MANAGED + "   ",
    "ends-with-comment": SET + MANAGED + "# the end",
    "ends-with-array": SET + MANAGED + "[x]\na = [\n1,\n]",
    "ends-with-string": SET + MANAGED + "[x]\na = '''\n[no.header]\n'''",
    "ends-with-header": SET + MANAGED + "[x]",
    "ends-with-array-of-tables": SET + MANAGED + "[[x]]\n[[x]]",
    "multi-line-strings": SET
    + 'notes = """\n[providers.kimifix]\ndefault_model = "x"\n\\""""\n'
    + MANAGED,
    "default-model-in-other-tables": '[a]\ndefault_model = "kimi-code/k3"\n[b.a]\n'
    'default_model = "kimi-code/k3"\n[thinking]\nenabled = true\n' + MANAGED,
    "everything-that-names-an-alias": SET
    + """\
default_provider = "managed:kimi-code"
[secondary_model]
model = "kimi-code/k3"
default_model = "kimi-code/k3"
[secondary_model.models]
'kimi-code/k3' = "the cheap one" # comment
other = ""
[providers.x]
default_model = "kimi-code/k3"
"""
    + MANAGED,
    "alias-without-provider": """\
default_model = "a"
default_provider = "managed:kimi-code"
thinking.enabled = true
[providers."managed:kimi-code"]
oauth.key = "k"
[models.a]
model = "k3"
""",
}


def document(text: str) -> Document:
    """Parse a text."""
    return parse(text.encode(), Path("config.toml"))


def patched(text: str, plan: Plan = HEADER) -> Patched:
    """Patch a text with a plan."""
    before = document(text)
    return patch(before, routes.change(before, plan))


def unpatched(text: str, undo: Undo | None = None) -> Unpatched:
    """Unpatch a text."""
    return unpatch(document(text), undo)


def spelled(text: str) -> dict[str, str]:
    """Return a text in every spelling of its line ends."""
    text = text.replace("\r", "")
    return {
        "lf": text,
        "crlf": text.replace("\n", "\r\n"),
        "mixed": text.replace("\n", "\r\n", text.count("\n") // 2),
        "mixed-other": "\r\n".join(text.rsplit("\n", text.count("\n") // 2)),
        "no-final-newline": text.rstrip("\n"),
        "crlf-no-final-newline": text.rstrip("\n").replace("\n", "\r\n"),
    }


@pytest.mark.parametrize("plan", [HEADER, ANTHROPIC], ids=["header", "anthropic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_patched_and_given_back(shape: str, plan: Plan) -> None:
    """The data gains exactly the change, and unpatching gives the old bytes or, alone, data."""
    for spelling, text in spelled(SHAPES[shape]).items():
        before = document(text)
        change = routes.change(before, plan)
        result = patch(before, change)
        expected = tomllib.loads(text)
        for path, name in change.keys.items():
            table = _at(expected, path[:-1])
            table[name] = table.pop(path[-1])
        for path, entry in [*change.values.items(), *change.tables.items()]:
            _at(expected, path[:-1])[path[-1]] = entry
        assert tomllib.loads(result.text) == result.data == expected, spelling
        after = document(result.text)
        back = unpatch(after, result.undo)
        assert (back.text, back.data, back.left) == (text, before.data, ()), spelling
        without = unpatch(after, None)
        assert tomllib.loads(without.text) == without.data
        if "default_model" in before.data:
            assert without.data == before.data, spelling


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        data = data.setdefault(part, {})
    return data


@pytest.mark.parametrize(
    "text",
    ["", "\n", "\r\n", "# c", STUB, STUB.rstrip("\n"), "a = 1", "[a]", "models = {}\n"],
)
@pytest.mark.parametrize("bom", ["", "\ufeff"], ids=["plain", "bom"])
def test_a_config_without_managed_provider_gets_the_built_in_models(text: str, bom: str) -> None:
    """Also an empty one, one of comments only, and the client's own stub."""
    for spelling in spelled(text).values():
        before = parse((bom + spelling).encode(), Path("config.toml"))
        result = patch(before, routes.change(before, ANTHROPIC))
        assert result.data["default_model"] == "kimifix/kimi-for-coding"
        assert result.data["thinking"] == {"enabled": True}
        assert {"kimifix/kimi-for-coding", "kimifix/k3"} <= result.data["models"].keys()
        content = result.content
        back = unpatch(parse(content, Path("config.toml")), result.undo)
        assert back.content == (bom + spelling).encode()
        assert back.data == before.data


def test_what_is_written_into_a_fresh_login() -> None:
    """One value changed, one block appended, and nothing else."""
    result = patched(LOGGED_IN)
    moved = LOGGED_IN.replace('"kimi-code/kimi-for-coding"', '"kimifix/kimi-for-coding"', 1)
    assert (
        result.text
        == moved
        + """
[providers.kimifix]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"

[providers.kimifix.oauth]
storage = "file"
key = "oauth/kimi-code"

[providers.kimifix.custom_headers]
X-Msh-Platform = "kimi_cli"

[models."kimifix/kimi-for-coding"]
provider = "kimifix"
model = "kimi-for-coding"
max_context_size = 262144
capabilities = ["thinking", "image_in", "video_in", "tool_use"]
display_name = "Kimi For Coding"
"""
    )
    assert result.undo == Undo(
        (Moved(("default_model",), '"kimi-code/kimi-for-coding"', "kimifix/kimi-for-coding"),)
    )


def test_what_is_written_into_the_stub() -> None:
    """The default joins the comments, everything else goes below."""
    text = patched(STUB, ANTHROPIC).text
    assert text.startswith(STUB + 'default_model = "kimifix/kimi-for-coding"\n\n[thinking]\nena')
    assert '[providers.kimifix]\ntype = "anthropic"\n' in text


def test_two_thousand_models_are_patched_and_given_back() -> None:
    """A config of any size goes the same way."""
    text = (
        SET
        + MANAGED
        + "".join(
            f'[models."kimi-code/m{i}"]\nprovider = "managed:kimi-code"\nmodel = "m{i}"\n'
            for i in range(2000)
        )
    )
    result = patched(text)
    assert len(result.own_entries) == 2002
    assert unpatched(result.text, result.undo).text == text
    assert unpatched(result.text).text == text


@pytest.mark.parametrize("provider", ["other", "managed:kimi-code"])
def test_an_alias_of_others_that_is_called_as_ours_stays(provider: str) -> None:
    """An alias `kimifix/k3` of somebody else is not overwritten, whoever serves it."""
    text = SET + MANAGED + f'[models."kimifix/k3"]\nprovider = "{provider}"\nmodel = "k3"\n'
    result = patched(text)
    assert result.data["models"]["kimifix/k3"]["provider"] == provider
    assert result.data["default_model"] == "kimifix/kimi-code/k3"
    assert routes.drift(result) == routes.Drift()
    assert unpatched(result.text, result.undo).text == text
    assert unpatched(result.text).data == document(text).data


def test_a_result_that_cannot_be_proved_is_refused() -> None:
    """The error names the place; a change that contradicts itself is one such case."""
    with pytest.raises(UnsupportedShapeError, match="`a` is not a table"):
        patch(document("a = 1\n"), Change(values={("a", "b"): "x"}))
    with pytest.raises(UnsupportedShapeError, match="`a` is not a table"):
        patch(document("[[a]]\nb = 1\n"), Change(values={("a", "b"): "x"}))
    with pytest.raises(UnsupportedShapeError, match=r"`a\.b` has no key of its own"):
        patch(document("a = [{ b = 1 }]\n"), Change(keys={("a", "b"): "c"}))
    with pytest.raises(UnsupportedShapeError, match=r"`a\.b` would come out wrong"):
        patch(document(""), Change(tables={("a",): {"b": (1, 2)}}))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, {"b": 1}),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ([{"a": 1}], [{"a": True}]),
        ({}, []),
        ("1", 1),
        (nan, 0.0),
        (0.0, nan),
    ],
)
def test_what_is_not_the_same(a: Any, b: Any) -> None:
    """Numbers of other types, other keys, another length or order."""
    assert not same(a, b)
    assert not same({"x": [a]}, {"x": [b]})


def test_what_is_the_same() -> None:
    """The order of keys does not count, and NaN is NaN."""
    assert same({"a": nan, "b": [nan, {"c": 1}]}, {"b": [nan, {"c": 1}], "a": nan})


# What others do between patch and unpatch


def test_a_default_that_the_user_chose_since_stays() -> None:
    """It is reported as left."""
    result = patched(SET + MANAGED)
    text = result.text.replace('default_model = "kimifix/k3"', 'default_model = "mine"')
    back = unpatched(text, result.undo)
    assert back.data["default_model"] == "mine"
    assert (back.restored, back.left) == ((), (("default_model",),))
    assert back.text == (SET + MANAGED).replace(
        'default_model = "kimi-code/k3"', 'default_model = "mine"'
    )


def test_a_default_that_the_user_led_back_is_not_reported() -> None:
    """It is what it was, so nothing is left behind."""
    result = patched(SET + MANAGED)
    text = result.text.replace('default_model = "kimifix/k3"', 'default_model = "kimi-code/k3"')
    back = unpatched(text, result.undo)
    assert (back.text, back.restored, back.left) == (SET + MANAGED, (), ())


def test_a_default_that_the_client_took_out_comes_back() -> None:
    """`kimi provider remove` unsets a default of ours; a user would have set another one."""
    result = patched(SET + MANAGED)
    text = result.text.replace('default_model = "kimifix/k3"\n', "")
    back = unpatched(text, result.undo)
    assert back.data == document(SET + MANAGED).data
    assert back.restored == (("default_model",),)


def test_a_default_that_was_taken_out_with_its_model_leads_to_another() -> None:
    """Where the client has dropped model and default, one of its models is the default again."""
    result = patched(SET + MANAGED)
    text = result.text.replace('default_model = "kimifix/k3"\n', "").replace(
        '[models."kimi-code/k3"]', '[models."kimi-code/k4"]'
    )
    back = unpatched(text, result.undo)
    assert back.data["default_model"] == "kimi-code/k4"


def test_a_default_that_was_taken_out_with_all_models_stays_out() -> None:
    """There is nothing to lead it back to."""
    result = patched(SET + MANAGED)
    text = result.text.replace('default_model = "kimifix/k3"\n', "").replace(
        '[models."kimi-code/k3"]\nprovider = "managed:kimi-code"', "[models.x]\nprovider = 'gone'"
    )
    assert "'gone'" in text
    back = unpatched(text, result.undo)
    assert "default_model" not in back.data


def test_a_default_whose_old_model_is_gone_goes_to_another_managed_one() -> None:
    """Never to an alias that does not exist: the one of the same model, else the first."""
    result = patched(SET + MANAGED)
    text = result.text.replace('[models."kimi-code/k3"]', '[models."kimi-code/other"]')
    assert unpatched(text, result.undo).data["default_model"] == "kimi-code/other"
    text = result.text.replace('[models."kimi-code/k3"]', '[models."first"]').replace(
        'model = "k3"\n', 'model = "k4"\n', 1
    )
    text += '[models.same]\nprovider = "managed:kimi-code"\nmodel = "k3"\n'
    assert unpatched(text, result.undo).data["default_model"] == "same"
    assert unpatched(text).data["default_model"] == "same"
    without = text.replace('[models.same]\nprovider = "managed:kimi-code"\nmodel = "k3"\n', "")
    assert unpatched(without).data["default_model"] == "first"


def test_a_default_goes_where_no_managed_model_is_left() -> None:
    """After `/logout` there is nothing to lead it back to."""
    result = patched(SET + MANAGED)
    start = result.text.index("[providers.kimifix]")
    text = SET.replace("kimi-code/k3", "kimifix/k3") + result.text[start:]
    back = unpatched(text, result.undo)
    assert (back.text, back.data) == ("thinking.enabled = true\n", {"thinking": {"enabled": True}})
    assert back.restored == (("default_model",),)


def test_another_alias_of_ours_as_default_goes_back_to_its_model() -> None:
    """The user may have chosen another model of ours meanwhile."""
    more = '[models."kimi-code/k2"]\nprovider = "managed:kimi-code"\nmodel = "k2"\n'
    result = patched(SET + MANAGED + more)
    text = result.text.replace('default_model = "kimifix/k3"', 'default_model = "kimifix/k2"')
    back = unpatched(text, result.undo)
    assert back.data["default_model"] == "kimi-code/k2"
    assert back.restored == (("default_model",),)


def test_aliases_that_the_client_added_to_our_provider_go_too() -> None:
    """Every alias whose provider is ours, whatever its name."""
    result = patched(SET + MANAGED)
    text = (
        result.text
        + '[models."kimifix/new"]\nprovider = "kimifix"\n[models.own]\nprovider_id = "kimifix"\n'
        + '[models."kimifix/not-ours"]\nprovider = "x"\n'
    )
    back = unpatched(text, result.undo)
    assert list(back.data["models"]) == ["kimi-code/k3", "kimifix/not-ours"]
    assert back.removed == (
        ("providers", "kimifix"),
        ("models", "kimifix/k3"),
        ("models", "kimifix/new"),
        ("models", "own"),
    )


def test_a_default_of_somebody_else_that_is_called_as_ours_stays() -> None:
    """The name alone makes nothing ours while an entry of that name is somebody else's."""
    text = 'default_model = "kimifix/x"\n[models."kimifix/x"]\nprovider = "x"\n' + MANAGED
    assert unpatched(text) == Unpatched(document(text).data, text)


def test_a_default_of_ours_without_entry_is_led_back() -> None:
    """Where somebody took out our entries by hand and forgot the default."""
    text = SET.replace("kimi-code/k3", "kimifix/k3") + MANAGED
    back = unpatched(text)
    assert back.text == SET + MANAGED
    assert (back.removed, back.restored) == ((), (("default_model",),))


def test_lines_that_others_added_stay() -> None:
    """Above, between, below and behind ours, comments within ours included."""
    result = patched(SET + MANAGED)
    text = (
        "# top\n"
        + result.text.replace("[providers.kimifix.oauth]", "# within\n[providers.kimifix.oauth]")
        + "# below\n[later]\na = 1 # x"
    )
    back = unpatched(text, result.undo)
    assert back.text == "# top\n" + SET + MANAGED + "\n# within\n# below\n[later]\na = 1 # x"


def test_a_line_end_that_we_added_stays_where_others_wrote_behind_it() -> None:
    """Only the last line of the text may lose it again."""
    result = patched((SET + MANAGED).rstrip("\n"))
    assert result.undo.newline_added
    assert unpatched(result.text + "# c\n", result.undo).text == SET + MANAGED + "# c\n"
    assert unpatched(result.text + "# c", result.undo).text == SET + MANAGED + "# c"
    assert unpatched(result.text, result.undo).text == (SET + MANAGED).rstrip("\n")
    assert unpatched(result.text, None).text == SET + MANAGED


def test_thinking_is_taken_out_again_where_we_set_it() -> None:
    """In each place it may have gone to, and only while it says what we wrote."""
    default = 'default_model = "kimi-code/k3"\n'
    for thinking in ("", "[thinking]\n", "thinking = {}\n", "thinking.keep = 'all'\n"):
        inline = not thinking.startswith("[")
        text = default + (thinking + MANAGED if inline else MANAGED + thinking)
        result = patched(text)
        assert result.data["thinking"]["enabled"] is True
        assert unpatched(result.text, result.undo).text == text
        off = result.text.replace("enabled = true", "enabled = false")
        back = unpatched(off, result.undo)
        assert back.data["thinking"]["enabled"] is False
        assert back.left == (("thinking", "enabled"),)
        gone = result.text.replace("thinking.enabled = true", "").replace("enabled = true", "")
        assert unpatched(gone, result.undo).left == ()


def test_a_table_that_we_made_stays_while_others_use_it() -> None:
    """`[thinking]` of ours with a line of somebody else loses our line alone."""
    text = 'default_model = "kimi-code/k3"\n' + MANAGED
    result = patched(text)
    used = result.text.replace("enabled = true\n", 'enabled = true\nkeep = "all"\n')
    back = unpatched(used, result.undo)
    assert back.data["thinking"] == {"keep": "all"}
    assert back.text == text + '\n[thinking]\nkeep = "all"\n'


def test_a_table_that_we_made_beside_its_sub_table_goes_alone() -> None:
    """`[thinking.x]` of the user is left as it stood."""
    text = 'default_model = "kimi-code/k3"\n' + MANAGED + "[thinking.x]\ny = 1\n"
    result = patched(text)
    assert "\n[thinking]\nenabled = true\n" in result.text
    assert unpatched(result.text, result.undo).text == text


def test_keys_of_the_pool_are_renamed_and_named_back() -> None:
    """Key and default move together, and a key that is gone since is reported."""
    pool = '[secondary_model.models]\n\'kimi-code/k3\' = "cheap"\nx = ""\n'
    result = patched(SET + MANAGED + pool)
    assert result.data["secondary_model"]["models"] == {"kimifix/k3": "cheap", "x": ""}
    moved = Moved(
        ("secondary_model", "models", "kimi-code/k3"), "'kimi-code/k3'", "kimifix/k3", is_key=True
    )
    assert moved in result.undo.moved
    assert moved.path_since == ("secondary_model", "models", "kimifix/k3")
    without = result.text.replace('"kimifix/k3" = "cheap"\n', "")
    back = unpatched(without, result.undo)
    assert back.data["secondary_model"]["models"] == {"x": ""}
    assert back.left == (moved.path,)
    both = result.text.replace('x = ""\n', "'kimi-code/k3' = \"\"\n")
    back = unpatched(both, None)
    assert back.data["secondary_model"]["models"] == {"kimi-code/k3": ""}
    assert unpatched(both, result.undo).data == back.data


def test_of_two_keys_of_the_pool_that_come_to_share_one_of_ours_the_other_stays() -> None:
    """Beside a key, on the header route, both stand for the same model of ours."""
    pool = '[secondary_model.models]\nmine = "dear"\n"kimi-code/k3" = "cheap"\n'
    text = SET + MANAGED + '[models.mine]\nprovider = "managed:kimi-code"\nmodel = "k3"\n' + pool
    result = patched(text, replace(ANTHROPIC, route="header"))
    assert [a for a in result.models if a.startswith("kimifix/")] == ["kimifix/k3"]
    assert result.data["secondary_model"]["models"] == {"mine": "dear", "kimifix/k3": "cheap"}
    for undo in (result.undo, None):
        assert unpatched(result.text, undo).text == text


def test_bare_keys_of_the_pool_are_led_back_as_bare_keys() -> None:
    """With or without what `patch` remembers; who has led them back already is not in the way."""
    text = """\
default_model = "k3"
thinking.enabled = true
secondary_model.models.k3 = ""
[providers."managed:kimi-code"]
oauth.key = "k"
[models.k3]
provider = "managed:kimi-code"
model = "k3"
"""
    result = patched(text)
    assert unpatched(result.text, result.undo).text == text
    assert unpatched(result.text).text == text
    led_back = result.text.replace('models."kimifix/k3" =', "models.k3 =")
    back = unpatched(led_back, result.undo)
    assert (back.text, back.left) == (text, ())


@pytest.mark.parametrize(
    "pool",
    [
        "[secondary_model.models.'kimi-code/k3']\na = 1\n",
        "[secondary_model.models.'kimi-code/k3'.b]\na = 1\n[secondary_model]\nmodels.x = 1\n",
        "[secondary_model.models]\n'kimi-code/k3'.a = 1\n\"kimi-code/k3\".b = 2\n",
        "[[secondary_model.models.'kimi-code/k3']]\n[[secondary_model.models.\"kimi-code/k3\"]]\n",
        "[secondary_model]\nmodels = { 'kimi-code/k3'.a = 1, x = 1, 'kimi-code/k3'.b = {} }\n",
    ],
)
def test_a_pool_spread_over_several_tables_moves_and_returns(pool: str) -> None:
    """Each key that spells the alias is renamed, and gets its own spelling back."""
    text = SET + MANAGED + pool
    result = patched(text)
    assert "kimi-code/k3" not in result.data["secondary_model"]["models"]
    assert unpatched(result.text, result.undo).text == text
    assert unpatched(result.text).data == document(text).data


def test_an_alias_without_a_name_is_led_back() -> None:
    """Whoever remembers nothing takes it for the one that stands for ours."""
    text = MANAGED.replace('"kimi-code/k3"', '""')
    result = patched(text)
    assert result.data["default_model"] == "kimifix/k3"
    assert unpatched(result.text, result.undo).text == text
    assert unpatched(result.text).data["default_model"] == ""


def test_two_aliases_of_one_model_are_led_back_each_to_its_own() -> None:
    """Their names tell; where they do not, two keys that become one are one."""
    pool = 'secondary_model.models = {"kimi-code/k3" = "a", mine = "b"}\n'
    more = '[models.mine]\nprovider = "managed:kimi-code"\nmodel = "k3"\n'
    text = pool + SET + MANAGED + more
    result = patched(text)
    assert result.data["secondary_model"]["models"] == {"kimifix/k3": "a", "kimifix/mine": "b"}
    assert unpatched(result.text).data == document(text).data
    renamed = result.text.replace("[models.mine]", "[models.other]")
    for undo in (None, result.undo):
        back = unpatched(renamed, undo)
        assert back.data["secondary_model"]["models"] == {"kimi-code/k3": "a"}


def test_a_pool_that_would_be_empty_without_ours_may_go() -> None:
    """A dotted table goes with its only key: that is no reason to refuse."""
    result = patched(SET + MANAGED)
    text = "secondary_model.models.'kimifix/k3' = ''\n" + result.text[result.text.index("[prov") :]
    text = text.replace(MANAGED, "")
    assert "secondary_model" not in unpatched(text, result.undo).data


def test_default_provider_is_led_back() -> None:
    """To the managed provider, with or without what `patch` remembers, else it goes."""
    text = "default_provider = 'managed:kimi-code'\n" + SET + MANAGED
    result = patched(text)
    assert result.data["default_provider"] == "kimifix"
    assert unpatched(result.text, result.undo).text == text
    assert unpatched(result.text, None).data == document(text).data
    start = result.text.index("[providers.kimifix]")
    assert (
        "default_provider"
        not in unpatched('default_provider = "kimifix"\n' + result.text[start:]).data
    )


def test_an_alias_without_provider_belongs_to_the_default_provider() -> None:
    """Of somebody else, it is nothing to lead a default of ours back to."""
    text = 'default_model = "kimifix/gone"\ndefault_provider = "x"\n[models.mine]\nmodel = "k3"\n'
    assert unpatched(text + MANAGED).data["default_model"] == "kimi-code/k3"


def test_what_names_an_alias_that_somebody_took_over_stays() -> None:
    """It works as it is, whoever serves the alias now."""
    secondary = "[secondary_model]\nmodel = 'kimi-code/k3'\n"
    result = patched(SET + MANAGED + secondary)
    text = result.text.replace('provider = "kimifix"', 'provider = "x"')
    back = unpatched(text, result.undo)
    assert back.data["default_model"] == "kimifix/k3"
    assert back.data["secondary_model"] == {"model": "kimifix/k3"}
    assert back.data["models"]["kimifix/k3"]["provider"] == "x"


def test_an_emptied_default_stays_and_one_taken_out_comes_back_as_it_was_spelled() -> None:
    """The client takes a default out; who leaves it empty is the user."""
    text = (SET + MANAGED).replace('"kimi-code/k3"\n', "'kimi-code/k3'\n", 1)
    result = patched(text)
    line = 'default_model = "kimifix/k3"\n'
    emptied = result.text.replace(line, 'default_model = ""\n')
    assert unpatched(emptied, result.undo).data["default_model"] == ""
    back = unpatched(result.text.replace(line, ""), result.undo)
    assert "default_model = 'kimi-code/k3'\n" in back.text


def test_unpatching_twice_is_unpatching_once() -> None:
    """Nothing of ours is left to take out, with or without what `patch` remembers."""
    result = patched(LOGGED_IN)
    back = unpatched(result.text, result.undo)
    for undo in (result.undo, None):
        again = unpatched(back.text, undo)
        assert (again.text, again.removed, again.restored) == (LOGGED_IN, (), ())


def test_an_empty_section_is_still_there_afterwards() -> None:
    """`models = {}` is data of the user, though nothing was in it."""
    text = "models = {}\n" + SET + MANAGED[: MANAGED.index("[models")]
    result = patched(text, ANTHROPIC)
    assert unpatched(result.text, result.undo).data == document(text).data
    assert document(text).data["models"] == {}
