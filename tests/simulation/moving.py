"""The download flow with one seam changed: a transfer is settled and no bytes move."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.runners import batch_runner
from flows.running import conclude, run_plan
from tasks.downloading import batch_task, work_through
from tasks.model import Outcome, State
from tasks.plan.planfile import Plan


def settled(transfer):
    """What becomes of a transfer that takes no time."""
    return Outcome(
        transfer.dataset,
        transfer.path,
        State.PUBLISHED,
        source="simulated",
        protocol="http",
        bytes=transfer.size,
        attempts=1,
        size=transfer.size,
        digest=transfer.digest,
        verified="md5",
        mtime_ns=1,
    )


@batch_task("simulated batch")
def batch(plan: str, batch: int, run_id: str, label: str) -> dict:
    """Settle one batch of a plan."""
    return work_through(Path(plan), batch, run_id, lambda _run, _paths: settled)


@flow(name="simulated", task_runner=batch_runner(), persist_result=False)
def simulated(plan: Path, ledger_run: str = ""):
    """Do what a plan says, but for the bytes."""
    return conclude(run_plan(Plan.load(plan), plan, {}, batch, run_id=ledger_run))
