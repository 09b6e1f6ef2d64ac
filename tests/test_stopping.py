"""The real command, stopped and killed in mid-run: it ends soon, says what happened, and the next run goes on there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
import requests

from flows.local_server import LocalServer
from tasks.clients.tree import OURS
from tasks.ledger import Ledger
from tasks.model import State
from tests.engine import Job, lab_of, partials_of, unproven_files, wrong_files
from tests.mounts import tmpfs
from tests.slow_link import SlowLink

pytestmark = pytest.mark.slow
FILES = 500


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where Prefect and its one local server of these tests live."""
    place = tmp_path_factory.mktemp("prefect")
    yield place
    subprocess.run([sys.executable, "-m", "flows.cli", "demo", "--stop"], env=_environment(place), check=True)


def _environment(home):
    others = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**others, "PREFECT_HOME": str(home), "PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES": "0"}


@pytest.fixture
def link():
    return SlowLink()


@pytest.fixture
def lab(tmp_path, link):
    with lab_of(tmp_path / "lab", files=FILES, file_bytes=100_000, wrap=link) as lab:
        yield lab


@pytest.fixture
def disk(tmp_path):
    """A small disk under the root."""
    with tmpfs(tmp_path / "disk", "size=80m") as place:
        yield place


@pytest.fixture
def job(request, lab, tmp_path):
    place = request.getfixturevalue("disk") if "disk" in request.fixturenames else tmp_path
    job = Job.of(place / "root")
    lab.requests.clear()
    return job


def fill(disk):
    """Let others take all the room that is left."""
    others = disk / "others"
    with others.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    return others


@pytest.fixture
def fetch(home, job):
    words = ["fetch", "--subject", "BULK_001", "--protocol", "http", "--root", str(job.root), "--json"]

    def start():
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *words],
            env=_environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finish(process):
    """Wait for a run that nothing disturbs, and return the numbers it ends with."""
    shown, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return json.loads(shown.splitlines()[-1])["summary"]


def flow_runs(home):
    server = LocalServer(**json.loads((home / "prefect-alyx-server.json").read_text()))
    return requests.post(f"{server.url}/flow_runs/filter", json={"sort": "START_TIME_DESC"}, timeout=30).json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_seen_within_ten_seconds_although_the_server_stalls(number, home, job, lab, link, fetch):
    link.stalls_at = job.bytes // 3
    process = fetch()
    assert link.wait_until(link.stalls_at, lambda: process.poll() is not None)
    process.send_signal(number)
    shown, _ = process.communicate(timeout=10)
    assert process.returncode == 7
    assert flow_runs(home)[0]["state_type"] == "CRASHED"
    ledger = Ledger.read_only(job.root)
    *_, last = map(json.loads, shown.splitlines())
    assert last["summary"]["published"] == ledger.counts()[State.PUBLISHED]
    assert {one.code for one in ledger.failed()} == {"stopped"}
    assert ledger.counts().get(State.PUBLISHED, 0) == len(ledger.known()) > 0
    assert wrong_files(job, missing_allowed=True) == set()
    assert all(".free." in name for name in partials_of(job.root))
    link.stalls_at = None
    assert finish(fetch())["files"] == FILES
    assert wrong_files(job) == unproven_files(job) == set()
    assert partials_of(job.root) == []
    assert lab.requests.sent(server="http") <= 1.05 * job.bytes


def test_a_command_that_is_killed_twice_goes_on_where_it_was(job, lab, link, fetch):
    for place in (job.bytes // 3, 2 * job.bytes // 3):
        process = fetch()
        assert link.wait_until(place, lambda process=process: process.poll() is not None)
        process.kill()
        process.communicate()
        assert wrong_files(job, missing_allowed=True) == set()
    old_partial, old_plan = (job.root / OURS / name for name in ("partials/md5-0.free..part", "plans/0.jsonl"))
    for leftover in (old_partial, old_plan):
        leftover.write_bytes(b"of a run that nobody continued")
        os.utime(leftover, (0, 0))
    assert finish(fetch())["files"] == FILES
    assert wrong_files(job) == unproven_files(job) == set()
    assert partials_of(job.root) == []
    assert not old_plan.exists()
    assert lab.requests.sent(server="http") <= 1.05 * job.bytes


def test_a_disk_that_others_fill_stops_the_command_and_the_next_run_goes_on(job, lab, link, fetch, disk):
    process = fetch()
    assert link.wait_until(job.bytes // 3, lambda: process.poll() is not None)
    others = fill(disk)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 7
    assert "The disk is full" in told
    assert str(disk) in told
    assert "bytes are free there, and this file alone needs" in told
    assert "Traceback" not in told
    *lines, last = map(json.loads, shown.splitlines())
    assert last["summary"]["failed"] > 0
    assert {one["reason"] for one in lines if one["state"] == "failed"}
    assert wrong_files(job, missing_allowed=True) == set()
    others.unlink()
    assert finish(fetch())["files"] == FILES
    assert wrong_files(job) == unproven_files(job) == set()
    assert partials_of(job.root) == []
    assert lab.requests.sent(server="http") <= 1.05 * job.bytes
