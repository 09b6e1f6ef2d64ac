"""One run of the managed engine: submits batches, watches all their tasks from one place, sends the rest again.

One loop serves all tasks, and asks at most once a second. Whatever way it is left, no task goes on unseen: it
is cancelled, or the journal knows it and the next run takes it up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tasks.clients.globus.batches import Batch, Item, plan_batches
from tasks.clients.globus.harvest import harvest
from tasks.clients.globus.leftovers import is_proven
from tasks.clients.globus.others import Others
from tasks.clients.globus.outcomes import Result
from tasks.clients.verdicts import DownloadError, Verdict, error, globus_event_path

if TYPE_CHECKING:
    from tasks.clients.globus.submit import Running, Submitter

#: Takes the results of one task at a time, and the staged files away.
Deliver = Callable[[list[Result]], None]
#: Takes the bytes and files moved so far; neither ever falls.
Progress = Callable[[int, int], None]

#: Seconds between two looks at tasks: the service's budget is per user, not per process.
_APART = 1.0
#: Seconds that a cancelled task may take to end.
_WINDING_DOWN = 60.0
#: Seconds between two looks at the journal, while other runs move what is left.
_GLANCE = 2.0


class Run:
    """One call of `Transfers.move`."""

    def __init__(self, submitter: Submitter, deliver: Deliver, progress: Progress) -> None:
        self._submitter = submitter
        self._others = Others(submitter.journal)
        self._service = submitter.service
        self._options = submitter.options
        self._pace = submitter.pace
        self._deliver = deliver
        self._progress = progress
        self._waiting: deque[Batch] = deque()
        self._running: list[Running] = []
        self._done_bytes = self._done_files = 0
        self._in_vain = 0
        self._told = (0, 0)
        self._asked_at = self._pace.monotonic() - _APART

    def go(self, items: list[Item]) -> None:
        """Take up what earlier runs left, submit the rest, and watch until nothing is left."""
        try:
            self._take_up(self._routable(items))
            while self._waiting or self._running or self._others:
                if self._waiting and len(self._running) < self._options.in_flight:
                    self._start(self._waiting.popleft())
                elif self._running:
                    self._look(min(self._running, key=lambda running: running.watch.due))
                else:
                    self._pace.wait(_GLANCE)
                if released := self._others.released():
                    self._take_up(released)
        finally:
            self._cancel_all()

    def _take_up(self, items: list[Item]) -> None:
        """Deliver what another run has brought meanwhile, go on with what the journal knows, and plan the rest."""
        there = {item for item in items if self._submitter.there(item)}
        self._hand_over([Result(item, there=True, attempts=0) for item in items if item in there])
        found = self._submitter.find(item for item in items if item not in there)
        for entry, batch in found.open:
            self._begin(batch, partial(self._submitter.resume, entry, batch))
        self._others.wait_for(found.elsewhere)
        self._waiting.extend(plan_batches(self._without_leftovers(found.fresh), self._options))

    def _without_leftovers(self, items: list[Item]) -> list[Item]:
        """Deliver what a run that died has received already."""
        staged = {item: self._submitter.destination.staged(item) for item in items}
        proven = [item for item in items if is_proven(item, staged[item], self._pace)]
        self._hand_over([Result(item, staged[item], attempts=0) for item in proven])
        done = set(proven)
        return [item for item in items if item not in done]

    def _start(self, batch: Batch) -> None:
        """Submit a batch, unless another run moves some of its files, or has brought them."""
        if not self._begin(batch, partial(self._submitter.submit, batch)):
            self._pace.wait(self._pace.backoff(1))
            self._take_up(list(batch.items))

    def _routable(self, items: list[Item]) -> list[Item]:
        """The files that have a way; the others fail by themselves."""
        routable: list[Item] = []
        for item in items:
            try:
                self._submitter.destination.route(item)
            except DownloadError as failure:
                self._hand_over([Result(item, failure=failure)])
            else:
                routable.append(item)
        return routable

    def _begin(self, batch: Batch, submit: Callable[[], Running | None]) -> bool:
        """Make a batch a running task, or fail it; False when it is another run's turn."""
        try:
            running = submit()
        except DownloadError as failure:
            if failure.code == "stopped":
                raise
            self._fail(batch, batch.items, failure)
            return True
        if running:
            self._running.append(running)
        return running is not None

    def _look(self, running: Running) -> None:
        """Wait for the task's turn, and act on what has become of it."""
        watch = running.watch
        self._pace.wait(max(watch.due, self._asked_at + _APART) - self._pace.monotonic())
        self._asked_at = self._pace.monotonic()
        try:
            self._see(running)
        except DownloadError as failure:
            self._unanswered(running, failure)
            return
        self._tell()
        if watch.ended:
            self._settle(running, watch.end(running.name))
        elif why := watch.verdict(running.name):
            self._give_up(running, why)

    def _see(self, running: Running) -> None:
        """Look at the task, and at its events where something is wrong that was not wrong before."""
        watch = running.watch
        before = watch.health
        watch.see(self._service.task(running.task_id))
        self._submitter.journal.renew(running.submission_id)
        if watch.document.get("is_paused"):
            running.said = self._service.pause_message(running.task_id)
        elif (watch.in_trouble or watch.failed_by_itself) and before != watch.health:
            events = self._service.error_events(running.task_id)
            running.said = " | ".join(f"{event['code']}: {event['description']}" for event in events[:1])
            running.named |= {globus_event_path(str(event.get("details"))) for event in events}

    def _unanswered(self, running: Running, failure: DownloadError) -> None:
        """The service does not answer, or does not know the task any more, or does not know us."""
        if failure.code == "stopped":
            raise failure
        overdue = running.watch.verdict(running.name)
        if failure.verdict is Verdict.RETRY and not overdue:
            running.watch.postpone(failure)
            return
        self._running.remove(running)
        if failure.code == "not-found":
            self._submitter.journal.ended(running.submission_id)
            self._again(running.batch, list(running.batch.items), error("globus-left", failure.reason), moved=False)
        else:
            self._fail(running.batch, running.batch.items, overdue or failure)

    def _give_up(self, running: Running, why: DownloadError) -> None:
        """Cancel a task that is not worth waiting for, and take what it has moved."""
        watch = running.watch
        try:
            self._service.cancel(running.task_id)
            until = self._pace.monotonic() + _WINDING_DOWN
            while not watch.ended and self._pace.monotonic() < until:
                self._pace.wait(_APART)
                watch.see(self._service.task(running.task_id))
        except DownloadError as failure:
            self._unanswered(running, failure)
            return
        if watch.ended:
            self._settle(running, why)
        else:  # it may still write to its files: the journal keeps it, and nothing is sent again
            self._running.remove(running)
            self._fail(running.batch, running.batch.items, why)

    def _settle(self, running: Running, why: DownloadError) -> None:
        """Deliver what an ended task has moved; send the rest again, or give it up."""
        batch, destination = running.batch, self._submitter.destination
        self._running.remove(running)
        try:
            found = harvest(running, why, self._service, destination, self._pace)
        except DownloadError as failure:
            if failure.code == "stopped":
                raise
            self._fail(batch, batch.items, failure)
            return
        self._hand_over(found.results)
        self._submitter.journal.ended(running.submission_id)
        self._in_vain = 0 if found.moved else self._in_vain + 1
        stops = found.in_vain.verdict is Verdict.STOP_RUN and self._in_vain >= self._options.idle_rounds
        self._again(batch, found.left, found.in_vain if stops else found.why, moved=found.moved)

    def _again(self, batch: Batch, left: Sequence[Item], why: DownloadError, *, moved: bool) -> None:
        """Send what was left in a task of its own, unless that has been in vain too often."""
        idle = 0 if moved else batch.idle_rounds + 1
        if left and why.verdict is Verdict.RETRY and idle < self._options.idle_rounds:
            self._pace.wait(self._pace.backoff(idle))
            self._waiting.append(replace(batch, items=tuple(left), idle_rounds=idle, attempts=batch.attempts + 1))
        elif left:
            self._fail(batch, left, why)

    def _fail(self, batch: Batch, items: Sequence[Item], why: DownloadError) -> None:
        """Give files up; what stops the run stops all other batches too."""
        self._hand_over([Result(item, failure=why, attempts=batch.attempts) for item in items])
        if why.verdict is Verdict.STOP_RUN:
            rest = [*self._waiting, *(running.batch for running in self._running)]
            self._waiting.clear()
            self._cancel_all()
            self._hand_over([Result(item, failure=why, attempts=one.attempts) for one in rest for item in one.items])
            self._hand_over([Result(item, failure=why, attempts=0) for item in self._others.all()])

    def _hand_over(self, results: list[Result]) -> None:
        self._done_bytes += sum(result.item.size or result.bytes for result in results if not result.failure)
        self._done_files += len(results)
        self._tell()
        if results:
            self._deliver(results)

    def _tell(self) -> None:
        """Report progress; bytes that were sent twice count once, so neither number may fall or exceed the sum."""
        moving = [(running.watch, running.batch) for running in self._running]
        count = self._done_bytes + sum(min(watch.bytes_moved, watch.bytes or watch.bytes_moved) for watch, _ in moving)
        files = self._done_files + sum(min(watch.files_done, len(batch.items)) for watch, batch in moving)
        self._told = (max(self._told[0], count), max(self._told[1], files))
        self._progress(*self._told)

    def _cancel_all(self) -> None:
        """Cancel what is under way, all at once; the journal keeps what could not be cancelled."""
        running, self._running = self._running, []
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                cancelled = list(pool.map(self._cancel, running))
            for one in cancelled:
                if one:
                    self._submitter.journal.ended(one.submission_id)

    def _cancel(self, running: Running) -> Running | None:
        try:
            return running if self._service.cancel(running.task_id) else None
        except DownloadError:
            return None
