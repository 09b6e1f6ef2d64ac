"""Download once: selection, plan, batches, report.

Kill it anywhere and run it again: it converges, since the ledger and the partials remember what was done.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State as PrefectState
from prefect.futures import wait
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.downloading import download_batch, finished, running
from tasks.model import Json, Summary
from tasks.planfile import Plan
from tasks.preparing import prepare, require_place
from tasks.reporting import Progress, report
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.wording import batch_label, files, headline, human_bytes, plan_line, selection_words

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

    from tasks.downloading import Run

#: How often progress moves, and how often a line says so; each costs the server some milliseconds.
_PROGRESS_SECONDS = 2.0
_LINE_SECONDS = 30.0


def _run_name() -> str:
    """What is asked for; the plan adds how much it is."""
    selection = flow_run.get_parameters()["selection"]
    return f"download {selection_words(selection.model_dump() if selection else {})}"


@flow(
    name="download",
    flow_run_name=_run_name,
    task_runner=cast("TaskRunner[Any]", ThreadPoolTaskRunner(max_workers=AlyxSettings.read().batches_at_once)),
    persist_result=False,
)
def download(
    selection: Selection | None = None, root: Path | None = None, plan: Path | None = None
) -> PrefectState[Json]:
    """Bring the files that Alyx registers for a selection to this disk, each proven byte for byte.

    Args:
        selection: Which datasets.
        root: Where the files go; by default the setting, then ONE's cache directory.
        plan: A saved plan instead of a selection; the run does exactly what it says.
    """
    path = plan or plan_download(selection or Selection.read({}), root)
    frozen = Plan.load(path)
    _add_to_name(f"{files(frozen.fetch.files)} · {human_bytes(frozen.fetch.bytes)}")
    run_id = flow_run.get_id() or str(uuid4())
    run = running(run_id, Path(frozen.root))
    try:
        run.ledger.begin_run(run_id, selection.model_dump(mode="json") if selection else {})
        summary = _run_batches(run, frozen, path)
        run.ledger.end_run(run_id, summary)
        report(frozen, summary, run.ledger.outcomes(run_id))
    except BaseException:
        run.pace.stop.set()  # threads see it within a second; leaving the flow waits for them
        raise
    finally:
        finished(run_id)
    return _final_state(summary)


@task(name="plan", persist_result=False, cache_policy=NO_CACHE)
def plan_download(selection: Selection, root: Path | None = None) -> Path:
    """Make the plan and lay it down; return its path."""
    made = prepare(selection, root, AlyxSettings.read())
    require_place(made)
    get_run_logger().info(plan_line(made))
    return made.save()


def _run_batches(run: Run, plan: Plan, path: Path) -> Summary:
    """Submit the batches, let the progress move while they run, and add up what they say."""
    begin = time.monotonic()
    futures = [
        download_batch.submit(str(path), number, run.id, batch_label(plan, number))
        for number in range(len(plan.batches))
    ]
    _follow(run, Progress(plan), futures)
    planned = Summary(files=plan.present.files + plan.skipped, present=plan.present.files, skipped=plan.skipped)
    return sum((_summary(future) for future in futures), planned).lasting(time.monotonic() - begin)


def _follow(run: Run, progress: Progress, futures: list[PrefectFuture[Json]]) -> None:
    """Show how far the batches are until all of them have ended."""
    log, said = get_run_logger(), time.monotonic()
    waiting = list(futures)
    while waiting:
        waiting = list(wait(waiting, timeout=_PROGRESS_SECONDS).not_done)
        progress.show(run.bytes_done())
        if waiting and time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            log.info(progress.line())
    progress.complete()


def _summary(future: PrefectFuture[Json]) -> Summary:
    """What a batch says, or why it died: its transfers stay planned, and the next run takes them up."""
    result = future.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        return Summary(stopped=f"A batch died: {result}")
    return Summary(**result)


def _final_state(summary: Summary) -> PrefectState[Json]:
    """Failed when the run had to stop; files that failed while the run went on make it Partial."""
    get_run_logger().info(summary.line())
    message = f"{headline(summary)}. {summary.line()}"
    if summary.stopped:
        return Failed(message=f"{summary.stopped} {summary.line()}", data=summary.to_json())
    return Completed(name="Partial" if summary.failed else None, message=message, data=summary.to_json())


def _add_to_name(more: str) -> None:
    run_id = flow_run.get_id()
    if run_id:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(run_id), name=f"{flow_run.get_name()} · {more}")
