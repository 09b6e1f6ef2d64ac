"""How fast a run is: bytes over time, few enough samples to be drawn and kept, and how long the rest will take."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

#: Samples that are kept; a picture is not much wider.
MOST_SAMPLES = 240
#: The rate of now is the one of so many seconds.
_NOW_SECONDS = 30.0


class Sample(NamedTuple):
    """Bytes that were done so many seconds after the beginning."""

    seconds: float
    bytes: int


class Rate(NamedTuple):
    """Bytes a second between two moments."""

    begin: float
    end: float
    rate: float


@dataclass(slots=True)
class Throughput:
    """The samples of one run, oldest first; `Fetched.samples` hands them on."""

    samples: list[Sample] = field(default_factory=list)

    def note(self, seconds: float, done: int) -> None:
        """Remember how much is done; it never shrinks. When there are too many samples, every other one goes."""
        last = self.samples[-1] if self.samples else Sample(0, 0)
        self.samples.append(Sample(seconds, max(done, last.bytes)))
        if len(self.samples) > MOST_SAMPLES:
            del self.samples[1:-1:2]

    def now(self) -> float:
        """Bytes a second of late."""
        if not self.samples:
            return 0.0
        end = self.samples[-1]
        begin = next(one for one in self.samples if one.seconds >= end.seconds - _NOW_SECONDS)
        return _rate(begin, end)

    def seconds_for(self, left: int) -> float | None:
        """How long so many bytes take if it goes on like this; None while nothing moves."""
        now = self.now()
        return left / now if now else None


def rates(samples: list[Sample]) -> list[Rate]:
    """The rate between each two samples."""
    return [Rate(one.seconds, two.seconds, _rate(one, two)) for one, two in pairwise(samples)]


def _rate(begin: Sample, end: Sample) -> float:
    seconds = end.seconds - begin.seconds
    return (end.bytes - begin.bytes) / seconds if seconds > 0 else 0.0
