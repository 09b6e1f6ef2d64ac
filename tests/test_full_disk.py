"""A disk that fills up in mid-run: the run stops within a chunk, loses nothing, and goes on when there is room."""

from __future__ import annotations

import sqlite3
import subprocess

import pytest

from tasks.clients.tree import OURS
from tasks.clients.verdicts import Verdict
from tasks.downloading import download
from tasks.ledger import Ledger
from tasks.model import State
from tests.engine import SETTINGS, Job, lab_of, partials_of, unproven_files, wrong_files
from tests.mounts import tmpfs
from tests.slow_link import SlowLink


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few megabytes."""
    with tmpfs(tmp_path / "small", "size=4m") as place:
        yield place


@pytest.mark.parametrize(("files", "size"), [(60, 200_000), (600, 10_000)], ids=["in pieces", "whole"])
def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(tmp_path, small_disk, files, size):
    link = SlowLink()
    with lab_of(tmp_path / "lab", files=files, file_bytes=size, wrap=link) as lab:
        job = Job.of(small_disk / "root")
        before = lab.requests.sent(server="http")
        run = job.opened()
        outcomes = list(download(run, job.transfers))
        assert "The disk is full" in run.stopped  # a file found it so, or the ledger did
        assert str(small_disk) in run.stopped
        assert len(outcomes) < files
        for full in (one for one in outcomes if one.code == "disk-full"):
            assert full.verdict == Verdict.STOP_RUN
            assert str(small_disk) in full.reason
            assert "bytes are free there, and this file alone needs" in full.reason
        assert {one.code for one in outcomes} <= {"", "disk-full", "stopped"}
        assert wrong_files(job, missing_allowed=True) == set()
        _assert_consistent(job)

        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        assert {one.state for one in job.run()} <= {State.PUBLISHED, State.PRESENT}
        assert wrong_files(job) == unproven_files(job) == set()
        assert partials_of(job.root) == []
        under_way = SETTINGS.connections * size  # whole files that came together have no partial where none fits
        assert lab.requests.sent(server="http") - before <= 1.05 * job.bytes + under_way


def _assert_consistent(job):
    """The ledger is whole, and claims nothing that does not stand on disk as it says."""
    with sqlite3.connect(job.root / OURS / "ledger.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    for path, proof in Ledger.read_only(job.root).known().items():
        found = (job.root / path).stat()
        assert (proof.size, proof.mtime_ns) == (found.st_size, found.st_mtime_ns)
