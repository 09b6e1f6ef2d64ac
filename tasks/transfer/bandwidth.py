"""A bandwidth limit by the hour, that all workers of a machine share.

The text is rclone's (https://rclone.org/docs/#bwlimit-bandwidth-spec): a rate, or a timetable of them.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from tasks.rest.shared_state import SharedState, shared_file

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.clients.seams import Pace

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_ENTRY = re.compile(r"(?:(?P<day>[a-z]{3})-)?(?P<hour>\d{1,2}):(?P<minute>\d{2}),(?P<rate>\S+)", re.IGNORECASE)
_TIME = re.compile(r"([a-z]{3}-)?\d{1,2}:\d{2}(,|$)", re.IGNORECASE)
_RATE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[bkmgt]?)(?:i?b)?", re.IGNORECASE)
#: As rclone has it: powers of 1024, and KiB where there is no unit.
_UNITS = {"b": 1, "": 2**10, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
#: So much of a pause is made up for by a burst.
_BURST_SECONDS = 0.25
#: So much of the line is booked at once: the shared file costs a millisecond each time.
_BOOKED_SECONDS = 0.1
#: A turn further ahead than this comes from a clock that was set back.
_FARTHEST_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Timetable:
    """Rates by the minute of the week, Monday 00:00 first; None is no limit."""

    entries: tuple[tuple[int, float | None], ...]

    @classmethod
    def parse(cls, text: str) -> Timetable:
        """Read `512k`, `off`, `08:00,512k 19:00,10M 23:00,off`, or the same with days: `Sat-08:00,off`.

        Raises:
            ValueError: It is none of these, with what is wrong.
        """
        words = text.split()
        if not words:
            raise ValueError("it is empty; `off` means no limit")
        if len(words) == 1 and not _TIME.match(text):
            return cls(((0, _rate(words[0])),))
        return cls(tuple(sorted(entry for word in words for entry in _entries(word))))

    def at(self, moment: datetime) -> float | None:
        """Bytes a second at a moment of this machine's clock; the week before goes on until its first entry."""
        minute = moment.weekday() * _DAY_MINUTES + moment.hour * 60 + moment.minute
        begun = [rate for start, rate in self.entries if start <= minute]
        return begun[-1] if begun else self.entries[-1][1]


def _entries(word: str) -> list[tuple[int, float | None]]:
    """One word of a timetable: once a week with a day, else on each day."""
    found = _ENTRY.fullmatch(word)
    if found is None:
        raise ValueError(f"{word!r} is no entry of a timetable: write 08:00,512k or Mon-08:00,512k")
    day, minute = (found["day"] or "").lower(), int(found["hour"]) * 60 + int(found["minute"])
    if (day and day not in _DAYS) or int(found["minute"]) > 59 or minute >= _DAY_MINUTES:  # noqa: PLR2004
        raise ValueError(f"{word!r} names no time: days are Mon to Sun, times 00:00 to 23:59")
    days = [_DAYS.index(day)] if day else range(len(_DAYS))
    return [(number * _DAY_MINUTES + minute, _rate(found["rate"])) for number in days]


def _rate(text: str) -> float | None:
    """A rate; of `upload:download` the latter counts."""
    word = text.rpartition(":")[2]
    if word.lower() == "off":
        return None
    found = _RATE.fullmatch(word)
    if found is None:
        raise ValueError(f"{word!r} is no rate: write 512k, 10M or off")
    return float(found["number"]) * _UNITS[found["unit"].lower()] or None


def _checked(text: str) -> str:
    if text:
        Timetable.parse(text)
    return text


#: A limit as people write it; "" is none.
Bwlimit = Annotated[str, AfterValidator(_checked)]


class Meter:
    """Lets as many bytes through as the timetable says, counted over every process that uses the same file.

    Each caller books the time that its bytes take on a line of that rate, and waits for its turn. Each of those
    who share a line may have a limit of its own.

    Args:
        timetable: What goes when.
        pace: Clock and stop signal.
        path: Where the processes of a machine share the line; None for this object alone.
    """

    def __init__(self, timetable: Timetable, pace: Pace, path: Path | None = None) -> None:
        self._timetable = timetable
        self._pace = pace
        self._state = SharedState(path, "Bytes are")
        self._free_at = 0.0
        self._gathering = threading.Lock()
        self._pending = 0

    def __call__(self, count: int) -> None:
        """Wait until so many bytes may pass.

        Raises:
            DownloadError: `stopped`.
        """
        rate = self._timetable.at(datetime.fromtimestamp(self._pace.now(), UTC).astimezone())
        if rate is not None and (pending := self._gathered(count, rate * _BOOKED_SECONDS)):
            self._pace.wait(self._book(pending / rate))

    def _gathered(self, count: int, enough: float) -> int:
        """All bytes that nobody has booked yet, once they are worth it; 0 before."""
        with self._gathering:
            self._pending += count
            pending = self._pending
            if pending < enough:
                return 0
            self._pending = 0
            return pending

    def _book(self, seconds: float) -> float:
        """Take the next free piece of the line; return how long it is until it has passed."""
        with self._state.held():
            now, known = self._pace.now(), self._state.read()
            free_at = known if isinstance(known, float) else self._free_at
            if free_at > now + _FARTHEST_SECONDS:
                free_at = now
            self._free_at = max(free_at, now - _BURST_SECONDS) + seconds
            self._state.write(self._free_at)
        return self._free_at - now


def meter(limit: str, pace: Pace) -> Meter | None:
    """The meter of this machine for a limit; None where nothing is limited."""
    return Meter(Timetable.parse(limit), pace, shared_file("bandwidth.json")) if limit else None
