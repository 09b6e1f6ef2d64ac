"""Downloads one batch: many transfers side by side, published and recorded in groups.

One batch is one Prefect task run; the files inside it are plain Python. The ledger is written after each group,
so a batch that dies resumes where it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.clients import DownloadError, Verdict
from tasks.clients.publish import publish
from tasks.model import Json, Outcome, State, Summary
from tasks.plan.planfile import Plan, read_batch
from tasks.transfer.carrying import Carried, Passed
from tasks.transfer.crew import Crew
from tasks.transfer.limits import limits_of, slots
from tasks.transfer.managed import Delivery
from tasks.transfer.outcomes import published
from tasks.transfer.runs import Run, taking_part
from tasks.transfer.small_files import in_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prefect.client.schemas.objects import State as PrefectState
    from prefect.client.schemas.objects import TaskRun
    from prefect.tasks import Task

    from tasks.model import Transfer
    from tasks.transfer.carrying import Arrival

    #: Brings one transfer as far as it can be published, or says what became of it.
    Carry = Callable[[Transfer], Arrival]

P = ParamSpec("P")
_SETTLED = (State.PUBLISHED, State.PRESENT)


def download(run: Run, transfers: Iterable[Transfer], carry: Carry | None = None) -> Iterator[Outcome]:
    """Carry, publish and record transfers; yield each outcome once it is in the ledger.

    First small files, then all others that pass through this process, then what a service moves, then what the
    service did not bring. When the run is stopped, what was not begun is not reported: it stays planned.

    Args:
        run: The run.
        transfers: What is to be carried.
        carry: Carries one of them; by default the run's own carrier, and small files together.
    """
    passed: list[Passed] = []
    if carry:
        groups: Iterator[Sequence[Arrival]] = Crew(carry, transfers, run.connections, run.pace.stop).groups()
    else:
        groups = in_groups(run.carrier(), transfers, run.connections)
    yield from _settling(run, groups, passed)
    settled: list[Outcome] = []
    delivery = Delivery(run.carrier(), lambda group: settled.extend(_recorded(run, _published(run, group))))
    run.deliveries.append(delivery)
    if not run.pace.stop.is_set():
        delivery.move(passed)
    yield from settled
    left = Crew(carry or run.carrier().carry, delivery.left, run.connections, run.pace.stop)
    yield from _settling(run, left.groups(), passed)


def _settling(run: Run, groups: Iterator[Sequence[Arrival]], passed: list[Passed]) -> Iterator[Outcome]:
    """Publish and record what arrives; what only a service can bring is passed on."""
    unrecorded: list[Outcome] = []
    for group in groups:
        passed += [one for one in group if isinstance(one, Passed)]
        outcomes = _published(run, [one for one in group if not isinstance(one, Passed)])
        try:
            yield from _recorded(run, [*unrecorded, *outcomes])
            unrecorded = []
        except DownloadError as failure:
            if failure.code != "disk-full":
                raise
            unrecorded += outcomes
    if unrecorded and not run.tree.make_room():
        run.carrier().partials.make_room()
    yield from _recorded(run, unrecorded)


def _published(run: Run, group: list[Carried | Outcome]) -> list[Outcome]:
    carried = [one for one in group if isinstance(one, Carried)]
    results = publish(run.tree, [(one.partial, one.transfer.path) for one in carried])
    outcomes = [published(one, result) for one, result in zip(carried, results, strict=True)]
    outcomes += [one for one in group if isinstance(one, Outcome)]
    for outcome in outcomes:
        run.settle(outcome)
    return outcomes


def _recorded(run: Run, outcomes: list[Outcome]) -> list[Outcome]:
    try:
        run.ledger.record(outcomes, run=run.id)
    except DownloadError as failure:
        if failure.verdict is Verdict.STOP_RUN:  # a full disk stops the ledger, too
            run.stop(str(failure))
        raise
    return outcomes


# --- Prefect ------------------------------------------------------------------------------------------


async def may_mend(_task: Task[Any, Any], _run: TaskRun, state: PrefectState[Any]) -> bool:
    """Whether another run of the batch can help: its retries are for what died as a whole, not for single files."""
    failure = await state.aresult(raise_on_failure=False)
    return isinstance(failure, DownloadError) and failure.verdict is Verdict.RETRY


def batch_task(name: str) -> Callable[[Callable[P, Json]], Task[P, Json]]:
    """Make a function the task that works on one batch, whatever it does with the files."""
    return task(
        name=name,
        task_run_name="{label}",
        retries=3,
        # Nothing wakes Prefect's sleep before a retry, and a stop may take ten seconds: 1, 2, 4 s, doubled at most.
        retry_delay_seconds=exponential_backoff(backoff_factor=1),
        retry_jitter_factor=1,
        retry_condition_fn=may_mend,
        persist_result=False,
        cache_policy=NO_CACHE,
    )


@batch_task("download batch")
def download_batch(plan: str, batch: int, run_id: str, label: str) -> Json:  # noqa: ARG001  (the run's name)
    """Download one batch of a plan; resume it where an earlier attempt of this run was.

    Args:
        plan: Path of the plan.
        batch: Number of the batch.
        run_id: The run, in the ledger.
        label: What a person reads in the UI.

    Returns:
        The batch's summary, and why the run has to stop, if it has to.
    """
    return work_through(Path(plan), batch, run_id, lambda *_: None)


def work_through(path: Path, batch: int, run_id: str, carrying: Callable[[Run, Sequence[str]], Carry | None]) -> Json:
    """Carry what is left of a batch, and sum up; what an earlier attempt of this run settled is not done again.

    Args:
        path: The plan.
        batch: Number of the batch.
        run_id: The run, in the ledger.
        carrying: Makes what carries one transfer, of the run and the paths that are left; None for the run's own.
    """
    with taking_part(run_id, Path(Plan.load(path).root)) as run:
        return _worked_through(run, read_batch(path, batch), carrying)


def _worked_through(run: Run, transfers: Sequence[Transfer], carrying: Callable[..., Carry | None]) -> Json:
    begin = time.monotonic()
    before = run.ledger.outcomes(run.id, [transfer.path for transfer in transfers])
    settled = {outcome.path: outcome for outcome in before if outcome.state in _SETTLED}
    left = [transfer for transfer in transfers if transfer.path not in settled]
    carry, log = carrying(run, [transfer.path for transfer in left]), get_run_logger()
    with slots(limits_of(left), run.pace, log.info, run.waited_for):
        moved = Summary.of(download(run, left, carry))
    summary = Summary.of(settled.values()) + moved.lasting(time.monotonic() - begin)
    log.info(summary.line())
    return {**summary.to_json(), "stopped": run.stopped}
