"""What holds for every config that can be made up, in every spelling of TOML."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from math import nan
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from support.configs import sign_in
from support.platforms import has_mode
from support.rounds import FACTOR, rounds
from support.surface import Data, configs, names, scalars, written
from support.verbs import KEY, apply, revert

from kimifix.config import routes
from kimifix.config.change import Change, Moved
from kimifix.config.document import Document, parse, same
from kimifix.config.patch import Patched, patch, unpatch
from kimifix.config.redaction import masked
from kimifix.config.routes import LOGIN, Credential, Plan
from kimifix.errors import ConfigError, KimifixError
from kimifix.secret import secrets_in

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_power_cut")]

PATH = Path("config.toml")
BASE_URL = "https://api.kimi.com/coding/v1"

plans = st.builds(
    Plan,
    st.sampled_from(["header", "anthropic"]),
    st.sampled_from([LOGIN, Credential("key", KEY)]),
    st.just("kimi_cli"),
    st.just(BASE_URL),
    st.booleans(),
    st.sampled_from([("thinking", "enabled"), ("default_thinking",)]),
    st.sampled_from([None, ()]),
)
randoms = st.builds(Random, st.integers(0, 2**32))


def tried(usual: int) -> settings:
    """Return the settings for a property: with `--deep` other examples each time, and more."""
    return settings(
        max_examples=rounds(usual),
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def patched(text: str, plan: Plan) -> tuple[Document, Change, Patched]:
    """Patch a text with a plan."""
    document = parse(text.encode(), PATH)
    change = routes.change(document, plan)
    return document, change, patch(document, change)


@tried(250)
@given(configs(), randoms, plans)
def test_unpatching_gives_back_the_bytes(data: Data, random: Random, plan: Plan) -> None:
    """Unpatch after patch is the identity."""
    text = written(data, random)
    assert same(tomllib.loads(text), data)
    document, _, result = patched(text, plan)
    back = unpatch(result, result.undo)
    assert back.text == text
    assert same(back.data, data)
    assert back.left == ()
    assert same(document.data, data)


@tried(150)
@given(configs(managed=False), randoms, plans)
def test_the_difference_of_the_data_is_exactly_ours(data: Data, random: Random, plan: Plan) -> None:
    """Every other value stays, and the change is there."""
    assume("managed:kimi-code" in data["providers"] or plan.credential.name == "key")
    _, change, result = patched(written(data, random), plan)
    expected: Any = tomllib.loads(written(data, Random(0)))
    for path, name in change.keys.items():
        table = _at(expected, path[:-1])
        table[name] = table.pop(path[-1])
    for path, value in [*change.values.items(), *change.tables.items()]:
        _at(expected, path[:-1])[path[-1]] = value
    assert same(tomllib.loads(result.text), expected)
    assert same(result.data, expected)


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        data = data.setdefault(part, {})
    return data


@tried(150)
@given(configs(), randoms, plans)
def test_foreign_lines_keep_their_order_and_bytes(data: Data, random: Random, plan: Plan) -> None:
    """All old lines are there in order, but those of values moved and of inline tables."""
    text = written(data, random)
    _, _, result = patched(text, plan)
    old, new = _lines(text), _lines(result.text)
    inline = sum(_is_inline(text, section) for section in ("providers", "models", "thinking"))
    moved = sum(_most_lines(data, m) for m in result.undo.moved if m.old is not None)
    assert len(old) - _longest_common(old, new) <= moved + inline


def _most_lines(data: Data, moved: Moved) -> int:
    """Return how many lines a value or a key takes at most, which may be spelled in each below."""
    value = _at(data, moved.path)
    below = list(value.values()) if moved.is_key and isinstance(value, dict) else []
    for item in below:
        below += item.values() if isinstance(item, dict) else ()
    return (str(moved.old).count("\n") + 1) * (len(below) + 1)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if text.endswith("\n") else [*lines[:-1], lines[-1] + "\r"]


def _is_inline(text: str, section: str) -> bool:
    """Tell whether a section is an inline table: a second definition of it is an error then."""
    try:
        tomllib.loads(f"{text}\n[{section}.something-new]\n")
    except tomllib.TOMLDecodeError:
        return True
    return False


def _longest_common(old: list[str], new: list[str]) -> int:
    """Return the length of the longest common subsequence, trailing carriage returns aside."""
    row = [0] * (len(new) + 1)
    for a in old:
        above = row[:]
        for i, b in enumerate(new):
            equal = a == b or (a.rstrip("\r") == b.rstrip("\r") and a is old[-1])
            row[i + 1] = above[i] + 1 if equal else max(above[i + 1], row[i])
    return row[-1]


@tried(150)
@given(configs(), randoms, plans, st.booleans())
def test_a_rewrite_in_between_still_reverts_to_the_same_data(
    data: Data, random: Random, plan: Plan, tomlkit_writes: bool
) -> None:
    """An independent serialiser may reorder and respell everything, and drop the comments."""
    _, _, result = patched(written(data, random), plan)
    text = _dumped(result.data) if tomlkit_writes else written(result.data, random)
    assume(same(tomllib.loads(text), result.data))
    back = unpatch(parse(text.encode(), PATH), result.undo)
    assert same(_without_empty(back.data), _without_empty(data))
    assert back.left == ()


def _dumped(data: Data) -> str:
    return tomlkit.dumps(_sorted(data))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return value


def _without_empty(data: Data) -> Data:
    """Leave out sections that are empty: a dotted table goes with its last key."""
    sections = ("providers", "models", "thinking", "secondary_model")
    return {name: value for name, value in data.items() if value or name not in sections}


@tried(150)
@given(configs(), randoms, plans)
def test_without_memory_every_name_of_ours_is_gone(data: Data, random: Random, plan: Plan) -> None:
    """What is left names nothing that does not exist, and all else is as it was."""
    _, change, result = patched(written(data, random), plan)
    back = unpatch(result, None).data
    assert "kimifix" not in str(back) or "kimifix" in str(data)
    expected = tomllib.loads(written(data, Random(0)))
    for path in change.values:
        if path in (("default_model",), plan.thinking):
            for known in (back, expected):
                _at(known, path[:-1]).pop(path[-1], None)
    assert back.get("default_model") in {None, data.get("default_model"), *back["models"]}
    assert same(_without_empty(_stripped(back)), _without_empty(_stripped(expected)))


def _stripped(data: Data) -> Data:
    """Leave out what can be led back to another alias of the same model."""
    kept = {k: v for k, v in data.items() if k not in ("default_model", "secondary_model")}
    kept["providers"] = {
        name: {k: v for k, v in entry.items() if k != "default_model"}
        for name, entry in kept.get("providers", {}).items()
    }
    return kept


@tried(200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"a = " + b"[" * 10_000)
@example(b"a" + b".a" * 10_000 + b" = 1")
@example(b"a = " + b"9" * 10_000)
@example(b"\xef\xbb\xbf")
def test_arbitrary_bytes_raise_only_our_own_errors(content: bytes) -> None:
    """Whatever is in the file, it is a config or a `ConfigError`."""
    try:
        document = parse(content, PATH)
    except ConfigError:
        return
    assert document.content == content
    tomllib.loads(masked(document.text))


# The verbs, on real files

_NAMES = (
    *("providers", "models", "managed:kimi-code", "kimifix", "kimifix/k3", "kimi-code/k3"),
    *("default_model", "default_provider", "secondary_model", "thinking", "default_thinking"),
    *("enabled", "mode", "effort", "provider", "provider_id", "model", "capabilities", "type"),
    *("base_url", "oauth", "key", "storage", "oauth_host", "custom_headers", "X-Msh-Platform"),
    *("api_key", "api_key_env", "env", "protocol", "overrides"),
)
_VALUES = (
    *("managed:kimi-code", "kimifix", "kimifix/k3", "kimi-code/k3", "kimi", "anthropic"),
    *("oauth/kimi-code", "../../../x", "\x00", "", "kimi_cli", "thinking", BASE_URL),
)
confused_values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(_VALUES) | scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES) | names, inner, max_size=4)
    ),
    max_leaves=10,
)


@st.composite
def confused(draw: st.DrawFn) -> Data:
    """A config in which some values are of any type, and some keys in any place."""
    data: Data = deepcopy(draw(configs(managed=False)))
    deeper = st.booleans()
    for _ in range(draw(st.integers(1, 4))):
        table = data
        inside = [table]
        while draw(deeper) and inside:
            table = inside[draw(st.integers(0, len(inside) - 1))]
            inside = [value for value in table.values() if isinstance(value, dict)]
        table[draw(st.sampled_from([*_NAMES, *table]))] = draw(confused_values)
    return data


def home_with(tmp_path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Return a new home with a config and a login."""
    home = Path(mkdtemp(dir=tmp_path))
    sign_in(home)
    config = home / "config.toml"
    config.write_bytes(content)
    config.chmod(mode)
    return home


def is_reverted(home: Path, content: bytes, mode: int) -> bool:
    """Tell whether the config is as it was and nothing stray lies beside it."""
    config = home / "config.toml"
    unchanged = config.read_bytes() == content and has_mode(config, mode)
    return unchanged and {path.name for path in home.iterdir()} == {"config.toml", "credentials"}


requests = st.fixed_dictionaries(
    {},
    optional={
        "route": st.sampled_from(["header", "anthropic"]),
        "credential": st.sampled_from(["auto", "key"]),
        "move_default": st.booleans(),
    },
)


@tried(60)
@given(
    configs(), randoms, requests, st.sampled_from(["", "\ufeff"]), st.sampled_from([0o600, 0o644])
)
def test_applying_again_changes_nothing_and_reverting_gives_the_bytes(
    tmp_path: Path, data: Data, random: Random, request: Data, bom: str, mode: int
) -> None:
    """Apply is idempotent, and revert its inverse, through the disk and the receipt."""
    content = (bom + written(data, random)).encode()
    home = home_with(tmp_path, content, mode)
    config = home / "config.toml"
    assert apply(home, **request).status == "applied"
    after = config.read_bytes()
    has_key = KEY.encode() in after
    assert has_mode(config, 0o600 if has_key else mode)
    assert apply(home, **request).status == "unchanged"
    assert config.read_bytes() == after
    outcome = revert(home)
    assert outcome.status == "reverted"
    assert outcome.proposal is not None
    assert outcome.proposal.exact
    if has_key and any(secrets_in(data)):  # then nobody gets a right back
        mode = 0o600
    assert is_reverted(home, content, mode)
    assert revert(home).status == "nothing"
    assert is_reverted(home, content, mode)


@tried(40)
@given(configs(), randoms, requests, st.sampled_from(["header", "anthropic"]))
def test_what_others_add_to_ours_outlives_apply_and_goes_with_revert(
    tmp_path: Path, data: Data, random: Random, request: Data, route: str
) -> None:
    """Fields and aliases, however all is spelled by then; nothing else is left or lost."""
    home = home_with(tmp_path, written(data, random).encode())
    config = home / "config.toml"
    apply(home, **request)
    added = tomllib.loads(config.read_text(encoding="utf-8"))
    twins = [a for a, m in added["models"].items() if m.get("provider") == "kimifix"]
    for entry in (added["providers"]["kimifix"], *(added["models"][twin] for twin in twins)):
        entry["added by hand"] = {"x": nan}
    added["models"]["built on ours"] = {"provider": "kimifix", "model": "m"}
    config.write_bytes(written(added, random).encode())
    assert apply(home).status == "unchanged"
    apply(home, route=route)
    after = tomllib.loads(config.read_text(encoding="utf-8"))
    assert same(after["models"]["built on ours"], added["models"]["built on ours"])
    # Beside a key, on the header route, two aliases of the same model share one of ours.
    left = [twin for twin in twins if twin in after["models"]]
    assert left == twins or route == "header"
    assert {after["models"][t]["model"] for t in left} == {
        added["models"][t]["model"] for t in twins
    }
    for entry in (after["providers"]["kimifix"], *(after["models"][twin] for twin in left)):
        assert same(entry["added by hand"], {"x": nan})
    default, models = _default_model(added), [m.get("model") for m in data["models"].values()]
    assert _default_model(after) == default
    if models.count(default) < 2:  # else another route may call it by another of its aliases
        assert after.get("default_model") == added.get("default_model")
    assert revert(home).status == "reverted"
    back = tomllib.loads(config.read_text(encoding="utf-8"))
    assert same(_without_empty(back), _without_empty(data))


def _default_model(data: Data) -> object:
    """Return the model id that the default stands for, else its name."""
    name = data.get("default_model")
    return data["models"].get(name, {}).get("model", name)


@tried(150)
@given(confused(), randoms, requests)
def test_a_confused_config_is_refused_or_given_back(
    tmp_path: Path, data: Data, random: Random, request: Data
) -> None:
    """Values of any type in any place end in our own error or in a change that can be undone."""
    content = written(data, random).encode()
    home = home_with(tmp_path, content)
    try:
        outcome = apply(home, **request)
    except KimifixError:
        assert is_reverted(home, content, 0o600)
    else:
        if outcome.status == "applied" and "kimifix" not in str(data):
            assert revert(home).status == "reverted"
            assert is_reverted(home, content, 0o600)
    before = (home / "config.toml").read_bytes()
    try:
        revert(home)
    except KimifixError:
        assert (home / "config.toml").read_bytes() == before


@tried(100)
@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode), requests)
def test_arbitrary_bytes_are_refused_or_given_back(
    tmp_path: Path, content: bytes, request: Data
) -> None:
    """The verbs leave alone what they cannot read, and give back what they can."""
    home = home_with(tmp_path, content)
    try:
        outcome = apply(home, **request)
    except KimifixError:
        assert is_reverted(home, content, 0o600)
    else:
        assert outcome.status == "applied"
        assert revert(home).status == "reverted"
    assert is_reverted(home, content, 0o600)
