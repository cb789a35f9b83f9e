"""What looks like a lockout and is not: each with a home in which `doctor` names it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config

from kimifix.client.home import Home
from kimifix.doctor.client import check_environment, check_login, check_recent_errors
from kimifix.doctor.config import check_identity
from kimifix.doctor.finding import Finding
from kimifix.doctor.lookalikes import check_look_alikes
from kimifix.doctor.patch import check_patch
from kimifix.machine import Machine

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CODING_KEY = "sk-kimi-not-a-real-key-0123456789"
PLATFORM_KEY = "sk-not-a-real-key-0123456789"

# As a login of the other region writes it (source of 2.1.0).
GLOBAL = LOGGED_IN.replace("api.kimi.com", "api.kimi.ai").replace(
    'key = "oauth/kimi-code"',
    'key = "oauth/kimi-code-env-0123456789abcdef"\noauth_host = "https://auth.kimi.ai"',
)
OTHERS = """
[providers.openai]
type = "openai"
base_url = "https://api.example.test/v1"
api_key = "sk-0123456789"

[providers.platform]
type = "kimi"
base_url = "https://api.moonshot.cn/v1"
api_key = "sk-not-a-real-key-0123456789"

[providers.claude]
type = "anthropic"
base_url = "https://api.kimi.com/coding"
api_key = "sk-kimi-not-a-real-key-0123456789"
"""

Make = Callable[..., Machine]


@pytest.fixture
def machine(home: Path, tmp_path: Path) -> Make:
    """Return a function that makes a machine with a signed-in client."""

    def make(config: str = LOGGED_IN, version: str = "2.1.0", **env: str) -> Machine:
        programs = install_client(tmp_path / "npm", version)
        sign_in(home)
        write_config(home, config)
        return Machine(Home(home, "default"), {"PATH": str(programs), **env}, NOW.timestamp())

    return make


def provider(**fields: str) -> str:
    """Return the config of a signed-in client that uses another provider."""
    model = '[models.m]\nprovider = "mine"\nmodel = "k3"\nmax_context_size = 1\n\n'
    lines = [f'{name} = "{value}"' for name, value in fields.items()]
    used = LOGGED_IN.replace('"kimi-code/kimi-for-coding"', '"m"', 1)
    return used + model + "\n".join(["[providers.mine]", *lines, ""])


def failed(home: Path, *errors: tuple[int, str, int]) -> None:
    """Leave errors in the client's log: minutes before now, message, status."""
    lines = [
        f"{NOW - timedelta(minutes=ago):%Y-%m-%dT%H:%M:%S.000Z} WARN  llm request failed  "
        f'errorMessage="{message}" statusCode={status}\n'
        for ago, message, status in errors
    ]
    (home / "logs").mkdir()
    (home / "logs" / "kimi-code.log").write_text("".join(lines), encoding="utf-8")


def words(finding: Finding) -> str:
    """Return all that a finding says."""
    return f"{finding.status}: {finding.message}: {finding.hint}"


@pytest.mark.parametrize("version", ["0.20.0", "0.25.0", "0.38.0", "2.1.0"])
@pytest.mark.parametrize(
    "config", [LOGGED_IN, GLOBAL, LOGGED_IN + OTHERS], ids=["cn", "ai", "more"]
)
def test_healthy_home_looks_like_nothing_else(machine: Make, version: str, config: str) -> None:
    """No version's own config, of either region, and no other provider is taken for a mistake."""
    healthy = machine(config, version)
    for check in (check_look_alikes, check_environment, check_recent_errors):
        assert check(healthy).status == "ok"


# --- the way there -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"HTTPS_PROXY": "http://p.test:1"}, "HTTPS_PROXY: leads through a proxy"),
        ({"all_proxy": "http://p.test:1"}, "all_proxy: leads through a proxy"),
        (
            {"ALL_PROXY": "socks5://p.test:1"},
            "ALL_PROXY: leads through a SOCKS proxy, which --probe",
        ),
        ({"ALL_PROXY": "socks5://p.test:1", "http_proxy": "http://p.test:1"}, "http_proxy: leads"),
        ({"HTTPS_PROXY": " "}, "nothing set"),
        ({"NO_PROXY": "*"}, "nothing set"),
    ],
)
def test_proxy_is_named_and_no_reason_to_worry(
    machine: Make, env: dict[str, str], told: str
) -> None:
    """The client asks through it, a SOCKS proxy too (run: 0.20.0 to 2.1.0); values are private."""
    finding = check_environment(machine(**env))
    assert finding.status in ("ok", "info")
    assert told in finding.message
    assert "p.test" not in words(finding)


def test_old_client_does_not_use_a_proxy(machine: Make) -> None:
    """Before 0.12.0 the variables were for other programs."""
    finding = check_environment(machine(version="0.10.0", HTTPS_PROXY="http://p.test:1"))
    assert "HTTPS_PROXY: a proxy that kimi-code 0.10.0 ignores" in finding.message


def test_proxy_beside_a_variable_of_the_client(machine: Make) -> None:
    """What has to be unset is a warning, and the proxy is named all the same."""
    finding = check_environment(machine(KIMI_MODEL_NAME="k3", https_proxy="http://p.test:1"))
    assert finding.status == "warning"
    assert finding.data["variables"] == ["KIMI_MODEL_NAME", "https_proxy"]


@pytest.mark.parametrize(("version", "asks"), [("0.25.0", True), ("0.38.0", False)])
def test_old_client_wants_a_login_in_an_editor(machine: Make, version: str, asks: bool) -> None:
    """By ACP a key alone does not do (run: 0.25.0; 0.38.0 and 2.1.0 take it)."""
    lines = ('default_model = "m"', "[models.m]", 'provider = "mine"', 'model = "k3"')
    keyed = ("[providers.mine]", 'type = "kimi"', f'api_key = "{CODING_KEY}"')
    url = 'base_url = "https://api.kimi.com/coding/v1"'
    found = check_login(
        machine("\n".join([*lines, "max_context_size = 1", *keyed, url, ""]), version)
    )
    assert (found.status, "has an API key" in found.message) == ("info", True)
    assert (found.hint is not None) is asks
    assert not asks or "0.25.0 asks for a login" in str(found.hint)


# --- what does not fit together ------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "told", "remedy"),
    [
        pytest.param(
            LOGGED_IN.replace("api.kimi.com", "api.kimi.ai"),
            "login of auth.kimi.com, and asks api.kimi.ai",
            "kimi login",
            id="region",
        ),
        pytest.param(
            GLOBAL.replace("api.kimi.ai", "api.kimi.com"),
            "login of auth.kimi.ai, and asks api.kimi.com",
            "kimi login",
            id="other region",
        ),
        pytest.param(
            provider(type="openai", base_url="https://api.kimi.com/coding/v1", api_key=CODING_KEY),
            "`mine` is of type `openai`",
            'type = "kimi"',
            id="type",
        ),
        pytest.param(
            provider(type="kimi", base_url="https://api.kimi.ai/coding/v1", api_key=PLATFORM_KEY),
            "`mine` has a key of the pay-as-you-go Open Platform, and asks api.kimi.ai",
            "Kimi Code console",
            id="key of the platform",
        ),
        pytest.param(
            provider(type="kimi", base_url="https://api.moonshot.cn/v1", api_key=CODING_KEY),
            "`mine` has a key of the Kimi Code console, and asks the Open Platform",
            "base_url",
            id="coding key",
        ),
        pytest.param(
            provider(type="kimi", api_key=CODING_KEY),
            "asks the Open Platform, api.moonshot.ai",
            "base_url",
            id="coding key without a URL",
        ),
        pytest.param(
            provider(type="kimi", base_url="https://api.kimi.com/coding/v1", api_key_env="MY_KEY"),
            "`mine` has a key of the pay-as-you-go Open Platform",
            "Kimi Code console",
            id="key in a variable",
        ),
    ],
)
def test_what_does_not_fit_is_a_warning(machine: Make, config: str, told: str, remedy: str) -> None:
    """Region, type and key that a server cannot take are named, with what to do, and no key."""
    finding = check_look_alikes(machine(config, MY_KEY=PLATFORM_KEY))
    assert finding.status == "warning"
    assert told in finding.message
    assert remedy in (finding.hint or "")
    assert len(finding.data["found"]) == 1
    assert "not-a-real-key" not in words(finding)


def test_openai_type_at_the_coding_url_is_no_other_vendor(machine: Make) -> None:
    """The default model goes to the vendor's own server, without saying who asks."""
    config = provider(type="openai", base_url="https://api.kimi.com/coding/v1", api_key=CODING_KEY)
    assert "without the identity of kimi-code" in check_identity(machine(config)).message


def test_provider_that_is_not_in_use_is_no_warning(machine: Make) -> None:
    """It is named, for it can be chosen, but it is not what goes wrong now."""
    mine = provider(type="kimi", base_url="https://api.moonshot.cn/v1", api_key=CODING_KEY)
    unused = mine.replace('"m"', '"kimi-code/kimi-for-coding"', 1)
    finding = check_look_alikes(machine(unused))
    assert (finding.status, len(finding.data["found"])) == ("info", 1)


@pytest.mark.parametrize(
    "url",
    ["http://[", "", "api.kimi.com", "https://api.kimi.com.evil", "https://api.kimi.com@evil"],
)
def test_odd_url_is_no_server_of_the_vendor(machine: Make, url: str) -> None:
    """Only the vendor's own hosts count, and nonsense is no crash."""
    mine = provider(type="openai", api_key=PLATFORM_KEY) + f"base_url = {url!r}\n"
    assert check_look_alikes(machine(mine)).status == "ok"


# --- what the logs tell ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "outage"),
    [
        ([(9, "Internal error", 500), (2, "Bad gateway", 502)], True),
        ([(9, "Internal error", 500), (5, "Internal error", 500)], True),
        ([(3, "client closed request", 499), (2, "Internal error", 500)], True),
        ([(90, "Internal error", 500), (2, "Internal error", 500)], False),
        ([(94, "Internal error", 500), (90, "Internal error", 500)], False),
        ([(2, "Internal error", 500)], False),
        ([(9, "Access terminated", 403), (2, "Access terminated", 403)], False),
    ],
)
def test_failures_within_minutes_are_an_outage(
    machine: Make, home: Path, errors: list[tuple[int, str, int]], outage: bool
) -> None:
    """Where the server failed several times just now there is but to wait."""
    failed(home, *errors)
    finding = check_look_alikes(machine())
    assert finding.status == ("warning" if outage else "ok")
    assert ("an outage" in finding.message) == outage == ("wait" in (finding.hint or ""))


@pytest.mark.parametrize(
    ("status", "effort", "found"),
    [(429, "max", True), (429, "high", False), (401, "max", False), (500, "max", False)],
)
def test_highest_effort_is_lowered_first(
    machine: Make, home: Path, status: int, effort: str, found: bool
) -> None:
    """With `effort = "max"` a 429 is no reason for anything else yet."""
    failed(home, (2, "Something", status))
    config = LOGGED_IN.replace("enabled = true", f'enabled = true\neffort = "{effort}"')
    finding = check_look_alikes(machine(config))
    assert ("lower it" in (finding.hint or "")) == found


def test_model_beyond_the_plan_is_told_by_its_answer(machine: Make, home: Path) -> None:
    """A 401 that is about the model leads to another model, not to another login."""
    failed(home, (2, "Your plan does not have access to k3", 401))
    assert check_recent_errors(machine()).hint == "newest: choose another model"


# --- what it comes to -------------------------------------------------------------------------


def test_look_alike_is_the_verdict_as_long_as_nobody_was_asked(
    machine: Make, kimifix: Kimifix
) -> None:
    """What may only look like a lockout comes before a patch, and with what to do about it."""
    wrong = provider(type="kimi", base_url="https://api.moonshot.cn/v1", api_key=CODING_KEY)
    told = kimifix("doctor", "--json", env=machine(wrong).env).json
    beginning = "it may only look like a lockout: `mine` has a key of the Kimi Code"
    assert told["verdict"].startswith(beginning)
    assert "set the `base_url` of `mine`" in told["advice"]


# --- what was needed once --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "version", "told"),
    [
        (0, "2.1.0", None),
        (13, "2.1.0", None),
        (15, "2.1.0", "written 15 days ago"),
        (0, "2.2.0", "kimi-code was 2.1.0 then, and is 2.2.0 now"),
        (0, "2.0.2", None),
    ],
)
def test_old_patch_is_asked_about_again(
    machine: Make, kimifix: Kimifix, tmp_path: Path, days: int, version: str, told: str | None
) -> None:
    """After two weeks, or an update of the client, it may be needed no more: said in passing."""
    before = machine()
    assert kimifix("apply", "--yes", env=before.env).code == 0
    (package,) = tmp_path.glob("npm/**/package.json")
    package.write_text(package.read_text(encoding="utf-8").replace("2.1.0", version))
    now = time.time() + days * 86_400 + 60
    finding = check_patch(Machine(before.home, before.env, now))
    assert finding.status == ("info" if told else "ok")
    assert (told or "applied and complete, route header") in finding.message
    assert ("kimifix doctor --probe" in words(finding)) == bool(told)
