"""Plans and downloads from the sandbox in this process, without Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.alyx import AlyxClient
from tasks.catalogue import repositories
from tasks.downloading import Run, download
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tests.pace import FakePace

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.model import Outcome, Skip
    from tasks.plan.planfile import Plan


@dataclass(frozen=True)
class Mirrored:
    """A download that ended."""

    plan: Plan
    run: Run
    outcomes: dict[str, Outcome]
    skips: dict[str, Skip]


def mirror(root: Path, settings: AlyxSettings | None = None, rest: Any = None, **fields: Any) -> Mirrored:
    """Download what a selection means; outcomes and skips by dataset."""
    settings = settings or AlyxSettings(catalogue="rest", connect_seconds=2, stall_seconds=2)
    more = {} if rest is None else {"rest": rest}
    plan = prepare(Selection(**fields), root, settings, **more)
    run = Run.open("run", root, repositories(AlyxClient()), settings, FakePace())
    transfers = [one for number in range(len(plan.batches)) for one in plan.transfers(number)]
    outcomes = {one.dataset: one for one in download(run, transfers)}
    run.ledger.close()
    return Mirrored(plan, run, outcomes, {skip.dataset: skip for skip in plan.skips()})
