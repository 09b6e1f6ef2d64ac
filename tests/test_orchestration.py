"""A real Prefect server, a real process worker, the sandbox's lab: deployed, scheduled, killed, cancelled."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from tasks.ledger import Ledger
from tests import postgres
from tests.site import ENDED, started, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with started(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(server):
    """The site with a lab as it was at the start, an empty root, and no worker."""
    server.lab.reset()
    server.root = server.folder / f"root-{time.monotonic_ns()}"
    server.write_file()
    server.deploy()
    yield server
    for process in server.processes[1:]:
        if process.poll() is None:
            server.kill(process)
    del server.processes[1:]


def test_deployed_twice_the_second_time_changes_nothing(site):
    before = site.post("deployments/filter")
    again = site.deploy()
    assert again.splitlines()[-1] == "Nothing to change: the server has all of it"
    assert not {"made", "altered"} & set(again.split())
    assert site.post("deployments/filter") == before


def test_a_schedule_fires_and_the_run_can_be_read_back(site):
    site.start_worker()
    site.deploy("--prefect-file", str(site.folder / "minutely.yaml"))
    nightly = site.get("deployments/name/mirror/nightly")["id"]

    def first():
        runs = site.post("flow_runs/filter", deployments={"id": {"any_": [nightly]}}, sort="EXPECTED_START_TIME_ASC")
        return next((run for run in runs if run["state_type"] in ENDED), None)

    run = until(first, 180, "a scheduled run's end")
    assert run["auto_scheduled"]
    assert (run["state_name"], run["state_type"]) == ("Partial", "COMPLETED")  # the lab plants one wrong digest
    assert run["name"].startswith("mirror ")
    assert " · 57 files · 13.4 MB" in run["name"]
    site.assert_mirrored()
    artifacts = {one["key"]: one for one in site.post("artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}
    assert artifacts.keys() == {"alyx-progress", "alyx-summary", "alyx-failures"}
    assert artifacts["alyx-progress"]["data"] == 100
    assert "1 of 60 files failed" in artifacts["alyx-summary"]["data"]
    assert "next step" in artifacts["alyx-failures"]["data"]

    def event():
        found = site.post("events/filter", filter={"event": {"name": ["alyx.run.finished"]}}, limit=50)["events"]
        return [one for one in found if one["payload"]["summary"]["published"] == 56]

    assert until(event, 30, "the run's event")


@pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL is not installed")
def test_the_same_with_a_server_on_postgresql(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    with postgres.running() as server, started(folder, server.url("postgresql+asyncpg")) as site:
        assert "made or altered" in site.deploy().splitlines()[-1]
        assert site.deploy().splitlines()[-1] == "Nothing to change: the server has all of it"
        test_a_schedule_fires_and_the_run_can_be_read_back(site)


def test_a_run_says_what_it_waits_for(site):
    site.start_worker()
    held = {"names": ["alyx-repository-flatiron_cortexlab"], "slots": 2, "mode": "concurrency"}
    site.post("v2/concurrency_limits/increment", **held)
    run = site.trigger("mirror/nightly")

    def said():
        lines = site.post("logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
        return any("Waiting for a free slot of alyx-repository-flatiron_cortexlab" in line["message"] for line in lines)

    until(said, 90, "a line that says what is waited for")
    assert site.state(run) == "RUNNING"
    site.post("v2/concurrency_limits/decrement", **held)
    assert site.ended(run)["state_name"] == "Partial"
    site.assert_mirrored()
    limit = site.get("v2/concurrency_limits/alyx-repository-flatiron_cortexlab")
    assert limit["active_slots"] == 0


def test_three_missed_runs_do_the_work_once(site):
    for _ in range(3):
        site.trigger("mirror/nightly")
    site.start_worker()
    nightly = site.get("deployments/name/mirror/nightly")["id"]

    def all_ended():
        runs = site.post("flow_runs/filter", deployments={"id": {"any_": [nightly]}}, limit=200)
        late = [run for run in runs if not run["auto_scheduled"]][-3:]
        return late if all(run["state_type"] in ENDED for run in late) else None

    runs = until(all_ended, 240, "the end of three runs")
    total = site.assert_mirrored()
    assert {run["state_type"] for run in runs} <= {"COMPLETED", "CANCELLED"}
    assert site.bytes_sent() <= 1.05 * total + 2_000_000  # what two of the lab's oddities cost again


def test_a_cancel_stops_the_bytes_within_ten_seconds(site):
    site.start_worker(PREFECT_INTEGRATIONS_ALYX_BYTES_PER_SECOND="100000")
    run = site.trigger("download/on-demand", selection={"labs": ["cortexlab"]}, root=str(site.root))
    until(lambda: site.bytes_sent() > 500_000, 90, "bytes")
    asked = time.monotonic()
    site.post(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"}, force=False)
    stopped = until(lambda: quiet(site), 30, "silence") - asked
    assert stopped < 10
    assert site.ended(run, 90)["state_type"] == "CANCELLED"
    assert not [
        path
        for path in site.root.rglob("*")
        if path.is_file() and ".prefect-alyx" not in path.parts and path.stat().st_size == 0
    ]
    assert list((site.root / ".prefect-alyx" / "partials").iterdir())  # resumable
    print(f"\ncancel to silence: {stopped:.1f} s")


def quiet(site):
    """The moment after which no byte came for two seconds."""
    before, moment = site.bytes_sent(), time.monotonic()
    time.sleep(2)
    return moment if site.bytes_sent() == before else None


def test_after_a_power_cut_the_run_is_crashed_and_the_next_one_converges(site):
    worker = site.start_worker(PREFECT_INTEGRATIONS_ALYX_BYTES_PER_SECOND="200000")
    run = site.trigger("mirror/nightly")
    until(lambda: site.bytes_sent() > 4_000_000, 90, "bytes")
    site.kill(worker)
    killed, kept = time.monotonic(), on_disk(site.root)
    assert site.ended(run, 240)["state_name"] == "Crashed"
    crashed = time.monotonic() - killed
    site.start_worker()
    again = site.ended(site.trigger("mirror/nightly"))
    assert again["state_name"] == "Partial"
    total = site.assert_mirrored()
    moved = Ledger.read_only(site.root).run(again["id"]).summary["bytes"]
    # What the lab plants is fetched to be found out: one wrong digest and one stale copy, from two servers at most.
    planted = sum(2 * site.lab.world.odd(kind).size for kind in ("wrong-digest", "s3-stale"))
    assert kept + moved <= 1.05 * total + planted
    print(f"\nCrashed after {crashed:.0f} s; kept {kept:,}, moved {moved:,} of {total:,} bytes")


def on_disk(root):
    """Bytes that lie in published files and in partials."""
    folders = (*root.glob("*/Subjects"), *root.glob("aggregates"), root / ".prefect-alyx" / "partials")
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def test_the_server_is_away_for_a_minute_in_mid_run(site):
    site.start_worker(PREFECT_INTEGRATIONS_ALYX_BYTES_PER_SECOND="100000")
    run = site.trigger("mirror/nightly")
    until(lambda: site.bytes_sent() > 1_000_000, 90, "bytes")
    site.kill(site.processes[0])
    before = site.bytes_sent()
    time.sleep(60)
    assert site.bytes_sent() > before
    site.processes[0] = None
    restarted = site.start_server()
    site.processes.remove(restarted)
    site.processes[0] = restarted
    ended = site.ended(run, 300)
    assert UUID(ended["id"])
    site.start_worker()
    site.ended(site.trigger("mirror/nightly"))
    site.assert_mirrored()
    print(f"\nthe run over which the server was away: {ended['state_name']}")
