"""The copy of the config that a recorded client gets to see."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configs import LOGGED_IN

from kimifix.config.decoy import DUMMY, decoy, essence
from kimifix.config.document import Document, parse
from kimifix.config.patch import patch
from kimifix.config.routes import Credential, Plan, change
from kimifix.secret import register

RECORDER = "http://127.0.0.1:12345"
PLAN = Plan(
    "header", Credential("key", "sk-kimi-real-key"), "kimi_cli", "https://api.kimi.com/coding/v1"
)


def copy(text: str) -> dict[str, Any]:
    """Return the data of the decoy of a config."""
    return tomllib.loads(decoy(Document(tomllib.loads(text)), RECORDER))


def test_a_patched_config_keeps_what_decides_the_identity(tmp_path: Any) -> None:
    """Type, headers, alias fields and default stay; addresses and secrets do not."""
    document = parse(LOGGED_IN.encode(), tmp_path / "config.toml")
    patched = patch(document, change(document, PLAN))
    data = tomllib.loads(decoy(patched, RECORDER))
    assert data["default_model"] == "kimifix/kimi-for-coding"
    assert data["providers"] == {
        "managed:kimi-code": {
            "type": "kimi",
            "api_key": "",
            "base_url": f"{RECORDER}/coding/v1",
            "oauth": {"storage": "file", "key": "oauth/kimi-code", "oauth_host": RECORDER},
        },
        "kimifix": {
            "type": "kimi",
            "base_url": f"{RECORDER}/coding/v1",
            "api_key": DUMMY,
            "custom_headers": {"X-Msh-Platform": "kimi_cli"},
        },
    }
    shown = {alias: {**entry} for alias, entry in patched.models.items()}
    assert all(entry.pop("display_name") for entry in shown.values())
    assert data["models"] == shown
    assert data["thinking"] == patched.data["thinking"]


def test_telemetry_is_off() -> None:
    """The copy says so itself, also where the original says the opposite."""
    assert copy("")["telemetry"] is False
    assert copy("telemetry = true\n")["telemetry"] is False


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[[hooks]]\nevent = "Stop"\ncommand = "steal"\n', id="hooks"),
        pytest.param('[mcp.servers.x]\ncommand = "steal"\n', id="mcp"),
        pytest.param('[mcpServers.x]\nurl = "https://mcp.example"\n', id="mcpServers"),
        pytest.param('[services.moonshot_search]\nbase_url = "https://s.example"\n', id="services"),
        pytest.param('[experimental]\nmcp_probe = "steal"\n', id="in-a-table-that-stays"),
        pytest.param(
            '[providers.kimifix]\ntype = "kimi"\napi_key_helper = "steal"\n', id="key-helper"
        ),
        pytest.param('something_new = "steal"\n', id="unknown-setting"),
        pytest.param(
            '[providers.kimifix]\ntype = "kimi"\n[models.a]\nprovider = "kimifix"\n'
            'token_command = "steal"\n',
            id="in-an-alias",
        ),
        pytest.param('[thinking]\nnote = "steal"\n[identity]\nx.y = "steal"\n', id="unknown-key"),
        pytest.param(
            '[providers.p]\ntype = "kimi"\nextra.a = "steal"\noauth.b = "steal"\n'
            'env.c.d = "steal"\n'
            '[models.a]\nprovider = "p"\nmodel.e = "steal"\ncapabilities = [{ f = "steal" }]\n'
            '[models.a.overrides]\ng = "steal"\n',
            id="unknown-tables",
        ),
    ],
)
def test_what_starts_processes_or_is_not_needed_is_left_out(text: str) -> None:
    """Hooks, MCP servers, helpers, services and what we do not know are not copied."""
    document = Document(tomllib.loads(text))
    for made in (decoy(document, RECORDER), essence(document, {})):
        assert "steal" not in made
        assert ".example" not in made


@pytest.mark.parametrize(
    ("address", "led_to"),
    [
        pytest.param("https://api.kimi.com/coding/v1", "/coding/v1", id="openai-style"),
        pytest.param("https://api.kimi.com/coding/", "/coding", id="anthropic-style"),
        pytest.param("https://user:pass@gate.example/t0kEn/v1?k=v#f", "/x/v1", id="own-secrets"),
        pytest.param("gate.example", "", id="no-scheme"),
        pytest.param("http://[broken", "", id="broken"),
        pytest.param("https://api.kimi.com/../../v1", "/x/x/v1", id="dots"),
    ],
)
def test_an_address_leads_to_the_recorder_by_a_path_of_plain_words(
    address: str, led_to: str
) -> None:
    """The route can still be told; what might be somebody's own is gone from the path."""
    data = copy(f'[providers.p]\ntype = "kimi"\nbase_url = "{address}"\n')
    assert data["providers"]["p"]["base_url"] == RECORDER + led_to


@pytest.mark.parametrize(
    ("entry", "led_to"),
    [
        pytest.param('[providers."managed:kimi-code"]\ntype = "kimi"', "/coding/v1", id="managed"),
        pytest.param('[providers.p]\ntype = "kimi"\nbase_url = ""', "/v1", id="kimi"),
        pytest.param('[providers.p]\ntype = "anthropic"\nbase_url = 1', "", id="anthropic"),
    ],
)
def test_no_provider_is_left_to_its_default_address(entry: str, led_to: str) -> None:
    """A provider without `base_url` gets one, or the client would ask the vendor's host."""
    (provider,) = copy(entry)["providers"].values()
    assert provider["base_url"] == RECORDER + led_to


def test_every_address_anywhere_leads_to_the_recorder() -> None:
    """Addresses in aliases, logins and environment tables are led there like any other."""
    data = copy(
        """
        [providers.p]
        type = "kimi"
        base_url = "https://one.example/v1"
        env = { KIMI_BASE_URL = "https://two.example/v1", KIMI_API_KEY = "sk-12345678" }
        oauth = { storage = "file", key = "oauth/kimi-code", oauth_host = "https://a.example" }

        [models.a]
        provider = "p"
        model = "m"
        base_url = "https://three.example/v1"
        proxy = "four.example"
        mirrors = ["https://five.example"]
        oauth = { storage = "file", key = "oauth/other" }
        """
    )
    assert ".example" not in repr(data)
    assert data["providers"]["p"]["env"] == {
        "KIMI_BASE_URL": f"{RECORDER}/v1",
        "KIMI_API_KEY": DUMMY,
    }
    assert data["models"]["a"]["oauth"]["oauth_host"] == RECORDER


def test_providers_of_other_vendors_are_left_out_with_their_models() -> None:
    """What talks to another vendor goes, and a default that names it."""
    data = copy(
        """
        default_model = "gpt"

        [providers.openai]
        type = "openai"
        api_key = "sk-12345678"

        [providers.kimifix]
        type = "kimi"

        [models.gpt]
        provider = "openai"
        model = "gpt"

        [models.k]
        provider = "kimifix"
        model = "k"

        [models.orphan]
        model = "o"
        """
    )
    assert list(data["providers"]) == ["kimifix"]
    assert list(data["models"]) == ["k"]
    assert "default_model" not in data


def test_an_alias_without_provider_belongs_to_the_default_provider() -> None:
    """Such an alias is served, so it stays."""
    data = copy(
        """
        default_provider = "p"
        [providers.p]
        type = "kimi"
        [models.a]
        model = "m"
        """
    )
    assert list(data["models"]) == ["a"]
    assert data["default_provider"] == "p"


def test_the_setting_that_renames_the_product_stays() -> None:
    """`[identity]` is part of what goes out."""
    assert copy('[identity]\nname = "Acme"\nslug = "acme"\n')["identity"]["slug"] == "acme"


def test_secrets_become_dummies_and_empty_ones_stay_empty() -> None:
    """A key that is set stays set, an absent one absent: the client decides by that."""
    data = copy(
        """
        [providers.a]
        type = "kimi"
        api_key = "sk-12345678"
        custom_headers = { Authorization = "Basic abc", X-Gate = "abc", X-Msh-Tag = "tag", N = 5 }
        [providers.b]
        type = "kimi"
        api_key = ""
        api_key_env = "MY_KEY"
        """
    )
    assert data["providers"]["a"]["api_key"] == DUMMY
    assert data["providers"]["a"]["custom_headers"] == {
        "Authorization": DUMMY,
        "X-Gate": DUMMY,
        "X-Msh-Tag": "tag",
        "N": DUMMY,
    }
    assert data["providers"]["b"]["api_key"] == ""
    assert data["providers"]["b"]["api_key_env"] == "MY_KEY"


def test_a_known_secret_is_replaced_wherever_it_stands() -> None:
    """A value that is secret elsewhere is secret in a harmless place, too."""
    register("a-known-secret-value")
    data = copy(
        '[providers.p]\ntype = "kimi"\n[models.a]\nprovider = "p"\nmodel = "m"\n'
        'default_effort = "a-known-secret-value"\n'
    )
    assert data["models"]["a"]["default_effort"] == DUMMY


def test_a_name_that_is_a_secret_is_left_out_with_its_entry() -> None:
    """Somebody may have taken the key for the name of the provider."""
    key = "sk-planted-0123456789"
    data = copy(
        f'default_model = "a"\n[providers.p]\ntype = "kimi"\n[providers.{key}]\ntype = "kimi"\n'
        f'[models.a]\nprovider = "{key}"\n[models.{key}]\nprovider = "p"\n'
    )
    assert "planted" not in repr(data)
    assert list(data["providers"]) == ["p"]


def test_a_name_that_sounds_secret_hides_nothing() -> None:
    """What a provider or alias is called does not decide what is secret in it."""
    data = copy(
        '[providers.token-gate]\ntype = "kimi"\n'
        '[models.my-secret]\nprovider = "token-gate"\nmodel = "m"\n'
    )
    assert data["providers"]["token-gate"]["type"] == "kimi"
    assert data["models"]["my-secret"]["model"] == "m"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("default_model = []\ndefault_provider = {}\n", id="names-of-other-types"),
        pytest.param("thinking = 5\nidentity = []\n", id="sections-of-other-types"),
        pytest.param('[providers.p]\ntype = ["kimi"]\n', id="type-is-a-list"),
        pytest.param(
            '[providers.p]\ntype = "kimi"\noauth = 1\nenv = 2\ncustom_headers = 2020-01-01\n'
            '[models."a.b \\" c"]\nprovider = "p"\nx = [1.5, 07:00:00, { y = nan }]\n',
            id="values-of-other-types",
        ),
        pytest.param('[models.a]\nprovider = ["p"]\n', id="provider-is-a-list"),
    ],
)
def test_awkward_configs_give_a_valid_copy(text: str) -> None:
    """Whatever tomllib accepts has a decoy that tomllib accepts."""
    assert copy(text)["telemetry"] is False


_NAMES = st.sampled_from(
    ["type", "base_url", "api_key", "env", "custom_headers", "oauth", "X-Auth", "access_token"]
)
_PLANTED = st.sampled_from(["sk-planted-0123456789", "https://planted.example/v1", "kimi", "plain"])
_VALUES = st.recursive(
    _PLANTED | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)
_SECTIONS = st.dictionaries(
    st.sampled_from(["managed:kimi-code", "kimifix", "p"]),
    st.dictionaries(_NAMES, _VALUES, max_size=6).map(lambda entry: {"type": "kimi"} | entry),
    max_size=3,
)


@given(_SECTIONS, _SECTIONS, st.dictionaries(_NAMES, _VALUES, max_size=3))
def test_no_planted_secret_or_address_survives(
    providers: dict[str, Any], models: dict[str, Any], others: dict[str, Any]
) -> None:
    """However a config is built, its copy holds neither a secret nor a foreign address."""
    models = {alias: {"provider": alias, **entry} for alias, entry in models.items()}
    text = decoy(Document({**others, "providers": providers, "models": models}), RECORDER)
    tomllib.loads(text)
    assert "planted" not in text
