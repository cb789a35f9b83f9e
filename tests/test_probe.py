"""`doctor --probe` and `apply --route auto` as processes, against a server on loopback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import catalogue
from support.catalogue import Row
from support.command import Kimifix, Result
from support.configs import LOGGED_IN, install_client, sign_in, slot_at, write_config
from support.platforms import alike
from support.stub_server import Request, Stub, response, stream, tunnel_to

TOKEN = "token-of-the-login"
KEY = "sk-kimi-key-of-the-console"
# Either surface begins its answer like that.
COMPLETION = stream({"type": "message_start", "message": {}, "choices": [{"index": 0}]})
USAGE = {
    "usage": {"used": "40", "limit": "1000", "resetTime": "2026-08-03T05:20:51Z"},
    "limits": [
        {
            "window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"},
            "detail": {"used": "100", "limit": "100", "resetTime": "2026-08-01T05:00:00Z"},
        },
        {"window": {"duration": 1, "timeUnit": "TIME_UNIT_CENTURY"}, "detail": {"limit": "1"}},
    ],
}

# Surface, or what is asked for by GET, platform and credential of a request.
Question = tuple[str, str | None, str | None]
HONEST = ("openai", "kimi_code_cli", TOKEN)
ANTHROPIC = ("anthropic", "kimi_code_cli", TOKEN)
LEGACY = ("openai", "kimi_cli", TOKEN)
WITH_KEY = ("anthropic", None, KEY)
MODELS, USAGES = ("models", None, TOKEN), ("usages", None, TOKEN)


class Server:
    """Answers each question as told; a question that is not named gets ``otherwise``."""

    def __init__(self) -> None:
        self.answers: dict[Question, Row | None] = {}
        self.otherwise: Row | None = None
        self.data: dict[str, Any] | None = None
        self.asked: list[Question] = []
        self.stub = Stub(self._talk)

    def lets_in(self, *questions: Question) -> None:
        """Let in these and refuse the identity of all others."""
        self.answers, self.otherwise = dict.fromkeys(questions), catalogue.IDENTITY

    def _talk(self, connection: socket.socket, request: Request) -> None:
        surface = "anthropic" if "/messages" in request.line else "openai"
        headers = {name.lower(): value for name, value in request.headers}
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        question = (surface, headers.get("x-msh-platform"), headers.get("x-api-key", bearer))
        if request.line.startswith("GET"):
            question = (request.line.split()[1].rpartition("/")[2], *question[1:])
        self.asked.append(question)
        row = self.answers.get(question, self.otherwise)
        if request.line.startswith("GET"):
            body = response(404) if self.data is None else response(200, self.data)
        elif row is None:
            body = response(200, COMPLETION, "content-type: text/event-stream")
        else:
            body = response(row.status, row.body("openai"), "content-type: application/json")
        connection.sendall(body)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that lets everybody in until told otherwise."""
    server = Server()
    with server.stub:
        yield server


@pytest.fixture
def config(server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a signed-in client 2.1.0 whose managed provider is ``server``."""
    monkeypatch.setenv("PATH", f"{install_client(tmp_path / 'npm')}{os.pathsep}/usr/bin:/bin")
    return write_config(home, signed_in(home, server))


@pytest.fixture
def client(version: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put kimi-code of ``version`` in the place of the one that ``config`` has brought."""
    programs = install_client(tmp_path / version, version)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")


def signed_in(home: Path, server: Server, token: str = TOKEN) -> str:
    """Sign in to ``server`` and return the config, as the client names the slot."""
    text = LOGGED_IN.replace("https://api.kimi.com/coding/v1", server.stub.base_url)
    slot = slot_at(server.stub.base_url)
    sign_in(home, token=token, slot=slot)
    return text.replace("oauth/kimi-code", f"oauth/{slot}")


def sign_out(home: Path) -> None:
    """Take the login away."""
    for path in (home / "credentials").iterdir():
        path.unlink()


def add(config: Path, text: str) -> None:
    """Append ``text`` to the config."""
    config.write_text(f"{config.read_text()}\n{text}\n")


def use(config: Path, alias: str) -> None:
    """Make ``alias`` the default model."""
    first, _, rest = config.read_text().partition("\n")
    assert first.startswith("default_model")
    config.write_text(f'default_model = "{alias}"\n{rest}')


def apply(kimifix: Kimifix, *options: str, key: str | None = None, code: int = 0) -> Result:
    """Run `apply` with ``options``, and with a key where there is one."""
    env = {"KIMIFIX_API_KEY": key} if key else None
    options = (*options, "--credential", "key") if key else options
    result = kimifix("apply", "--yes", *options, env=env)
    assert result.code == code, result.err
    return result


def probe_of(result: Result) -> dict[str, Any]:
    """Return the finding of the probe."""
    return next(f for f in result.json["findings"] if f["check"] == "probe")


# -- what goes out decides --------------------------------------------------------------


def just_applied(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Apply the header route, as advised."""
    apply(kimifix, "--route", "header")
    server.lets_in(LEGACY)


def key_where_keys_are_taken(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Take the Anthropic route with a key, on a server that takes no logins there."""
    apply(kimifix, "--route", "anthropic", key=KEY)
    server.lets_in(WITH_KEY, ("anthropic", "kimi_code_cli", KEY))
    server.answers[ANTHROPIC] = catalogue.CREDENTIAL


def header_by_hand(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Set the header by hand on the managed provider."""
    add(config, '[providers."managed:kimi-code".custom_headers]\nX-Msh-Platform = "kimi_cli"')
    server.lets_in(LEGACY)


def header_with_key(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Take the header route with a key, not signed in."""
    apply(kimifix, "--route", "header", key=KEY)
    sign_out(home)
    server.lets_in(("openai", "kimi_cli", KEY))


def default_moved_back(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Apply, and have the default model moved back."""
    just_applied(kimifix, home, server, config)
    use(config, "kimi-code/kimi-for-coding")


def platform_refused(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Apply with a platform that the server does not let in."""
    apply(kimifix, "--platform", "foo")
    server.lets_in(LEGACY)


def key_refused(kimifix: Kimifix, home: Path, server: Server, config: Path) -> None:
    """Apply with a key that the server refuses, where the login would do."""
    apply(kimifix, "--route", "header", key=KEY)
    server.lets_in(LEGACY)
    server.answers[("openai", "kimi_cli", KEY)] = catalogue.CREDENTIAL


@pytest.mark.parametrize(
    ("state", "version", "works", "recommendation", "command"),
    [
        (just_applied, "2.1.0", True, "keep", None),
        (key_where_keys_are_taken, "2.1.0", True, "keep", None),
        (header_by_hand, "2.1.0", True, "not-needed", None),
        (header_with_key, "2.1.0", True, "keep", None),
        (header_with_key, "0.10.0", True, "keep", None),
        (default_moved_back, "2.1.0", False, "apply-again", "kimifix apply"),
        (
            platform_refused,
            "2.1.0",
            False,
            "apply-header",
            "kimifix apply --route header --platform kimi_cli",
        ),
        (
            key_refused,
            "2.1.0",
            False,
            "apply-header",
            "kimifix apply --route header --credential login",
        ),
    ],
)
def test_what_goes_out_decides(
    kimifix: Kimifix,
    server: Server,
    home: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: Any,
    version: str,
    works: bool,
    recommendation: str,
    command: str | None,
) -> None:
    """An answer to what is configured is exit 0, everything else 1, and what to type works."""
    path = f"{install_client(tmp_path / 'used', version)}{os.pathsep}/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    state(kimifix, home, server, config)
    result = kimifix("doctor", "--probe", "--json")
    assert result.code == (0 if works else 1), result.out
    assert result.json["works"] is works
    assert result.json["recommendation"] == recommendation
    assert result.json["next"] == ([command] if command else [])
    assert 1 <= len(server.asked) <= 4
    assert TOKEN not in result.out + result.err
    assert KEY not in result.out + result.err
    if command:
        assert kimifix(*shlex.split(command)[1:], "--yes").code == 0
        assert kimifix("doctor", "--probe").code == 0


@pytest.mark.parametrize(
    ("let_in", "asked", "recommendation"),
    [
        ([HONEST], [HONEST], "not-needed"),
        ([ANTHROPIC], [HONEST, ANTHROPIC, MODELS], "apply-anthropic"),
        ([LEGACY], [HONEST, ANTHROPIC, LEGACY], "apply-header"),
        ([], [HONEST, ANTHROPIC, LEGACY], "none"),
    ],
)
def test_what_else_is_open_is_asked_mildest_first(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    let_in: list[Question],
    asked: list[Question],
    recommendation: str,
) -> None:
    """And no further than the verdict needs."""
    server.lets_in(*let_in)
    result = kimifix("doctor", "--probe", "--json")
    assert server.asked == asked
    assert result.json["recommendation"] == recommendation


def test_what_the_server_lists_by_now_needs_no_fix(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """The client goes there by itself when it has started; nothing is asked twice."""
    server.lets_in(ANTHROPIC)
    server.data = {"data": [{"id": "kimi-for-coding", "protocol": "anthropic"}]}
    result = kimifix("doctor", "--probe", "--json")
    assert server.asked == [HONEST, ANTHROPIC, MODELS]
    assert (result.json["works"], result.json["recommendation"]) == (None, "start")
    assert result.json["next"] == ["kimi", "kimifix doctor --probe"]
    before = config.read_bytes()
    auto = apply(kimifix, "--route", "auto", code=1)
    assert "no fix is needed" in auto.err
    assert config.read_bytes() == before


@alike
@pytest.mark.parametrize("row", [*catalogue.ROWS, *catalogue.NO_ROWS], ids=str)
def test_every_documented_answer_is_understood(
    kimifix: Kimifix, server: Server, config: Path, row: Row
) -> None:
    """Each row of the catalogue gives its verdict and its advice, and `auto` writes nothing."""
    server.otherwise = row
    result = kimifix("doctor", "--probe")
    assert result.code == 1
    words = " ".join(result.out.split())
    assert str(row.status) in words
    assert "next: kimifix apply" not in words
    assert row.verdict == "identity" or row.advice in words
    before = config.read_bytes()
    auto = kimifix("apply", "--route", "auto", "--yes")
    assert auto.code == 1
    assert config.read_bytes() == before


@pytest.mark.parametrize("row", [catalogue.SUSPENDED, catalogue.PLAN], ids=str)
def test_nothing_is_applied_on_an_account_that_is_shut(
    kimifix: Kimifix, server: Server, config: Path, row: Row
) -> None:
    """With a patch in place `auto` fails, too; on suspension it is to be taken out."""
    apply(kimifix)
    server.otherwise = row
    result = kimifix("doctor", "--probe", "--json")
    assert result.code == 1
    suspended = row is catalogue.SUSPENDED
    assert result.json["next"] == (["kimifix revert"] if suspended else [])
    auto = apply(kimifix, "--route", "auto", code=1)
    assert ("kimifix revert" in auto.err) == suspended


def test_a_retired_model_is_followed_by_apply(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """Ours outlives the managed one; another `apply` takes the model that came in its place."""
    apply(kimifix)
    managed, ours = config.read_text().split("[providers.kimifix]")
    renewed = managed.replace("kimi-for-coding", "k9").replace(
        "kimifix/k9", "kimifix/kimi-for-coding"
    )
    config.write_text(f"{renewed}[providers.kimifix]{ours}")
    server.otherwise = next(row for row in catalogue.ROWS if "Not found the model" in row.message)
    assert kimifix("doctor", "--probe", "--json").json["next"] == ["kimifix apply"]
    apply(kimifix)
    assert tomllib.loads(config.read_text())["default_model"] == "kimifix/k9"


@pytest.mark.parametrize("platform", ["kimi_code_cli", "kimi_cli"])
def test_a_patch_that_is_not_needed_any_more(
    kimifix: Kimifix, server: Server, config: Path, platform: str
) -> None:
    """Whether or not it still works, where kimi-code itself is let in the advice is to revert."""
    apply(kimifix)
    server.lets_in(HONEST, ("openai", platform, TOKEN))
    result = kimifix("doctor", "--probe", "--json")
    assert result.json["next"] == ["kimifix revert"]
    assert result.code == (0 if platform == "kimi_cli" else 1)


def test_the_own_name_for_editors_is_kept(kimifix: Kimifix, server: Server, config: Path) -> None:
    """In a terminal the fix changes nothing then, in an editor it is what gives the name."""
    apply(kimifix, "--platform", "kimi_code_cli")
    server.lets_in(HONEST)
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["next"]) == (0, [])
    assert result.json["recommendation"] == "keep"
    assert server.asked == [HONEST]


def test_a_name_for_the_services_needs_the_header_route(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """The milder route has no name to give, so it is not asked for."""
    server.lets_in(LEGACY, ANTHROPIC)
    apply(kimifix, "--route", "auto", "--services")
    assert server.asked == [HONEST, LEGACY, MODELS]
    assert tomllib.loads(config.read_text())["providers"]["kimifix"]["type"] == "kimi"


def test_a_milder_route_that_is_open_is_a_hint(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """The patch works, so nothing has to be done; the way that alters nothing is named."""
    apply(kimifix)
    server.lets_in(LEGACY, ANTHROPIC)
    result = kimifix("doctor", "--probe", "--json")
    assert result.code == 0
    assert result.json["next"] == []
    assert any("kimifix apply --route anthropic" in note for note in result.json["notes"])


def test_a_refusal_in_disguise_alternates(kimifix: Kimifix, server: Server, config: Path) -> None:
    """The same two requests are asked twice in turn before a 429 is called no overload."""
    server.answers = {HONEST: catalogue.OVERLOAD}
    result = kimifix("doctor", "--probe", "--json")
    assert server.asked == [HONEST, ANTHROPIC] * 2
    assert result.json["recommendation"] == "apply-anthropic"


# -- what cannot be asked ----------------------------------------------------------------


def test_expired_login_is_never_refreshed(
    kimifix: Kimifix, server: Server, home: Path, config: Path
) -> None:
    """Nothing is asked, its file stays as it is, and what to do is to send one message."""
    (path,) = (home / "credentials").iterdir()
    path = sign_in(home, token=TOKEN, expires_at=1000, slot=path.stem)
    before = path.read_bytes()
    result = kimifix("doctor", "--probe", "--json")
    assert result.code == 1
    assert "only kimi-code may renew it" in result.json["verdict"]
    assert "send one message" in result.json["advice"]
    assert result.json["next"] != ["kimifix doctor --probe"]
    assert server.asked == []
    assert path.read_bytes() == before
    unasked = kimifix("doctor", "--json")
    assert (unasked.code, unasked.json["works"]) == (0, None)


def test_a_refused_login_is_left_to_kimi_code(
    kimifix: Kimifix, server: Server, home: Path, config: Path
) -> None:
    """The client would renew it and ask again, so what it gets cannot be told: exit code 1."""
    server.otherwise = catalogue.CREDENTIAL
    (path,) = (home / "credentials").iterdir()
    before = path.read_bytes()
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (1, None)
    assert result.json["next"] == ["kimifix doctor --verify"]
    auto = kimifix("apply", "--route", "auto", "--json")
    assert (auto.code, auto.json["next"]) == (1, ["kimifix doctor --verify"])
    assert auto.err.endswith("next: kimifix doctor --verify\n")
    assert server.asked == [HONEST] * 2
    assert path.read_bytes() == before
    path.write_text(json.dumps({**json.loads(before), "refresh_token": ""}))
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (1, False)
    assert result.json["next"] == ["kimi login"]


def unset_default(config: Path) -> None:
    """Take the default model out."""
    config.write_text(config.read_text().partition("\n")[2])


def unset_variable(config: Path) -> None:
    """Let the own provider take its key from a variable that is not set."""
    text = config.read_text()
    config.write_text(text.replace(f'api_key = "{KEY}"', 'api_key_env = "NOT_SET"'))


def both_credentials(config: Path) -> None:
    """Give the own provider a login beside its key."""
    add(config, '[providers.kimifix.oauth]\nstorage = "file"\nkey = "oauth/kimi-code"')


def foreign_default(config: Path) -> None:
    """Make a model of another vendor the default."""
    provider = '[providers.other]\ntype = "openai"\nbase_url = "http://127.0.0.1:9"'
    add(config, f'{provider}\n[models.o]\nprovider = "other"\nmodel = "o"\nmax_context_size = 9')
    use(config, "o")


def typeless_provider(config: Path) -> None:
    """Have the provider of the default model say nothing of its type."""
    foreign_default(config)
    config.write_text(
        config.read_text().replace('type = "openai"\nbase_url = "http://127.0.0.1:9"', "")
    )


def sizeless_default(config: Path) -> None:
    """Take from the default model what kimi-code needs of it."""
    config.write_text(config.read_text().replace("max_context_size = ", "size = "))


def odd_protocol(config: Path) -> None:
    """Lead the default model to an API that kimifix does not know."""
    line = "max_context_size = "
    config.write_text(config.read_text().replace(line, f'protocol = "openai_responses"\n{line}'))


def lost_provider(config: Path) -> None:
    """Rename the own provider away."""
    config.write_text(config.read_text().replace("[providers.kimifix", "[providers.gone"))


@alike
@pytest.mark.parametrize(
    ("change", "fact", "commands"),
    [
        (unset_default, "not set", ["kimifix apply"]),
        (unset_variable, "NOT_SET is not set", []),
        (both_credentials, "more than one credential", []),
        (foreign_default, "another vendor", []),
        (typeless_provider, "the provider `other` has no `type`", []),
        (sizeless_default, "`models.kimifix/kimi-for-coding` lacks `max_context_size`", []),
        (odd_protocol, "the protocol `openai_responses`", []),
        (lost_provider, "leads to the provider `kimifix`, which does not exist", ["kimifix apply"]),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(
    kimifix: Kimifix, server: Server, config: Path, change: Any, fact: str, commands: list[str]
) -> None:
    """No request goes out, the exit code is 1, and the way out is named."""
    apply(kimifix, "--route", "header", key=KEY)
    change(config)
    result = kimifix("doctor", "--probe", "--json")
    assert result.code == 1
    assert fact in result.json["verdict"]
    assert result.json["next"] == commands
    assert server.asked == []
    assert KEY not in result.out + result.err


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("version", "works"), [("2.1.0", False), ("9.0.0", None)])
def test_a_newer_client_may_take_other_values(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    works: bool | None,
) -> None:
    """A value that no known version takes, in any model, keeps kimi-code from all of them."""
    apply(kimifix)
    add(config, '[models.odd]\nprovider = "other"\nmodel = "odd"\nprotocol = "morse"')
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (1, works)
    assert "`models.odd.protocol` has a value" in result.json["verdict"]
    assert server.asked == []


MODEL = 'model = "kimi-for-coding"'
ELSEWHERE = "was made for another server than `kimi-code/kimi-for-coding` asks"
OTHER_LOGIN = 'oauth = { storage = "file", key = "oauth/x", oauth_host = "http://localhost:9" }'
HALF = '[providers.other]\ntype = "openai"\noauth = { storage = "file" }'


@alike
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "line", "works", "fact"),
    [
        ("0.32.0", 'provider_id = "nobody"', True, "no fix is needed"),
        ("2.1.0", 'provider_id = "nobody"', False, "the provider `nobody`, which does not exist"),
        ("0.28.0", 'base_url = "http://localhost:9/v1"', True, "no fix is needed"),
        ("0.32.0", 'base_url = "http://localhost:9/v1"', None, ELSEWHERE),
        ("2.1.0", 'base_url = "http://localhost:9/v1"', None, ELSEWHERE),
        ("0.28.0", 'base_url = ""', True, "no fix is needed"),
        ("0.32.0", 'base_url = " "', False, "an empty `base_url`"),
        ("2.1.0", 'base_url = " "', True, "no fix is needed"),
        ("0.32.0", 'name = ""', True, "no fix is needed"),
        ("2.1.0", 'name = ""', None, "lacks `model`, and on a terminal"),
        ("0.32.0", "overrides = { max_output_size = 0 }", False, "overrides.max_output_size"),
        ("2.1.0", "overrides = { max_output_size = 0 }", None, "overrides.max_output_size"),
        ("0.32.0", OTHER_LOGIN, True, "no fix is needed"),
        ("2.1.0", OTHER_LOGIN, False, "has a login of its own"),
        ("0.32.0", HALF, True, "no fix is needed"),
        ("2.1.0", HALF, False, "`providers.other.oauth` lacks `key`"),
    ],
)
def test_each_version_reads_the_config_in_its_own_way(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    line: str,
    works: bool | None,
    fact: str,
) -> None:
    """What one version passes over decides for another; a login is not sent astray."""
    if line is HALF:
        add(config, line)
    else:
        config.write_text(config.read_text().replace(MODEL, f"{MODEL}\n{line}"))
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (int(not works), works)
    assert fact in result.json["verdict"]
    assert server.asked == [HONEST] * bool(works)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "head", "tail", "works", "fact"),
    [
        ("0.32.0", "\ufeff", "", False, "cannot read a config with a byte order mark"),
        ("0.33.0", "\ufeff", "", True, "no fix is needed"),
        ("2.1.0", "", "x = 9007199254740992\n", False, "`services.x` is a number too large"),
        ("2.1.0", "", "x = 9007199254740991\n", True, "no fix is needed"),
        ("2.1.0", "", "x = {\n}\n", None, "not valid TOML 1.0"),
        ("2.1.0", "", 'x = "\\e"\n', None, "not valid TOML 1.0"),
        ("2.1.0", "", "x = 07:32\n", None, "not valid TOML 1.0"),
        ("2.1.0", "", "x = 2100-02-29\n", None, "not valid TOML 1.0"),
        ("2.1.0", "", "x = yes\n", False, "not valid TOML 1.0"),
        ("2.1.0", "", "x = 1\nx = 2\n", False, "not valid TOML 1.0"),
        ("0.32.0", "", "[providers.x]\ntype = 7\n", None, "`providers.x.type` is not a string"),
        ("2.1.0", "", "[providers.x]\ntype = 7\n", False, "`providers.x.type` is not a string"),
    ],
)
def test_what_kimi_code_reads_and_what_kimifix_reads_are_told_apart(
    kimifix: Kimifix,
    config: Path,
    head: str,
    tail: str,
    works: bool | None,
    fact: str,
) -> None:
    """Of a config that only one of the two can read, nothing is claimed that is not known."""
    text = f"{head}{config.read_text(encoding='utf-8')}\n[services]\n{tail}"
    config.write_text(text, encoding="utf-8")
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (int(not works), works)
    assert fact in result.json["verdict"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "content", "works"),
    [
        ("0.32.0", None, True),
        ("2.1.0", None, True),
        ("0.32.0", "[x\n", False),
        ("2.1.0", "[x\n", True),
        ("2.1.0", "x = 9007199254740992\n", True),
    ],
)
@pytest.mark.parametrize("home_exists", [True, False])
def test_a_model_of_the_environment_needs_no_config(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    works: bool,
    home_exists: bool,
) -> None:
    """From 0.33.0 on not even one that can be read: as in a container, where nothing else is."""
    environment = {"NAME": "kimi-for-coding", "API_KEY": KEY, "BASE_URL": server.stub.base_url}
    for name, value in environment.items():
        monkeypatch.setenv(f"KIMI_MODEL_{name}", value)
    shutil.rmtree(config.parent)
    if home_exists or content:
        config.parent.mkdir()
    if content:
        config.write_text(content)
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (int(not works), works)
    assert bool(server.asked) is works


@pytest.mark.parametrize(("variable", "typed"), [("KIMI_CODE_BASE_URL", 0), ("OTHER", 1)])
def test_no_apply_is_named_that_would_be_refused(
    kimifix: Kimifix, config: Path, variable: str, typed: int
) -> None:
    """As where a variable leads kimi-code to another login than that of the config."""
    assert kimifix("apply", "--yes").code == 0
    text = config.read_text().replace('default_model = "kimifix/kimi-for-coding"\n', "")
    config.write_text(text)
    env = {variable: "http://localhost:9/coding/v1"}
    told = kimifix("doctor", "--probe", "--json", env=env).json
    assert "`default_model` is not set" in told["verdict"]
    assert len(told["next"]) == typed
    for step in told["next"]:
        assert kimifix(*shlex.split(step)[1:], "--yes", env=env).code == 0


def use_own(config: Path, entry: str) -> None:
    """Let the default model be served by a provider of the user's own."""
    add(config, f"[providers.mine]\n{entry}")
    text = config.read_text().replace('provider = "managed:kimi-code"', 'provider = "mine"')
    config.write_text(text.replace('"kimi-code/', '"mine/'))


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "line", "path"),
    [
        ("0.32.0", 'type = "anthropic"\nbase_url = "{root}/v1/"', "/coding/v1/v1/messages"),
        ("2.1.0", 'type = "anthropic"\nbase_url = "{root}/v1/"', "/coding/v1/messages"),
        ("0.32.0", 'type = "anthropic"\nbase_url = "{root}"', "/coding/v1/messages"),
        ("2.1.0", 'type = "kimi"\nbase_url = "{root}/v1//"', "/coding/v1//chat/completions"),
    ],
)
def test_the_address_is_that_of_the_version(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    line: str,
    path: str,
) -> None:
    """Before 0.33.0 a `/v1` at the end stays; of slashes there, all versions take one off."""
    entry = line.format(root=server.stub.base_url.removesuffix("/v1"))
    use_own(config, f'api_key = "{KEY}"\n{entry}')
    kimifix("doctor", "--probe")
    assert server.stub.requests[0].line.split()[1].partition("?")[0] == path


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "kind", "surface", "works"),
    [
        ("0.32.0", "kimi", "openai", True),
        ("0.32.0", "kimi", "anthropic", False),
        ("0.32.0", "anthropic", "anthropic", False),
        ("0.33.0", "kimi", "openai", False),
    ],
)
def test_a_key_of_the_shell_serves_old_versions_on_the_one_surface(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    surface: str,
    works: bool,
) -> None:
    """The library of the other one takes none from the environment."""
    for name in ("KIMI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    use_own(config, f'type = "{kind}"\nbase_url = "{server.stub.base_url}"')
    if surface == "anthropic" != kind:
        config.write_text(config.read_text().replace(MODEL, f'{MODEL}\nprotocol = "anthropic"'))
    assert kimifix("doctor", "--probe", "--json").json["works"] is works


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "flag", "works"),
    [
        ("0.32.0", "KIMI_CODE_EXPERIMENTAL_FLAG", False),
        ("0.38.0", "KIMI_CODE_LEGACY_FLAG", True),
        ("2.1.0", "KIMI_CODE_LEGACY_FLAG", False),
    ],
)
def test_an_environment_variable_chooses_the_engine(
    kimifix: Kimifix,
    config: Path,
    version: str,
    flag: str,
    works: bool,
) -> None:
    """With the other engine the rules of the other versions hold, as long as there are two."""
    config.write_text(config.read_text().replace(MODEL, f'{MODEL}\nprovider_id = "nobody"'))
    result = kimifix("doctor", "--probe", "--json", env={flag: "on"})
    assert result.json["works"] is works
    told = next(f for f in result.json["findings"] if f["check"] == "environment")
    assert (flag in told["message"]) is (version != "2.1.0")


def test_a_login_that_is_gone_comes_first(
    kimifix: Kimifix, home: Path, server: Server, config: Path
) -> None:
    """What is to be typed works as it is, where more than one thing is missing."""
    apply(kimifix)
    sign_out(home)
    use(config, " ")
    assert kimifix("doctor", "--probe", "--json").json["next"] == ["kimi login", "kimifix apply"]
    assert server.asked == []


def test_a_key_that_the_version_cannot_read_is_replaced(
    kimifix: Kimifix, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `apply` to type does not keep a variable that this kimi-code does not know."""
    apply(kimifix, "--key-env", "THE_KEY")
    use(config, " ")
    programs = install_client(tmp_path / "old", "0.25.0")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin:/bin")
    steps = kimifix("doctor", "--probe", "--json").json["next"]
    assert steps == ["kimifix apply --credential key"]


def test_a_default_that_stays_is_gone_round(kimifix: Kimifix, server: Server, config: Path) -> None:
    """A model of the user's own on our provider is no reason to apply without end."""
    apply(kimifix, "--route", "anthropic")
    add(config, f'[models.mine]\nprovider = "kimifix"\n{MODEL}\nmax_context_size = 9')
    use(config, "mine")
    server.lets_in(ANTHROPIC)
    steps = kimifix("doctor", "--probe", "--json").json["next"]
    assert steps[-1] == "kimi -m kimifix/kimi-for-coding"


def default_kept(kimifix: Kimifix, config: Path) -> None:
    """Leave the default model where it is, as `apply` was told to."""
    apply(kimifix, "--no-default", "--route", "header")


def default_of_another(kimifix: Kimifix, config: Path) -> None:
    """Have another provider's model as default, which no `apply` moves."""
    apply(kimifix, "--route", "header")
    table = config.read_text().partition("[providers.kimifix]")[2].partition("[")[0]
    key = f'[providers.mine]\n{table.strip()}\napi_key = "{KEY}"'
    add(config, f'{key}\n[models.m]\nprovider = "mine"\nmodel = "m"\nmax_context_size = 9')
    use(config, "m")


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (default_kept, "kimifix apply --default"),
        (default_of_another, "kimi -m kimifix/kimi-for-coding"),
    ],
)
def test_what_was_applied_is_used_in_the_way_that_is_open(
    kimifix: Kimifix, server: Server, config: Path, change: Any, command: str
) -> None:
    """A plain `apply` would leave the default model there, and lead in a circle."""
    change(kimifix, config)
    server.lets_in(LEGACY)
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["next"]) == (1, [command])


def test_signing_in_again_is_followed_by_apply(
    kimifix: Kimifix, home: Path, server: Server, config: Path
) -> None:
    """A login from scratch takes the default model back, so both are to be typed."""
    apply(kimifix)
    sign_out(home)
    result = kimifix("doctor", "--probe", "--json")
    assert result.code == 1
    assert result.json["next"] == ["kimi login", "kimifix apply"]


def test_commands_are_for_the_home_that_was_named(
    kimifix: Kimifix, home: Path, server: Server, config: Path, tmp_path: Path
) -> None:
    """What `--home` was given for is given in what is to be typed."""
    other = home.rename(tmp_path / "a home")
    server.lets_in(LEGACY)
    (command,) = kimifix("doctor", "--probe", "--json", "--home", other).json["next"]
    assert shlex.split(command)[-2:] == ["--home", str(other)]
    assert kimifix(*shlex.split(command)[1:], "--yes").code == 0
    sign_out(other)
    first, _ = kimifix("doctor", "--json", "--home", other).json["next"]
    if sys.platform == "win32":
        assert first == f"$env:KIMI_CODE_HOME = '{other}'; kimi login"
    else:
        assert shlex.split(first) == [f"KIMI_CODE_HOME={other}", "kimi", "login"]


# -- a credential goes where it belongs ---------------------------------------------------


@pytest.mark.parametrize(
    ("managed_key", "own", "env", "fact"),
    [
        ("oauth/kimi-code", False, {}, "not signed in"),
        (None, True, {}, "kimi-code sends it there all the same, kimifix does not"),
        (None, False, {"KIMI_CODE_BASE_URL": "http://127.0.0.1:9/v1"}, "KIMI_CODE_BASE_URL"),
    ],
    ids=["managed provider led elsewhere", "own provider led elsewhere", "login moved"],
)
def test_a_login_goes_to_no_other_server(
    kimifix: Kimifix,
    server: Server,
    home: Path,
    config: Path,
    managed_key: str | None,
    own: bool,
    env: dict[str, str],
    fact: str,
) -> None:
    """Neither by a slot that the client would not use, nor by one that is taken as it is."""
    sign_in(home)
    if own:
        apply(kimifix)
        text = config.read_text()
        head, mark, tail = text.rpartition("[providers.kimifix]")
        config.write_text(head + mark + tail.replace("127.0.0.1", "localhost", 1))
    elif managed_key:
        text = config.read_text().replace("127.0.0.1", "localhost")
        slot = tomllib.loads(text)["providers"]["managed:kimi-code"]["oauth"]["key"]
        config.write_text(text.replace(slot, managed_key))
    result = kimifix("doctor", "--probe", "--json", env=env)
    assert result.code == 1
    assert fact in result.json["verdict"]
    assert server.asked == []
    if own:
        assert (result.json["works"], result.json["next"]) == (None, ["kimifix apply"])
    if managed_key:  # an own provider would take the slot as it is named, so none is written
        refused = apply(kimifix, code=1)
        assert "is not the one of" in refused.err


def test_a_key_goes_to_its_own_server(
    kimifix: Kimifix, server: Server, home: Path, config: Path
) -> None:
    """The key of a foreign provider of our name is not sent to the managed one's server."""
    add(
        config,
        f'[providers.kimifix]\ntype = "kimi"\nbase_url = "http://127.0.0.1:9"\napi_key = "{KEY}"',
    )
    server.lets_in(LEGACY)
    result = kimifix("doctor", "--probe", "--json")
    assert KEY not in {credential for *_, credential in server.asked}
    assert result.json["next"] == []
    sign_out(home)
    kimifix("doctor", "--probe")
    assert KEY not in {credential for *_, credential in server.asked}


@pytest.mark.parametrize(
    ("base_url", "warning"),
    [
        ("http://api.kimi.com/coding/v1", "go unencrypted to `http://api.kimi.com"),
        ("https://kimi.com.example/coding/v1", "not the vendor's: `https://kimi.com.example"),
        ("https://api.kimi.com/coding/v1", None),
        ("https://api.kimi.ai/coding/v1", None),
        ("https://api.moonshot.ai/v1", None),
    ],
)
def test_an_odd_server_is_warned_of(
    kimifix: Kimifix, config: Path, server: Server, base_url: str, warning: str | None
) -> None:
    """Plain http and hosts that are not the vendor's, by the doctor and before writing."""
    write_config(config.parent, LOGGED_IN.replace("https://api.kimi.com/coding/v1", base_url))
    doctor = kimifix("doctor", "--json")
    applied = kimifix("apply", "--dry-run", "--credential", "key", "--key-stdin", stdin=KEY)
    for said in (doctor.out, applied.err):
        assert (warning is None) or (warning in " ".join(said.split()))
        assert warning is not None or "login or key go" not in said


# -- the environment and the quota --------------------------------------------------------


def test_a_model_of_the_environment_is_what_goes_out(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """With its own server and key, and nothing of the config; no patch could change it."""
    env = {
        "KIMI_MODEL_NAME": "kimi-k3",
        "KIMI_MODEL_BASE_URL": server.stub.base_url,
        "KIMI_MODEL_API_KEY": KEY,
        "KIMI_CODE_CUSTOM_HEADERS": "X-Team: seven\nX-Msh-Platform: kimi_cli",
    }
    assert kimifix("doctor", "--probe", env=env).code == 0
    server.lets_in(LEGACY)
    result = kimifix("doctor", "--probe", "--json", env=env)
    assert (result.code, result.json["next"]) == (1, [])
    assert server.asked == [("openai", "kimi_code_cli", KEY)] * 2
    request = server.stub.requests[0]
    assert request.json["model"] == "kimi-k3"
    assert request.header("X-Team") == "seven"


@alike
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "section", "variable", "agent"),
    [
        ("2.1.0", 'slug = "My Tool!"\nname = "Mine"', " ", "my-tool/2.1.0"),
        ("2.1.0", 'name = "Mine"', None, "mine/2.1.0"),
        ("2.1.0", 'name = "Mine"', "\u00fc", "agent/2.1.0"),
        ("2.1.0", "", "a_b", "a-b/2.1.0"),
        ("2.1.0", "", "", "kimi-code-cli/2.1.0"),
        ("2.1.0", 'slug = "mine"\nname = 7', None, "kimi-code-cli/2.1.0"),
        ("2.1.0", 'slug = 7\nname = "Mine"', "mine", "mine/2.1.0"),
        ("2.1.0", 'slug = "mine"\nother = 7', None, "mine/2.1.0"),
        ("0.32.0", 'slug = "mine"', "mine", "kimi-code-cli/0.32.0"),
    ],
)
def test_a_renamed_client_is_asked_for_by_its_name(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    section: str,
    variable: str | None,
    agent: str,
) -> None:
    """By `User-Agent`, which is all that it says of itself on the Anthropic route with a key."""
    apply(kimifix, "--route", "anthropic", key=KEY)
    add(config, f"[identity]\n{section}")
    server.lets_in(WITH_KEY)
    env = {} if variable is None else {"KIMI_CODE_IDENTITY_SLUG": variable}
    assert kimifix("doctor", "--probe", env=env).code == 0
    assert server.stub.requests[0].header("user-agent") == agent


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "asked", "told"),
    [
        ("0.32.0", [HONEST], "is ignored by this version without KIMI_MODEL_API_KEY"),
        ("0.33.0", [], "replaces the default model"),
    ],
)
def test_a_model_of_the_environment_without_a_key(
    kimifix: Kimifix, server: Server, asked: list[Question], told: str
) -> None:
    """Old versions go on with the config, later ones have no credential."""
    result = kimifix("doctor", "--probe", "--json", env={"KIMI_MODEL_NAME": "k3"})
    assert server.asked == asked
    assert result.code == (0 if asked else 1)
    assert told in result.out
    assert ("unset KIMI_MODEL_NAME" in result.json["advice"]) == (not asked)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("version", "name", "value", "sent"),
    [
        *((v, "MAX_CONTEXT_SIZE", "1e3", TOKEN) for v in ("0.32.0", "2.1.0")),
        *((v, "MAX_OUTPUT_SIZE", "0", TOKEN) for v in ("0.32.0", "2.1.0")),
        *((v, "ADAPTIVE_THINKING", "2", TOKEN) for v in ("0.32.0", "2.1.0")),
        ("2.1.0", "MAX_CONTEXT_SIZE", " 05 ", KEY),
        ("2.1.0", "ADAPTIVE_THINKING", " Yes ", KEY),
        ("2.1.0", "ADAPTIVE_THINKING", " ", KEY),
        ("0.32.0", "PROVIDER_TYPE", "vertexai", TOKEN),
        ("0.32.0", "PROVIDER_TYPE", "", KEY),
        ("2.1.0", "PROVIDER_TYPE", "", None),
        ("2.1.0", "TEMPERATURE", "1_0", TOKEN),
        ("2.1.0", "TOP_P", "Infinity", TOKEN),
        ("2.1.0", "TOP_P", " .5 ", KEY),
        ("2.1.0", "TEMPERATURE", "0x1", KEY),
        ("0.32.0", "TEMPERATURE", "abc", None),
        ("0.32.0", "TOP_P", "1e-1", KEY),
    ],
)
def test_a_model_of_the_environment_is_taken_whole(
    kimifix: Kimifix, server: Server, name: str, value: str, sent: str | None
) -> None:
    """With one value that the client does not take, it goes on without, or not at all."""
    env = {
        "KIMI_MODEL_NAME": "k3",
        "KIMI_MODEL_API_KEY": KEY,
        "KIMI_MODEL_BASE_URL": server.stub.base_url,
        f"KIMI_MODEL_{name}": value,
    }
    result = kimifix("doctor", "--probe", "--json", env=env)
    assert [question[2] for question in server.asked[:1]] == ([sent] if sent else [])
    assert (f"does not take that KIMI_MODEL_{name}" in result.out) == (sent == TOKEN)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("version", ["0.32.0"])
@pytest.mark.parametrize("protocol", ["", 'protocol = "anthropic"\n'])
def test_a_number_that_is_none_ends_one_surface_alone(
    kimifix: Kimifix, server: Server, config: Path, protocol: str
) -> None:
    """The other one does not read it (run: 0.25.0)."""
    model = 'model = "kimi-for-coding"\n'
    config.write_text(config.read_text().replace(model, model + protocol))
    result = kimifix("doctor", "--probe", "--json", env={"KIMI_MODEL_TEMPERATURE": "abc"})
    assert bool(server.asked) is bool(protocol)
    assert ("is no number" in result.json["verdict"]) is not bool(protocol)


@pytest.mark.parametrize("readable", [True, False])
def test_a_quota_names_its_windows(
    kimifix: Kimifix, server: Server, config: Path, readable: bool
) -> None:
    """The client's own usage address is asked once, with the same credential."""
    server.otherwise = catalogue.QUOTA
    server.data = USAGE if readable else None
    result = kimifix("doctor", "--probe", "--json")
    assert server.asked == [HONEST, USAGES]
    assert server.stub.requests[1].line == "GET /coding/v1/usages HTTP/1.1"
    windows = [note for note in result.json["notes"] if "window" in note]
    assert windows == (
        [
            "960 of 1000 left in the window of 7 days, reset at 2026-08-03T05:20:51Z",
            "0 of 100 left in the window of 5 hours, reset at 2026-08-01T05:00:00Z",
        ]
        if readable
        else []
    )


# -- apply --route auto -------------------------------------------------------------------


@pytest.mark.parametrize("patch", [None, "header", "anthropic"])
def test_auto_leaves_alone_what_is_not_needed(
    kimifix: Kimifix, server: Server, config: Path, patch: str | None
) -> None:
    """Where kimi-code itself is let in it writes nothing, and names `revert` for a patch."""
    if patch:
        apply(kimifix, "--route", patch)
    before = config.read_bytes()
    result = apply(kimifix, "--route", "auto")
    assert "not needed" in result.out
    assert ("kimifix revert" in result.out) == (patch is not None)
    assert config.read_bytes() == before


@alike
@pytest.mark.parametrize(
    ("let_in", "applied", "key", "route", "credential"),
    [
        ([ANTHROPIC, LEGACY], None, None, "anthropic", TOKEN),
        ([LEGACY], None, None, "header", TOKEN),
        ([WITH_KEY, LEGACY], "anthropic", KEY, "anthropic", KEY),
        ([LEGACY], "header", None, "header", TOKEN),
        ([LEGACY, ANTHROPIC], "header", None, "anthropic", TOKEN),
        ([LEGACY], "anthropic", None, "header", TOKEN),
    ],
)
def test_auto_takes_the_mildest_route_and_never_a_graver_one(
    kimifix: Kimifix,
    server: Server,
    config: Path,
    let_in: list[Question],
    applied: str | None,
    key: str | None,
    route: str,
    credential: str,
) -> None:
    """A route that gets an answer stays, or gives way to one that alters less."""
    if applied:
        apply(kimifix, "--route", applied, key=key)
    server.lets_in(*let_in, ("anthropic", "kimi_code_cli", KEY))
    server.answers[ANTHROPIC] = None if ANTHROPIC in let_in else catalogue.CREDENTIAL
    result = kimifix("apply", "--route", "auto", "--yes", "--json")
    assert result.code == 0, result.out
    assert result.json["route"] == route
    assert "not known" not in result.err
    own = tomllib.loads(config.read_text())["providers"]["kimifix"]
    assert own.get("api_key") == (KEY if credential == KEY else None)
    assert kimifix("doctor", "--probe").code == 0


def test_auto_says_above_the_change_why_it_chose_it(
    kimifix: Kimifix, server: Server, config: Path
) -> None:
    """In the report itself: what is said while waiting goes when the waiting is over."""
    server.lets_in(LEGACY)
    result = kimifix("apply", "--route", "auto", "--dry-run")
    reason, found, _ = " ".join(result.out.split()).partition("kimi-code 2.1.0: header route")
    assert found
    assert "answers when kimi-code says that it is `kimi_cli`: take the header route" in reason


def test_unreachable_server_is_an_answer(kimifix: Kimifix, server: Server, config: Path) -> None:
    """Where nothing listens kimi-code does not work, and no patch is recommended."""
    env = {
        "KIMI_MODEL_NAME": "m",
        "KIMI_MODEL_API_KEY": KEY,
        "KIMI_MODEL_BASE_URL": "http://127.0.0.1:9",
    }
    result = kimifix("doctor", "--probe", "--json", env=env)
    assert probe_of(result)["data"]["verdict"] == "unreachable"
    assert (result.code, result.json["next"]) == (1, [])


def test_what_kimi_code_alone_can_ask_is_left_to_it(
    kimifix: Kimifix, server: Server, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no verdict then, but the command that leads to one; nothing is applied."""
    moved = response(308, b"", "location: /elsewhere/chat/completions")
    monkeypatch.setattr(server.stub, "reply", moved)
    result = kimifix("doctor", "--probe", "--json")
    assert (result.code, result.json["works"]) == (1, None)
    assert result.json["next"] == ["kimifix doctor --verify"]
    assert "kimifix cannot ask as kimi-code does" in result.json["verdict"]
    refused = kimifix("apply", "--yes", "--route", "auto")
    assert refused.code == 1
    assert "next: kimifix doctor --verify" in refused.err
    assert "kimifix" not in config.read_text()


@pytest.mark.parametrize("blank", ["\ufeff", "\u3000", "\n", "\x85"])
def test_a_key_is_trimmed_as_javascript_does(
    kimifix: Kimifix, server: Server, config: Path, blank: str
) -> None:
    """A byte order mark goes, which Python would leave, and a control character stays."""
    key = json.dumps(f"{blank}{KEY}{blank}")
    provider = f'type = "kimi"\nbase_url = "{server.stub.base_url}"\napi_key = {key}'
    model = 'provider = "own"\nmodel = "m"\nmax_context_size = 1'
    add(config, f"[providers.own]\n{provider}\n[models.own]\n{model}")
    use(config, "own")
    assert kimifix("doctor", "--probe").code == 0
    kept = "\x85" if blank == "\x85" else ""
    assert [question[2] for question in server.asked] == [f"{kept}{KEY}{kept}"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("version", "works"), [("0.10.0", False), ("2.1.0", True)])
def test_a_proxy_serves_the_versions_that_take_one(
    kimifix: Kimifix, server: Server, *, works: bool
) -> None:
    """The others ask directly, so kimifix does."""
    with Stub(tunnel_to(server.stub.port)) as proxy, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        env = {
            "KIMI_MODEL_NAME": "m",
            "KIMI_MODEL_API_KEY": KEY,
            # This machine, by an address that no client takes for loopback.
            "KIMI_MODEL_BASE_URL": f"http://0.0.0.0:{closed.getsockname()[1]}/v1",
            "HTTP_PROXY": f"http://127.0.0.1:{proxy.port}",
        }
        result = kimifix("doctor", "--probe", "--json", env=env)
    assert result.json["works"] is works, result.json["verdict"]


def test_no_socket_without_probe(kimifix: Kimifix, server: Server, config: Path) -> None:
    """Without --probe no command opens a socket, whatever the config says."""
    guard = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('socket opened')\n"
        "socket.socket = socket.create_connection = refuse\n"
        "from kimifix.cli import run\n"
    )
    for arguments in (["doctor"], ["apply", "--yes"], ["revert", "--yes"]):
        result = kimifix.python(f"{guard}sys.argv[1:] = {arguments!r}\nrun()")
        assert result.code == 0, result.err
    assert server.asked == []
