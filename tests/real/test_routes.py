"""Locked out, an answer by `apply`, locked out again by `revert`: what goes over the wire."""

from __future__ import annotations

import stat

import pytest
from support.kimi_server import KEY, MODELS, Request, model
from support.machine import (
    MANAGED_MODEL,
    OWN_MODEL,
    VERSIONS,
    Machine,
    Turn,
    cells,
    since,
    wait_until,
)

CHAT, MESSAGES = "/coding/v1/chat/completions", "/coding/v1/messages"

CELLS = pytest.mark.parametrize(("version", "credential"), cells())
NEWEST = pytest.mark.parametrize("version", since("0.20.2")[-1:])
OLDEST_AND_NEWEST = pytest.mark.parametrize(("version", "credential"), cells()[:1] + cells()[-1:])
ENDS = pytest.mark.parametrize(("version", "credential"), cells(VERSIONS[0], VERSIONS[-1]))


def assert_locked_out(turn: Turn) -> None:
    """The client asked as itself, once, and the user has no answer."""
    assert turn.code != 0
    assert not turn.answered
    (request,) = turn.chats
    assert request.path == CHAT
    assert request.header("x-msh-platform") == [("X-Msh-Platform", "kimi_code_cli")]


def apply(machine: Machine, route: str, credential: str) -> str:
    """Run `apply` and return the credential that the client shall send from now on."""
    options = ["--route", route, "--credential", credential]
    if credential == "key":
        done = machine.kimifix("apply", "--yes", *options, "--key-stdin", stdin=KEY + "\n")
    else:
        done = machine.kimifix("apply", "--yes", *options)
    assert done.code == 0, done.err
    token = str(machine.login["access_token"])
    for secret in (KEY, token, machine.login["refresh_token"], "sk-of-another-vendor"):
        assert secret not in done.out + done.err
    return KEY if credential == "key" else token


def identity(request: Request) -> list[tuple[str, str]]:
    """Return all that the request says about who the client is, User-Agent aside, sorted."""
    pairs = ((name.lower(), value) for name, value in request.headers)
    return sorted(pair for pair in pairs if pair[0].startswith("x-msh-"))


def settings(request: Request) -> dict[str, object]:
    """Return what is asked of the model, such as thinking and length, apart from the talk."""
    of_the_session = {"messages", "tools", "prompt_cache_key"}
    return {name: value for name, value in request.body.items() if name not in of_the_session}


@CELLS
def test_header_route(machine: Machine, credential: str) -> None:
    """The real client gets an answer as `kimi_cli`, after `revert` none, from the old bytes."""
    before = machine.config.read_bytes()
    mode = stat.S_IMODE(machine.config.stat().st_mode)
    locked_out = machine.ask()
    assert_locked_out(locked_out)

    sent = apply(machine, "header", credential)
    turn = machine.ask()
    assert turn.answered, turn
    assert turn.code == 0
    (request,) = turn.chats
    assert (request.method, request.path) == ("POST", CHAT)
    assert request.header("x-msh-platform") == [("X-Msh-Platform", "kimi_cli")]
    assert request.values("authorization") == [f"Bearer {sent}"]
    assert request.values("x-api-key") == []
    # The platform is all that changes.
    honest = dict(identity(locked_out.chats[0]))
    assert dict(identity(request)) == honest | {"x-msh-platform": "kimi_cli"}
    assert request.header("user-agent") == locked_out.chats[0].header("user-agent")
    assert settings(request) == settings(locked_out.chats[0])

    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before
    # The other vendor's key in it stays as private as ours was.
    expected = 0o600 if credential == "key" else mode
    assert stat.S_IMODE(machine.config.stat().st_mode) == expected
    assert_locked_out(machine.ask())


@CELLS
def test_anthropic_route(machine: Machine, credential: str) -> None:
    """The real client gets an answer from `/v1/messages` and claims to be nobody else."""
    before = machine.config.read_bytes()
    sent = apply(machine, "anthropic", credential)
    turn = machine.ask()
    assert turn.answered, turn
    (request,) = turn.chats
    assert (request.method, request.path) == ("POST", MESSAGES)
    assert request.values("x-api-key") == [sent]
    assert request.values("authorization") == []

    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before
    locked_out = machine.ask()
    assert_locked_out(locked_out)
    is_login = credential == "login"
    assert identity(request) == (identity(locked_out.chats[0]) if is_login else [])
    if is_login:  # thinking included
        assert request.body["thinking"] == {"type": "enabled"}


@pytest.mark.parametrize("version", VERSIONS)
def test_model_refresh_leaves_the_anthropic_route(machine: Machine) -> None:
    """With a key, our models go the same way after the client has read the server's list anew."""
    apply(machine, "anthropic", "key")
    machine.server.behaviour.models = (*MODELS, model("kimi-next", "Kimi Next"))
    with machine.full_screen():
        wait_until(lambda: "kimi-code/kimi-next" in machine.data["models"], "the new model")
    assert machine.data["default_model"] == OWN_MODEL
    turn = machine.ask()
    assert turn.answered, turn
    assert [request.path for request in turn.chats] == [MESSAGES]
    apply(machine, "anthropic", "key")
    assert machine.ask("-m", "kimifix/kimi-next").answered


@NEWEST
def test_a_model_of_the_other_surface(machine: Machine) -> None:
    """A model that the server serves at `/v1/messages` alone goes there on either route."""
    text = machine.config.read_text()
    alias = f'[models."{MANAGED_MODEL}"]\n'
    machine.config.write_text(text.replace(alias, f'{alias}protocol = "anthropic"\n'))
    for route, platform in (("header", "kimi_cli"), ("anthropic", "kimi_code_cli")):
        apply(machine, route, "login")
        turn = machine.ask()
        assert turn.answered, turn
        assert [request.path for request in turn.chats] == [MESSAGES]
        assert turn.chats[0].values("x-msh-platform") == [platform]


@NEWEST
def test_login_refused_on_anthropic_route(machine: Machine) -> None:
    """A server that takes no login at `/v1/messages` leaves the user without answer, not undone."""
    machine.server.behaviour.messages_take_login = False
    before = machine.config.read_bytes()
    apply(machine, "anthropic", "login")
    turn = machine.ask()
    assert not turn.answered
    assert {request.path for request in turn.chats} == {MESSAGES}
    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before


@ENDS
def test_two_turns_with_tool_calls(machine: Machine, credential: str) -> None:
    """A session in which the model calls a tool and the user asks again works on `/v1/messages`."""
    apply(machine, "anthropic", credential)
    command = "echo from-the-tool | tee -a proof.txt"
    machine.server.behaviour.tool_call = ("Bash", {"command": command})
    first = machine.ask()
    second = machine.ask("--continue")
    for turn in (first, second):
        assert turn.answered, turn
        assert [request.path for request in turn.chats] == [MESSAGES] * 2
        assert "from-the-tool" in str(turn.chats[-1].body["messages"][-1])
    assert (machine.project / "proof.txt").read_text() == "from-the-tool\n" * 2
    assert len(second.chats[0].body["messages"]) > len(first.chats[0].body["messages"])


@ENDS
def test_switching_routes(machine: Machine, credential: str) -> None:
    """Each `apply` with another route takes effect, and one `revert` undoes them all."""
    before = machine.config.read_bytes()
    for route, surface in (
        ("header", CHAT),
        ("anthropic", MESSAGES),
        ("header", CHAT),
    ):
        apply(machine, route, credential)
        turn = machine.ask()
        assert turn.answered, turn
        assert [request.path for request in turn.chats] == [surface]
    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before


@OLDEST_AND_NEWEST
def test_headers_of_the_user(machine: Machine, credential: str) -> None:
    """Headers on the managed provider go out on the route, too; a platform among them does not."""
    text = machine.config.read_text()
    header = '[providers."managed:kimi-code".custom_headers]'
    headers = f'{header}\nX-Team = "seven"\nx-msh-platform = "kimi_web"\n'
    machine.config.write_text(f"{text}\n{headers}")
    before = machine.config.read_bytes()
    apply(machine, "header", credential)
    turn = machine.ask()
    assert turn.answered, turn
    (request,) = turn.chats
    assert request.header("x-team") == [("X-Team", "seven")]
    assert request.header("x-msh-platform") == [("X-Msh-Platform", "kimi_cli")]
    assert machine.kimifix("revert", "--yes").code == 0
    assert machine.config.read_bytes() == before


@NEWEST
def test_other_platform(machine: Machine) -> None:
    """`--platform` is what the client sends, to the letter."""
    machine.server.behaviour.chat_identities = frozenset({"Other/1.0+x"})
    assert machine.kimifix("apply", "--yes", "--platform", "Other/1.0+x").code == 0
    turn = machine.ask()
    assert turn.answered, turn
    assert turn.chats[0].header("x-msh-platform") == [("X-Msh-Platform", "Other/1.0+x")]


@OLDEST_AND_NEWEST
def test_resumed_session(machine: Machine, credential: str) -> None:
    """A session from before `apply` keeps its model, unless told in the words that `apply` says."""
    assert_locked_out(machine.ask())
    apply(machine, "header", credential)
    assert_locked_out(machine.ask("--continue"))
    turn = machine.ask("--continue", "-m", "kimifix/kimi-for-coding")
    assert turn.answered, turn
    assert turn.chats[0].header("x-msh-platform") == [("X-Msh-Platform", "kimi_cli")]


@NEWEST
def test_no_default(machine: Machine) -> None:
    """With --no-default the user chooses per run: as before, or by the name that was printed."""
    done = machine.kimifix("apply", "--yes", "--no-default")
    assert "kimi -m kimifix/kimi-for-coding" in done.out
    assert_locked_out(machine.ask())
    turn = machine.ask("-m", "kimifix/kimi-for-coding")
    assert turn.answered
    assert turn.chats[0].header("x-msh-platform") == [("X-Msh-Platform", "kimi_cli")]


@ENDS
@pytest.mark.parametrize(
    ("messages_open", "path"),
    [pytest.param(True, MESSAGES, id="anthropic"), pytest.param(False, CHAT, id="header")],
)
def test_automatic_route(machine: Machine, credential: str, messages_open: bool, path: str) -> None:
    """`--route auto` takes the mildest way that the server accepts, and the client gets in."""
    machine.server.behaviour.messages_open = messages_open
    sent = apply(machine, "auto", credential)
    turn = machine.ask()
    assert turn.answered, turn
    assert [(request.path, request.credential) for request in turn.chats] == [(path, sent)]


@NEWEST
def test_automatic_route_where_nothing_is_wrong(machine: Machine) -> None:
    """Where the server takes the client as it is, `--route auto` writes nothing."""
    machine.server.behaviour.chat_identities |= {"kimi_code_cli"}
    before = machine.config.read_bytes()
    apply(machine, "auto", "login")
    assert machine.config.read_bytes() == before
