"""Scrubs a batch: files on disk are read and compared with their proofs; what differs goes to quarantine, and anew.

Nothing is deleted. A file that is as it was proven, but that Alyx meanwhile registers differently, is replaced as in
any other run: by new bytes, once they are proven.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.clients.proof import Expected
from tasks.clients.tree import OURS
from tasks.clients.verdicts import DownloadError, error, os_error
from tasks.downloading import batch_task, work_through
from tasks.model import Outcome
from tasks.transfer.carrying import Carried, Carrier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.clients.tree import Tree
    from tasks.downloading import Carry
    from tasks.ledger import Ledger
    from tasks.model import Json, Proof, Transfer
    from tasks.transfer.carrying import Arrival
    from tasks.transfer.runs import Run


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Scrubs the files of one run; used by many threads at once.

    Attributes:
        carrier: Fetches anew what is damaged or gone.
        ledger: Forgets the proof of what is damaged.
        quarantine: Where damaged files go, relative to the root; another place for every run.
        proofs: What each path was proven to be.
        run: The run, in the ledger.
    """

    carrier: Carrier
    ledger: Ledger
    quarantine: str
    proofs: Mapping[str, Proof]
    run: str

    def carry(self, transfer: Transfer) -> Arrival:
        """Compare a file with its proof; where it is not what it was, put it aside and fetch it anew."""
        proof = self.proofs.get(transfer.path)
        try:
            note = self._examine(transfer, proof) if proof else ""
        except DownloadError as failure:
            return self.carrier.failed(transfer, failure)
        except OSError as failure:
            return self.carrier.failed(transfer, os_error(failure, self.carrier.tree.root / transfer.path))
        return _noted(self.carrier.carry(transfer), note)

    def _examine(self, transfer: Transfer, proof: Proof) -> str:
        """Return what is to be said of a file that is not what it was; "" for one that is."""
        before = self._version(transfer.path)
        if before is None:
            return "It was gone from the disk."
        if self._is_intact(transfer.path, proof):
            return ""
        if self._version(transfer.path) != before:
            return ""  # another run has just replaced it
        return self._put_aside(transfer, proof)

    def _version(self, path: str) -> tuple[int, int, int] | None:
        """What tells one file at a path from the next one there; its time of access does not."""
        found = self.carrier.tree.stat(path)
        return found and (found.st_ino, found.st_size, found.st_mtime_ns)

    def _is_intact(self, path: str, proof: Proof) -> bool:
        _forget_cached(self.carrier.tree, path)
        try:
            return self.carrier.proves(path, Expected(proof.size, proof.digest))
        except OSError as failure:
            if failure.errno != errno.EIO:
                raise
            return False  # the disk cannot read it any more

    def _put_aside(self, transfer: Transfer, proof: Proof) -> str:
        """Note the damage, move the file, then forget its proof: killed in between, the next run still mends it."""
        kept = f"{self.quarantine}/{transfer.path}"
        damage = error("damaged", f"Its bytes are kept in {kept}.")
        noted = self.carrier.failed(transfer, damage)._replace(size=proof.size, digest=proof.digest)
        self.ledger.record([noted], run=self.run)
        self.carrier.tree.move(transfer.path, kept)
        self.ledger.disprove([transfer.path])
        return damage.reason


def _noted(arrival: Arrival, note: str) -> Arrival:
    if not note:
        return arrival
    if isinstance(arrival, Carried):
        arrival.note = note
        return arrival
    return arrival._replace(reason=f"{note} {arrival.reason}".strip()) if isinstance(arrival, Outcome) else arrival


def _forget_cached(tree: Tree, path: str) -> None:
    """Let the kernel read the disk and not its memory, which may still hold what the disk has lost."""
    if hasattr(os, "posix_fadvise"):
        with tree.open(path) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@batch_task("scrub batch")
def scrub_batch(plan: str, batch: int, run_id: str, label: str) -> Json:  # noqa: ARG001  (the run's name)
    """Scrub one batch of a plan; see :func:`tasks.downloading.download_batch`."""
    return work_through(Path(plan), batch, run_id, _carrying)


def _carrying(run: Run, paths: Sequence[str]) -> Carry:
    quarantine = f"{OURS}/quarantine/{run.id}"
    return Scrubber(run.carrier(), run.ledger, quarantine, run.ledger.known(paths), run.id).carry
