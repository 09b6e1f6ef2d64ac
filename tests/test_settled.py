"""What became of a plan, read from ledger and plan: each file once, as often as it is asked for."""

from __future__ import annotations

import pytest

from tasks.ledger import Ledger
from tasks.ledgers.settled import Settled
from tasks.model import Outcome, Proof, State
from tests.test_planning import MD5, dataset, plan_of

PATHS = [f"lab/{number}.npy" for number in range(5)]


@pytest.fixture
def plan(tmp_path):
    """Two files to fetch, two that are present, one that is left out."""
    there = PATHS[2:4]
    return plan_of(
        *(dataset(path, uuid=path) for path in PATHS[:4]),
        dataset(PATHS[4], uuid=PATHS[4], on=()),
        root=tmp_path,
        proofs={path: Proof(3, MD5, 7) for path in there},
        disk=dict.fromkeys(there, (3, 7)),
    )


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(tmp_path)
    yield ledger
    ledger.close()


@pytest.mark.parametrize("part", [1, 2, 1000])
def test_every_file_of_a_plan_is_told_once_and_again(plan, ledger, monkeypatch, part):
    for module in ("ledger", "ledgers.settled"):
        monkeypatch.setattr(f"tasks.{module}._PART", part)
    ledger.record([Outcome(PATHS[3], PATHS[3], State.FAILED)], run="an older run")
    ledger.confirm(plan.present_files(), run="run")  # one of the present files is news
    ledger.record([Outcome(PATHS[0], PATHS[0], State.PUBLISHED), Outcome(PATHS[1], PATHS[1], State.FAILED)], run="run")
    ledger.record([Outcome("other", "other.npy", State.PUBLISHED)], run="another run")
    settled = Settled(plan, "run")
    for _ in range(2):
        told = [(one.path, one.state) for one in settled]
        assert sorted(told) == list(
            zip(PATHS, (State.PUBLISHED, State.FAILED, State.PRESENT, State.PRESENT, State.SKIPPED), strict=True)
        )


def test_a_reader_that_pauses_keeps_nobody_from_writing(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.ledger._PART", 2)
    ledger.record([Outcome(path, path, State.PUBLISHED) for path in PATHS], run="run")
    told = ledger.each_outcome("run")
    next(told)
    other = Ledger.open(tmp_path, patience=0)
    other.record([Outcome("more", "lab/9.npy", State.PUBLISHED)], run="run")
    other.close()
    assert [one.path for one in told] == [*PATHS[1:], "lab/9.npy"]
