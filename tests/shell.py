"""The command `prefect-alyx` as a shell runs it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Longest time that a command of the tests may take.
PATIENCE = 280


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


def start(environment, *arguments):
    """Start the command in a shell with this environment."""
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )


def run(environment, *arguments):
    """Run the command to its end."""
    process = start(environment, *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out, err)
