"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from kimifix.secret import redact
from kimifix.server.proxies import Proxy, ProxyError, choose

ONE = "http://one.test:7890"
TWO = "http://two.test:7890"


def _chosen(env: dict[str, str], scheme: str = "https", host: str = "api.kimi.test") -> str | None:
    proxy = choose(scheme, host, {"https": 443, "http": 80}[scheme], env)
    return None if proxy is None else f"http://{proxy.host}:{proxy.port}"


@pytest.mark.parametrize(
    ("env", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": ONE}, ONE, None),
        ({"https_proxy": ONE, "HTTPS_PROXY": TWO}, ONE, None),
        ({"https_proxy": "  ", "HTTPS_PROXY": ONE}, ONE, None),
        ({"HTTP_PROXY": ONE}, ONE, ONE),
        ({"ALL_PROXY": ONE}, ONE, ONE),
        ({"all_proxy": ONE}, ONE, ONE),
        ({"HTTPS_PROXY": ONE, "ALL_PROXY": TWO}, ONE, TWO),
        ({"HTTP_PROXY": ONE, "ALL_PROXY": TWO}, TWO, ONE),
        ({"HTTP_PROXY": ONE, "ALL_PROXY": "socks5://s.test:1080"}, ONE, ONE),
        ({"HTTPS_PROXY": "http://one.test"}, "http://one.test:80", None),
    ],
)
def test_the_variables_count_as_they_do_for_the_client(
    env: dict[str, str], https: str | None, http: str | None
) -> None:
    """Lower case wins, blank is unset, and HTTP_PROXY serves https where nothing else does."""
    assert _chosen(env) == https
    assert _chosen(env, "http") == http


@pytest.mark.parametrize(
    ("exceptions", "direct"),
    [
        ("api.kimi.test", True),
        ("API.Kimi.Test", True),
        ("kimi.test", True),
        (".kimi.test", True),
        ("*.kimi.test", True),
        ("other.test, kimi.test", True),
        ("other.test kimi.test", True),
        ("kimi.test:443", True),
        ("kimi.test:8443", False),
        ("*", True),
        ("", False),
        ("i.kimi.test", False),
        ("test.kimi", False),
        (",,", False),
    ],
)
def test_no_proxy_names_hosts_and_domains(exceptions: str, direct: bool) -> None:
    """With or without a leading dot, an asterisk or a port."""
    assert (_chosen({"HTTPS_PROXY": ONE, "NO_PROXY": exceptions}) is None) == direct
    assert (_chosen({"HTTPS_PROXY": ONE, "no_proxy": exceptions}) is None) == direct


def test_no_proxy_knows_ipv6() -> None:
    """With and without brackets."""
    for exceptions in ("2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"):
        env = {"HTTPS_PROXY": ONE, "NO_PROXY": exceptions}
        assert _chosen(env, host="2001:db8::1") is None
        assert _chosen(env, host="2001:db8::2") == ONE


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_loopback_is_always_asked_directly(host: str) -> None:
    """As the client does, whatever NO_PROXY says."""
    assert _chosen({"ALL_PROXY": ONE, "NO_PROXY": "other.test"}, host=host) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("socks5://127.0.0.1:1080", "SOCKS"),
        ("SOCKS5h://127.0.0.1:1080", "SOCKS"),
        ("127.0.0.1:7890", "http://host:port"),
        ("https://one.test:7890", "http://host:port"),
        ("http://", "http://host:port"),
        ("http://one.test:port", "http://host:port"),
        ("http://[::1", "http://host:port"),
        ("http://a b:1", "http://host:port"),
        ("http://one.test\\evil:1", "http://host:port"),
        ("nonsense", "http://host:port"),
    ],
)
def test_an_unusable_proxy_is_said_and_never_gone_round(value: str, reason: str) -> None:
    """Asking directly instead would not be what the user set up."""
    with pytest.raises(ProxyError, match=reason) as caught:
        choose("https", "api.kimi.test", 443, {"HTTPS_PROXY": value})
    assert "HTTPS_PROXY" in str(caught.value)


def test_the_password_of_a_proxy_is_a_secret() -> None:
    """It goes out as basic authorization and shows nowhere."""
    env = {"HTTPS_PROXY": "http://user:p%40ss-of-proxy@one.test:8080"}
    proxy = choose("https", "api.kimi.test", 443, env)
    assert isinstance(proxy, Proxy)
    assert proxy.authorization is not None
    assert proxy.authorization.reveal() == "Basic dXNlcjpwQHNzLW9mLXByb3h5"
    assert "p@ss" not in repr(proxy)
    for secret in ("p@ss-of-proxy", "p%40ss-of-proxy", "dXNlcjpwQHNzLW9mLXByb3h5"):
        assert redact(secret) == "***"
