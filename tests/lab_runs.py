"""Runs plans against the sandbox without Prefect: the engine alone, as a batch's task run uses it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

from tasks.alyx import AlyxClient
from tasks.catalogue import repositories
from tasks.clients.seams import Pace
from tasks.downloading import Run, download
from tasks.keeping.scrubbing import _carrying
from tasks.model import Summary
from tasks.settings import AlyxSettings


def settings(**fields):
    """Little patience, and no space to be kept."""
    return AlyxSettings(**{"reserve_bytes": 0, "attempts": 2, "connections": 4, **fields})


@contextmanager
def opened(root, name="run"):
    run = Run.open(name, Path(root), repositories(AlyxClient()), settings(), Pace())
    try:
        yield run
    finally:
        run.ledger.close()


def carry_out(plan, name="run", *, most=None, stop=None):
    """Do what a plan says, at most so many transfers of it; return outcomes by path."""
    with opened(plan.root, name) as run:
        transfers = [one for number in range(len(plan.batches)) for one in plan.transfers(number)][:most]
        return {outcome.path: outcome for outcome in download(run, transfers)}


def scrub(plan, name="scrub"):
    """Do what a plan of a scrub says; return outcomes by path."""
    with opened(plan.root, name) as run:
        transfers = [one for number in range(len(plan.batches)) for one in plan.transfers(number)]
        carry = _carrying(run, [one.path for one in transfers])
        return {outcome.path: outcome for outcome in download(run, transfers, carry)}


def summary_of(outcomes):
    return Summary.of(outcomes.values())
