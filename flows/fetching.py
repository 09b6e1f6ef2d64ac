"""Runs a flow in this process, and returns what became of it: for the verbs `fetch`, `retry`, `sync` and `verify`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.download import download
from flows.fetched import Fetched, StoppedError
from flows.mirror import mirror
from flows.verify import verify as verify_flow
from tasks.clients.verdicts import DownloadError, error
from tasks.ledger import Ledger
from tasks.model import Outcome, State
from tasks.preparing import failed_before, prepare, require_space
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State as PrefectState

    from tasks.mirroring import Mode
    from tasks.planfile import Plan
    from tasks.selection import Selection


def fetch(selection: Selection, root: Path | None) -> Fetched:
    """Plan, and run what is planned.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    return run(prepare(selection, root, AlyxSettings()), selection)


def retry(root: Path | None) -> Fetched:
    """Fetch what failed before, also what rests because another try hardly mends it.

    Raises:
        DownloadError: `nothing-failed`, or when the run cannot begin, or dies.
    """
    selection = failed_before(root, AlyxSettings())
    return run(prepare(selection, root, AlyxSettings(), rest=timedelta()), selection)


def sync(selection: Selection, root: Path | None, mode: Mode) -> Fetched:
    """Mirror once, in this process.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    return _fetched(mirror(selection, root, mode, return_state=True))


def verify(root: Path | None, share: float) -> Fetched:
    """Scrub a share of the tree, in this process.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    return _fetched(verify_flow(root, share, return_state=True))


def run(plan: Plan, selection: Selection) -> Fetched:
    """Run the flow on a plan in this process.

    Raises:
        DownloadError: `no-space`, or why the run died.
    """
    require_space(plan)
    path = plan.save()
    with closing(Ledger.open(Path(plan.root))) as ledger:
        ledger.confirm(plan.present_files)  # a saved plan does not name them
    done = _fetched(download(selection, plan=path, return_state=True))
    present = (Outcome(dataset, where, State.PRESENT) for dataset, where in plan.present_files.items())
    return replace(done, plan=plan, outcomes=(*done.outcomes, *present))


def _fetched(state: PrefectState[Any]) -> Fetched:
    """The result of a flow run, whether it is Completed or had to stop early."""
    result: object = state.result(raise_on_failure=False)
    if isinstance(result, StoppedError):
        return result.fetched
    if isinstance(result, Fetched):
        return result
    raise result if isinstance(result, DownloadError) else error("run-died", f"{state.message or result}")
