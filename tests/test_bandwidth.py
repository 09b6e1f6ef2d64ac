"""`--bwlimit`: rclone's words, one line for all who share a machine, and a clock that tests move."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from tasks.clients import WireOptions, client_for
from tasks.clients.verdicts import DownloadError
from tasks.settings import AlyxSettings
from tasks.transfer.bandwidth import Meter, Timetable, meter
from tests.loopback import Clock, Reply, serve
from tests.pace import FakePace

WORKDAY = "08:00,512k 12:00,10M 13:00,512k 18:00,30M 23:00,off"  # the example of rclone's own documentation
WEEK = "Mon-00:00,512 Fri-23:59,10M Sat-10:00,1M Sun-20:00,off"  # and its other one
KI, MI = 2**10, 2**20
#: A Monday; days of November follow it.
MONDAY = 16


def rate(text, day, clock):
    hour, minute = map(int, clock.split(":"))
    return Timetable.parse(text).at(datetime(2026, 11, day, hour, minute, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "day", "clock", "expected"),
    [
        ("10M", MONDAY, "03:00", 10 * MI),
        ("512", MONDAY, "03:00", 512 * KI),
        ("1.5M", MONDAY, "03:00", 1.5 * MI),
        ("100B", MONDAY, "03:00", 100),
        ("1MiB", MONDAY, "03:00", MI),
        ("10M:100k", MONDAY, "03:00", 100 * KI),
        ("off", MONDAY, "03:00", None),
        ("0", MONDAY, "03:00", None),
        (WORKDAY, MONDAY, "07:59", None),
        (WORKDAY, MONDAY, "08:00", 512 * KI),
        (WORKDAY, MONDAY, "12:30", 10 * MI),
        (WORKDAY, MONDAY, "18:00", 30 * MI),
        (WORKDAY, MONDAY + 6, "23:00", None),
        (WEEK, MONDAY, "00:00", 512 * KI),
        (WEEK, MONDAY + 4, "23:58", 512 * KI),
        (WEEK, MONDAY + 4, "23:59", 10 * MI),
        (WEEK, MONDAY + 5, "10:00", MI),
        (WEEK, MONDAY + 6, "19:59", MI),
        (WEEK, MONDAY + 6, "20:00", None),
        ("wed-08:00,1M", MONDAY, "08:00", MI),
    ],
)
def test_the_rate_at_a_moment(text, day, clock, expected):
    assert rate(text, day, clock) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("fast", "'fast' is no rate"),
        ("-1M", "'-1M' is no rate"),
        ("08:00", "'08:00' is no entry"),
        ("08:00,fast", "'fast' is no rate"),
        ("25:00,1M", "names no time"),
        ("08:60,1M", "names no time"),
        ("Foo-08:00,1M", "names no time"),
        ("08:00,1M 19:00", "'19:00' is no entry"),
        ("1M 2M", "'1M' is no entry"),
    ],
)
def test_what_is_no_limit(text, words):
    with pytest.raises(ValueError, match=words):
        Timetable.parse(text)


def test_bytes_pass_at_the_rate():
    clock = Clock()
    line, begin = Meter(Timetable.parse("1k"), clock), clock.time
    for _ in range(100):
        line(KI)
    assert clock.time - begin == pytest.approx(100, abs=1)


def test_without_a_limit_nobody_waits():
    clock = Clock()
    Meter(Timetable.parse("off"), clock)(10**12)
    assert clock.waits == []
    assert meter("", clock) is None


def test_a_pause_is_made_up_for_by_a_small_burst_only():
    clock = Clock()
    line = Meter(Timetable.parse("1k"), clock)
    line(KI)
    clock.time += 3600
    begin = clock.time
    line(10 * KI)
    assert clock.time - begin == pytest.approx(10, abs=0.5)


def test_the_rate_changes_with_the_hour():
    clock = Clock()
    clock.time = datetime.fromisoformat("2026-11-16T22:59:59").timestamp()
    line = Meter(Timetable.parse("08:00,1k 23:00,off"), clock)
    line(2 * KI)
    waited = len(clock.waits)
    line(10**9)
    assert (waited, len(clock.waits)) == (1, 1)


def test_those_who_share_a_file_share_the_line(tmp_path):
    clock = Clock()
    lines = [Meter(Timetable.parse("1k"), clock, tmp_path / "line.json") for _ in range(4)]
    begin = clock.time
    for _ in range(5):
        for line in lines:
            line(KI)
    assert clock.time - begin == pytest.approx(20, abs=1)


def test_processes_share_the_line(tmp_path):
    """Each of three processes books 50 kB at 10 kB a second; the last one's turn is when all bytes have passed."""
    code = (
        "import sys; from pathlib import Path; from tasks.transfer.bandwidth import Meter, Timetable; "
        "from tasks.clients.seams import Pace; pace = Pace(); pace.now = lambda: 1e9; pace.wait = print; "
        "line = Meter(Timetable.parse('10000B'), pace, Path(sys.argv[1])); [line(1000) for _ in range(50)]"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "line.json")]
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(subprocess.run, command, capture_output=True, text=True, check=True) for _ in range(3)]
    turns = sorted(float(turn) for run in runs for turn in run.result().stdout.split())
    assert len(turns) == 150
    assert all(later - earlier == pytest.approx(0.1, abs=1e-5) for earlier, later in pairwise(turns))


@pytest.mark.parametrize("text", ["", "{", "[]", '"soon"', "1e400", "9e99"])
def test_a_broken_file_or_a_clock_that_was_set_back_blocks_nobody(text, tmp_path):
    clock, file = Clock(), tmp_path / "line.json"
    file.write_text(text)
    Meter(Timetable.parse("1k"), clock, file)(KI)
    assert sum(clock.waits) <= 1.0


def test_a_stop_ends_the_wait():
    clock = Clock()
    clock.stop.set()
    with pytest.raises(DownloadError, match="asked to stop"):
        Meter(Timetable.parse("1k"), clock)(KI)


# --- over a real socket --------------------------------------------------------------------------------------------


def test_a_client_keeps_to_the_limit_and_is_not_called_stalled(tmp_path):
    """300 kB at 1 kB a second take five minutes of the clock: no stall, no deadline, and the file is right."""
    pace, data = FakePace(), os.urandom(300_000)
    options = WireOptions(attempts=1, stall_seconds=60, deadline_seconds=1, meter=Meter(Timetable.parse("1000B"), pace))
    with serve(lambda _: Reply(200, data)) as server:
        client = client_for("http", {"name": "r", "data_url": server.url}, {}, options, pace=pace)
        client.download_file(f"{server.url}/a.bin", tmp_path / "a.bin", size=len(data))
    assert (tmp_path / "a.bin").read_bytes() == data
    assert pace.skipped == pytest.approx(300, rel=0.02)


def test_a_run_takes_the_limit_from_the_setting(monkeypatch):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_BWLIMIT", "08:00,512k 23:00,off")
    assert AlyxSettings.read().bwlimit == "08:00,512k 23:00,off"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_BWLIMIT", "fast")
    with pytest.raises(DownloadError, match=r"bwlimit: 'fast' is no rate"):
        AlyxSettings.read()


@pytest.mark.parametrize("verb", ["fetch", "sync", "retry", "verify"])
def test_the_option_goes_before_the_setting_and_ends_with_the_command(verb, command, monkeypatch):
    import flows.fetching

    seen = []

    def look(*_):
        seen.append(AlyxSettings.read().bwlimit)
        raise KeyboardInterrupt

    monkeypatch.setattr(flows.fetching, verb, look)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_BWLIMIT", "10M")
    subject = ["--subject", "KS005"] if verb in ("fetch", "sync") else []
    command(verb, *subject, "--bwlimit", "08:00,512k 23:00,off")
    assert seen == ["08:00,512k 23:00,off"]
    assert AlyxSettings.read().bwlimit == "10M"


def test_a_limit_that_is_none_is_a_mistake_of_usage(command):
    done = command("retry", "--bwlimit", "08:00,fast")
    assert (done.code, done.out) == (2, "")
    assert "'fast' is no rate: write 512k, 10M or off" in " ".join(done.err.split())
