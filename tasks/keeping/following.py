"""Follows the shards of a plan: how many run at once, whose machine died, and what they bring together.

Knows no Prefect: a pool starts runs and says how they are. What a shard did stands in the ledger, under its name.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tasks.ledgers.leases import SILENCE
from tasks.model import Summary
from tasks.plan.planfile import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from tasks.clients.seams import Pace
    from tasks.ledger import Ledger

#: How often a shard is started that did not come to its end; it goes on where the last one stopped.
ATTEMPTS = 3
#: How often the pool is asked: one request for all shards.
_LOOK_SECONDS = 5.0


@dataclass(slots=True)
class Shard:
    """A part of a plan.

    Attributes:
        name: Of its run in the ledger; the same for all attempts, so that what one settled the next one counts.
        path: Where its plan lies.
        attempt: Which one is under way.
        run: The pool's name for that.
        alive: When it last renewed its lease, or was seen not to run yet.
    """

    name: str
    path: Path
    attempt: int = 0
    run: str = ""
    alive: float = 0.0
    lease: str = field(init=False)

    def __post_init__(self) -> None:
        self.lease = f"plan {Plan.load(self.path).id}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run of the pool is: the type of its state, and what was said of it."""

    kind: str
    message: str = ""


class Pool(Protocol):
    """Machines that run shards."""

    def start(self, shard: Shard) -> str:
        """Start an attempt, once however often it is asked for; return its name, "" where the pool does not answer."""
        ...

    def standings(self, runs: Sequence[str]) -> Mapping[str, Standing]:
        """Say how runs are; nothing where the pool does not answer."""
        ...

    def bury(self, run: str) -> None:
        """Declare a run dead."""
        ...

    def stop(self, run: str) -> None:
        """Ask a run to stop."""
        ...


@dataclass(slots=True)
class Fleet:
    """Runs shards on a pool, so many at once.

    Attributes:
        say: Told of each shard that ended, and of each that is started again.
        stopped: Why no more shards are started, "" while there is no reason.
    """

    pool: Pool
    ledger: Ledger
    pace: Pace
    at_once: int
    say: Callable[[str], None]
    stopped: str = ""
    total: Summary = field(default_factory=Summary)
    _live: dict[str, Shard] = field(default_factory=dict)

    def follow(self, shards: Iterable[Shard]) -> Summary:
        """Run all shards, and add up what they bring; a stop ends those that run.

        Raises:
            DownloadError: `stopped`, or a row of the ledger's; the shards that ran are asked to stop.
        """
        waiting, again = iter(shards), deque[Shard]()
        try:
            while self._start(waiting, again) or self._live or (again and not self.stopped):
                again += self._look()
                if self._live or again:
                    self.pace.wait(_LOOK_SECONDS)
        except BaseException:
            self._stop_all()
            raise
        return Summary(**self.total.to_json(), stopped=self.stopped)

    def _start(self, waiting: Iterable[Shard], again: deque[Shard]) -> bool:
        """Start as many as may run; return whether there was one."""
        started = False
        while not self.stopped and len(self._live) < self.at_once:
            shard = again.popleft() if again else next(iter(waiting), None)
            if shard is None:
                break
            run = self.pool.start(shard)
            if not run:
                again.append(shard)
                break
            shard.attempt += 1
            shard.run, shard.alive = run, self.pace.monotonic()
            self._live[run] = shard
            started = True
        return started

    def _look(self) -> list[Shard]:
        """Take note of what ended or died; return what is to be started again."""
        standings, left = self.pool.standings(list(self._live)), self.ledger.leases_left()
        ended = []
        for run, shard in list(self._live.items()):
            standing = standings.get(run, Standing("UNKNOWN"))
            if standing.kind != "RUNNING":
                shard.alive = self.pace.monotonic()
            elif self._is_silent(shard, left):
                self.pool.bury(run)
                standing = Standing("CRASHED", "Its machine fell silent.")
            if standing.kind in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                del self._live[run]
                ended += self._end(shard, standing)
        return ended

    def _is_silent(self, shard: Shard, left: Mapping[str, timedelta]) -> bool:
        """Whether a shard has not said for too long that it lives; what is left of its lease tells when it said so."""
        now = self.pace.monotonic()
        if shard.lease in left:
            shard.alive = max(shard.alive, now - (SILENCE - left[shard.lease]).total_seconds())
        return now - shard.alive > SILENCE.total_seconds()

    def _end(self, shard: Shard, standing: Standing) -> list[Shard]:
        """Count what a shard brought; return it if it is to be started again."""
        run = self.ledger.run(shard.name)
        if run and run.summary:
            self.total += Summary(**run.summary)
            self.say(f"{shard.name}: {Summary(**run.summary).line()}")
            if standing.kind in ("FAILED", "CANCELLED"):  # it had to stop, and so would the others
                self._halt(standing.message or "A shard was cancelled.")
            return []
        if standing.kind == "CANCELLED" or shard.attempt == ATTEMPTS:
            self._halt(f"{shard.name} did not come to its end in {shard.attempt} attempts. {standing.message}")
            return []
        self.say(f"{shard.name} is started again: {standing.message}")
        return [shard]

    def _halt(self, why: str) -> None:
        self.stopped = self.stopped or why
        self._stop_all()

    def _stop_all(self) -> None:
        for run in self._live:
            self.pool.stop(run)
