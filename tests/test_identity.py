"""The headers of the client, worked out without starting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kimifix.client.identity import OWN_PLATFORM, Computer, request_headers, this_computer
from kimifix.config import routes
from kimifix.secret import MASK
from kimifix.server.answers import Probe, Surface

LINUX = Computer("vm", "Linux", "6.18.44", "linux", "x64", node="v24.21.0")
DEVICE = "11111111-2222-4333-8444-555555555555"


def _headers(
    surface: Surface,
    platform: str | None,
    home: Path,
    *,
    version: str = "2.1.0",
    computer: Computer = LINUX,
    custom: dict[str, str] | None = None,
) -> dict[str, str]:
    return request_headers(
        surface, platform, version=version, home=home, computer=computer, custom=custom
    )


@pytest.fixture
def with_device(home: Path) -> Path:
    """A home with a device id as the client writes it."""
    (home / "device_id").write_text(f"{DEVICE}\n")
    return home


@pytest.mark.parametrize("blank", ["\ufeff{}", "{}\r\n", "\u3000{}\t"])
def test_device_is_sent_as_it_is(home: Path, blank: str) -> None:
    """Without what JavaScript takes for blank at its ends, also where no header can carry it."""
    (home / "device_id").write_text(blank.format("a\tmüller\0"), encoding="utf-8")
    assert _headers("openai", OWN_PLATFORM, home)["X-Msh-Device-Id"] == "a\tmüller\0"


def test_openai_headers_are_those_of_the_client_in_its_order(with_device: Path) -> None:
    """Recorded from 0.38.0 and 2.1.0 alike, the version aside."""
    assert list(_headers("openai", OWN_PLATFORM, with_device).items()) == [
        ("connection", "keep-alive"),
        ("Accept", "application/json"),
        ("X-Stainless-Retry-Count", "0"),
        ("X-Stainless-Lang", "js"),
        ("X-Stainless-Package-Version", "6.34.0"),
        ("X-Stainless-OS", "Linux"),
        ("X-Stainless-Arch", "x64"),
        ("X-Stainless-Runtime", "node"),
        ("X-Stainless-Runtime-Version", "v24.21.0"),
        ("authorization", f"Bearer {MASK}"),
        ("User-Agent", "kimi-code-cli/2.1.0"),
        ("X-Msh-Platform", "kimi_code_cli"),
        ("X-Msh-Version", "2.1.0"),
        ("X-Msh-Device-Name", "vm"),
        ("X-Msh-Device-Model", "Linux 6.18.44 x64"),
        ("X-Msh-Os-Version", "6.18.44"),
        ("X-Msh-Device-Id", DEVICE),
        ("content-type", "application/json"),
        ("accept-language", "*"),
        ("sec-fetch-mode", "cors"),
        ("accept-encoding", "gzip, deflate"),
    ]


def test_anthropic_headers_are_those_of_the_client_in_its_order(with_device: Path) -> None:
    """Recorded from 2.1.0 with an own provider of type kimi."""
    assert list(_headers("anthropic", OWN_PLATFORM, with_device).items()) == [
        ("connection", "keep-alive"),
        ("Accept", "application/json"),
        ("X-Stainless-Retry-Count", "0"),
        ("X-Stainless-Timeout", "600"),
        ("X-Stainless-Lang", "js"),
        ("X-Stainless-Package-Version", "0.95.2"),
        ("X-Stainless-OS", "Linux"),
        ("X-Stainless-Arch", "x64"),
        ("X-Stainless-Runtime", "node"),
        ("X-Stainless-Runtime-Version", "v24.21.0"),
        ("anthropic-version", "2023-06-01"),
        ("x-api-key", MASK),
        ("user-agent", "kimi-code-cli/2.1.0"),
        ("x-msh-platform", "kimi_code_cli"),
        ("x-msh-version", "2.1.0"),
        ("x-msh-device-name", "vm"),
        ("x-msh-device-model", "Linux 6.18.44 x64"),
        ("x-msh-os-version", "6.18.44"),
        ("x-msh-device-id", DEVICE),
        ("content-type", "application/json"),
        ("anthropic-beta", "context-management-2025-06-27"),
        ("accept-language", "*"),
        ("sec-fetch-mode", "cors"),
        ("accept-encoding", "gzip, deflate"),
    ]


@pytest.mark.parametrize(
    ("version", "first"),
    [("0.25.0", "user-agent"), ("0.41.0", "user-agent"), ("0.42.0", "x-api-key")],
)
def test_the_credential_moved_to_the_front(version: str, first: str, home: Path) -> None:
    """Up to 0.41.0 the identity came before the credential, from 0.42.0 on after it."""
    names = list(_headers("anthropic", OWN_PLATFORM, home, version=version))
    assert min("user-agent", "x-api-key", key=names.index) == first


def test_without_platform_nothing_but_the_user_agent_tells_who_asks(with_device: Path) -> None:
    """An own provider of type anthropic sends no X-Msh header."""
    headers = _headers("anthropic", None, with_device)
    assert headers["user-agent"] == "kimi-code-cli/2.1.0"
    assert not [name for name in headers if name.lower().startswith("x-msh")]


def test_an_old_client_names_the_library_on_the_anthropic_surface(home: Path) -> None:
    """Before 0.20.2 the User-Agent was the library's own."""
    headers = _headers("anthropic", None, home, version="0.20.0")
    assert headers["User-Agent"] == "Anthropic/JS 0.95.2"
    assert "user-agent" not in headers


def test_another_platform_changes_that_one_value(with_device: Path) -> None:
    """The header route alters X-Msh-Platform and nothing else."""
    own = _headers("openai", OWN_PLATFORM, with_device)
    altered = _headers("openai", "kimi_cli", with_device)
    assert altered == {**own, "X-Msh-Platform": "kimi_cli"}
    assert list(altered) == list(own)


@pytest.mark.parametrize(
    "content",
    [None, b"", b" \n", b"x" * 100_000],
    ids=["absent", "empty", "blank", "endless"],
)
def test_no_device_id_no_header(content: bytes | None, home: Path) -> None:
    """Where there is none, none is made up or written."""
    if content is not None:
        (home / "device_id").write_bytes(content)
    assert "X-Msh-Device-Id" not in _headers("openai", OWN_PLATFORM, home)
    assert (home / "device_id").exists() == (content is not None)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Büro-PC", "Bro-PC"),
        ("笔记本", "unknown"),
        (" pc ", "pc"),
        ("a\r\nb", "ab"),
        ("", "unknown"),
    ],
)
def test_a_device_name_is_cut_to_ascii(name: str, sent: str, home: Path) -> None:
    """As the client does: what is not printable ASCII goes, nothing left is `unknown`."""
    computer = Computer(name, "Linux", "6.1", "linux", "x64")
    assert _headers("openai", OWN_PLATFORM, home, computer=computer)["X-Msh-Device-Name"] == sent


@pytest.mark.parametrize(
    ("kind", "release", "platform", "architecture", "macos", "expected"),
    [
        ("Darwin", "24.3.0", "darwin", "arm64", "15.3.1", "macOS 15.3.1 arm64, MacOS, arm64"),
        ("Darwin", "24.3.0", "darwin", "x64", None, "macOS 24.3.0 x64, MacOS, x64"),
        ("Windows_NT", "10.0.1", "win32", "x64", None, "Windows 10.0.1 x64, Windows, x64"),
        ("Linux", "6.1", "linux", "riscv64", None, "Linux 6.1 riscv64, Linux, other:riscv64"),
        ("FreeBSD", "14.1", "freebsd", "ia32", None, "FreeBSD 14.1 ia32, FreeBSD, other:ia32"),
        ("SunOS", "5.11", "sunos", "", None, "SunOS 5.11, Other:sunos, unknown"),
    ],
)
def test_every_system_is_named_as_node_names_it(
    kind: str,
    release: str,
    platform: str,
    architecture: str,
    macos: str | None,
    expected: str,
    home: Path,
) -> None:
    """Device model, and system and architecture of the library, on each system."""
    computer = Computer("m", kind, release, platform, architecture, macos)
    headers = _headers("openai", OWN_PLATFORM, home, computer=computer)
    named = ("X-Msh-Device-Model", "X-Stainless-OS", "X-Stainless-Arch")
    assert ", ".join(headers[name] for name in named) == expected
    assert headers["X-Msh-Os-Version"] == release


def test_headers_of_the_user_win_over_those_of_the_client(home: Path) -> None:
    """The provider's stand above the client's, those of the environment below (run: 2.1.0)."""
    headers = request_headers(
        "openai",
        OWN_PLATFORM,
        version="2.1.0",
        home=home,
        computer=LINUX,
        lowest={"X-Msh-Platform": "from-the-environment", "X-Team": "7"},
        custom={"X-Gateway": "1", "Authorization": "Bearer other"},
    )
    names = list(headers)
    assert "authorization" not in names
    assert names[9:12] == ["X-Msh-Platform", "X-Team", "User-Agent"]
    assert names[-6:-4] == ["X-Gateway", "Authorization"]
    assert headers["X-Msh-Platform"] == OWN_PLATFORM


@pytest.mark.parametrize(
    ("surface", "platform_at"), [("openai", ("x-msh-platform", "kimi_cli")), ("anthropic", None)]
)
def test_of_two_spellings_the_later_one_goes_out(
    surface: Surface, platform_at: tuple[str, str] | None, home: Path
) -> None:
    """At its own place on the one surface, in the place of the first on the other (run: 2.1.0)."""
    headers = list(
        _headers(surface, OWN_PLATFORM, home, custom={"x-msh-platform": "kimi_cli"}).items()
    )
    spelled = [pair for pair in headers if pair[0].lower() == "x-msh-platform"]
    assert spelled == [("x-msh-platform", "kimi_cli")]
    agent = next(i for i, (name, _) in enumerate(headers) if name.lower() == "user-agent")
    assert (headers[agent + 1] == spelled[0]) == (platform_at is None)


def test_this_computer_gives_headers_that_can_be_sent(home: Path) -> None:
    """Every value is printable ASCII on the computer of whoever runs this."""
    headers = _headers("openai", OWN_PLATFORM, home, computer=this_computer())
    assert all(value and value.isascii() and value.isprintable() for value in headers.values())


def test_all_floors_mean_the_same_identity() -> None:
    """The platform that the client sends is the one that nothing else counts as altered."""
    assert routes.OWN_PLATFORM == OWN_PLATFORM
    assert not Probe("openai", OWN_PLATFORM).alters_identity
