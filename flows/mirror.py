"""Keep a selection mirrored: each run brings what changed since the last complete one, and what failed before.

Safe at any time, twice at once, and after a crash: what is settled stands in the ledger, and the watermark moves only
behind it.
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
from tasks.keeping.mirroring import Mirroring, Mode, prepare_mirror
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.transfer.limits import alyx_slot
from tasks.wording import plan_line, selection_words

if TYPE_CHECKING:
    from typing import Any

_WORDS = {"changed": "mirror", "failed": "retry of", "all": "mirror all of"}


def _run_name() -> str:
    given: dict[str, Any] = flow_run.get_parameters()
    return f"{_WORDS[given['mode']]} {selection_words(given['selection'].model_dump())}"


@flow(name="mirror", flow_run_name=_run_name, task_runner=batch_runner(), persist_result=False)
def mirror(selection: Selection, root: Path | None = None, mode: Mode = "changed") -> PrefectState[Fetched]:
    """Keep the files of a selection mirrored.

    Args:
        selection: Which datasets.
        root: Where the files go; by default the setting, then ONE's cache directory.
        mode: changed: what changed since the last complete run, and what failed before; failed: only what failed
            before; all: every dataset of the selection is looked at.
    """
    use_blocks(AlyxSettings.read())
    work = plan_mirror(selection, root, mode)
    fetched = run_plan(work.plan, work.plan.save(), selection.model_dump(mode="json"))
    if mode != "failed" and fetched.is_settled:
        work.watermark.advance(work.begun)
    return conclude(fetched)


@task(name="plan", task_run_name="plan", persist_result=False, cache_policy=NO_CACHE)
def plan_mirror(selection: Selection, root: Path | None, mode: Mode) -> Mirroring:
    """Ask Alyx what is due, and plan it."""
    log = get_run_logger()
    with alyx_slot(log.info):
        work = prepare_mirror(selection, root, mode, AlyxSettings.read())
    log.info("Settled until: %s. %s", work.watermark.read() or "nothing yet", plan_line(work.plan))
    has_room(work.plan)
    return work
