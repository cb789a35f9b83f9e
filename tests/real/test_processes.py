"""A process of the real Node that calls itself kimi-code, as the system shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.clients import client

from kimifix.client import processes

_TITLE_OF_NODE = "process.title = 'kimi-code'; console.log('ready'); process.stdin.resume()"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is read on Linux only")
def test_title_that_node_sets_is_found(home: Path) -> None:
    """Node's `process.title` is what /proc shows, and ps shows it as we read it."""
    node = client("2.1.0").node / "node"
    arguments = ["a", "number", "of", "long", "arguments", "x" * 200]
    with subprocess.Popen(
        [node, "-e", _TITLE_OF_NODE, *arguments],
        env={"KIMI_CODE_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert process.pid in processes.running(home).pids
            if Path("/bin/ps").exists():
                found = processes._from_ps(home)
                assert found.checked
                assert process.pid in found.pids
        finally:
            process.kill()
