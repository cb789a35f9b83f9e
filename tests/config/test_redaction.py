"""No secret of a config is shown, wherever and however it is written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.command import Kimifix
from support.configs import write_config
from support.platforms import alike
from support.rounds import rounds

from kimifix.config.redaction import diff, masked
from kimifix.secret import MASK, register

# No word of it looks like a secret: only its place can give it away.
PLAIN = "correct horse battery staple"
KEY = "sk-kimi-planted-0123456789abcdef"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def escaped(text: str) -> str:
    """Spell every character of a text as an escape."""
    return "".join(f"\\u{ord(character):04x}" for character in text)


def spellings(secret: str) -> list[str]:
    """Return a string value in every spelling of TOML."""
    return [
        f'"{secret}"',
        f"'{secret}'",
        f'"""{secret}"""',
        f"'''\n{secret}'''",
        f'"""\\\n   {secret}\\\n  """',
        f'"{escaped(secret)}"',
        f'"{escaped(secret[:3])}{secret[3:]}"',
        f'"""{secret[:6]}\\\n    {secret[6:]}"""',
    ]


PLACES = [
    "[providers.x]\napi_key = {}",
    "[providers.x]\n'api-key' = {}",
    "[providers.x]\napiKey = {}",
    "providers.x.API_KEY = {}",
    'providers.x."\\u0061pi_key" = {}',
    "providers = {{ x = {{ api_key = {} }} }}",
    "providers = {{ x.api_key = {}, y = {{}} }}",
    "[providers.x.env]\nANYTHING = {}",
    "[providers.x]\nenv = {{ ANYTHING = {} }}",
    "[providers.x]\nenv.deep.ANYTHING = {}",
    "[providers.x.custom_headers]\nX-Mine = {}",
    "[providers.x]\ncustom_headers = {{ Authorization = {} }}",
    "[services.y]\nheaders = {{ Authorization = {} }}",
    "[mcp.servers.x]\nclient_secret = {}",
    "[x]\npassword = {}",
    "[x]\npasswd = {}",
    "[x]\naccess_token = {}",
    "[x]\ncookie = {}",
    "[x]\ncredentials = [{}]",
    "[x]\ncredentials = [ # c\n  {},\n]",
    "[x]\nkeys = [{{ name = 'a', api_key = {} }}]",
    "[x]\nkeys = [[{{ api_key = {} }}], {{}}]",
    "[[x]]\n[[x]]\ntoken = {}",
    "[x.secrets]\nanything = {}",
    "[providers.x.extra_headers]\nX-Mine = {}",
    "[services.y]\ndefault_headers.deep.X-Mine = {}",
    "[services.y]\nheaders = {}",
    "[services.y]\nextraHeaders = [{}]",
    "[services.y.query]\nanything = {}",
    "[services.y]\nquery_params.anything = {}",
    "[providers.x]\nextra_body = {{ deep = {{ anything = {} }} }}",
    "[models.x.extra_body.metadata]\nanything = {}",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_told_by_its_place(place: str) -> None:
    """However it is spelled; the text stays valid TOML."""
    for spelling in spellings(PLAIN):
        text = place.format(spelling) + "\n[tail]\na = 1\n"
        assert PLAIN in str(tomllib.loads(text))
        shown = masked(text)
        assert "horse" not in str(tomllib.loads(shown))
        assert "horse" not in shown
        assert escaped("horse") not in shown
        assert shown.endswith("\n[tail]\na = 1\n")


@pytest.mark.parametrize("secret", [KEY, JWT])
@pytest.mark.parametrize("place", ["note = {}", "x = {{ a = [1, {{ b = {} }}] }}", "[[x]]\na = {}"])
def test_a_secret_is_told_by_its_look(place: str, secret: str) -> None:
    """An API key or a token in a place that holds none is one all the same."""
    for spelling in spellings(secret):
        text = place.format(spelling)
        assert secret in str(tomllib.loads(text))
        shown = masked(text)
        assert secret not in str(tomllib.loads(shown))
        assert secret not in shown
        assert escaped(secret[6:]) not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"# old: {KEY}\na = 1 # {PLAIN}\n#\n", "# ***\na = 1 # ***\n#\n"),
        ("# Authorization: Basic dTpw\na = [ # api_key = 'a'\r\n]", "# ***\na = [ # ***\r\n]"),
        ("a = '# b' # c", "a = '# b' # ***"),
        (f"[x.'{KEY}']\n\"{KEY}\" = 1", "[x.'***']\n\"***\" = 1"),
        (f'[x."{escaped(KEY)}"]\n', '[x."***"]\n'),
        (f'x = {{ "{escaped(KEY)}".y = 1 }}', 'x = { "***".y = 1 }'),
        ('url = "https://user:pass@host/x"', 'url = "https://***@host/x"'),
        ('url = "https://the-token@host:1/x?"', 'url = "https://***@host:1/x?"'),
        ('url = "https://u:p@ss@host/x?key=a b#c"', 'url = "https://***@host/x?*** b#c"'),
        ("url = 'wss://host/?the-token'", "url = 'wss://host/?***'"),
        ("url = 'https://host/x#access_token=a&b'", "url = 'https://host/x#***'"),
        ("url = 'https://host/docs#anchor'", "url = 'https://host/docs#anchor'"),
        ('urls = ["https://u:p@h", "http://h"]', 'urls = ["https://***@h", "http://h"]'),
        ("proxy = 'http://the-token@host:3128'", "proxy = 'http://***@host:3128'"),
        ("proxy = 'the-token@host:3128'", f'proxy = "{MASK}"'),
        ("[x]\nhttps_proxy = 'host:3128'", "[x]\nhttps_proxy = 'host:3128'"),
    ],
)
def test_a_secret_in_a_comment_key_or_url_is_not_shown(text: str, shown: str) -> None:
    """In a comment no place speaks for it; of an address stay scheme, host, port and path."""
    assert masked(text) == shown


def test_a_user_in_a_url_is_hidden_with_the_password_however_escaped() -> None:
    """An escape in the middle of the address hides nothing from us."""
    assert PLAIN[:7] not in masked(f'url = "https://u:{escaped(PLAIN[:7])}@host"')
    assert masked('url = "https\\u003a//u:p@host"') == f'url = "{MASK}"'
    assert masked('proxy = "u:p\\u0040host"') == f'proxy = "{MASK}"'


def test_what_is_registered_is_masked_everywhere() -> None:
    """A value known to be secret is one in every place and spelling."""
    register("registered value")
    assert masked("a = 'registered value' # registered value") == f"a = '{MASK}' # {MASK}"
    assert masked(f'a = "{escaped("registered value")}"') == f'a = "{MASK}"'


def test_numbers_and_tables_in_a_secret_place_are_masked() -> None:
    """A PIN is a secret too."""
    assert masked("password = 1234") == f'password = "{MASK}"'
    assert masked("env = { a = 1, b = [1, 2] }") == f'env = {{ a = "{MASK}", b = "{MASK}" }}'


@pytest.mark.parametrize(
    "text",
    [
        'api_key = ""',
        "api_key = ''",
        'tokens = [ "" ]',
        "env = {}",
        "credentials = {}",
        "[x.oauth]\nstorage = 'file'\nkey = 'oauth/kimi-code'",
        "max_tokens = 5",
        "api_key_env = 'MY_KEY'",
        "[providers.x.custom_headers]\nX-Msh-Platform = 'kimi_cli'\nUser-Agent = 'a'",
        'display_name = "Kimi\\u0020For Coding \\""',
        "a = '''\n[b]\napi_key = c'''",
        "[models.my-token]\nmodel = 'k3'",
        "[providers.antibody]\ntype = 'kimi'",
        "",
        " #\t\n",
    ],
)
def test_what_is_public_stays(text: str) -> None:
    """Empty values, identity headers, names of variables and slots are worth seeing."""
    assert masked(text) == text


def test_a_diff_shows_changed_lines_only_and_masks_them() -> None:
    """What did not change is not shown at all, secret or not."""
    before = f'a = 1\napi_key = "{PLAIN}"\nb = 1\n'
    after = f'a = 1\napi_key = "{PLAIN}"\nb = 2\n[x]\ntoken = "other {PLAIN}"'
    assert diff(before, after, "config.toml") == (
        "--- a/config.toml\n+++ b/config.toml\n@@ -3 +3,3 @@\n"
        f'-b = 1\n+b = 2\n+[x]\n+token = "{MASK}"\n'
    )
    assert diff(before, before, "config.toml") == ""


def test_a_changed_secret_shows_no_difference_of_its_values() -> None:
    """Masked they are the same."""
    assert diff("token = 'abc def'", "token = 'ghi jkl'", "config.toml") == ""


BEFORE = "".join(f"[m{i}]\nx = 1\ny = {i}\n" for i in range(3))


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        (BEFORE + "[n]\nx = 1\n", "@@ -9,0 +10,2 @@\n+[n]\n+x = 1\n"),
        ("[n]\nx = 1\n" + BEFORE, "@@ -0,0 +1,2 @@\n+[n]\n+x = 1\n"),
        (BEFORE[17:], "@@ -1,3 +0,0 @@\n-[m0]\n-x = 1\n-y = 0\n"),
        (
            BEFORE.replace("x = 1\ny = 1\n", "x = 1\n"),
            "@@ -6 +5,0 @@\n-y = 1\n",
        ),
        (
            BEFORE.replace("x = 1\n", "x = 1\nz = 1\n", 2),
            "@@ -2,0 +3 @@\n+z = 1\n@@ -5,0 +7 @@\n+z = 1\n",
        ),
        (
            BEFORE.replace("x = 1\ny = 2\n", "y = 2\nx = 1\n"),
            "@@ -8 +7,0 @@\n-x = 1\n@@ -9,0 +9 @@\n+x = 1\n",
        ),
        (BEFORE[:-1], "@@ -9 +9 @@\n-y = 2\n+y = 2\n"),
    ],
)
def test_a_diff_has_what_changed_and_no_more(after: str, shown: str) -> None:
    """Lines that look alike are told apart by their order."""
    assert diff(BEFORE, after, "c") == "--- a/c\n+++ b/c\n" + shown


def test_a_diff_is_as_short_backwards() -> None:
    """A value that is put back and a block that is taken out show no other line."""
    before = f"default = 1\n\n{BEFORE}\n"
    after = f"default = 2\n\n{BEFORE}\n\n[n]\nx = 1\n\n"
    assert diff(after, before, "c") == (
        "--- a/c\n+++ b/c\n@@ -1 +1 @@\n-default = 2\n+default = 1\n"
        "@@ -13,4 +12,0 @@\n-\n-[n]\n-x = 1\n-\n"
    )


@pytest.mark.parametrize("seed", range(rounds(200)))
def test_a_diff_leads_from_one_text_to_the_other(seed: int) -> None:
    """Its hunks are in order, at the places they say, and change nothing else."""
    random = Random(seed)
    lines = [f"{random.choice('abcdef')} = 1\n" for _ in range(random.randrange(12))]
    before = [f"[t{n}]\n{line}" for n, line in enumerate(lines)]
    after = [line for line in before if random.random() < 0.8] + before[: random.randrange(3)]
    text = "".join(before)
    made, position = [], 0
    old = text.splitlines(keepends=True)
    shown = diff(text, "".join(after), "c").splitlines(keepends=True)[2:]
    for line in shown:
        if line.startswith("@@"):
            start, _, size = line.split()[1].removeprefix("-").partition(",")
            place = int(start) - (size != "0")
            assert place >= position
            made += old[position:place]
            position = place
        elif line.startswith("-"):
            assert old[position] == line[1:]
            position += 1
        else:
            made.append(line[1:])
    assert "".join(made + old[position:]) == "".join(after)


def test_a_change_of_every_table_is_as_many_hunks() -> None:
    """A line more in each of 20,000 tables, all of which look alike, is seen at once."""
    tables = [f"[m{i}]\nx = 1\ny = 2\n\n" for i in range(20_000)]
    after = "".join(tables).replace("y = 2\n", "y = 2\nz = 3\n")
    assert diff("".join(tables), after, "c").count("\n+z = 3\n") == len(tables)


@pytest.mark.parametrize("place", PLACES)
def test_masking_keeps_all_that_is_no_secret(place: str) -> None:
    """The data of the masked text is the data with its secrets replaced."""
    text = "other = 's'\n" + place.format("'the secret'") + "\n[tail]\nfurther = 's'\n"

    def hidden(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: hidden(item) for name, item in value.items()}
        if isinstance(value, list):
            return MASK if value == ["the secret"] else [hidden(item) for item in value]
        return MASK if value == "the secret" else value

    assert tomllib.loads(masked(text)) == hidden(tomllib.loads(text))


# The command, on a config in which every line that changes holds a secret too

WORDS = (
    *("hidden-in-header", "hidden-in-env", "hidden-in-model", "hidden-in-comment", "hid-pass"),
    *("hidden-in-query", "hidden-in-body"),
)

TABLES = f"""\
# old key: sk-{WORDS[3]}
default_model = "kimi-code/k3" # was Authorization: Basic {WORDS[3]}
[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://user:{WORDS[4]}@127.0.0.1:9/coding/v1?key={WORDS[5]}"
oauth = {{ storage = "file", key = "oauth/kimi-code" }}
custom_headers = {{ Authorization = "Basic {WORDS[0]}", X-Other = '{WORDS[0]}' }}
[providers."managed:kimi-code".env]
KIMI_API_KEY = "{WORDS[1]}"
[models."kimi-code/k3"]
provider = "managed:kimi-code"
model = "k3"
access_token = "{WORDS[2]}"
extra_headers = {{ X-Mine = "{WORDS[0]}" }}
query = {{ k = "{WORDS[5]}" }}
extra_body.metadata.user = "{WORDS[6]}"
proxy = "{WORDS[4]}@127.0.0.1:3128"
tries = [{{ client_secret = "{WORDS[2]}" }}, "{escaped("sk-" + WORDS[2])}"]
note = '''
sk-{WORDS[2]}'''
[other]
api_key = "{KEY}"
"""
INLINE = f"""\
default_model = "kimi-code/k3"
thinking = {{ enabled = true, note = "sk-{WORDS[2]}" }}
providers = {{ x = {{ env = {{ A = "{escaped(WORDS[1])}" }}, \
keys = [ {{ api_key = '{WORDS[0]}' }} ] }}, \
"managed:kimi-code" = {{ type = "kimi", oauth = {{ key = "k" }}, api_key = "", \
base_url = "https\\u003a//user:{WORDS[4]}@127.0.0.1/v1" }} }} # sk-{WORDS[3]}
models = {{ "kimi-code/k3" = {{ provider = "managed:kimi-code", model = "k3", \
overrides = {{ secret = "{escaped(WORDS[2])}" }} }} }}
"""


@alike
@pytest.mark.parametrize("text", [TABLES, INLINE], ids=["tables", "inline"])
@pytest.mark.parametrize("route", ["header", "anthropic"])
def test_no_command_shows_a_secret_of_the_config(
    kimifix: Kimifix, home: Path, text: str, route: str
) -> None:
    """Neither in text nor in JSON, whatever line the change touches; nor a key of ours."""
    config = write_config(home, text)
    steps = [
        ("apply", "--dry-run"),
        ("apply", "--yes"),
        ("apply", "--yes"),
        ("revert", "--dry-run"),
        ("doctor",),
        ("revert", "--yes"),
        ("revert", "--yes"),
    ]
    for mode in ((), ("--json",)):
        for verb, *options in steps:
            if verb == "apply":
                options += ["--route", route, "--credential", "key"]
            result = kimifix(verb, *options, *mode, env={"KIMIFIX_API_KEY": KEY})
            assert result.code == 0 or verb == "doctor", result
            shown = result.out + result.err
            assert [word for word in (*WORDS, KEY) if word in shown] == []
            assert [word for word in WORDS if escaped(word) in shown] == []
        assert config.read_text() == text


def test_an_error_shows_no_secret_of_the_config(kimifix: Kimifix, home: Path) -> None:
    """What cannot be read as TOML is not quoted."""
    for broken in (f'api_key = "{WORDS[0]}', f"api_key = {WORDS[0]}", f"api_key = 'a' {KEY}"):
        write_config(home, f"{TABLES}\n[broken]\n{broken}\n")
        for mode in ((), ("--json",)):
            result = kimifix("apply", "--yes", *mode)
            assert result.code == 1
            assert [word for word in (*WORDS, KEY) if word in result.out + result.err] == []


def test_a_key_that_only_we_had_written_is_nowhere_after_revert(
    kimifix: Kimifix, home: Path
) -> None:
    """Neither in the home nor in the state, however often and by whichever route it was applied."""
    config = write_config(home)
    for route in ("header", "anthropic", "header"):
        options = ("--route", route, "--credential", "key", "--key-stdin")
        assert kimifix("apply", "--yes", *options, stdin=KEY + "\n").code == 0
        assert KEY in config.read_text()
        config.write_text(f"# {route}\n{config.read_text()}")
    assert kimifix("revert", "--yes").code == 0
    files = [path for folder in (home, kimifix.state) for path in folder.rglob("*")]
    assert len(files) > 5
    assert [path for path in files if path.is_file() and KEY in path.read_text()] == []
