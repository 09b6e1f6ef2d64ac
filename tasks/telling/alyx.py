"""Tells Alyx what a run has seen, where a lab asks for it: what was downloaded, and which file records are wrong.

Nothing here fails a run: what could not be told is a remark in its report.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from tasks.alyx import AlyxClient
from tasks.clients.verdicts import DownloadError
from tasks.datasets.sessions import batches
from tasks.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tasks.clients.tree import Tree
    from tasks.model import Outcome
    from tasks.settings import AlyxSettings

    #: A dataset, a repository, and the digest of the wrong bytes that it gave.
    Sighting = tuple[str, str, str]

#: Datasets that are counted in one request.
_COUNTED = 500
#: Times that a source has to give the same wrong bytes: once may be the line's fault.
_TIMES = 2
#: Where sightings are kept from run to run, below our own directory.
SIGHTINGS = "sightings.jsonl"


def tell_alyx(
    outcomes: Iterable[Outcome],
    mismatched: Sequence[Outcome],
    tree: Tree,
    settings: AlyxSettings,
    alyx: AlyxClient | None = None,
) -> list[str]:
    """Tell Alyx what the settings allow; both are off by default, and then nothing is sent.

    Args:
        outcomes: What became of each transfer: the published ones are counted.
        mismatched: Those with wrong bytes. A file record is flagged once the same wrong digest came twice from its
            repository, in one run or in several: what was seen is kept under the root.
        tree: The root.
        settings: `count_downloads` and `flag_mismatches`.
        alyx: Whom to tell; by default as configured.

    Returns:
        What could not be told, and what was flagged.
    """
    remarks: list[str] = []
    try:
        if settings.count_downloads:
            count_downloads(outcomes, alyx or AlyxClient())
        if settings.flag_mismatches and mismatched:
            remarks += flag_mismatches(mismatched, tree, alyx or AlyxClient())
    except DownloadError as failure:
        remarks.append(f"Alyx could not be told of this run. {failure.reason} {failure.next_step}")
    except OSError as failure:
        remarks.append(f"What was seen of wrong files cannot be kept under {tree.root}: {failure}.")
    return remarks


def count_downloads(outcomes: Iterable[Outcome], alyx: AlyxClient) -> None:
    """Count the download of each published dataset (`POST /new-download`).

    Raises:
        DownloadError: An `alyx-...` row; what was counted before is counted.
    """
    published = (outcome.dataset for outcome in outcomes if outcome.state is State.PUBLISHED)
    for ids in batches(published, _COUNTED):
        alyx.rest("new-download", "create", data={"datasets": ids})


def flag_mismatches(mismatched: Sequence[Outcome], tree: Tree, alyx: AlyxClient) -> Iterator[str]:
    """Flag the file records whose repository gave the same wrong bytes twice, and yield which.

    Raises:
        DownloadError: An `alyx-...` row.
        OSError: What was seen cannot be kept.
    """
    new = [(outcome.dataset, repository, digest) for outcome in mismatched for repository, digest in outcome.wrong]
    times = Counter(_remembered(tree, new))
    for dataset, repository, digest in dict.fromkeys(new):
        if times[dataset, repository, digest] >= _TIMES and _flag(dataset, repository, alyx):
            yield f"Alyx is told that {repository} has other bytes of dataset {dataset} than it registers ({digest})."


def _remembered(tree: Tree, new: Sequence[Sighting]) -> list[Sighting]:
    """Keep new sightings, and return all of them."""
    path = tree.partials.parent / SIGHTINGS
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "r+", encoding="utf-8") as file:
        file.writelines(f"\n{json.dumps(one)}" for one in new)
        file.flush()
        file.seek(0)
        return [found for line in file for found in _sightings(line)]


def _sightings(line: str) -> Iterator[Sighting]:
    with suppress(ValueError):  # an empty line, or half of one that a killed run left
        dataset, repository, digest = json.loads(line)
        yield dataset, repository, digest


def _flag(dataset: str, repository: str, alyx: AlyxClient) -> bool:
    """Flag a file record and keep what else its `json` holds; return whether that was news."""
    told = False
    for record in alyx.rest("files", "list", dataset=dataset, data_repository=repository):
        notes = record.get("json") if isinstance(record.get("json"), dict) else {}
        if not notes.get("mismatch_hash"):
            alyx.rest(
                "files", "partial_update", id=record["url"][-36:], data={"json": {**notes, "mismatch_hash": True}}
            )
            told = True
    return told
