"""A plan of ten times as many datasets takes no more memory; measured in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "million.py"
#: How much the peak may grow, as the issue wants it.
FLAT = 1.2


def script(*arguments: object) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent)}
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_the_planner_s_memory_is_flat(tmp_path: Path) -> None:
    peaks = []
    for count in (20_000, 200_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        script("build", folder, count)
        _files, _seconds, most = script("plan", folder)
        peaks.append(float(most))
    assert peaks[1] <= FLAT * peaks[0]
