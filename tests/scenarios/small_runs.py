"""Runs that the tests of the command line look at, and the command itself in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpp.cli import main

# SIGINT is taken back from a shell that has put its jobs beyond Ctrl-C.
COMMAND = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from vpp.cli import main; main()"
FREE = """\
# The rural street without limits: for power flows that have no solution.
extends: lv-rural-street
control:
  guards: [{use: soc}]
"""


def vpp(*words: object) -> int:
    """Run a command in this process; its exit code."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, int)
    return end.value.code


def start(*words: object, **options: object) -> subprocess.Popen[str]:
    """Run a command in a process of its own, without colours."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def free(folder: Path) -> Path:
    """A scenario that may ask anything of its network."""
    path = folder / "free.yaml"
    path.write_text(FREE)
    return path
