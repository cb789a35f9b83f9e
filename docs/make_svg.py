"""Draw what `kimifix doctor --probe` really prints to somebody who is locked out.

    python docs/make_svg.py [--output FOLDER]

Runs kimifix in a new folder that looks like the home of a user: kimi-code as npm lays it
out, a login, and a config as a fresh login writes it; a server on this machine refuses as
the vendor's does. `doctor.svg` is in English, `doctor.zh-CN.svg` in Chinese. Needs nothing
beside kimifix, its test suite and openssl.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import catalogue, certificate, vendor  # noqa: E402
from support.configs import install_client, sign_in, write_config  # noqa: E402
from support.stub_server import Stub  # noqa: E402

from kimifix.terminal import columns  # noqa: E402

PICTURES = {"en": "doctor.svg", "zh": "doctor.zh-CN.svg"}
TITLE = "kimifix doctor --probe"
COLUMNS = 92
CHARACTER, LINE, FONT_SIZE, MARGIN, TITLE_BAR = 8.4, 19, 14, 18, 34
INK, PAPER, BAR, DIM = "#d8dee9", "#1b1f27", "#2a303b", "#8b95a7"
COLOURS = {31: "#f47067", 32: "#7ec97b", 33: "#e2b34c", 34: "#6cb6ff", 36: "#56c2c2"}
SGR = re.compile(r"\x1b\[([\d;]*)m")

REFUSED: vendor.Answers = {
    vendor.HONEST: catalogue.IDENTITY,
    vendor.ANTHROPIC: catalogue.IDENTITY,
}


def session(folder: Path, language: str) -> str:
    """Return what the command prints, with colours, to the user whose home is ``folder``."""
    home = folder / ".kimi-code"
    home.mkdir(mode=0o700)
    write_config(home, mode=0o600)
    sign_in(home)
    programs = install_client(folder / ".npm-global")
    trusted = certificate.make(shutil.which("openssl") or "openssl", folder, vendor.HOST)
    with Stub(vendor.answering(REFUSED), tls=trusted.context) as server:
        done = subprocess.run(
            vendor.command(server.port, *TITLE.split()[1:]),
            env={
                "HOME": str(folder),
                "PATH": f"{programs}:/usr/bin:/bin",
                "COLUMNS": str(COLUMNS),
                "FORCE_COLOR": "1",
                "KIMIFIX_LANG": language,
                "NODE_EXTRA_CA_CERTS": str(trusted.path),
                "PYTHONUTF8": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what is waited for
            encoding="utf-8",
            check=False,  # the exit code is the verdict on the home
        )
    return done.stdout


def runs(line: str) -> Iterator[tuple[int, str, str]]:
    """Yield the pieces of a line as start column, text, and the style that its escapes give."""
    column = 0
    colour, bold = INK, False
    parts = SGR.split(line)
    for text, codes in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if text.strip():
            yield column, text, f'fill="{colour}"' + (' font-weight="bold"' if bold else "")
        column += columns(text)
        for code in (int(code or 0) for code in codes.split(";")) if codes != "" else ():
            if code == 0:
                colour, bold = INK, False
            elif code == 1:
                bold = True
            else:
                colour = COLOURS.get(code, colour)


def svg(title: str, output: str) -> str:
    """Return a picture of a terminal in which ``output`` was printed."""
    lines = output.rstrip("\n").split("\n")
    width = round(2 * MARGIN + COLUMNS * CHARACTER)
    height = TITLE_BAR + 2 * MARGIN + LINE * len(lines)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title)}" font-size="{FONT_SIZE}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, '
        "'DejaVu Sans Mono', monospace\">",
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="9" fill="{PAPER}"/>',
        f'<path d="M0 {TITLE_BAR}V9a9 9 0 0 1 9-9H{width - 9}a9 9 0 0 1 9 9V{TITLE_BAR}z" '
        f'fill="{BAR}"/>',
        *(
            f'<circle cx="{20 + 20 * n}" cy="{TITLE_BAR // 2}" r="6" fill="{colour}"/>'
            for n, colour in enumerate((COLOURS[31], COLOURS[33], COLOURS[32]))
        ),
        f'<text x="{width // 2}" y="{TITLE_BAR // 2 + 5}" fill="{DIM}" '
        f'text-anchor="middle">{escape(title)}</text>',
    ]
    for number, line in enumerate(lines):
        y = TITLE_BAR + MARGIN + LINE * number + FONT_SIZE
        for column, text, style in runs(line):
            indent = len(text) - len(text.lstrip())
            x = MARGIN + CHARACTER * (column + indent)
            # The length keeps the columns in line whatever the font's own width.
            length = CHARACTER * columns(text.strip())
            drawn.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" xml:space="preserve" '
                f"{style}>{escape(text.strip(), quote=False)}</text>"
            )
    return "\n".join([*drawn, "</svg>", ""])


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    for language, name in PICTURES.items():
        with tempfile.TemporaryDirectory(prefix="kimifix-picture-") as folder:
            output = session(Path(folder).resolve(), language)
        (options.output / name).write_text(svg(TITLE, output), encoding="utf-8")


if __name__ == "__main__":
    main()
