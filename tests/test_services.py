"""`apply --services`: web search and fetch say the same as the header route, until `revert`."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from support.command import Kimifix
from support.configs import LOGGED_IN, install_client, sign_in, write_config
from support.platforms import alike

SEARCH, FETCH = "[services.moonshot_search", "[services.moonshot_fetch"
WITHOUT = LOGGED_IN.partition(SEARCH)[0]
INLINE = '{ base_url = "https://api.kimi.com/coding/v1/search" }'
# Each with the services that it has.
SHAPES = {
    "login": (LOGGED_IN, 2),
    "crlf": (LOGGED_IN.replace("\n", "\r\n"), 2),
    "fetch": (WITHOUT + FETCH + LOGGED_IN.partition(FETCH)[2], 1),
    "headers": (f'{LOGGED_IN}\n{SEARCH}.custom_headers]\nX-Mine = "1" # mine\n', 2),
    "platform": (f"{LOGGED_IN}\n{SEARCH}.custom_headers]\nX-Msh-Platform = 'other' # mine\n", 2),
    "same": (f'{LOGGED_IN}\n{FETCH}.custom_headers]\nX-Msh-Platform = "kimi_cli"\n', 2),
    "inline": (f"{WITHOUT}[services]\nmoonshot_search = {INLINE} # mine\n", 1),
    "inline-headers": (f"{LOGGED_IN}\n{SEARCH}.custom_headers]", 2),
    "dotted": (f'services.moonshot_search.base_url = "x"\n{WITHOUT}', 1),
    "no-end": (LOGGED_IN.rstrip("\n"), 2),
    "others": (f'{WITHOUT}[services.other]\nbase_url = "https://other.example"\n', 0),
    "none": (WITHOUT, 0),
}
SHAPED = pytest.mark.parametrize(("text", "count"), SHAPES.values(), ids=SHAPES)


@pytest.fixture
def config(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client that has search and fetch."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    sign_in(home)
    return write_config(home)


def data_of(config: Path) -> dict[str, Any]:
    """Parse the config."""
    return tomllib.loads(config.read_text())


def platforms(config: Path) -> list[str]:
    """Return what each service says that the client is, where it is told to."""
    services = data_of(config).get("services", {}).values()
    headers = (service.get("custom_headers", {}) for service in services)
    return [said for one in headers if (said := one.get("X-Msh-Platform"))]


def finding(kimifix: Kimifix, check: str) -> dict[str, Any]:
    """Return what a check of `doctor` finds."""
    return next(f for f in kimifix("doctor", "--json").json["findings"] if f["check"] == check)


@alike
@SHAPED
def test_the_services_that_there_are_get_the_header(
    kimifix: Kimifix, config: Path, text: str, count: int
) -> None:
    """Nothing else of them changes, and `revert` gives back the same bytes."""
    config.write_bytes(text.encode())
    before = data_of(config).get("services", {})
    result = kimifix("apply", "--yes", "--services")
    assert result.code == 0, result.err
    assert platforms(config) == ["kimi_cli"] * count
    assert ("--services changes nothing" in result.err) == (count == 0)
    after = data_of(config).get("services", {})
    for name, service in after.items():
        headers = {"X-Msh-Platform": "kimi_cli"} if name.startswith("moonshot") else {}
        headers = before[name].get("custom_headers", {}) | headers
        assert service == before[name] | ({"custom_headers": headers} if headers else {})
    assert kimifix("revert", "--yes").code == 0
    assert config.read_bytes() == text.encode()


@alike
@SHAPED
def test_foreign_edits_stay_where_the_header_goes(
    kimifix: Kimifix, config: Path, text: str, count: int
) -> None:
    """After an edit at the end, all else has its old bytes; after a rewrite, its old data."""
    config.write_bytes(text.encode())
    end = "\r\n" if "\r\n" in text else "\n"
    own = f"{end}[hooks]{end}after = 1{end}"
    before = data_of(config)
    kimifix("apply", "--yes", "--services")
    config.write_bytes(config.read_bytes() + own.encode())
    assert kimifix("revert", "--yes").code == 0
    assert config.read_bytes().replace(own.encode(), b"") in (text.encode(), f"{text}\n".encode())

    config.write_bytes(text.encode())
    kimifix("apply", "--yes", "--services")
    config.write_text(tomlkit.dumps(dict(sorted(data_of(config).items()))))
    assert kimifix("revert", "--yes").code == 0
    assert data_of(config) == before


def test_without_a_receipt_the_header_goes_too(kimifix: Kimifix, config: Path) -> None:
    """What names our platform in the services is ours by its look, and kept by `apply`."""
    before = data_of(config)
    kimifix("apply", "--yes", "--services")
    shutil.rmtree(kimifix.state)
    assert "already applied" in kimifix("apply").out
    assert kimifix("revert", "--yes").code == 0
    assert data_of(config) == before


def test_it_is_as_it_was_until_an_option_changes_it(kimifix: Kimifix, config: Path) -> None:
    """Never by default; plain `apply` and another platform keep it; --no-services ends it."""
    before = config.read_bytes()
    for options, said in (
        ((), []),
        (("--services",), ["kimi_cli"] * 2),
        ((), ["kimi_cli"] * 2),
        (("--platform", "kimi_code_vscode"), ["kimi_code_vscode"] * 2),
        (("--no-services",), []),
        ((), []),
        (("--services",), ["kimi_code_vscode"] * 2),
        (("--route", "anthropic"), []),
        ((), []),
        (("--route", "header", "--services"), ["kimi_cli"] * 2),
    ):
        assert kimifix("apply", "--yes", *options).code == 0
        assert platforms(config) == said, options
    kimifix("revert", "--yes")
    assert config.read_bytes() == before


@pytest.mark.parametrize("applied", [False, True])
def test_the_anthropic_route_takes_none(kimifix: Kimifix, config: Path, applied: bool) -> None:
    """It alters no name, so --services is refused, whether or not the route is named."""
    route = ["--route", "anthropic"]
    if applied:
        kimifix("apply", "--yes", *route)
    before = config.read_bytes()
    wanted = ["--services", "--credential", "key"]  # for which nobody is asked any more
    result = kimifix("apply", "--yes", *wanted, *([] if applied else route))
    assert (result.code, config.read_bytes()) == (1, before)
    assert "header route alone" in result.err


def test_a_header_of_somebody_else_stays(kimifix: Kimifix, config: Path) -> None:
    """What has been changed since is left, and said to be."""
    kimifix("apply", "--yes", "--services")
    config.write_text(config.read_text().replace('"kimi_cli"', '"mine"', 1))
    result = kimifix("revert", "--yes")
    assert "somebody else has changed it since: services.moonshot_search" in result.out
    assert platforms(config) == ["mine"]


def test_doctor_lists_what_each_service_says(kimifix: Kimifix, config: Path) -> None:
    """It is no fault: search may be let in under its own name, and the fix may have to go."""
    kimifix("apply", "--yes")
    found = finding(kimifix, "services")
    own = {"moonshot_search": "kimi_code_cli", "moonshot_fetch": "kimi_code_cli"}
    assert (found["status"], found["data"]["services"]) == ("ok", own)
    assert "moonshot_search is sent as kimi_code_cli" in found["message"]
    kimifix("apply", "--yes", "--services")
    found = finding(kimifix, "services")
    assert (found["status"], found["data"]["services"]) == ("ok", dict.fromkeys(own, "kimi_cli"))


def test_doctor_sees_that_a_login_has_dropped_it(kimifix: Kimifix, config: Path) -> None:
    """A login writes the services anew (source and run of 2.1.0); plain `apply` mends that."""
    kimifix("apply", "--yes", "--services")
    assert finding(kimifix, "patch")["status"] == "ok"
    data = data_of(config)
    for service in data["services"].values():
        del service["custom_headers"]
    config.write_text(tomlkit.dumps(data))
    found = finding(kimifix, "patch")
    assert found["status"] == "warning"
    assert "moonshot_search, moonshot_fetch lost the header" in found["message"]
    assert "kimifix apply" in found["hint"]
    assert kimifix("apply", "--yes").code == 0
    assert platforms(config) == ["kimi_cli"] * 2
    assert finding(kimifix, "patch")["status"] == "ok"
