"""Runs a flow in this process, and returns what became of it: for the verbs `fetch`, `retry`, `sync` and `verify`."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flows.download import download
from flows.fetched import Fetched, StoppedError
from flows.local_server import prefect_api
from flows.mirror import mirror
from flows.verify import verify as verify_flow
from tasks.clients.verdicts import DownloadError, error
from tasks.keeping.adopting import labs_under, prepare_adoption
from tasks.ledgers.opening import read_ledger
from tasks.ledgers.settled import Settled
from tasks.model import Summary
from tasks.preparing import failed_before, prepare, require_place
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.wording import NOTHING_MATCHES, is_empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import State as PrefectState

    from tasks.keeping.mirroring import Mode
    from tasks.plan.planfile import Plan

    Say = Callable[[str], None]


def fetch(selection: Selection, root: Path | None, say: Say) -> Fetched:
    """Plan, and run what is planned.

    Args:
        selection: Which datasets.
        root: Where the files go.
        say: Talks to the person.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    plan = prepare(selection, root, AlyxSettings.read())
    if is_empty(plan):
        say(NOTHING_MATCHES)
    return run(plan, selection, say)


def retry(root: Path | None, say: Say) -> Fetched:
    """Fetch what failed before, also what rests because another try hardly mends it.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    settings = AlyxSettings.read()
    selection = failed_before(root, settings)
    if selection is None:
        say("No file failed before.")
        return Fetched(None, Summary(), ())
    return run(prepare(selection, root, settings, rest=timedelta()), selection, say)


def adopt(selection: Selection | None, root: Path | None, say: Say) -> Fetched:
    """Prove what somebody else downloaded, and fetch anew what is damaged.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    plan = prepare_adoption(selection, root, AlyxSettings.read())
    return run(plan, selection or Selection.read({"labs": labs_under(Path(plan.root))}), say)


def sync(selection: Selection, root: Path | None, mode: Mode, say: Say) -> Fetched:
    """Mirror once, in this process.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    with prefect_api(say):
        return _fetched(mirror(selection, root, mode, return_state=True))


def verify(root: Path | None, share: float, say: Say) -> Fetched:
    """Scrub a share of the tree, in this process.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    with prefect_api(say):
        return _fetched(verify_flow(root, share, return_state=True))


def run(plan: Plan, selection: Selection, say: Say) -> Fetched:
    """Run the flow on a plan in this process.

    Everything that can be wrong with the plan shows before a Prefect server is started for it.

    Raises:
        DownloadError: `no-space`, `read-only` or `bad-root`, a row of the Prefect API's, or why the run died.
    """
    require_place(plan)
    path, run_id, begin = plan.save(), str(uuid4()), time.monotonic()
    with prefect_api(say):
        try:
            return _fetched(download(selection, plan=path, ledger_run=run_id, return_state=True))
        except KeyboardInterrupt:  # by a person, or by a scheduler's SIGTERM
            return _interrupted(plan, run_id, time.monotonic() - begin)


def _interrupted(plan: Plan, run_id: str, seconds: float) -> Fetched:
    """What a run had done when it was ended; its threads have stopped, and its ledger is whole.

    Raises:
        KeyboardInterrupt: It had not begun.
    """
    with closing(read_ledger(Path(plan.root))) as ledger:
        if not ledger.run(run_id):
            raise KeyboardInterrupt
    outcomes = Settled(plan, run_id)
    stopped = "Stopped by a signal; run it again, and it resumes."
    summary = replace(Summary.of(outcomes, seconds=seconds), stopped=stopped)
    return Fetched(plan, summary, outcomes)


def _fetched(state: PrefectState[Any]) -> Fetched:
    """The result of a flow run, whether it is Completed or had to stop early."""
    result: object = state.result(raise_on_failure=False)
    if isinstance(result, StoppedError):
        return result.fetched
    if isinstance(result, Fetched):
        return result
    raise result if isinstance(result, DownloadError) else error("run-died", f"{state.message or result}")
