"""Tells whoever watches how far a run is: a bar that moves at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar
from rich.theme import Theme

from tasks.telling.answers import left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.telling.answers import Standing

#: How often a line says how far it is; each costs the Prefect server a millisecond.
LINE_SECONDS = 30.0


class Teller(Protocol):
    """Tells how a run stands, when it is time to."""

    def tell(self, standing: Standing) -> None:
        """Take note of how it stands."""
        ...


@dataclass(slots=True)
class Lines:
    """A line every half minute, the first after one: a short run needs none.

    Args:
        say: Takes a line.
        clock: Seconds that never run backwards.
    """

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _said: float = field(init=False)

    def __post_init__(self) -> None:
        self._said = self.clock()

    def tell(self, standing: Standing) -> None:
        """Say it, if it is time to."""
        if self.clock() - self._said >= LINE_SECONDS:
            self._said = self.clock()
            self.say(left(standing))


@dataclass(slots=True)
class Moving:
    """A bar that moves; it is gone at the end, since the result says the same."""

    bar: Bar
    task: TaskID

    def tell(self, standing: Standing) -> None:
        """Move it."""
        self.bar.update(self.task, total=standing.bytes, completed=min(standing.done, standing.bytes))


@contextmanager
def teller(say: Callable[[str], None], console: Console | None = None) -> Iterator[Teller]:
    """Give a run its voice.

    Args:
        say: Takes a line, where nobody watches a terminal.
        console: The terminal; by default standard error, where it is one.
    """
    watched = console or _terminal()
    if watched is None:
        yield Lines(say)
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    # Prefect's console knows no styles of bars: rich's own are added.
    with watched.use_theme(Theme()), Bar(*columns, console=watched, transient=True) as bar:
        yield Moving(bar, bar.add_task("", total=None))


def _terminal() -> Console | None:
    """Where somebody watches, the console that Prefect logs to: a line of the log then moves the bar down."""
    if not sys.stderr.isatty():
        return None
    logs = (one.console for one in logging.getLogger().handlers if isinstance(one, PrefectConsoleHandler))
    return next(logs, None) or Console(stderr=True)
