"""What an ended task leaves: asks the service and the disk, and tells each file's fate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tasks.clients.globus.outcomes import Result, Testimony, unseen, weigh
from tasks.clients.verdicts import DownloadError, error

if TYPE_CHECKING:
    from tasks.clients.globus.batches import Destination, Item
    from tasks.clients.globus.service import GlobusService
    from tasks.clients.globus.submit import Running
    from tasks.clients.seams import Pace

#: What ends a task though one file alone may be to blame, and what it is of that file.
_OF_ONE_FILE = {"not-found": "not-found", "globus-quota": "globus-quota-file"}
#: Seconds to wait for files that the service has moved and that this machine does not see yet.
_SIGHT = (1.0, 3.0, 10.0, 30.0)


class Harvest(NamedTuple):
    """What an ended task leaves.

    Attributes:
        results: The files whose fate is known.
        left: The others.
        why: What that means for them.
        in_vain: What it means when sending them again gets nothing done.
        moved: Whether the task got anything done.
    """

    results: list[Result]
    left: list[Item]
    why: DownloadError
    in_vain: DownloadError
    moved: bool


def harvest(
    running: Running, why: DownloadError, service: GlobusService, destination: Destination, pace: Pace
) -> Harvest:
    """Take what an ended task leaves.

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
        if running.batch.resumed or not unseen(running.batch, destination, testimony):
            break
        pace.wait(seconds)
    results, left = weigh(running.batch, destination, testimony)
    task = running.ended(sum(result.staged is not None for result in results))
    found = Harvest([replace(result, task=task) for result in results], left, why, why, bool(results))
    return _without_the_named(found, running, destination)


def _without_the_named(found: Harvest, running: Running, destination: Destination) -> Harvest:
    """One file can hold or end a whole task; where the events say which, it fails alone and the others go on."""
    row = _OF_ONE_FILE.get(found.why.code)
    named = [item for item in found.left if running.named.intersection(destination.route(item))] if row else []
    if not row or not named:
        return found
    results = [Result(item, failure=error(row, running.name), attempts=running.batch.attempts) for item in named]
    left, others = error("globus-left", running.name), [item for item in found.left if item not in named]
    if row == "not-found":
        return Harvest([*found.results, *results], others, left, left, moved=True)
    return Harvest([*found.results, *results], others, left, found.why, found.moved)


def _testimony(running: Running, service: GlobusService, destination: Destination) -> Testimony:
    """The two lists have a page for every hundred files: they are read only where the task does not tell enough."""
    if running.watch.moved_all(len(running.batch.items)):
        return Testimony.of_all(running.batch, destination)
    return Testimony.of(
        service.successful(running.task_id), service.skipped(running.task_id), succeeded=running.watch.succeeded
    )
