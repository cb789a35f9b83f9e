"""What a test puts in the place of `kimi`: sends a request as told, by its config.

Takes `-p PROMPT -m ALIAS`, or `acp` and speaks with an editor. What it shall do besides
lies in `behaviour.json` beside it: `before`, `after`, a list of steps; `spellings`, the
headers of its identity; `report`, a file into which it writes what it sees.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

BESIDE = Path(__file__).parent
BEHAVIOUR = json.loads((BESIDE / "behaviour.json").read_text())
HOME = Path(os.environ["KIMI_CODE_HOME"])


def step(name: str) -> None:
    """Do one of the things that clients do at the wrong time."""
    if name == "hang":
        (BESIDE / "hangs").touch()
        time.sleep(600)
    elif name == "ignore-signals":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    elif name == "start-child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (BESIDE / "child").write_text(str(child.pid))
    elif name == "leave-group":
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(command, start_new_session=True)
        (BESIDE / "child").write_text(str(child.pid))
    elif name == "forge":
        root = urlsplit(os.environ["KIMI_CODE_BASE_URL"])
        other = http.client.HTTPConnection(root.hostname or "", root.port)
        for path in ("/coding/v1/chat/completions", "/guess/coding/v1/chat/completions"):
            other.request("POST", path, b"{}", {"X-Msh-Platform": "forged"})
            other.getresponse().read()
        for target in ("http://forged.example/", "forged.example:443"):
            other.request("GET", target, headers={"Proxy-Authorization": "Basic Zm9yZ2Vk"})
            other.getresponse().read()
    elif name == "crash":
        print("kimi version 9.9.9\nerror: failed: \x1b[31mno luck\nSee log: /x", file=sys.stderr)
        sys.exit(7)
    elif name == "quit":
        sys.exit(0)
    elif name == "kill-itself":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "use-proxy":
        proxy = urlsplit(os.environ["HTTPS_PROXY"])
        pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        signed = {"Proxy-Authorization": f"Basic {pair}"}
        connection = http.client.HTTPConnection(proxy.hostname or "", proxy.port)
        connection.set_tunnel("telemetry.example", 443, signed)
        with contextlib.suppress(OSError):
            connection.request("GET", "/")
        plain = http.client.HTTPConnection(proxy.hostname or "", proxy.port)
        plain.request("GET", "http://updates.example/latest", headers=signed)
        plain.getresponse().read()


def report() -> None:
    """Write down what a client can see, secrets included."""
    seen = {
        "argv": sys.argv[1:],
        "env": dict(os.environ),
        "cwd": str(Path.cwd()),
        "files": {
            path.relative_to(HOME).as_posix(): [oct(path.stat().st_mode & 0o777), path.read_text()]
            for path in HOME.rglob("*")
            if path.is_file()
        },
        "folders": {str(HOME): oct(HOME.stat().st_mode & 0o777)}
        | {str(HOME.parent.parent): oct(HOME.parent.parent.stat().st_mode & 0o777)},
    }
    Path(BEHAVIOUR["report"]).write_text(json.dumps(seen))


def ask(alias: str) -> None:
    """Send what the config says for ``alias``."""
    data = tomllib.loads((HOME / "config.toml").read_text())
    model = data["models"][alias]
    provider = data["providers"][model["provider"]]
    url = urlsplit(provider["base_url"])
    headers = {"user-agent": "fake/1", **provider.get("custom_headers", {})}
    anthropic = provider["type"] == "anthropic"
    path = f"{url.path}/v1/messages?beta=true" if anthropic else f"{url.path}/chat/completions"
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    connection.putrequest("POST", path, skip_accept_encoding=True)
    for name, value in [*headers.items(), *BEHAVIOUR.get("spellings", [])]:
        connection.putheader(name, value)
    key = provider.get("api_key") or "nothing"
    connection.putheader(*(("X-Api-Key", key) if anthropic else ("authorization", f"Bearer {key}")))
    body = b"{}" * 50_000
    connection.putheader("content-length", str(len(body)))
    with contextlib.suppress(ConnectionError):  # the recorder does not read the body
        connection.endheaders(body)
        connection.getresponse().read()


for name in BEHAVIOUR.get("before", []):
    step(name)
if "report" in BEHAVIOUR:
    report()
if sys.argv[1] == "acp":
    for line in sys.stdin:
        request = json.loads(line)
        if request["method"] == "session/prompt":
            assert request["params"]["sessionId"] == "session_1"
            ask(tomllib.loads((HOME / "config.toml").read_text())["default_model"])
            break
        answer = {"sessionId": "session_1"} if request["method"] == "session/new" else {}
        print(
            json.dumps({"id": request["id"], "result": answer}, separators=(",", ":")), flush=True
        )
else:
    ask(sys.argv[sys.argv.index("-m") + 1])
for name in BEHAVIOUR.get("after", []):
    step(name)
