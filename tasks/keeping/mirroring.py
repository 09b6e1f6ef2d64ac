"""Which datasets a mirror run looks at: those that changed, those that failed before, or all."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

from tasks.alyx import AlyxClient
from tasks.catalogue import datasets, still_there
from tasks.keeping.watermark import Watermark
from tasks.ledgers.opening import open_ledger, read_ledger
from tasks.model import Outcome, State
from tasks.preparing import find_root, prepare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from tasks.model import Dataset, Failure
    from tasks.plan.planfile import Plan
    from tasks.rest.pages import Pages
    from tasks.selection import Selection
    from tasks.settings import AlyxSettings

Mode = Literal["changed", "failed", "all"]


@dataclass(frozen=True, slots=True)
class Mirroring:
    """What one mirror run is to do.

    Attributes:
        plan: The transfers.
        watermark: Where the mirror's progress is remembered.
        begun: Taken before Alyx was asked: what changes later belongs to the next run.
    """

    plan: Plan
    watermark: Watermark
    begun: datetime


def prepare_mirror(selection: Selection, root: Path | None, mode: Mode, settings: AlyxSettings) -> Mirroring:
    """Plan a mirror run. Failures whose dataset Alyx has no more are closed in the ledger; nothing else is written.

    Raises:
        DownloadError: when Alyx or the ledger cannot answer, or a root is missing.
    """
    begun, alyx = datetime.now(UTC), AlyxClient()
    place = find_root(root, settings, alyx)
    watermark = Watermark.of(place, alyx.url, selection)
    again = _still_wanted(place, alyx)
    catalogue = partial(due, mode=mode, since=watermark.since(), again=again)
    plan = prepare(selection, place, settings, catalogue=catalogue)
    return Mirroring(plan, watermark, begun)


def due(
    selection: Selection, alyx: Pages, *, mode: Mode, since: datetime | None, again: Collection[str]
) -> Iterator[Dataset]:
    """Yield the datasets that a run looks at, each once.

    Args:
        selection: What is mirrored.
        alyx: Whom to ask.
        mode: `changed`: what changed, and what failed before; `failed`: only the latter; `all`: all.
        since: Changes before this moment are settled; None where nothing is yet.
        again: Datasets that failed before, of whatever selection.
    """
    failed = _among(selection, again)
    if mode != "all" and failed:
        yield from datasets(selection.model_copy(update={"dataset_ids": failed}), alyx)
    if mode != "failed":
        seen = set(failed) if mode == "changed" else set()
        changes = datasets(selection, alyx, changed_since=since if mode == "changed" else None)
        yield from (dataset for dataset in changes if dataset.id not in seen)


def _among(selection: Selection, ids: Collection[str]) -> list[str]:
    wanted = set(selection.dataset_ids)
    return [identifier for identifier in ids if not wanted or identifier in wanted]


def _still_wanted(root: Path, alyx: Pages) -> list[str]:
    """The datasets that failed before and that Alyx still has; the others are no failures any more."""
    failures = read_ledger(root).failed()
    there = still_there(alyx, [failure.dataset for failure in failures])
    gone = [failure for failure in failures if failure.dataset not in there]
    if gone:
        with closing(open_ledger(root)) as ledger:
            ledger.record(map(_closed, gone))
    return sorted(there)


def _closed(failure: Failure) -> Outcome:
    return Outcome(failure.dataset, failure.path, State.SKIPPED, reason="Alyx has no such dataset any more.")
