"""Compile the catalogue of sentences; hatchling runs this for every build and editable install."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CatalogueHook(BuildHookInterface[Any]):
    """Writes the `.mo` file beside the `.po` file; `artifacts` in pyproject.toml packs it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Write the compiled catalogue."""
        tool = runpy.run_path(str(Path(self.root, "release", "translations.py")))
        tool["compile_catalogue"]()
