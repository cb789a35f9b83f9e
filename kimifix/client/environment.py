"""What the environment makes of a request: a model of its own, headers, another name.

Source: runs of 0.25.0 to 2.1.0.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kimifix.client import features
from kimifix.client.features import Version
from kimifix.secret import register
from kimifix.words import trimmed

# With KIMI_MODEL_NAME the client puts an alias and a provider of these names before all others.
ALIAS, PROVIDER = "__kimi_env_model__", "__kimi_env__"

# Which values KIMI_MODEL_… may have. With another one the model of KIMI_MODEL_NAME is ignored:
# of the type before 0.33.0, of the last two since then, for before they end the client.
_COUNT = r"\d*[1-9]\d*"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|0(x[\da-f]+|o[0-7]+|b[01]+)"
SAMPLING = ("TEMPERATURE", "TOP_P")
_TAKEN = {
    **dict.fromkeys(("MAX_CONTEXT_SIZE", "MAX_OUTPUT_SIZE"), _COUNT),
    "ADAPTIVE_THINKING": "1|true|yes|on|0|false|no|off",
    "PROVIDER_TYPE": "kimi|anthropic|openai",
    **dict.fromkeys(SAMPLING, _NUMBER),
}


def config(env: Mapping[str, str], version: Version) -> dict[str, Any] | None:
    """Return the `providers` and `models` that KIMI_MODEL_NAME makes, None where it makes none."""
    names = ("NAME", "API_KEY", "BASE_URL")
    name, key, base_url = (trimmed(env.get(f"KIMI_MODEL_{n}")) for n in names)
    kind = env.get("KIMI_MODEL_PROVIDER_TYPE", "kimi")
    if not features.has("keyless-model", version):
        name = name if key else None
        # Run: 0.25.0 takes ` KIMI ` and an empty one, too, 0.38.0 and 2.1.0 do not.
        kind = kind.strip().lower() or "kimi"
    if name is None or ignored_for(env, version):
        return None
    provider = {"type": kind, "base_url": base_url, "api_key": key}
    model = {"provider": PROVIDER, "model": name, "max_context_size": 1}
    return {"providers": {PROVIDER: provider}, "models": {ALIAS: model}}


def ignored_for(env: Mapping[str, str], version: Version) -> str | None:
    """Return the variable for whose value the client ignores KIMI_MODEL_NAME, None for none."""
    is_new = features.has("keyless-model", version)
    left_out = ("PROVIDER_TYPE",) if is_new else SAMPLING
    return unfit(env, (name for name in _TAKEN if name not in left_out))


def unfit(env: Mapping[str, str], names: Iterable[str]) -> str | None:
    """Return the first KIMI_MODEL_… of ``names`` with a value that the client does not take."""
    for name in names:
        text = trimmed(env.get(f"KIMI_MODEL_{name}"))
        if text and not re.fullmatch(_TAKEN[name], text, re.IGNORECASE | re.ASCII):
            return f"KIMI_MODEL_{name}"
    return None


def headers(env: Mapping[str, str]) -> dict[str, str]:
    """Return the headers in KIMI_CODE_CUSTOM_HEADERS: lines of `Name: value`."""
    lines = env.get("KIMI_CODE_CUSTOM_HEADERS", "").strip().split("\n")
    pairs = (line.partition(":") for line in lines)
    found = {n.strip(): value.strip() for n, colon, value in pairs if colon and n.strip()}
    for value in found.values():
        register(value)
    return found


def slug(env: Mapping[str, str], section: Mapping[str, str]) -> str | None:
    """Return the name that the user has given to the client, as it stands in `User-Agent`.

    ``section`` is `[identity]` of the config. None where they name none.
    """
    for field in ("slug", "name"):
        given = trimmed(env.get(f"KIMI_CODE_IDENTITY_{field.upper()}"))
        if name := given or trimmed(section.get(field)):
            return "-".join(re.findall("[a-z0-9]+", name.lower())) or "agent"
    return None
