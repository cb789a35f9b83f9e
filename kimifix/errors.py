"""The errors that kimifix expects and explains.

Each carries what went wrong and what to do about it. Whatever else is raised is
a bug in kimifix and ends in exit code 3.
"""

from pathlib import Path


class KimifixError(Exception):
    """Refused or failed for a reason that the user can act on (exit code 1).

    ``message`` is one sentence without a full stop; ``hint`` says what to do next,
    or is None where there is nothing to do. ``next`` is what to type for that.
    """

    def __init__(self, message: str, hint: str | None = None, *next_: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.next = next_


class ConfigError(KimifixError):
    """The config cannot be read or understood; it was not touched.

    ``line`` and ``column`` count from 1 and are None where the fault has no place.
    ``client_can`` is whether kimi-code may read it all the same.
    """

    def __init__(
        self,
        path: Path,
        reason: str,
        hint: str | None = None,
        *,
        line: int | None = None,
        column: int | None = None,
        client_can: bool = False,
    ) -> None:
        place = "" if line is None else f", line {line}"
        place += "" if column is None else f", column {column}"
        super().__init__(f"{reason}: `{path}`{place}", hint)
        self.path = path
        self.reason = reason
        self.line, self.column = line, column
        self.client_can = client_can


class UnsupportedShapeError(KimifixError):
    """A valid config whose shape cannot be edited with proof; it was not touched."""

    def __init__(self, shape: str) -> None:
        super().__init__(
            f"this shape of the config cannot be edited safely: {shape}",
            "write it as an ordinary [table], then run kimifix again",
        )


class ChangedMeanwhileError(KimifixError):
    """Somebody else wrote the config between our read and our write; nothing was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the config keeps changing while kimifix writes: `{path}`",
            "quit every running kimi-code, then run kimifix again",
        )
