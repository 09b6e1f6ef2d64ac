"""Scrub the tree: read a share of it, the oldest proofs first, and mend what is not what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from pydantic import Field

from flows.fetched import Fetched
from flows.runners import batch_runner
from flows.running import conclude, has_room, run_plan
from tasks.blocks import use_blocks
from tasks.keeping.scrubbing import scrub_batch
from tasks.keeping.verifying import prepare_scrub
from tasks.plan.planfile import Plan
from tasks.settings import AlyxSettings
from tasks.transfer.limits import alyx_slot
from tasks.wording import plan_line

Share = Annotated[float, Field(gt=0, le=1)]


@flow(name="verify", flow_run_name="verify {share:.0%} of the tree", task_runner=batch_runner(), persist_result=False)
def verify(root: Path | None = None, share: Share = 0.15) -> PrefectState[Fetched]:
    """Read files on disk, compare them with the ledger and with Alyx, and fetch anew what differs.

    What differs is moved to `.prefect-alyx/quarantine` under the root; nothing is deleted.

    Args:
        root: The tree; by default the setting, then ONE's cache directory.
        share: Share of all proven bytes that is read; 0.15 a week is the whole tree in seven weeks.
    """
    use_blocks(AlyxSettings.read())
    plan = plan_scrub(root, share)
    return conclude(run_plan(plan, plan.save(), {"verify": share}, scrub_batch))


@task(name="plan", task_run_name="plan", persist_result=False, cache_policy=NO_CACHE)
def plan_scrub(root: Path | None, share: float) -> Plan:
    """Choose what is read."""
    log = get_run_logger()
    with alyx_slot(log.info):
        plan = prepare_scrub(root, share, AlyxSettings.read())
    log.info(plan_line(plan))
    return has_room(plan)
