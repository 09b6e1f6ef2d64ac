"""How calls and memory of a managed transfer grow with its files: `pytest -s tests/test_globus_growth.py` prints it."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from globus_lab import Lab

from deployments.sandbox.globus import GlobusEmulator
from tasks.clients.globus.options import GlobusOptions

pytestmark = pytest.mark.slow
SMALL, LARGE = 1_000, 10_000


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The emulator as a process of its own: what is measured is the client's."""
    with GlobusEmulator(tmp_path_factory.mktemp("globus"), as_process=True) as running:
        running.freeze()
        yield running


def measure(lab, count):
    """Move so many files; API calls, tasks, peak of memory and seconds of it."""
    items, kept = lab.items(count), []

    def deliver(results):
        for result in results:
            result.staged.unlink()
            kept.append(result.failure)

    lab.deliver = deliver
    tracemalloc.start()
    begin = time.monotonic()
    lab.move(items)
    seconds, (_, peak) = time.monotonic() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept == [None] * count
    return {"calls": len(lab.emulator.requests()), "tasks": len(lab.tasks()), "peak": peak, "seconds": seconds}


@pytest.fixture
def measured(service, tmp_path, monkeypatch):
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    found = {}
    for count in (SMALL, LARGE):
        place = tmp_path / str(count)
        place.mkdir()
        found[count] = measure(Lab(service, place), count)
    return found


def test_calls_and_memory_grow_no_faster_than_the_files(measured):
    for count, one in measured.items():
        words = f"{one['calls']} API calls, {one['peak'] / 1e6:.1f} MB at most, {one['seconds']:.1f} s"
        print(f"\n{count:,} files: {one['tasks']} tasks, {words}")
    small, large = measured[SMALL], measured[LARGE]
    assert large["tasks"] == -(-LARGE // GlobusOptions().batch_files)
    assert large["calls"] <= small["calls"] + 20
    assert all(one["peak"] < 2_000 * count for count, one in measured.items())
