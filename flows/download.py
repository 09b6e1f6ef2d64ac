"""Download once: selection, plan, batches, report.

Kill it anywhere and run it again: it converges, since the ledger and the partials remember what was done.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.runtime import flow_run

from flows.fetched import Fetched
from flows.runners import batch_runner
from flows.running import conclude, has_room, run_plan
from tasks.blocks import use_blocks
from tasks.plan.planfile import Plan
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.transfer.limits import alyx_slot
from tasks.wording import plan_line, selection_words

if TYPE_CHECKING:
    from tasks.model import Json


def _run_name() -> str:
    """What is asked for; the plan adds how much it is."""
    selection = flow_run.get_parameters()["selection"]
    return f"download {selection_words(selection.model_dump() if selection else {})}"


@flow(name="download", flow_run_name=_run_name, task_runner=batch_runner(), persist_result=False)
def download(
    selection: Selection | None = None, root: Path | None = None, plan: Path | None = None, ledger_run: str = ""
) -> PrefectState[Fetched]:
    """Bring the files that Alyx registers for a selection to this disk, each proven byte for byte.

    Args:
        selection: Which datasets.
        root: Where the files go; by default the setting, then ONE's cache directory.
        plan: A saved plan instead of a selection; the run does exactly what it says.
        ledger_run: The run of the ledger that this one continues, as a shard does; by default its own.
    """
    use_blocks(AlyxSettings.read())
    frozen = Plan.load(plan) if plan else plan_download(selection or Selection.read({}), root)
    asked: Json = selection.model_dump(mode="json") if selection else {}
    return conclude(run_plan(frozen, plan or frozen.save(), asked, run_id=ledger_run))


@task(name="plan", task_run_name="plan", persist_result=False, cache_policy=NO_CACHE)
def plan_download(selection: Selection, root: Path | None = None) -> Plan:
    """Make the plan, and refuse one that does not fit."""
    log = get_run_logger()
    with alyx_slot(log.info):
        made = prepare(selection, root, AlyxSettings.read())
    log.info(plan_line(made))
    return has_room(made)
