"""`prefect-alyx status`: what the ledger, the disk and Prefect know, said without a network."""

from __future__ import annotations

import contextvars
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

import pytest
from click.testing import CliRunner
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import AwaitingConcurrencySlot, Completed, Running, Scheduled

from flows.cli import cli
from flows.status import status
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.seams import Disk, Pace
from tasks.clients.tree import Tree
from tasks.clients.verdicts import DownloadError
from tasks.ledger import Ledger
from tasks.model import Outcome, State, Summary
from tasks.preparing import REST
from tasks.settings import AlyxSettings
from tasks.transfer.limits import slots
from tests.site import until

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
AN_HOUR = timedelta(hours=1)
SETTINGS = AlyxSettings(reserve_bytes=0)
DIGEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No Prefect, no Alyx, no network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALYX_URL", raising=False)
    with temporary_settings(updates={PREFECT_API_URL: None, PREFECT_HOME: tmp_path / "prefect"}):
        yield


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def failed(path, code="connect", verdict="RETRY"):
    return Outcome(
        "d", path, State.FAILED, "flatiron", "http", verdict=verdict, code=code, reason=f"{code}.", next_step="Mend it."
    )


def record(root, *outcomes, run="first", at=NOW, summary=None):
    """A run as the ledger keeps it."""
    book = Ledger.open(root, now=lambda: at)
    book.begin_run(run, {"labs": ["cortexlab"]})
    book.record(outcomes, run=run)
    if summary:
        book.end_run(run, summary)
    book.close()


def text(root, now=NOW):
    return "\n".join(status(root, SETTINGS, now).lines())


def partial(root, done, size=100, digest=DIGEST, *, claimed=False):
    Tree(root).prepare()
    held = Partials(Tree(root).partials, Disk(), Pace()).claim(Expected.of(size, digest), "http://x/a")
    held.write(b"x" * done)
    if not claimed:
        held.release()
    return held


def test_a_root_that_nobody_used_is_empty_and_stays_so(root):
    found = status(root, SETTINGS, NOW)
    assert (found.runs, found.waiting, found.counts, found.partials) == ([], [], {}, [])
    assert "No run yet, and no such directory." in text(root)
    assert not root.exists()


def test_the_last_runs_with_their_summary_lines(root):
    first = Summary(3, 10, published=3, seconds=1.5)
    record(root, summary=first)
    record(root, run="second", at=NOW + AN_HOUR)
    said = text(root).splitlines()
    assert said.index(f"    {first.line()}") > said.index("    not ended: it runs, or it was killed")
    assert sum("cortexlab" in line for line in said) == 2


def test_what_failed_why_and_when_it_is_tried_again(root):
    record(root, failed("a.npy"), failed("b.npy", "digest-mismatch", "NEXT_SOURCE"))
    soon, rests = status(root, SETTINGS, NOW + AN_HOUR).waiting
    assert (soon.failure.path, soon.rests_until) == ("a.npy", None)
    assert (rests.failure.path, rests.rests_until) == ("b.npy", NOW + REST)
    said = text(root, NOW + AN_HOUR)
    assert "tried again at the next run" in said
    assert f"rests until {(NOW + REST).astimezone():%Y-%m-%d %H:%M}" in said
    assert "-> Mend it." in said


def test_what_has_rested_is_tried_at_the_next_run(root):
    record(root, failed("b.npy", "digest-mismatch", "NEXT_SOURCE"))
    (rested,) = status(root, SETTINGS, NOW + REST + AN_HOUR).waiting
    assert rested.rests_until is None


def test_what_fails_again_and_again_says_since_when(root):
    record(root, failed("a.npy"))
    record(root, failed("a.npy"), run="second", at=NOW + AN_HOUR)
    assert f"2 runs in a row, since {NOW.astimezone():%Y-%m-%d %H:%M}" in text(root)


def test_many_failures_are_counted_and_all_are_in_the_json(root):
    record(root, *(failed(f"{number:03}.npy") for number in range(25)))
    assert "and 5 more" in text(root)
    assert sum("failure" in row for row in status(root, SETTINGS, NOW).rows()) == 25


def test_counts(root):
    present = Outcome("e", "c.npy", State.PRESENT, size=3, digest=DIGEST, mtime_ns=1)
    record(root, failed("a.npy"), present, Outcome("f", "d.npy", State.SKIPPED, reason="No source."))
    assert "1 file on disk, 1 skipped, 1 failed" in text(root)


def test_partials_with_their_sizes(root):
    partial(root, 40)
    held = partial(root, 70, digest=DIGEST[::-1], claimed=True)
    large, small = status(root, SETTINGS, NOW).partials
    held.release()
    assert (large.bytes, large.size, large.claimed) == (70, 100, True)
    assert (small.bytes, small.size, small.claimed) == (40, 100, False)
    assert small.identity.startswith(f"md5-{DIGEST}")
    said = text(root)
    assert "2 files, 110 bytes" in said
    assert "40 bytes of 100 bytes, to be continued" in said


def test_a_partial_of_unknown_size(root):
    partial(root, 40, size=None)
    assert status(root, SETTINGS, NOW).partials[0].size is None


def test_a_disk_below_the_reserve_is_said(root):
    found = status(root, AlyxSettings(reserve_bytes=10**18), NOW)
    assert "less than has to stay free" in "\n".join(found.lines())


def test_every_line_of_json_is_json_and_the_numbers_come_last(root):
    record(root, failed("a.npy"), summary=Summary(1, failed=1))
    partial(root, 40)
    done = CliRunner().invoke(cli, ["status", "--root", str(root), "--json"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [next(iter(row)) for row in rows] == ["run", "failure", "partial", "status"]
    assert rows[0]["run"]["summary"]["failed"] == 1
    assert rows[1]["failure"]["next_step"] == "Mend it."
    numbers = rows[-1]["status"]
    assert (numbers["failed"], numbers["partials"], numbers["partial_bytes"]) == (1, 1, 40)
    assert numbers["free"] > 0


def test_a_root_is_needed_and_nobody_is_asked_for_it():
    with pytest.raises(DownloadError, match="ALYX_URL"):
        status(None, SETTINGS)


def test_a_prefect_api_that_does_not_answer_is_only_a_remark(root):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
        with temporary_settings(updates={PREFECT_API_URL: url}):
            found = status(root, SETTINGS, NOW)
    assert found.flow_runs is None
    assert "does not answer" in "\n".join(found.lines())


def forget_runs(client):
    for run in client.read_flow_runs():
        client.delete_flow_run(run.id)


@pytest.fixture
def client(prefect_api):
    """A real server, which others use too: nothing is under way on it, neither before nor after."""
    with temporary_settings(updates={PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        forget_runs(client)
        yield client
        forget_runs(client)


@pytest.mark.slow
def test_what_prefect_runs_and_waits_to_run(root, client):
    @flow(name="mirror")
    def mirror():
        """Stands in for ours."""

    @flow(name="another")
    def another():
        """Not ours."""

    client.create_flow_run(mirror, name="at work", state=Running())
    client.create_flow_run(mirror, name="to come", state=Scheduled())
    client.create_flow_run(mirror, name="done", state=Completed())
    client.create_flow_run(another, name="not ours", state=Running())
    found = status(root, SETTINGS, NOW)
    assert {(one.name, one.state) for one in found.flow_runs} == {("at work", "Running"), ("to come", "Scheduled")}
    assert "at work" in "\n".join(found.lines())


def waits_of(root, name):
    """What `status` says in JSON that a flow run waits for."""
    done = CliRunner().invoke(cli, ["status", "--root", str(root), "--json"])
    assert done.exit_code == 0, done.output
    rows = [row["flow_run"] for row in map(json.loads, done.stdout.splitlines()) if "flow_run" in row]
    return next((row["waits_for"] for row in rows if row["name"] == name), None)


@pytest.mark.slow
def test_which_limit_a_run_waits_for_that_others_hold(root, client):
    full, free = f"alyx-repository-{uuid4()}", f"alyx-server-{uuid4()}"
    for name in (full, free):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=2))
    client.increment_concurrency_slots([full], slots=2, mode="concurrency")  # somebody else's
    pace, name, go_on, said = Pace(), f"waits {uuid4()}", Event(), []

    @flow(name="mirror", flow_run_name=name)
    def mirror():
        """Does what a batch does at its begin."""
        with slots([full, free], pace, said.append):
            assert go_on.wait(60)

    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(contextvars.copy_context().run, mirror)
        try:
            until(lambda: waits_of(root, name), 60, "a status that says what is waited for")
            assert waits_of(root, name) == [{"what": full, "taken": 2, "slots": 2}]
            assert f"    waits for {full}: 2 of 2 slots are taken" in text(root).splitlines()
            client.release_concurrency_slots([full], slots=2, occupancy_seconds=1)
            until(lambda: waits_of(root, name) == [], 60, "a status that says nothing of it any more")
        finally:
            pace.stop.set()
            go_on.set()
        run.result()
    assert said == [f"Waiting for a free slot of {full}: other batches hold them all."]
    assert waits_of(root, name) is None


@pytest.mark.slow
def test_what_a_run_waits_for_that_is_due_and_has_not_begun(root, client):
    pool = f"pool-{uuid4()}"
    client.create_work_pool(WorkPoolCreate(name=pool, type="process", concurrency_limit=1))
    deployment = client.create_deployment(
        client.create_flow(flow(name="mirror")(lambda: None)), f"of {pool}", work_pool_name=pool, concurrency_limit=1
    )

    def waits(state):
        name = f"due {uuid4()}"
        client.create_flow_run_from_deployment(deployment, name=name, state=state)
        return waits_of(root, name)

    late = Scheduled(name="Late")
    assert waits(late) == [{"what": f"a worker: `prefect worker start --pool {pool}`", "taken": None, "slots": None}]
    assert waits(AwaitingConcurrencySlot()) == [{"what": f"deployment of {pool}", "taken": 0, "slots": 1}]
    client.send_worker_heartbeat(pool, "a worker")
    assert waits(late) == []
    client.create_flow_run_from_deployment(deployment, state=Running())
    assert waits(late) == [{"what": f"work pool {pool}", "taken": 1, "slots": 1}]
    client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))
    assert waits(late)[0]["what"] == f"work pool {pool}, which is paused"
