"""Takes over a tree that ONE, or anybody else, downloaded: the registered datasets that lie under the root."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.alyx import AlyxClient
from tasks.catalogue import datasets
from tasks.clients.verdicts import error
from tasks.preparing import find_root, prepare
from tasks.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.model import Dataset
    from tasks.plan.planfile import Plan
    from tasks.rest.pages import Pages
    from tasks.settings import AlyxSettings


def prepare_adoption(selection: Selection | None, root: Path | None, settings: AlyxSettings) -> Plan:
    """Plan to prove each registered dataset of which a file lies under the root; only damaged ones are fetched.

    Args:
        selection: Which datasets; by default those of all labs that have a directory there, in all revisions.
        root: The tree; by default as for a download.
        settings: Defaults.

    Raises:
        DownloadError: `no-root`; `selection`, where no lab has a directory there, or Alyx has no such lab; or as
            `prepare`.
    """
    place = find_root(root, settings, AlyxClient())
    wanted = selection or Selection.read({"labs": labs_under(place), "revision_rule": "all"})

    def on_disk(selection: Selection, alyx: Pages) -> Iterator[Dataset]:
        return (each for each in datasets(selection, alyx) if os.path.lexists(place / each.path))

    return prepare(wanted, place, settings, rest=timedelta(), catalogue=on_disk)


def labs_under(root: Path) -> list[str]:
    """Return the labs that have a directory where ONE puts their files, `<root>/<lab>/Subjects`.

    Raises:
        DownloadError: `selection`, where there is none.
    """
    labs = sorted(folder.parent.name for folder in root.glob("*/Subjects"))
    if not labs:
        raise error("selection", f"There is no <lab>/Subjects in {root}: give the directory that ONE downloads to.")
    return labs
