"""Download with many machines: a plan is cut into shards, and each is a run of the download flow on a work pool.

Kill it, or any machine, and run it again: it converges, since the ledger that all share remembers what was done.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID, uuid4

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State as PrefectState
from prefect.deployments import run_deployment
from prefect.runtime import flow_run
from prefect.states import Cancelling, Crashed
from pydantic import PositiveInt

from flows.download import plan_download
from flows.fetched import Fetched
from flows.running import conclude
from tasks.blocks import use_blocks
from tasks.clients.seams import Pace
from tasks.keeping.following import Fleet, Shard, Standing
from tasks.ledgers.opening import open_ledger
from tasks.model import Summary
from tasks.plan.planfile import Plan
from tasks.plan.sharding import By, shards
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.telling.progress import tolerant
from tasks.wording import headline, selection_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prefect.client.schemas.objects import FlowRun

    from tasks.model import Json


def _run_name() -> str:
    selection = flow_run.get_parameters()["selection"]
    return f"fleet {selection_words(selection.model_dump() if selection else {})}"


@flow(name="fleet", flow_run_name=_run_name, persist_result=False)
def fleet(
    selection: Selection | None = None,
    root: Path | None = None,
    plan: Path | None = None,
    by: By = "subject",
    at_once: PositiveInt = 20,
    count: PositiveInt | None = None,
) -> PrefectState[Fetched]:
    """Bring a large selection with all workers of the pool, and report one sum.

    The machines share the root, and the ledger on PostgreSQL. This run holds a place in the pool while it waits: the
    pool must take one run more than `at_once`.

    Args:
        selection: Which datasets.
        root: Where the files go; by default the setting, then ONE's cache directory.
        plan: A saved plan instead of a selection.
        by: What a shard keeps together.
        at_once: Shards that run at once.
        count: Shards to cut; by default as many as make each some minutes' work, and at most 200.
    """
    use_blocks(AlyxSettings.read())
    frozen = Plan.load(plan) if plan else plan_download(selection or Selection.read({}), root)
    asked: Json = selection.model_dump(mode="json") if selection else {}
    summary = run_shards(frozen, asked, by, at_once, count)
    with tolerant():
        text = f"# {headline(summary)}\n\n`{summary.line()}`\n\n{summary.stopped}"
        create_markdown_artifact(text, key="alyx-summary", description=summary.line())
    return conclude(Fetched(frozen, summary, ()))


def run_shards(plan: Plan, asked: Json, by: By, at_once: int, count: int | None) -> Summary:
    """Cut a plan, run its shards, and record the sum in the ledger.

    Raises:
        DownloadError: a row of the ledger's; the shards that ran are asked to stop.
    """
    run_id, begin, log = flow_run.get_id() or str(uuid4()), time.monotonic(), get_run_logger()
    with closing(open_ledger(Path(plan.root))) as ledger:
        ledger.begin_run(run_id, asked)
        ledger.confirm(plan.present_files(), run=run_id)
        parts = (Shard(f"{run_id}-{number:03}", path) for number, path in enumerate(shards(plan, by, count)))
        brought = Fleet(WorkPool(), ledger, Pace(), at_once, log.info).follow(parts)
        planned = Summary(files=plan.present.files + plan.skipped, present=plan.present.files, skipped=plan.skipped)
        summary = (planned + brought).lasting(time.monotonic() - begin)
        ledger.end_run(run_id, summary)
    return summary


@dataclass(frozen=True, slots=True)
class WorkPool:
    """Prefect's workers; see `tasks.keeping.following.Pool`.

    Attributes:
        deployment: What runs a shard; it has no limit of its own, since the pool and the fleet have one.
    """

    deployment: str = "download/shard"

    def start(self, shard: Shard) -> str:
        """Have the deployment run; the same attempt is started once."""
        with tolerant():
            made = run_deployment(
                self.deployment,
                parameters={"plan": str(shard.path), "ledger_run": shard.name},
                timeout=0,
                as_subflow=False,
                tags=["shard"],
                idempotency_key=f"{shard.name}-{shard.attempt}",
            )
            return str(cast("FlowRun", made).id)
        return ""

    def standings(self, runs: Sequence[str]) -> Mapping[str, Standing]:
        """Ask for all of them at once."""
        chosen = FlowRunFilter.model_validate({"id": {"any_": list(runs)}})
        with tolerant(), get_client(sync_client=True) as client:
            states = {str(run.id): run.state for run in client.read_flow_runs(flow_run_filter=chosen)}
            known = {run: Standing(state.type.value, state.message or "") for run, state in states.items() if state}
            return {run: known.get(run, Standing("CRASHED", "The server has forgotten this run.")) for run in runs}
        return {}

    def bury(self, run: str) -> None:
        """Set it to Crashed: nobody else does, where no automation looks for zombies."""
        with tolerant(), get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(run), Crashed(message="Its machine fell silent."), force=True)

    def stop(self, run: str) -> None:
        """Have its worker cancel it; one that has ended meanwhile stays as it is."""
        with tolerant(), get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(run), Cancelling())
