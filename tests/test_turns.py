"""Batches that keep the interpreter busy go one after the other; those that wait keep nobody waiting."""

from __future__ import annotations

import threading

import pytest

from tasks.transfer import turns
from tasks.transfer.turns import BUSY, Turns


class Seconds:
    """A clock that the test moves, and what the thread has worked by it."""

    def __init__(self):
        self.passed = self.worked = 0.0

    def pass_by(self, seconds, *, worked):
        self.passed += seconds
        self.worked += seconds * worked


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def taken(seconds, monkeypatch):
    """Takes a turn, and never waits for one."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0)
    return Turns(lambda: seconds.passed, lambda: seconds.worked).taken


def test_a_busy_batch_keeps_its_turn(taken, seconds):
    with taken() as first:
        seconds.pass_by(0.1, worked=1.0)
        first.look()
        seconds.pass_by(0.1, worked=BUSY * 1.01)
        first.look()
        with taken() as second:
            assert (first.holds, second.holds) == (True, False)
    with taken() as third:
        assert third.holds


def test_a_batch_that_waits_lets_others_go_on_beside_it(taken, seconds):
    with taken() as first:
        seconds.pass_by(10, worked=1.0)
        first.look()
        assert first.holds
        seconds.pass_by(0.1, worked=BUSY * 0.9)  # since the last look, however busy it was before
        first.look()
        with taken() as second:
            assert (first.holds, second.holds) == (False, True)
            seconds.pass_by(0.1, worked=0)
            first.look()  # what it has not it does not give back
            assert second.holds
            with taken() as third:
                assert not third.holds


def test_a_turn_ends_with_the_batch_whatever_ends_it(taken):
    with pytest.raises(KeyboardInterrupt), taken():
        raise KeyboardInterrupt
    with taken() as another:
        assert another.holds


def test_a_batch_waits_for_the_one_before():
    begun, order, whole = threading.Event(), [], Turns()

    def second():
        begun.set()
        with whole.taken() as turn:
            order.append(f"second {turn.holds}")

    with whole.taken():
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second True"]
