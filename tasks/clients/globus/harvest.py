"""What an ended task leaves: asks the service and the disk, and tells each file's fate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.clients.globus.outcomes import Result, Testimony, unseen, weigh
from tasks.clients.verdicts import DownloadError, error

if TYPE_CHECKING:
    from tasks.clients.globus.batches import Destination, Item
    from tasks.clients.globus.service import GlobusService
    from tasks.clients.globus.submit import Running
    from tasks.clients.seams import Pace

#: Seconds to wait for files that the service has moved and that this machine does not see yet.
_SIGHT = (1.0, 3.0, 10.0, 30.0)


def harvest(
    running: Running, why: DownloadError, service: GlobusService, destination: Destination, pace: Pace
) -> tuple[list[Result], list[Item], DownloadError]:
    """Results of the files whose fate is known, the files that were left, and what that means for them.

    Args:
        running: A task that has ended.
        why: Why it ended, or was ended.
        service: Globus Transfer.
        destination: Where its files are.
        pace: Clock and stop signal.

    Raises:
        DownloadError: when the service does not tell.
    """
    testimony = _testimony(running, service, destination)
    for seconds in _SIGHT:
        if not unseen(running.batch, destination, testimony):
            break
        pace.wait(seconds)
    results, left = weigh(running.batch, destination, testimony)
    return _without_the_named(running, why, destination, results, left)


def _testimony(running: Running, service: GlobusService, destination: Destination) -> Testimony:
    """The two lists have a page for every hundred files: they are read only where the task does not tell enough."""
    if running.watch.moved_all(len(running.batch.items)):
        return Testimony.of_all(running.batch, destination)
    return Testimony.of(
        service.successful(running.task_id), service.skipped(running.task_id), succeeded=running.watch.succeeded
    )


def _without_the_named(
    running: Running, why: DownloadError, destination: Destination, results: list[Result], left: list[Item]
) -> tuple[list[Result], list[Item], DownloadError]:
    """A file that cannot be found holds a task that does not skip it; the events say which, the others go on."""
    if why.code != "not-found":
        return results, left, why
    named = [item for item in left if running.named.intersection(destination.route(item))]
    results += [Result(item, failure=why, attempts=running.batch.attempts) for item in named]
    return results, [item for item in left if item not in named], error("globus-left", why.reason)
