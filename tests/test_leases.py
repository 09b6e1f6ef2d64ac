"""Leases on plans, by a clock that the test moves: who waits, who takes over, who learns that it lost."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest

from tasks.clients.owners import LEASE_SECONDS, owner
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.ledger import Ledger
from tasks.ledgers.leases import SILENCE, Lease, leased
from tests.pace import FakePace

MORNING = datetime(2026, 11, 22, 6, tzinfo=UTC)
ELSEWHERE = "0123456789abcdef-7-1_00-0"  # a process of another machine


@pytest.fixture
def pace():
    return FakePace()


@pytest.fixture
def ledger(tmp_path, pace):
    with_clock = Ledger.open(tmp_path, now=lambda: MORNING + timedelta(seconds=pace.monotonic()))
    yield with_clock
    with_clock.close()


def test_a_lease_is_given_back_at_the_end_whatever_happens(ledger, pace):
    with pytest.raises(KeyError):
        _fail_with_a_lease(ledger, pace)
    assert ledger.leases() == {}


def _fail_with_a_lease(ledger, pace):
    with leased(ledger, "plan", pace, print):
        assert list(ledger.leases()) == ["plan"]
        raise KeyError


def test_what_a_silent_machine_had_goes_to_who_waits_and_who_it_waits_for_is_said_once(ledger, pace):
    ledger.lease("plan", ELSEWHERE, SILENCE)
    said = []
    begin = pace.monotonic()
    Lease(ledger, "plan", pace).take(said.append)
    assert SILENCE.total_seconds() <= pace.monotonic() - begin <= SILENCE.total_seconds() + 10
    assert len(said) == 1
    assert ELSEWHERE in said[0]


def _name_oneself(answer):
    answer.put(owner())


def test_a_process_of_this_machine_that_ended_is_not_waited_for(ledger, pace):
    spawn = multiprocessing.get_context("fork")
    answer = spawn.Queue()
    child = spawn.Process(target=_name_oneself, args=(answer,))
    child.start()
    dead = answer.get(timeout=60)
    child.join()
    ledger.lease("plan", dead, SILENCE)
    Lease(ledger, "plan", pace).take(print)
    assert pace.waits == []


def test_one_that_works_renews_and_keeps_it(ledger, pace):
    lease = Lease(ledger, "plan", pace)
    lease.take(print)
    for _ in range(20):
        pace.wait(30)
        assert lease.renew()
        assert not ledger.lease("plan", ELSEWHERE, SILENCE)


def test_who_takes_over_the_plan_of_a_silent_machine_takes_over_its_partials_too(ledger, pace):
    Lease(ledger, "plan", pace).take(print)
    pace.wait(59)  # just before it would have renewed
    died = pace.monotonic()
    Lease(ledger, "plan", pace, ELSEWHERE).take(print)
    assert pace.monotonic() - died > LEASE_SECONDS


def test_one_that_was_suspended_learns_that_another_took_over(ledger, pace):
    lease = Lease(ledger, "plan", pace)
    lease.take(print)
    pace.wait(200)
    assert ledger.lease("plan", ELSEWHERE, SILENCE)
    assert not lease.renew()


def test_a_database_that_is_away_costs_the_lease_only_when_it_is_over(ledger, pace, monkeypatch):
    lease = Lease(ledger, "plan", pace)
    lease.take(print)

    def away(*_):
        raise error("ledger-away")

    monkeypatch.setattr(ledger, "lease", away)
    pace.wait(90)
    assert lease.renew()
    pace.wait(90)
    with pytest.raises(DownloadError) as failure:
        lease.renew()
    assert failure.value.verdict is Verdict.RETRY
