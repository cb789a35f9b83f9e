"""Documents that others wrote to test TOML parsers, as configs: none corrupted, all given back."""

from __future__ import annotations

import json
import subprocess
import tomllib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from support import corpus
from support.clients import toml_parser
from support.rounds import rounds

from kimifix.config import routes
from kimifix.config.document import Document, parse, same
from kimifix.config.patch import patch, unpatch
from kimifix.config.redaction import masked
from kimifix.config.routes import LOGIN, Credential, Plan
from kimifix.errors import ConfigError, UnsupportedShapeError

PATH = Path("config.toml")
BASE_URL = "https://api.kimi.com/coding/v1"
HEADER = Plan("header", LOGIN, "kimi_cli", BASE_URL)
ANTHROPIC = Plan("anthropic", Credential("key", "sk-kimi-x"), "kimi_cli", BASE_URL)

SETTINGS = 'default_model = "kimi-code/k3"\nthinking.enabled = true\n'
PROVIDER = """
[providers."managed:kimi-code"]
type = "kimi"
base_url = "https://api.kimi.com/coding/v1"

[providers."managed:kimi-code".oauth]
storage = "file"
key = "oauth/kimi-code"
"""
MODEL = """
[models."kimi-code/k3"]
provider = "managed:kimi-code"
model = "k3"
capabilities = ["thinking"]
"""
DOTTED = """\
providers."managed:kimi-code".type = "kimi"
providers."managed:kimi-code".oauth.storage = "file"
models."kimi-code/k3".provider = "managed:kimi-code"
models."kimi-code/k3".model = "k3"
"""
INLINE = """\
providers = { "managed:kimi-code" = { type = "kimi", oauth = { key = "oauth/kimi-code" } } }
models = { "kimi-code/k3" = { provider = "managed:kimi-code", model = "k3" } }
"""


def _complete(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


# How a managed provider gets into a document, and whether the settings are all there.
MERGED: dict[str, tuple[Callable[[str], str], bool]] = {
    "not-at-all": (lambda text: text, False),
    "tables-behind": (lambda text: _complete(text) + PROVIDER + MODEL, False),
    "no-final-newline": (lambda text: (_complete(text) + PROVIDER + MODEL).rstrip("\n"), False),
    "crlf-behind": (lambda text: _complete(text) + (PROVIDER + MODEL).replace("\n", "\r\n"), False),
    "default-in-front": (lambda text: SETTINGS + _complete(text) + PROVIDER + MODEL, True),
    "dotted-in-front": (lambda text: SETTINGS + DOTTED + text, True),
    "inline-in-front": (lambda text: SETTINGS + INLINE + text, True),
    "models-empty": (lambda text: "models = {}\n" + _complete(text) + PROVIDER, False),
}


def document(text: str) -> Document:
    """Parse a text that is known to be valid TOML."""
    return parse(text.encode(), PATH)


def given_back(before: Document, plan: Plan, *, complete: bool) -> None:
    """Patch and unpatch a document; the bytes come back, and without memory the data."""
    result = patch(before, routes.change(before, plan))
    after = parse(result.content, PATH)
    assert same(after.data, result.data)
    assert tomllib.loads(masked(after.text)).keys() == after.data.keys()
    back = unpatch(after, result.undo)
    assert back.content == before.content
    assert same(back.data, before.data)
    without = unpatch(after, None)
    assert same(without.data, tomllib.loads(without.text))
    if complete:
        assert same(without.data, before.data)


@pytest.mark.parametrize("way", MERGED)
def test_every_valid_document_is_a_host(way: str) -> None:
    """Each one in which a managed provider finds a place is patched, proved and given back."""
    merge, complete = MERGED[way]
    tried = 0
    refused = []
    for found in corpus.valid():
        text = merge(found.content.decode().removeprefix("\ufeff"))
        try:
            tomllib.loads(text)
        except ValueError:
            continue  # it has keys of these names already
        for mark in ("", "\ufeff"):
            for plan in (HEADER, ANTHROPIC):
                if "managed:kimi-code" not in text and plan is HEADER:
                    continue  # no login to share
                tried += 1
                try:
                    given_back(document(mark + text), plan, complete=complete)
                except (ConfigError, UnsupportedShapeError) as error:
                    refused.append(f"{found.name}: {error.message}")
                except AssertionError as error:
                    raise AssertionError(found.name) from error
    print(f"{way}: {tried} tried, {len(refused)} refused, none corrupted", *refused)
    assert tried > 400
    assert refused == []


def test_every_invalid_document_is_refused_with_its_place() -> None:
    """Whatever is wrong with it, the error is ours and says where."""
    for found in corpus.invalid():
        with pytest.raises(ConfigError) as caught:
            parse(found.content, PATH)
        assert caught.value.line is not None, found.name
    print(f"{len(corpus.invalid())} invalid documents refused")
    assert len(corpus.invalid()) > 400


def test_damaged_documents_are_refused_or_hosts() -> None:
    """A document with bytes cut out, doubled or replaced is refused by our own error or works."""
    random = Random(4)
    tried = valid = 0
    for found in [*corpus.valid(), *corpus.invalid()]:
        for _ in range(rounds(3)):
            content = _damaged(found.content, random)
            tried += 1
            try:
                before = parse(content, PATH)
            except ConfigError:
                continue
            try:
                given_back(before, ANTHROPIC, complete=False)
            except UnsupportedShapeError:
                continue
            except AssertionError as error:
                raise AssertionError(content) from error
            valid += 1
    print(f"{tried} damaged documents tried, {valid} of them still hosts")
    assert valid > tried // 20


# Reads texts in Base64 and prints of each whether it is TOML.
TRIAL = """
import { parse } from "smol-toml";
import { readFileSync } from "node:fs";
const isToml = (text) => {
  try { parse(Buffer.from(text, "base64").toString()); return true } catch { return false }
};
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(isToml)));
"""


def test_what_is_beyond_doubt_is_refused_by_kimi_code_too() -> None:
    """Its parser takes no text of which kimifix says that nobody can read it."""
    random = Random(5)
    texts = []
    for found in [*corpus.valid(), *corpus.invalid()]:
        for _ in range(rounds(6)):
            content = _damaged(found.content, random)
            try:
                parse(content, PATH)
            except ConfigError as error:
                if not error.client_can and error.line is not None:
                    texts.append(content)
    node, folder = toml_parser()
    done = subprocess.run(
        [node, "--input-type=module", "-e", TRIAL],
        cwd=folder,
        input=json.dumps([b64encode(text).decode() for text in texts]).encode(),
        capture_output=True,
        check=True,
    )
    taken = [text for text, is_toml in zip(texts, json.loads(done.stdout), strict=True) if is_toml]
    print(f"{len(texts)} texts, {len(taken)} of them taken by the parser of kimi-code")
    assert taken == []
    assert len(texts) > 500


def _damaged(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    size = random.choice([1, 1, 2, 8])
    kind = random.randrange(5)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at + size :]
    if kind == 2:
        return content[:at] + content[at : at + size] * 2 + content[at + size :]
    if kind == 3:
        return content[:at] + random.randbytes(size) + content[at + size :]
    piece = random.choice([b"\n", b"\r", b'"""', b"'''", b"{", b"[", b"#", b".", b"=", b",", b"\\"])
    return content[:at] + piece + content[at:]
