"""Plans a scrub: the files whose proof is oldest, as Alyx registers them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.alyx import AlyxClient
from tasks.catalogue import datasets, still_there
from tasks.ledgers.opening import known_ledger
from tasks.model import Dataset
from tasks.plan.disk import free_bytes
from tasks.plan.planfile import Space
from tasks.planning import make_plan
from tasks.preparing import find_root, known_to_kachery, router_for
from tasks.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tasks.ledger import Proven
    from tasks.model import Stat
    from tasks.plan.planfile import Plan
    from tasks.rest.pages import Pages
    from tasks.settings import AlyxSettings


def prepare_scrub(root: Path | None, share: float, settings: AlyxSettings) -> Plan:
    """Plan to read a share of the tree, the oldest proofs first; nothing is written anywhere.

    Args:
        root: The tree; by default the settings' root, then ONE's cache directory for this Alyx.
        share: Of all proven bytes; 1 for the whole tree.
        settings: Defaults.

    Raises:
        DownloadError: `no-tree`; or when Alyx or the ledger cannot answer, or a root is missing.
    """
    alyx, everything = AlyxClient(), Selection.read({"everything": True})
    place = find_root(root, settings, alyx)
    proofs = {proven.path: proven for proven in known_ledger(place).oldest(share)}

    def as_proven(folder: str, names: Sequence[str]) -> list[Stat | None]:
        found = [proofs[f"{folder}/{name}" if folder else name] for name in names]
        return [(proof.size, proof.mtime_ns) for proof in found]

    return make_plan(
        known_to_kachery(registered(proofs, alyx), everything, alyx),
        root=str(place),
        router=router_for(everything, alyx),
        known=lambda paths: [None] * len(paths),  # nothing is known, so everything is read
        look=as_proven,
        space=Space(free_bytes(place), settings.reserve_bytes),
        catalogue=f"the ledger, and REST of {alyx.url}",
    )


def registered(proofs: Mapping[str, Proven], alyx: Pages) -> Iterator[Dataset]:
    """Yield what Alyx registers for proven files; what it registers no more, or elsewhere, as it was proven."""
    there = sorted(still_there(alyx, sorted({proven.dataset for proven in proofs.values()})))
    wanted = datasets(Selection.read({"dataset_ids": there}), alyx) if there else iter(())
    found = {dataset.path: dataset for dataset in wanted}
    for path, proven in proofs.items():
        yield found.get(path) or Dataset(proven.dataset, None, None, path, proven.size, proven.digest)
