"""Help in Chinese: click's own, in other words and wrapped by what fills two columns."""

import re
from collections.abc import Iterable
from typing import Any

import click

from kimifix.language import translated
from kimifix.terminal import columns, padded, wrapped


class ChineseHelp(click.HelpFormatter):
    """Takes from click the English of a whole paragraph, and writes the Chinese."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._columns = self.width
        self.width = 10_000  # nothing of the English is to be cut

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:  # noqa: ARG002
        """Write how to call a command."""
        self.write(translated(f"Usage: {prog} {args}".rstrip()) + "\n")

    def write_heading(self, heading: str) -> None:
        """Write what comes next."""
        self.write(translated(f"{heading}:") + "\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs, with an empty line between them."""
        paragraphs = re.split(r"\n\s*\n", text)
        self.write("\n".join(self._lines(" ".join(part.split()), "") for part in paragraphs))

    def write_dl(
        self,
        rows: Iterable[tuple[str, str]],
        col_max: int = 30,  # noqa: ARG002
        col_spacing: int = 2,
    ) -> None:
        """Write terms, each with what it means."""
        rows = list(rows)
        first = max(columns(term) for term, _ in rows) + col_spacing
        for term, meaning in rows:
            self.write(self._lines(meaning, padded(term, first)))

    def _lines(self, text: str, term: str) -> str:
        indent = " " * self.current_indent
        lines = wrapped(translated(text), self._columns - len(indent) - columns(term))
        hanging = "\n" + indent + " " * columns(term)
        return f"{indent}{term}{hanging.join(lines)}".rstrip() + "\n"
