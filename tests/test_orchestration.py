"""A real Prefect server, a real process worker, the sandbox's lab: deployed, scheduled, killed, cancelled."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tasks.ledger import Ledger
from tests import postgres
from tests.loopback import Reply, serve
from tests.site import ENDED, started, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


#: Limits that a batch of the whole lab holds slots of.
LIMIT = "alyx-repository-flatiron_cortexlab"
DATABASES = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL is not installed"),
    ),
]


@pytest.fixture(scope="module", params=DATABASES)
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(postgres.running()) if request.param == "postgresql" else None
        yield stack.enter_context(started(folder, running.url("postgresql+asyncpg") if running else ""))


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
        return next((run for run in runs if run["state_type"] in ENDED - {"CANCELLED"}), None)  # a minute may be short

    run = until(first, 180, "a scheduled run's end")
    assert run["auto_scheduled"]
    assert (run["state_name"], run["state_type"]) == ("Partial", "COMPLETED")  # the lab plants one wrong digest
    assert run["name"].startswith("mirror ")
    assert " · 57 files · 13.4 MB" in run["name"]
    site.assert_mirrored()
    artifacts = {one["key"]: one for one in site.post("artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})}
    assert artifacts.keys() == {"alyx-progress", "alyx-summary", "alyx-failures"}
    assert artifacts["alyx-progress"]["data"] == 100
    assert "What will be tried next?" in artifacts["alyx-progress"]["description"]
    assert "1 of 60 files failed" in artifacts["alyx-summary"]["data"]
    assert "next step" in artifacts["alyx-failures"]["data"]

    def told(name):
        of_run = {"id": [f"prefect.flow-run.{run['id']}"]}
        return site.post("events/filter", filter={"event": {"name": [name]}, "any_resource": of_run}, limit=50)[
            "events"
        ]

    for name in ("alyx.run.started", "alyx.batch.finished", "alyx.run.finished"):
        (event,) = until(lambda name=name: told(name), 30, name)
    assert event["payload"]["summary"]["published"] == 56


def test_a_run_that_could_not_have_all_files_is_told_to_the_webhook(site, monkeypatch):
    with serve(lambda _: Reply(204)) as webhook:
        monkeypatch.setenv("SITE_WEBHOOK", f"{webhook.url}/hook")
        assert "alyx-run-failed" in site.deploy()
        site.start_worker()
        run = site.ended(site.trigger("mirror/nightly"))
        told = until(lambda: webhook.asked, 60, "a word to the webhook")[0]
    assert f"{run['name']}: Partial. 1 of 60 files failed." in told.body


def test_what_nobody_looks_for_is_told_to_the_webhook(site, monkeypatch):
    with serve(lambda _: Reply(204)) as webhook:
        monkeypatch.setenv("SITE_WEBHOOK", f"{webhook.url}/hook")
        site.deploy()
        site.hurry("alyx-mirror-stale", seconds=10)
        site.start_worker(PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES=str(10**18))
        spoil(site.lab, "members")
        assert site.ended(site.trigger("mirror/nightly"))["state_name"] == "Failed"
        assert site.ended(site.trigger("canary/twice-a-day"))["state_name"] == "Failed"
        for words in (
            "No mirror was complete for 26 hours",
            "The disk is too small",
            "http members_cortexlab: The file",
        ):
            until(lambda words=words: any(asked.body.startswith(words) for asked in webhook.asked), 90, words)
        site.hurry("alyx-mirror-stale", seconds=26 * 3600)


def spoil(lab, kind):
    """Let a server give other bytes than Alyx registers."""
    (dataset,) = [one for one in lab.world.datasets.values() if one.kind == kind]
    for path in lab.paths(dataset, (kind,)):
        path.write_bytes(bytes(path.stat().st_size))


def test_the_other_deployments_do_their_work_at_once(site):
    site.start_worker()
    site.ended(site.trigger("mirror/nightly"))
    runs = [site.trigger(name) for name in ("mirror/retry-failed", "verify/weekly", "canary/twice-a-day")]
    retry, scrub, canary = (site.ended(run) for run in runs)
    assert (retry["state_name"], scrub["state_name"], canary["state_name"]) == ("Completed",) * 3
    assert retry["name"].startswith("retry of everything")
    assert scrub["name"].startswith("verify 15% of the tree · ")
    assert "6 of 6 routes work" in canary["state"]["message"]
    site.assert_mirrored()


def test_a_run_says_what_it_waits_for(site):
    site.start_worker()
    held = {"names": [LIMIT], "slots": 2, "mode": "concurrency"}
    site.post("v2/concurrency_limits/increment", **held)
    run = site.trigger("mirror/nightly")

    def said():
        lines = site.post("logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
        return any(f"Waiting for a free slot of {LIMIT}" in line["message"] for line in lines)

    until(said, 90, "a line that says what is waited for")
    assert site.state(run) == "RUNNING"
    until(lambda: f"wait for a free slot of **{LIMIT}**".replace("_", "\\_") in shown(site, run), 30, "the run's page")
    assert f"waits for {LIMIT}: 2 of 2 slots are taken" in until(lambda: told(site, "waits for"), 30, "the status")
    site.post("v2/concurrency_limits/decrement", **held)
    assert site.ended(run)["state_name"] == "Partial"
    site.assert_mirrored()
    assert site.slots_held(LIMIT) == 0


def shown(site, run):
    """What the progress artifact of a run says now."""
    found = site.post(
        "artifacts/filter", artifacts={"key": {"any_": ["alyx-progress"]}}, flow_runs={"id": {"any_": [run]}}
    )
    return found[0]["description"] if found else ""


def told(site, words):
    """What `status` says, once it says these words."""
    text = site.command("status", "--root", str(site.root))
    return text if words in text else ""


@pytest.mark.parametrize("at_once", [1, 3], ids=["one-by-one", "all-at-once"])
def test_three_missed_days_are_caught_up_once(site, at_once):
    today = datetime.now(UTC)
    missed = [site.trigger("mirror/nightly", due=today - timedelta(days=days)) for days in (3, 2, 1)]
    until(lambda: all(site.run(run)["state_name"] == "Late" for run in missed), 60, "three runs that are late")
    site.start_worker("--limit", str(at_once))
    runs = [site.ended(run, 300) for run in missed]
    total = site.assert_mirrored()
    ledger = Ledger.read_only(site.root)
    summaries = [found.summary for run in runs if (found := ledger.run(run["id"]))]
    assert sorted(summary["published"] for summary in summaries)[:-1] == [0] * (len(summaries) - 1)
    assert all(summary["seconds"] < 5 for summary in summaries if not summary["published"])
    others = [run for run in runs if run["state_name"] != "Partial"]
    assert {run["state_type"] for run in others} == ({"COMPLETED"} if at_once == 1 else {"CANCELLED"})
    assert site.bytes_sent() <= 1.05 * total + planted(site)
    seconds = [round(run["total_run_time"], 1) for run in runs]
    print(f"\n{[run['state_name'] for run in runs]}, {seconds} s, {site.bytes_sent():,} of {total:,} bytes")


def planted(site):
    """Bytes of what the lab plants to be found out: one wrong digest and one stale copy, from two servers at most."""
    return sum(2 * site.lab.world.odd(kind).size for kind in ("wrong-digest", "s3-stale"))


def test_a_run_that_is_due_while_one_is_busy_is_cancelled_and_leaves_it_alone(site):
    # A minute's work: a worker looks for runs every 15 s, and the second one has to begin before the first one ends.
    site.start_worker(PREFECT_INTEGRATIONS_ALYX_BYTES_PER_SECOND="200000")
    busy = site.trigger("mirror/nightly")
    until(lambda: site.bytes_sent() > 1_000_000, 90, "bytes")
    second = site.ended(site.trigger("mirror/nightly"), 60)
    assert site.state(busy) == "RUNNING"
    assert second["state_type"] == "CANCELLED"
    assert "oncurrency limit" in second["state"]["message"]
    assert site.ended(busy)["state_name"] == "Partial"
    assert site.bytes_sent() <= 1.05 * site.assert_mirrored() + planted(site)
    assert not site.post("flow_runs/filter", flow_runs={"state": {"name": {"any_": ["Late"]}}})


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
    assert site.slots_held(LIMIT) == 1
    site.kill(worker)
    killed, kept = time.monotonic(), on_disk(site.root)
    assert site.ended(run, 240)["state_name"] == "Crashed"
    crashed = time.monotonic() - killed
    until(lambda: site.slots_held(LIMIT) == 0, 300, "the slots of a worker that was killed")
    healed = time.monotonic() - killed
    site.start_worker()
    again = site.ended(site.trigger("mirror/nightly"))
    assert again["state_name"] == "Partial"
    total = site.assert_mirrored()
    moved = Ledger.read_only(site.root).run(again["id"]).summary["bytes"]
    assert kept + moved <= 1.05 * total + planted(site)
    print(
        f"\nCrashed after {crashed:.0f} s, slots back after {healed:.0f} s; kept {kept:,}, moved {moved:,} of {total:,}"
    )


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
