"""Measure how long kimifix takes, as ratios of whole processes in one run.

    python benchmarks/bench.py [--rounds N] [--models 1,10,…] [--kimi PATH] [--editors DIR]
                               [--write]

Each command is set against what it cannot avoid: a Python process that imports the same
modules from outside kimifix and does nothing. `apply` is also set against other ways to
edit the same file: a script with tomlkit that reads and writes it, one that makes the same
edit, and with `--editors` toml-cli (PyPI) and toml-patch (npm), which are installed in DIR
if they are not there. `--kimi PATH` adds the client's own `kimi --version` and
`kimi doctor`. The commands take turns, and every figure is the median of all rounds.

Prints the result as Markdown. `--write` writes it to `benchmarks/README.md` and draws
`benchmarks/scaling.svg`. Linux and macOS.
"""

# ruff: noqa: RUF001 (signs of the tables)

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO, cast

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.configs import LOGGED_IN, install_client, sign_in, write_config  # noqa: E402

KIMIFIX = Path(sysconfig.get_path("scripts")) / "kimifix"
MODELS = (1, 10, 100, 1000, 2000, 5000)
NPM_EDITOR = "@decimalturn/toml-patch"

MODEL = """\
[models."kimi-code/model-{0}"]
provider = "managed:kimi-code"
model = "model-{0}"
max_context_size = 262144
capabilities = [ "thinking", "image_in", "video_in", "tool_use" ]
display_name = "Model {0}"

"""

# Starts and measures programs from a process that is smaller than any of them: the system
# counts what the starting process holds as part of the peak.
LAUNCHER = """
import json, os, sys, time
nowhere = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in range(3)]
for line in sys.stdin:
    command, env = json.loads(line)
    start = time.perf_counter()
    process = os.posix_spawn(command[0], command, env, file_actions=nowhere)
    _, status, usage = os.wait4(process, 0)
    print(json.dumps([time.perf_counter() - start, usage.ru_maxrss, status]), flush=True)
"""

# Notes the modules that a program has loaded when it ends.
TRACER = """
import atexit, sys
known = set(sys.modules)
def note(path=sys.argv.pop(1)):
    with open(path, "w") as file:
        file.write(" ".join(name for name in sys.modules if name not in known))
atexit.register(note)
from kimifix.cli import run
run()
"""

# What a user might script instead; each takes the path of the config.
ROUND_TRIP = """
import sys, tomlkit
path = sys.argv[1]
with open(path, newline="") as file:
    document = tomlkit.parse(file.read())
document["default_model"] = "kimifix/kimi-for-coding"
with open(path, "w", newline="") as file:
    file.write(tomlkit.dumps(document))
"""
SAME_EDIT = """
import sys, tomlkit
path = sys.argv[1]
with open(path, newline="") as file:
    document = tomlkit.parse(file.read())
managed = document["providers"]["managed:kimi-code"]
own = {"type": "kimi", "base_url": managed["base_url"], "oauth": managed["oauth"].unwrap()}
own["custom_headers"] = {"X-Msh-Platform": "kimi_cli"}
document["providers"]["kimifix"] = own
for name, model in list(document["models"].unwrap().items()):
    model["provider"] = "kimifix"
    document["models"]["kimifix/" + name.partition("/")[2]] = model
document["default_model"] = "kimifix/kimi-for-coding"
with open(path, "w", newline="") as file:
    file.write(tomlkit.dumps(document))
"""
NODE_EDIT = """
import { readFileSync, writeFileSync } from "node:fs";
import { parse, patch } from "@decimalturn/toml-patch";
const path = process.argv[2];
const text = readFileSync(path, "utf8");
const data = parse(text);
const managed = data.providers["managed:kimi-code"];
data.providers.kimifix = { type: "kimi", base_url: managed.base_url, oauth: { ...managed.oauth },
  custom_headers: { "X-Msh-Platform": "kimi_cli" } };
for (const [name, model] of Object.entries(data.models))
  data.models["kimifix/" + name.split("/")[1]] = { ...model, provider: "kimifix" };
data.default_model = "kimifix/kimi-for-coding";
writeFileSync(path, patch(text, data));
"""

# Beyond this a tool is not asked to edit the next larger file.
LONGEST_SECONDS = 5.0


@dataclass
class Case:
    """One program to measure: how to start it, what to do before, and what came out."""

    name: str
    command: Sequence[str | Path]
    prepare: Callable[[], None] = lambda: None
    env: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    @property
    def time(self) -> float:
        """The median time in seconds."""
        return median(self.seconds)

    @property
    def peak(self) -> float:
        """The median of the largest resident memory in MiB."""
        return median(self.peaks)


class Machine:
    """A user's home in a temporary folder, with kimi-code, a login, and a config."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "user" / ".kimi-code"
        self.home.mkdir(mode=0o700, parents=True)
        sign_in(self.home)
        self.config = self.home / "config.toml"
        self.state = folder / "state"
        self._saved = folder / "saved"
        programs = install_client(folder / "npm")
        self.env = {
            "HOME": str(self.home.parent),
            "PATH": f"{programs}:/usr/bin:/bin",
            "XDG_STATE_HOME": str(self.state),
        }

    def fill(self, models: int) -> None:
        """Write a config with so many models, and remember how it looks once patched."""
        self._text = LOGGED_IN + "".join(map(MODEL.format, range(1, models)))
        self.fresh()
        subprocess.run([KIMIFIX, "apply", "--yes"], env=self.env, check=True, capture_output=True)
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.state, self._saved)
        self._patched = self.config.read_bytes()
        self.fresh()

    def fresh(self) -> None:
        """Give back the config without a patch and without a memory of one."""
        shutil.rmtree(self.state, ignore_errors=True)
        write_config(self.home, self._text)

    def patched(self) -> None:
        """Give back the config as `apply` left it."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self._saved, self.state)
        self.config.write_bytes(self._patched)


class Stopwatch:
    """Runs programs one at a time and notes what they took; a context manager."""

    def __enter__(self) -> Stopwatch:
        self._launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self._questions = cast(IO[str], self._launcher.stdin)
        self._answers = cast(IO[str], self._launcher.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        self._launcher.communicate()

    def run(self, case: Case) -> None:
        """Carry out one round of ``case``; ends the benchmark if the program fails."""
        case.prepare()
        program, *arguments = (os.fspath(word) for word in case.command)
        program = shutil.which(program) or program
        self._questions.write(json.dumps([[program, *arguments], case.env]) + "\n")
        self._questions.flush()
        seconds, peak, status = json.loads(self._answers.readline())
        if status != 0:
            raise SystemExit(f"{case.name} failed: {case.command}")
        case.seconds.append(seconds)
        case.peaks.append(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))

    def take_turns(self, cases: Sequence[Case], rounds: int) -> None:
        """Carry out all rounds, each beginning with another case; one more to warm up."""
        for number in range(rounds + 1):
            shift = number % len(cases)
            for case in (*cases[shift:], *cases[:shift]):
                self.run(case)
        for case in cases:
            del case.seconds[0], case.peaks[0]


def python(code: str, *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs ``code`` with this Python."""
    return [sys.executable, "-c", code, *arguments]


def floor_of(arguments: list[str], machine: Machine, prepare: Callable[[], None]) -> str:
    """Return a program that imports what `kimifix` with ``arguments`` does, ours aside."""
    prepare()
    names = machine.home.parent / "modules.txt"
    subprocess.run(
        python(TRACER, names, *arguments), env=machine.env, check=True, capture_output=True
    )
    loaded = names.read_text().split()
    names.unlink()
    foreign = [
        m for m in loaded if m.partition(".")[0] != "kimifix" and m not in sys.builtin_module_names
    ]
    # Pseudo-modules such as `typing.io` cannot be imported by themselves.
    return "import " + ", ".join(m for m in foreign if m not in ("typing.io", "typing.re"))


def measure_commands(
    watch: Stopwatch, machine: Machine, rounds: int, kimi: Path | None
) -> dict[str, Case]:
    """Measure each command on the config of a fresh login, and its floor."""
    machine.fill(1)
    commands: dict[str, tuple[list[str], Callable[[], None]]] = {
        "--version": (["--version"], machine.fresh),
        "--help": (["--help"], machine.fresh),
        "doctor": (["doctor"], machine.fresh),
        "apply": (["apply", "--yes"], machine.fresh),
        "revert": (["revert", "--yes"], machine.patched),
    }
    cases = [
        Case("python", python("pass"), env=machine.env),
        Case("import click", python("import click"), env=machine.env),
    ]
    for name, (arguments, prepare) in commands.items():
        floor = floor_of(arguments, machine, prepare)
        cases.append(Case(name, [KIMIFIX, *arguments], prepare, machine.env))
        cases.append(Case(f"floor of {name}", python(floor), env=machine.env))
    if kimi is not None:
        # A proxy that refuses everything keeps the client off the network.
        nowhere = "http://127.0.0.1:9"
        env = machine.env | {
            "PATH": f"{kimi.parent}:{os.environ['PATH']}",
            "KIMI_CODE_NO_AUTO_UPDATE": "1",
            "KIMI_DISABLE_TELEMETRY": "1",
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
        }
        cases.append(Case("kimi --version", [kimi, "--version"], machine.fresh, env))
        cases.append(Case("kimi doctor", [kimi, "doctor"], machine.fresh, env))
    watch.take_turns(cases, rounds)
    return {case.name: case for case in cases}


def measure_scaling(
    watch: Stopwatch, machine: Machine, sizes: Sequence[int], rounds: int, editors: Path | None
) -> dict[int, dict[str, Case]]:
    """Measure the commands and the other editors on configs of all sizes."""
    others: dict[str, list[str | Path]] = {
        "tomlkit, round trip": python(ROUND_TRIP, machine.config),
        "tomlkit, same edit": python(SAME_EDIT, machine.config),
    }
    if editors is not None:
        others["toml-cli, one value"] = [
            editors / "venv" / "bin" / "toml",
            *("set", "default_model", "kimifix/kimi-for-coding", "--toml-path"),
            machine.config,
        ]
        others["toml-patch, same edit"] = ["node", editors / "edit.mjs", machine.config]
    env = machine.env | {"PATH": os.environ["PATH"]}
    results: dict[int, dict[str, Case]] = {}
    for size in sizes:
        machine.fill(size)
        cases = [
            Case("apply", [KIMIFIX, "apply", "--yes"], machine.fresh, machine.env),
            Case("revert", [KIMIFIX, "revert", "--yes"], machine.patched, machine.env),
            Case("doctor", [KIMIFIX, "doctor"], machine.patched, machine.env),
            *(Case(name, command, machine.fresh, env) for name, command in others.items()),
        ]
        watch.take_turns(cases, rounds if size <= 100 else max(3, rounds // 4))
        results[size] = {case.name: case for case in cases}
        others = {n: c for n, c in others.items() if results[size][n].time < LONGEST_SECONDS}
    return results


def install_editors(folder: Path) -> None:
    """Install the other editors in ``folder`` unless they are there."""
    if not (folder / "venv" / "bin" / "toml").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = folder / "venv" / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", "toml-cli"], check=True)
    if not (folder / "node_modules").exists():
        npm = shutil.which("npm") or "npm"
        options = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
        subprocess.run([npm, "install", *options, folder, NPM_EDITOR], check=True)
    (folder / "edit.mjs").write_text(NODE_EDIT)


def targets(commands: dict[str, Case], scaling: dict[int, dict[str, Case]]) -> list[str]:
    """Return a line for each ratio that kimifix wants to keep below a limit."""
    wanted = [
        ("`--version` / `import click`", "--version", "import click", 1.25),
        ("`doctor` / `import click`", "doctor", "import click", 1.7),
        ("`doctor` / its imports", "doctor", "floor of doctor", 1.35),
        ("`apply` / its imports", "apply", "floor of apply", 1.5),
        ("`revert` / its imports", "revert", "floor of revert", 1.5),
        ("`doctor` / `kimi doctor`", "doctor", "kimi doctor", 0.15),
    ]
    figures = [
        (text, commands[a].time / commands[b].time, limit)
        for text, a, b, limit in wanted
        if b in commands
    ]
    if (two := scaling.get(2000)) is not None:
        ratio = two["apply"].time / two["tomlkit, round trip"].time
        figures.append(("`apply` / tomlkit round trip, 2,000 models", ratio, 0.8))
    if (five := scaling.get(5000)) is not None:
        ratio = five["apply"].peak / five["tomlkit, round trip"].peak
        figures.append(("the same in peak memory, 5,000 models", ratio, 1.0))
    return [
        f"| {text} | {ratio:.2f} | {limit} | {'kept' if ratio <= limit else '**missed**'} |"
        for text, ratio, limit in figures
    ]


def command_table(commands: dict[str, Case]) -> list[str]:
    """Return the table of the commands on a small config."""
    click = commands["import click"].time
    lines = ["| | time | ÷ `import click` | ÷ its own imports | peak memory |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name, case in commands.items():
        if name.startswith("floor of ") or name == "python":
            continue
        ours = name in ("--version", "--help", "doctor", "apply", "revert")
        floor = commands.get(f"floor of {name}")
        lines.append(
            f"| `{'kimifix ' if ours else ''}{name}` | {seconds(case.time)} "
            f"| {case.time / click:.2f} | {f'{case.time / floor.time:.2f}' if floor else ''} "
            f"| {case.peak:.0f} MiB |"
        )
    return lines


def scaling_table(scaling: dict[int, dict[str, Case]]) -> list[str]:
    """Return the table of the editors by the number of models."""
    names = list(next(iter(scaling.values())))
    head = [f"`{name}`" if name in ("apply", "revert", "doctor") else name for name in names]
    lines = ["| models | " + " | ".join(head) + " |", "|--:" * (len(names) + 1) + "|"]
    for size, cases in scaling.items():
        cells = [
            f"{seconds(cases[n].time)}, {cases[n].peak:.0f} MiB" if n in cases else "–"
            for n in names
        ]
        lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
    return lines


def seconds(value: float) -> str:
    """Return a time with two significant digits or so."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def machine_shape() -> str:
    """Return processor, system and versions in one line."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (match := re.search(r"model name\s*: (.+)", cpuinfo.read_text())):
        model = match[1]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("click", "tomlkit"))
    return (
        f"{os.cpu_count()} × {model}, {platform.system()}, Python {platform.python_version()}, "
        f"{libraries}"
    )


INTRO = (
    "Whole processes, medians of {rounds} rounds that take turns, {date}, {shape}. "
    "The config is that of a fresh login; `apply` includes backup, receipt and both proofs."
)
SCALING = (
    "*Round trip*: a script that parses, changes one value and dumps; *same edit*: "
    "one that adds the provider and all twins. `revert` and `doctor` read the patched config, "
    f"which has twice as many models. A tool that took more than {LONGEST_SECONDS:.0f} s is "
    "not asked to edit the next larger file."
)


def whole(commands: dict[str, Case], scaling: dict[int, dict[str, Case]], rounds: int) -> str:
    """Return all that was measured, for `benchmarks/README.md`."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    lines = ["# How long it takes", ""]
    lines += [INTRO.format(rounds=rounds, date=date, shape=machine_shape()), ""]
    lines += [*command_table(commands), "", "![time by number of models](scaling.svg)"]
    lines += ["", "Measure it yourself: `python benchmarks/bench.py --help`."]
    lines += ["", "## More models in the config", "", SCALING, ""]
    lines += [*scaling_table(scaling), "", "## What is asked for", ""]
    lines += ["| ratio | measured | at most | |", "|---|--:|--:|---|", *targets(commands, scaling)]
    return "\n".join([*lines, ""])


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 840, 440, 70, 190, 46, 56
LINE_COLOURS = ("#0b6bcb", "#1a8754", "#8250df", "#b35900", "#c62f3a", "#6b7280", "#0e7490")


def plot(scaling: dict[int, dict[str, Case]]) -> str:
    """Return an SVG with one line for each tool, both axes logarithmic."""
    sizes = list(scaling)
    names = list(next(iter(scaling.values())))
    times = [case.time for cases in scaling.values() for case in cases.values()]
    low, high = (
        math.floor(math.log10(min(times)) * 2) / 2,
        math.ceil(math.log10(max(times)) * 2) / 2,
    )
    span = math.log10(sizes[-1] / sizes[0]) or 1

    def x(size: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(size / sizes[0]) / span

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - low) / (high - low)

    def text(at: tuple[float, float], content: str, anchor: str, style: str = "") -> str:
        return (
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}"{style}>'
            f"{escape(content, quote=False)}</text>"
        )

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="13" '
        'fill="#24292f">',
        "<title>Time of a whole process by the number of models in the config</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="9" fill="#ffffff"/>',
        text((LEFT, 26), "Time of a whole process by models in the config", "start", BOLD),
        text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14), "models", "middle"),
    ]
    for tick in (base * 10.0**power for power in range(-3, 3) for base in (1, 3)):
        if low <= math.log10(tick) <= high:
            drawn.append(
                f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#d8dee4" fill="none"/>'
            )
            label = f"{tick:g} s" if tick >= 1 else f"{tick * 1000:g} ms"
            drawn.append(text((LEFT - 8, y(tick) + 4), label, "end"))
    drawn += [text((x(size), HEIGHT - BOTTOM + 20), f"{size:,}", "middle") for size in sizes]
    ends: list[tuple[float, str, str]] = []
    for name, colour in zip(names, LINE_COLOURS, strict=False):
        points = [(x(s), y(cases[name].time)) for s, cases in scaling.items() if name in cases]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        thick = 3 if name in ("apply", "revert", "doctor") else 1.6
        drawn.append(f'<path d="M{path}" stroke="{colour}" stroke-width="{thick}" fill="none"/>')
        drawn += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        shown = f"kimifix {name}" if thick == 3 else name
        ends.append((points[-1][1], shown, colour))
    bottom = 0.0
    for height, name, colour in sorted(ends):  # labels keep their distance
        bottom = max(height, bottom + 17)
        drawn.append(
            text((WIDTH - RIGHT + 10, bottom + 4), name, "start", f' style="fill:{colour}"')
        )
    return "\n".join([*drawn, "</svg>", ""])


BOLD = ' font-weight="600" font-size="15"'


def arguments() -> argparse.Namespace:
    """Return the options of this run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--models", default=",".join(map(str, MODELS)))
    parser.add_argument("--kimi", type=Path, help="the `kimi` of an installed kimi-code")
    parser.add_argument("--editors", type=Path, metavar="DIR")
    parser.add_argument("--write", action="store_true", help="bring README and plot up to date")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all medians there, too")
    return parser.parse_args()


def main() -> None:
    """Measure, and print the result as Markdown."""
    options = arguments()
    sizes = [int(size) for size in options.models.split(",")]
    if options.editors is not None:
        install_editors(options.editors)
        options.editors = options.editors.resolve()
    with tempfile.TemporaryDirectory(prefix="kimifix-bench-") as folder, Stopwatch() as watch:
        machine = Machine(Path(folder).resolve())
        commands = measure_commands(watch, machine, options.rounds, options.kimi)
        scaling = measure_scaling(watch, machine, sizes, options.rounds, options.editors)
    result = whole(commands, scaling, options.rounds)
    sys.stdout.write(result)
    if options.json is not None:
        groups: dict[str, dict[str, Case]] = {"commands": commands}
        groups |= {str(size): cases for size, cases in scaling.items()}
        medians = {
            group: {name: [case.time, case.peak] for name, case in cases.items()}
            for group, cases in groups.items()
        }
        options.json.write_text(json.dumps(medians, indent=2) + "\n")
    if options.write:
        (ROOT / "benchmarks" / "scaling.svg").write_text(plot(scaling), encoding="utf-8")
        (ROOT / "benchmarks" / "README.md").write_text(result, encoding="utf-8")


if __name__ == "__main__":
    main()
