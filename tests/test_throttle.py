"""The throttle: never more than the limit in a minute, whoever asks."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tasks.clients.verdicts import DownloadError
from tasks.rest.throttle import WINDOW_SECONDS, Throttle, shared_file
from tests.loopback import Clock

if TYPE_CHECKING:
    from pathlib import Path


def busiest_minute(moments: list[float]) -> int:
    moments = sorted(moments)
    return max(sum(1 for later in moments if first <= later < first + 60) for first in moments)


class Frozen(Clock):
    """A clock that stands still while others wait; what they wait for is kept."""

    def wait(self, seconds: float) -> None:
        self.check()
        self.waits.append(seconds)


def granted(clock: Frozen, count: int) -> list[float]:
    """The moments at which `count` requests go, those that need not wait included."""
    return [0.0] * (count - len(clock.waits)) + clock.waits


def test_a_burst_goes_at_once_and_the_rest_waits() -> None:
    clock = Frozen()
    throttle = Throttle(clock, per_minute=10)
    for _ in range(35):
        throttle.take()
    moments = granted(clock, 35)
    assert moments.count(0.0) == 10
    assert busiest_minute(moments) == 10
    assert max(moments) == pytest.approx(3 * WINDOW_SECONDS)


def test_all_that_share_a_file_share_the_limit(tmp_path: Path) -> None:
    clock = Frozen()
    throttles = [Throttle(clock, tmp_path / "book.json", per_minute=10) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda throttle: [throttle.take() for _ in range(5)], throttles))
    assert busiest_minute(granted(clock, 20)) == 10


def test_time_frees_places(tmp_path: Path) -> None:
    clock = Clock()
    throttle = Throttle(clock, tmp_path / "book.json", per_minute=2)
    throttle.take()
    throttle.take()
    clock.time += WINDOW_SECONDS
    throttle.take()
    assert clock.waits == []


def test_a_closed_throttle_lets_nobody_through(tmp_path: Path) -> None:
    clock = Frozen()
    Throttle(clock, tmp_path / "book.json").close(40)
    Throttle(clock, tmp_path / "book.json").take()
    assert clock.waits == [40.0]


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    throttle = Throttle(Clock(stop), per_minute=1)
    throttle.take()
    stop.set()
    with pytest.raises(DownloadError, match="asked to stop"):
        throttle.take()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"granted": ["x"], "closed_until": 0}', '{"granted": null}'])
def test_a_broken_file_is_begun_anew(text: str, tmp_path: Path) -> None:
    book = tmp_path / "book.json"
    book.write_text(text)
    Throttle(Clock(), book).take()
    assert len(json.loads(book.read_text())["granted"]) == 1


def test_a_clock_that_was_set_back_blocks_nobody(tmp_path: Path) -> None:
    book, clock = tmp_path / "book.json", Clock()
    ahead = clock.now() + 100_000
    book.write_text(json.dumps({"granted": [ahead, ahead], "closed_until": 0.0}))
    Throttle(clock, book, per_minute=2).take()
    assert clock.waits == []


def test_a_place_that_cannot_be_written_counts_for_one_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Frozen()
    (tmp_path / "file").touch()
    throttle = Throttle(clock, tmp_path / "file" / "book.json", per_minute=2)
    for _ in range(3):
        throttle.take()
    assert clock.waits == [WINDOW_SECONDS]
    assert caplog.text.count("in this process only") == 1


def test_a_user_has_one_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine, again, other = (shared_file("https://a", user) for user in ("ana", "ana", "bob"))
    assert mine == again != other
    assert mine is not None
    assert mine.parent.stat().st_mode & 0o777 == 0o700
    mine.parent.rmdir()
    mine.parent.symlink_to(tmp_path)
    assert shared_file("https://a", "ana") is None
