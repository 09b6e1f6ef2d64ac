"""Runs a plan inside a flow run, batch by batch, and concludes it: what all flows that move files share."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid4

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.futures import wait
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.fetched import Course, Fetched, StoppedError
from flows.plain_errors import log_plainly
from flows.teller import teller
from tasks.alyx import AlyxClient
from tasks.clients.verdicts import DownloadError
from tasks.downloading import download_batch
from tasks.ledgers.leases import leased
from tasks.ledgers.settled import Settled
from tasks.model import Summary
from tasks.preparing import require_place
from tasks.reporting import report, report_batch, report_begin, report_full
from tasks.settings import AlyxSettings
from tasks.telling.alyx import tell_alyx
from tasks.telling.progress import Progress, tolerant
from tasks.transfer.runs import leading
from tasks.wording import batch_label, files, headline, human_bytes, span_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prefect.client.schemas.objects import State as PrefectState
    from prefect.futures import PrefectFuture

    from tasks.ledgers.leases import Lease
    from tasks.model import Json
    from tasks.plan.planfile import Plan
    from tasks.transfer.runs import Run

#: How often a look is taken at how far it is.
_LOOK_SECONDS = 1.0

log_plainly()


class Batch(Protocol):
    """A task that works on one batch of a plan: `tasks.downloading.download_batch` and its kind."""

    def submit(self, plan: str, batch: int, run_id: str, label: str, /) -> PrefectFuture[Json]:
        """Start the task run."""
        ...


def run_plan(plan: Plan, path: Path, asked: Json, batch: Batch = download_batch, run_id: str = "") -> Fetched:
    """Do what a plan says, with progress, ledger and report; when the flow run is ended, all its threads stop.

    Args:
        plan: What is to be done.
        path: Where it is saved, for the batches.
        asked: What the run was asked for, for the ledger.
        batch: The task that works on one batch.
        run_id: The run, in the ledger; by default the flow run's own. One that was there before is continued: what it
            settled is counted, and not done again.

    Raises:
        DownloadError: when the run cannot begin; single files never raise.
    """
    add_to_name(_extent(plan))
    run_id = run_id or flow_run.get_id() or str(uuid4())
    with leading(run_id, Path(plan.root)) as run, _stopping(run):
        with leased(run.ledger, f"plan {plan.id}", run.pace, get_run_logger().info) as lease:
            run.ledger.begin_run(run_id, asked)
            run.ledger.confirm(plan.present_files(), run=run_id)
            report_begin(plan)
            progress = Progress(plan, run)
            summary = _run_batches(run, progress, path, batch, lease)
            run.ledger.end_run(run_id, summary)
        _tell(run, progress, summary)
    course = Course(progress.throughput.samples, run.switchboard.refusals, run.tally.slowest)
    return Fetched(plan, summary, Settled(plan, run_id), course)


@contextmanager
def _stopping(run: Run) -> Iterator[None]:
    """Stop the threads of a run that ends early: they see it within a second, and leaving the flow waits for them."""
    try:
        yield
    except BaseException:
        run.pace.stop.set()
        raise


def _extent(plan: Plan) -> str:
    """Labs and dates of what is to be done, files and bytes, as far as the name of the run does not say it already."""
    size = human_bytes(plan.fetch.bytes + plan.check.bytes)
    parts = (span_words(plan.batches, flow_run.get_name() or ""), files(plan.fetch.files + plan.check.files), size)
    return " · ".join(filter(None, parts))


def _tell(run: Run, progress: Progress, summary: Summary) -> None:
    """Report: to Alyx where that is wanted; to people as artifacts, an event, and in the log what they should know."""
    standing = progress.complete(summary)
    told = tell_alyx(run.ledger.each_outcome(run.id), run.mismatched, run.tree, AlyxSettings.read())
    standing = replace(standing, remarks=[*standing.remarks, *told])
    for remark in standing.remarks:
        get_run_logger().warning(remark)
    report(standing, summary, run.ledger.folders(run.id), AlyxClient().url)


def has_room(plan: Plan) -> Plan:
    """Return a plan that fits the disk; tell of one that does not.

    Raises:
        DownloadError: `no-space`.
    """
    try:
        require_place(plan)
    except DownloadError as failure:
        report_full(plan.root, str(failure))
        raise
    return plan


def conclude(fetched: Fetched) -> PrefectState[Fetched]:
    """Return the flow run's final state: Failed when it had to stop, Partial when some files failed."""
    summary = fetched.summary
    get_run_logger().info(summary.line())
    if summary.stopped:
        return Failed(message=f"{summary.stopped} {summary.line()}", data=StoppedError(fetched))
    message = f"{headline(summary)}. {summary.line()}"
    return Completed(name="Partial" if summary.failed else None, message=message, data=fetched)


def add_to_name(more: str) -> None:
    """Say more in the name of the flow run."""
    run_id = flow_run.get_id()
    if run_id:
        with tolerant(), get_client(sync_client=True) as client:
            client.update_flow_run(UUID(run_id), name=f"{flow_run.get_name()} · {more}")


def _run_batches(run: Run, progress: Progress, path: Path, batch: Batch, lease: Lease) -> Summary:
    """Submit the batches, let the progress move while they run, and add up what they say."""
    begin, plan = time.monotonic(), progress.plan
    labels = [batch_label(plan, number) for number in range(len(plan.batches))]
    futures = [batch.submit(str(path), number, run.id, label) for number, label in enumerate(labels)]
    _follow(run, progress, dict(zip(futures, labels, strict=True)), lease)
    planned = Summary(files=plan.present.files + plan.skipped, present=plan.present.files, skipped=plan.skipped)
    return sum((_summary(future) for future in futures), planned).lasting(time.monotonic() - begin)


def _follow(run: Run, progress: Progress, futures: Mapping[PrefectFuture[Json], str], lease: Lease) -> None:
    """Show how far the batches are, keep the plan leased until all of them have ended, and tell the end of each."""
    waiting = list(futures)
    with teller(get_run_logger().info) as voice:
        while waiting:
            ended, still = wait(waiting, timeout=_LOOK_SECONDS)
            waiting = list(still)
            for future in ended:
                report_batch(progress.plan, futures[future], _summary(future))
            voice.tell(progress.show())
            if not lease.renew():
                run.stop("Another worker has taken over this plan, since this one was silent for too long.")


def _summary(future: PrefectFuture[Json]) -> Summary:
    """What a batch says, or why it died: its transfers stay planned, and the next run takes them up."""
    result = future.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        return Summary(stopped=f"A batch died: {result}")
    return Summary(**result)
