"""The managed engine: many files go in, each file's fate comes out, and Globus moves the bytes in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.clients.globus.run import Deliver, Progress, Run
from tasks.clients.globus.submit import Submitter, There

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.clients.globus.batches import Destination, Item
    from tasks.clients.globus.journal import Journal
    from tasks.clients.globus.options import GlobusOptions
    from tasks.clients.globus.service import GlobusService
    from tasks.clients.seams import Pace

__all__ = ["Deliver", "Progress", "There", "Transfers"]


@dataclass(frozen=True, slots=True)
class Transfers:
    """Moves files with Globus.

    Attributes:
        service: Globus Transfer.
        journal: Where submissions are written down before they are sent.
        options: Sizes and patience.
        pace: Clock, dice and stop signal.
    """

    service: GlobusService
    journal: Journal
    options: GlobusOptions
    pace: Pace

    def move(
        self,
        items: Iterable[Item],
        destination: Destination,
        deliver: Deliver,
        progress: Progress | None = None,
        there: There | None = None,
    ) -> None:
        """Receive files in the staging directory; return when each had its result.

        Args:
            items: What to move; no key twice.
            destination: Where to.
            deliver: Called in this thread with the results of one task at a time.
            progress: Called in this thread after every look at a task.
            there: Whether a file has its final name, from another run on the same root; asked before it is moved.

        Raises:
            DownloadError: `stopped`, after the tasks were cancelled. What is staged stays, and the next run goes
                on with it.
        """
        submitter = Submitter(
            self.service, self.journal, self.options, self.pace, destination, there or (lambda _: False)
        )
        Run(submitter, deliver, progress or (lambda *_: None)).go(list(items))
