"""A fleet on a pool that the test plays: how many run, who is started again, what stops all, and one sum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.clients.verdicts import DownloadError
from tasks.keeping.following import ATTEMPTS, Fleet, Shard, Standing
from tasks.ledger import Ledger
from tasks.ledgers.leases import SILENCE
from tasks.model import Summary
from tests.pace import FakePace
from tests.test_sharding import plan_of, transfer

MORNING = datetime(2026, 11, 22, 6, tzinfo=UTC)


class FakePool:
    """Runs that each look plays one line further: a state, or a state and whether the lease is held."""

    def __init__(self, ledger, pace, **scripts):
        self.ledger, self.pace, self.scripts = ledger, pace, scripts
        self.lines, self.shards = {}, {}
        self.started, self.buried, self.stopped, self.most = [], [], [], 0
        self.away = 0

    def start(self, shard):
        if self.away:
            self.away -= 1
            return ""
        run = f"{shard.name}.{shard.attempt + 1}"
        self.started.append(run)
        self.shards[run] = shard
        self.lines[run] = iter(self.scripts.get(run.replace("-", "_").replace(".", "_"), ["RUNNING", "COMPLETED"]))
        return run

    def standings(self, runs):
        self.most = max(self.most, len(runs))
        return {run: Standing(self._next(run), "Why.") for run in runs}

    def _next(self, run):
        kind, shard = next(self.lines[run]), self.shards[run]
        if kind == "RUNNING":
            self.ledger.lease(shard.lease, run, SILENCE)
        if kind in ("COMPLETED", "STOPPED", "DEAD AT ITS END"):
            self.ledger.let_go(shard.lease, run)
            self.ledger.begin_run(shard.name, {})
            self.ledger.end_run(shard.name, Summary(files=10, published=9, failed=1, bytes=100, seconds=5.0))
        return {"SILENT": "RUNNING", "STOPPED": "FAILED", "DEAD AT ITS END": "CRASHED"}.get(kind, kind)

    def bury(self, run):
        self.buried.append(run)

    def stop(self, run):
        self.stopped.append(run)
        self.lines[run] = iter(["CANCELLED"])


@pytest.fixture
def pace():
    return FakePace()


@pytest.fixture
def ledger(tmp_path, pace):
    opened = Ledger.open(tmp_path, now=lambda: MORNING + timedelta(seconds=pace.monotonic()))
    yield opened
    opened.close()


@pytest.fixture
def parts(tmp_path):
    plans = [plan_of(tmp_path, [transfer(n, 1, "lab", "mouse", 1)]) for n in range(5)]
    for number, plan in enumerate(plans):
        object.__setattr__(plan, "id", f"part{number}")
    return [Shard(f"run-{number}", plan.save()) for number, plan in enumerate(plans)]


def follow(pool, parts, at_once=2):
    said = []
    fleet = Fleet(pool, pool.ledger, pool.pace, at_once, said.append)
    return fleet.follow(parts), said


def test_all_shards_run_so_many_at_once_and_bring_one_sum(ledger, pace, parts):
    pool = FakePool(ledger, pace)
    summary, said = follow(pool, parts)
    assert summary == Summary(files=50, published=45, failed=5, bytes=500, seconds=5.0)
    assert summary.stopped == ""
    assert pool.most == 2
    assert pool.started == [f"run-{n}.1" for n in range(5)]
    assert len(said) == 5


def test_a_shard_that_crashed_is_started_again_and_counted_once(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_1_1=["RUNNING", "CRASHED"])
    summary, said = follow(pool, parts)
    assert (summary.files, summary.stopped) == (50, "")
    assert pool.started.count("run-1.2") == 1
    assert "run-1 is started again: Why." in said


def test_a_machine_that_dies_when_its_shard_is_done_stops_nothing(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_1_1=["RUNNING", "DEAD AT ITS END"])
    summary, _ = follow(pool, parts)
    assert (summary.files, summary.stopped) == (50, "")
    assert pool.started == [f"run-{n}.1" for n in range(5)]


def test_the_shard_of_a_machine_that_fell_silent_is_buried_and_started_again(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_2_1=["RUNNING", *["SILENT"] * 200])
    summary, _ = follow(pool, parts)
    assert summary.files == 50
    assert pool.buried == ["run-2.1"]
    assert "run-2.2" in pool.started


def test_a_machine_is_silent_from_its_last_word_on_and_not_from_the_end_of_its_lease(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_0_1=["RUNNING", *["SILENT"] * 200])
    pool.bury = lambda run: pool.buried.append((run, pace.monotonic() - begin))
    begin = pace.monotonic()
    follow(pool, parts[:1])
    ((run, after),) = pool.buried
    assert run == "run-0.1"
    assert SILENCE.total_seconds() < after <= SILENCE.total_seconds() + 10


def test_a_run_that_waits_for_a_worker_is_not_silent(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_0_1=[*["SCHEDULED"] * 300, "SILENT", "RUNNING", "COMPLETED"])
    summary, _ = follow(pool, parts)
    assert (summary.files, pool.buried) == (50, [])


def test_a_shard_that_never_ends_stops_the_fleet_after_some_attempts(ledger, pace, parts):
    crashes = {f"run_0_{attempt}": ["CRASHED"] for attempt in range(1, 9)}
    pool = FakePool(ledger, pace, **crashes)
    summary, _ = follow(pool, parts, at_once=1)
    assert pool.started == [f"run-0.{attempt}" for attempt in range(1, ATTEMPTS + 1)] or "run-1.1" in pool.started
    assert f"run-0 did not come to its end in {ATTEMPTS} attempts" in summary.stopped


def test_what_stops_one_shard_stops_all_and_starts_no_other(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_0_1=["STOPPED"], run_1_1=["RUNNING"] * 9)
    summary, _ = follow(pool, parts)
    assert summary.stopped == "Why."
    assert summary.files == 10
    assert pool.stopped == ["run-1.1"]
    assert pool.started == ["run-0.1", "run-1.1"]


def test_a_server_that_is_away_costs_no_attempt(ledger, pace, parts):
    pool = FakePool(ledger, pace)
    pool.away = 7
    summary, _ = follow(pool, parts)
    assert summary.files == 50
    assert pool.started == [f"run-{n}.1" for n in range(5)] or len(pool.started) == 5


def test_who_stops_the_fleet_stops_its_shards(ledger, pace, parts):
    pool = FakePool(ledger, pace, run_0_1=["RUNNING"] * 9, run_1_1=["RUNNING"] * 9)
    pace.on_wait = pace.stop.set
    with pytest.raises(DownloadError):
        follow(pool, parts)
    assert pool.stopped == ["run-0.1", "run-1.1"]
