"""How many connections a file gets: more while the sum of them grows, fewer when it does not pay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.clients.growth import WORTH_SECONDS, Growth, Reading
from tasks.clients.lines import Lines
from tasks.clients.verdicts import DownloadError
from tests.pace import FakePace

MB = 1_000_000
NEAR, FAR = 0.002, 0.04


class Line:
    """A line that carries so much a connection, and so much in all; the clock is the test's."""

    def __init__(self, each, most, missing=10_000 * MB, busy=0.1, first_byte=FAR):
        self.each, self.most, self.missing, self.busy, self.first_byte = each, most, missing, busy, first_byte
        self.now = self.received = self.cpu = 0.0

    def run(self, growth, seconds):
        for _ in range(int(seconds / 0.05)):
            self.now += 0.05
            brought = 0.05 * min(self.most, self.each * growth.wanted)
            self.received += brought
            self.missing -= brought
            self.cpu += 0.05 * self.busy
            reading = Reading(
                self.now, self.cpu, int(self.received), int(self.missing), self.first_byte, lags=self.busy > 1
            )
            growth.look(reading, growth.wanted)
        return growth.wanted


def test_it_grows_while_the_sum_grows_up_to_the_limit():
    assert Line(each=25 * MB, most=10_000 * MB).run(Growth(12), 3) == 12


@pytest.mark.parametrize(
    ("first_byte", "steps"), [(NEAR, [1, 2, 4, 8, 16, 32]), (FAR, [1, 16, 32])], ids=["near", "far"]
)
def test_it_doubles_and_over_a_far_line_the_first_step_is_large(first_byte, steps):
    line, growth = Line(each=25 * MB, most=10_000 * MB, first_byte=first_byte), Growth(32)
    assert sorted({line.run(growth, 0.05) for _ in range(40)}) == steps


@pytest.mark.parametrize(("first_byte", "enough"), [(NEAR, 4), (FAR, 16)])
def test_it_stops_where_the_line_is_full(first_byte, enough):
    line, growth = Line(each=25 * MB, most=110 * MB, first_byte=first_byte), Growth(64)
    wanted = [line.run(growth, 0.1) for _ in range(600)]
    assert wanted.count(enough) > 0.8 * len(wanted)
    assert max(wanted) == 2 * enough


@pytest.mark.parametrize(("first_byte", "more"), [(NEAR, 2), (FAR, 8)])
def test_it_goes_back_to_one_where_one_was_enough_and_asks_ever_less_often(first_byte, more):
    line, growth = Line(each=50 * MB, most=50 * MB, first_byte=first_byte), Growth(8)
    wanted = [line.run(growth, 0.1) for _ in range(600)]
    assert wanted[-1] == 1
    assert set(wanted) == {1, more}
    assert wanted.count(more) < 0.1 * len(wanted)


@pytest.mark.parametrize("busy", [0.6, 1.5], ids=["the thread is busy", "the digest lags"])
def test_this_machine_being_the_limit_is_no_reason_for_more(busy):
    assert Line(each=25 * MB, most=10_000 * MB, busy=busy).run(Growth(8), 3) == 1


def test_what_is_over_soon_needs_no_more():
    assert Line(each=25 * MB, most=10_000 * MB, missing=25 * MB * WORTH_SECONDS).run(Growth(8), 1) == 1


def test_a_connection_that_broke_is_made_again_and_one_that_was_refused_is_not():
    for refused, wanted in ((False, 8), (True, 3)):
        line, growth = Line(each=25 * MB, most=10_000 * MB), Growth(8)
        line.run(growth, 2)
        growth.lost(3, line.now, refused=refused)
        assert growth.wanted == 3
        assert line.run(growth, 5) == wanted


# --- which connections are in use -------------------------------------------------------------------


@pytest.fixture
def pace():
    return FakePace()


def test_only_what_nobody_uses_is_lent(pace):
    lines = Lines()
    lines.enter("host", 3, pace)
    pace.wait(1)
    assert [lines.borrow("host", 3, pace) for _ in range(3)] == [True, True, False]
    assert lines.borrow("another host", 3, pace)


def test_what_a_file_has_just_given_back_is_for_the_next_file(pace):
    lines = Lines()
    lines.enter("host", 2, pace)
    lines.leave("host", pace)
    assert not lines.borrow("host", 2, pace)
    pace.wait(1)
    assert lines.borrow("host", 2, pace)


def test_a_file_that_begins_gets_its_connection_as_soon_as_one_is_given_back(pace):
    lines, asked = Lines(), []
    lines.enter("host", 2, pace)
    pace.wait(1)
    assert lines.borrow("host", 2, pace)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lines.enter, "host", 2, pace)
        while not lines.wanted("host"):
            asked.append(second.done())
        assert not any(asked)
        lines.give_back("host")
        second.result(10)
    assert not lines.wanted("host")
    assert not lines.borrow("host", 2, pace)


def test_a_file_that_waits_sees_the_stop(pace):
    lines = Lines()
    assert lines.borrow("host", 1, pace)
    pace.stop.set()
    with pytest.raises(DownloadError):
        lines.enter("host", 1, pace)
