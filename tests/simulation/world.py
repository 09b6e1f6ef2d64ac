"""What a simulation is about: so many datasets, their sources, and the plan that the real planner makes of them."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from tasks.model import Dataset, FileRecord
from tasks.plan.disk import look
from tasks.plan.planfile import Space
from tasks.plan.sources import Router
from tasks.planning import make_plan
from tasks.preparing import Addresses

LABS, SESSION_FILES = 10, 50
REPOSITORIES = {
    f"flatiron_lab{lab}": {
        "name": f"flatiron_lab{lab}",
        "data_url": f"https://data.example.org/lab{lab}/Subjects/",
        "globus_path": "/",
        "json": None,
    }
    for lab in range(LABS)
}


def datasets(count):
    """So many datasets, in the order of a catalogue: by session."""
    for number in range(count):
        session = number // SESSION_FILES
        lab, subject, day = f"lab{session % LABS}", f"mouse{session // 20:06}", f"2026-01-{session % 28 + 1:02}"
        name = f"alf/probe{number % 2:02}/object{number % SESSION_FILES:02}.attribute.npy"
        relative = f"{subject}/{day}/001/{name}"
        yield Dataset(
            str(UUID(int=2 << 120 | number, version=4)),
            str(UUID(int=1 << 120 | session, version=4)),
            lab,
            f"{lab}/Subjects/{relative}",
            1000 + number * 7919 % 2_000_000,
            f"{number * 0x9E3779B97F4A7C15 % (1 << 128):032x}",
            records=(FileRecord(f"flatiron_{lab}", relative),),
        )


def plan(root, count, ledger):
    """Plan all of them into a root that is empty, and save it."""
    return make_plan(
        datasets(count),
        root=str(root),
        router=Router(REPOSITORIES, Addresses(REPOSITORIES), configured=("http",)),
        known=ledger.proofs,
        look=partial(look, root),
        space=Space(1 << 60, 0),
    )
