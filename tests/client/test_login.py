"""The login of the client: which slot, and what its file says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.configs import sign_in
from support.nobody import as_nobody, open_folder

from kimifix import secret
from kimifix.client import login
from kimifix.client.home import Home
from kimifix.client.login import Login

CN_HOST, CN_BASE = "https://auth.kimi.com", "https://api.kimi.com/coding/v1"
AI_HOST, AI_BASE = "https://auth.kimi.ai", "https://api.kimi.ai/coding/v1"
# Named so by `kimi login --region global` of 0.38.0 and 2.1.0.
AI_SLOT = "oauth/kimi-code-env-0e4f99c69cc27850"
CN_SLOT = "oauth/kimi-code"


def provider(**oauth: Any) -> dict[str, Any]:
    """Return a managed provider of the mainland."""
    return {"base_url": CN_BASE, "oauth": {"storage": "file", "key": CN_SLOT, **oauth}}


AI_PROVIDER = {"base_url": AI_BASE, "oauth": {"key": AI_SLOT, "oauth_host": AI_HOST}}


@pytest.mark.parametrize(
    ("managed", "env", "slot"),
    [
        pytest.param(provider(), {}, CN_SLOT, id="mainland"),
        pytest.param(AI_PROVIDER, {}, AI_SLOT, id="global"),
        pytest.param(
            provider(key="oauth/other"), {}, CN_SLOT, id="name in the config does not count"
        ),
        pytest.param({**provider(), "base_url": CN_BASE + "//"}, {}, CN_SLOT, id="slashes"),
        pytest.param(provider(oauth_host=f" {CN_HOST}/ "), {}, CN_SLOT, id="blanks round the host"),
        pytest.param({"oauth": {}}, {}, CN_SLOT, id="empty table"),
        pytest.param(
            {"oauth": {"key": 3, "oauth_host": 4}, "base_url": 5}, {}, CN_SLOT, id="numbers"
        ),
        pytest.param(
            provider(),
            {"KIMI_CODE_OAUTH_HOST": AI_HOST, "KIMI_CODE_BASE_URL": AI_BASE},
            AI_SLOT,
            id="both variables",
        ),
        pytest.param(
            provider(),
            {"KIMI_OAUTH_HOST": AI_HOST, "KIMI_CODE_BASE_URL": f"{AI_BASE}/"},
            AI_SLOT,
            id="other name of the variable",
        ),
        pytest.param(
            provider(),
            {"KIMI_CODE_OAUTH_HOST": CN_HOST, "KIMI_OAUTH_HOST": AI_HOST},
            CN_SLOT,
            id="first name wins",
        ),
        pytest.param(
            AI_PROVIDER,
            {"KIMI_CODE_OAUTH_HOST": AI_HOST},
            AI_SLOT,
            id="host by variable, base by config",
        ),
        pytest.param(
            AI_PROVIDER,
            {"KIMI_CODE_BASE_URL": CN_BASE},
            CN_SLOT,
            id="base by variable, host by default",
        ),
    ],
)
def test_slot_of_the_managed_provider(
    managed: dict[str, Any], env: dict[str, str], slot: str
) -> None:
    """It follows from OAuth host and base URL, both of which the environment can replace."""
    assert login.slot_of(managed, env, managed=True) == slot


@pytest.mark.parametrize(
    ("oauth", "slot"),
    [
        pytest.param({"key": "oauth/mine"}, "oauth/mine", id="as it is"),
        pytest.param({"key": AI_SLOT, "oauth_host": AI_HOST}, AI_SLOT, id="global"),
        pytest.param({}, CN_SLOT, id="no name"),
        pytest.param({"key": ""}, CN_SLOT, id="empty name"),
        pytest.param({"key": ["x"]}, CN_SLOT, id="no string"),
    ],
)
def test_slot_of_an_own_provider(oauth: dict[str, Any], slot: str) -> None:
    """It is the one that the table names, whatever the environment says."""
    env = {"KIMI_CODE_OAUTH_HOST": "https://elsewhere.example"}
    assert login.slot_of({"oauth": oauth}, env, managed=False) == slot


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("data", [{}, {"oauth": None}, {"oauth": "x"}, {"api_key": "sk-1"}])
def test_provider_without_login_has_no_slot(data: dict[str, Any], managed: bool) -> None:
    """Without an `oauth` table there is nothing to look for."""
    assert login.slot_of(data, {}, managed=managed) is None


def test_slot_of_strange_characters() -> None:
    """Text that no encoding knows is no crash."""
    strange = {"KIMI_CODE_BASE_URL": "https://\udcff.example"}
    assert str(login.slot_of(provider(), strange, managed=True)).startswith(f"{CN_SLOT}-env-")


def read(home: Path, content: str | bytes | None, slot: str = CN_SLOT) -> Login:
    """Put ``content`` into the file of the default slot and read ``slot``."""
    if content is not None:
        path = sign_in(home)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return login.read(Home(home, "default"), slot)


def test_signed_in(home: Path) -> None:
    """A login has a token, its end, and mostly something to renew it with."""
    path = sign_in(home, token="token-in-the-file", expires_at=1_700_000_000.5)
    found = login.read(Home(home, "default"), CN_SLOT)
    assert (found.slot, found.path, found.problem) == (CN_SLOT, path, None)
    assert found.token is not None
    assert found.token.reveal() == "token-in-the-file"
    assert found.expires_at == 1_700_000_000.5
    assert found.present
    assert found.renewable


def test_slot_of_another_region(home: Path) -> None:
    """The name of the slot is the name of the file."""
    sign_in(home, slot="kimi-code-env-0e4f99c69cc27850")
    assert login.read(Home(home, "default"), AI_SLOT).present
    assert not login.read(Home(home, "default"), CN_SLOT).present


def test_not_signed_in(home: Path) -> None:
    """A file that is not there is no problem, only no login."""
    found = read(home, None)
    assert not found.present
    assert found.problem is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param("{", "not valid JSON", id="half"),
        pytest.param(b"\xff\xfe\x00", "not valid JSON", id="binary"),
        pytest.param("[" * 100_000, "not valid JSON", id="deep"),
        # What Python would take, and kimi-code does not (run: 0.25.0, 0.38.0, 2.1.0).
        pytest.param("\ufeff{}", "not valid JSON", id="byte order mark"),
        pytest.param("{}".encode("utf-16"), "not valid JSON", id="UTF-16"),
        pytest.param('{"expires_at": NaN}', "not valid JSON", id="NaN"),
        pytest.param("[]", "not a JSON object", id="list"),
        pytest.param("null", "not a JSON object", id="null"),
        pytest.param("{}", "revoked", id="nothing in it"),
        pytest.param('{"access_token": 5}', "revoked", id="number for a token"),
        pytest.param('{"access_token": "", "refresh_token": ""}', "revoked", id="revoked"),
        pytest.param('{"refresh_token": "still-there"}', "revoked", id="refresh token alone"),
        pytest.param(b" " * (1024 * 1024 + 1), "too large", id="huge"),
    ],
)
def test_file_that_is_no_login(home: Path, data: str | bytes, problem: str) -> None:
    """Each kind of broken file is no login, and says why."""
    found = read(home, data)
    assert not found.present
    assert problem in (found.problem or "")


@pytest.mark.parametrize(
    ("expires", "expected"),
    [
        ("0", 0.0),
        ("4102444800", 4_102_444_800.0),
        ("1.5", 1.5),
        ("true", None),
        ('"4102444800"', None),
        ("null", None),
        ("-1", None),
        ("1" + "0" * 400, None),
        ("1e300", None),
        ("1e400", None),
    ],
)
def test_end_of_a_login(home: Path, expires: str, expected: float | None) -> None:
    """What is no moment between 1970 and 9999 counts as not said."""
    found = read(home, f'{{"access_token": "token-with-an-end", "expires_at": {expires}}}')
    assert found.expires_at == expected
    assert found.present
    assert not found.renewable


@pytest.mark.parametrize(
    ("more", "early"),
    [
        ({}, 300),
        ({"expires_in": 500}, 300),
        ({"expires_in": 3600}, 1800),
        ({"expires_in": "3600"}, 300),
        ({"expires_in": -5}, 300),
        ({"refresh_token": "one-to-renew-it-with"}, 0),
    ],
)
def test_a_login_that_cannot_be_renewed_ends_when_it_would_be(
    home: Path, more: dict[str, Any], early: int
) -> None:
    """kimi-code renews it before its end, and does without it where it cannot."""
    data = {"access_token": "token-with-an-end", "expires_at": 4102444800, **more}
    assert read(home, json.dumps(data)).ends_at == 4102444800 - early


def test_a_login_without_an_end_does_not_end(home: Path) -> None:
    """Nor does one that ended in 1970: kimi-code takes a zero for nothing."""
    for end in ("0", "null"):
        data = f'{{"access_token": "token-without-an-end", "expires_at": {end}}}'
        assert read(home, data).ends_at is None


@pytest.mark.parametrize(
    "slot",
    [
        "oauth/../config",
        "oauth/..",
        "../../etc/passwd",
        "oauth/a/b",
        "oauth/a\\b",
        "oauth/C:evil",
        "oauth/.hidden",
        "oauth/",
        "oauth/a\0b",
        "oauth/a\nb",
        "/etc/passwd",
    ],
)
def test_slot_leads_nowhere_else(home: Path, slot: str) -> None:
    """A name that could lead out of the credentials folder is refused unread."""
    (home / "config.json").write_text('{"access_token": "token-of-the-config"}')
    found = read(home, None, slot)
    assert not found.present
    assert found.problem == "the `key` of its login is no file name"


def test_name_too_long(home: Path) -> None:
    """A name that the file system does not take is a problem, not a crash."""
    found = read(home, "{}", f"oauth/{'x' * 5000}")
    assert not found.present
    assert sys.platform == "win32" or "cannot be read" in (found.problem or "")


def test_folder_for_a_file(home: Path) -> None:
    """A folder in the place of the file is no login."""
    (home / "credentials" / "kimi-code.json").mkdir(parents=True)
    assert (read(home, None).problem or "").startswith("it cannot be read, ")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no FIFOs")
def test_fifo_for_a_file(home: Path) -> None:
    """A FIFO in the place of the file is not waited for."""
    (home / "credentials").mkdir()
    os.mkfifo(home / "credentials" / "kimi-code.json")
    assert read(home, None).problem == "it cannot be read, it is a FIFO, not a plain file"


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode there")
@pytest.mark.parametrize("closed", ["credentials/kimi-code.json", "credentials"])
def test_unreadable_file(closed: str) -> None:
    """A file that may not be read is no login, and says why."""
    with open_folder() as home:
        read(home, "{}")
        (home / "credentials").chmod(0o755)
        (home / closed).chmod(0)
        problem = as_nobody(lambda: read(home, None).problem)
        (home / "credentials").chmod(0o755)
    assert problem == "it cannot be read, Permission denied"


def test_values_stay_hidden(home: Path) -> None:
    """Neither token shows in the representation, and both are masked in all output."""
    data = {"access_token": "hidden-access-token", "refresh_token": "hidden-refresh-token"}
    found = read(home, json.dumps(data))
    assert "hidden-" not in repr(found)
    assert "hidden-" not in str(found.token)
    assert secret.redact("hidden-access-token hidden-refresh-token") == "*** ***"
