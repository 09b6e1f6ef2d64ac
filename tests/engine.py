"""The batch engine without Prefect: in this process, or in a child that may be killed, sabotaged, or one of two."""

from __future__ import annotations

import contextlib
import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import psutil
import pytest

from deployments.sandbox import Lab
from tasks.alyx import AlyxClient
from tasks.catalogue import repositories
from tasks.clients.seams import Pace
from tasks.clients.tree import OURS
from tasks.downloading import Run, download
from tasks.ledger import Ledger
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tests.forks import FORKS

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = AlyxSettings(reserve_bytes=0, stall_seconds=5, connect_seconds=5)
#: The many small datasets of a lab, and one protocol: what a test counts comes from one server.
BULK = {"subjects": ["BULK_001"], "protocols": ["http"]}


@contextmanager
def lab_of(*arguments, **options):
    """A lab that this process's environment names."""
    with Lab(*arguments, **options) as lab, pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        yield lab


def plan(root, settings=SETTINGS, **selected):
    """What the flow would do for a selection."""
    return prepare(Selection.read(selected or BULK), root, settings)


@dataclass(frozen=True)
class Job:
    """The transfers of a plan, for the engine.

    Attributes:
        truth: Digests by path.
        environment: Of the child processes.
    """

    root: Path
    transfers: tuple
    records: dict
    truth: dict
    environment: dict

    @classmethod
    def of(cls, root, **selected):
        made = plan(root, **selected)
        transfers = [transfer for number in range(len(made.batches)) for transfer in made.transfers(number)]
        truth = {transfer.path: transfer.digest for transfer in transfers}
        return cls(root, tuple(transfers), repositories(AlyxClient()), truth, dict(os.environ))

    @cached_property
    def bytes(self):
        return sum(transfer.size for transfer in self.transfers)

    def opened(self, settings=SETTINGS, pace=None):
        """A run of its own, as each process has one."""
        return Run.open("run", self.root, self.records, settings, pace or Pace())

    def run(self, settings=SETTINGS):
        """Carry everything, here and now."""
        return list(download(self.opened(settings), self.transfers))

    def start(self, opening=opened, *arguments):
        """Carry everything in a child; `opening` makes the run there, and does to it what the test is about."""
        child = FORKS.Process(target=_work, args=(self, opening, arguments))
        child.start()
        return child


def await_end(child):
    """Wait until a child is gone: its pipes close a moment before."""
    child.join()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(child.pid).wait(60)


def _work(job, opening, arguments):
    os.environ.update(job.environment)
    for _ in download(opening(job, *arguments), job.transfers):
        pass


# --- what is on disk afterwards -----------------------------------------------------------------------


def partials_of(root):
    return sorted(path.name for path in (root / OURS / "partials").iterdir())


def data_files(root):
    """The data below a root: bytes by path."""
    files = (path for path in root.rglob("*") if path.is_file() and OURS not in path.relative_to(root).parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def wrong_files(job, *, missing_allowed=False):
    """Paths below the root that do not hold exactly the registered bytes, or should not be there at all."""
    files = {path: hashlib.md5(data).hexdigest() for path, data in data_files(job.root).items()}
    wrong = {path for path in files if files[path] != job.truth.get(path)}
    return wrong | (set() if missing_allowed else job.truth.keys() - files.keys())


def unproven_files(job):
    """Paths that the ledger does not prove to be what lies on disk now."""
    known = Ledger.read_only(job.root).known()
    found = {transfer.path: (job.root / transfer.path).stat() for transfer in job.transfers}
    return {
        path
        for path in found.keys() | known.keys()
        if path not in known or path not in found or known[path][::2] != (found[path].st_size, found[path].st_mtime_ns)
    }
