"""Other runs on the same root: what one of them moves is waited for, and not moved twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.clients.globus.batches import Item
    from tasks.clients.globus.journal import Journal


class Others:
    """Files that other runs are moving, by submission."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._items: dict[str, list[Item]] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._items)

    def wait_for(self, elsewhere: Mapping[str, list[Item]]) -> None:
        """Add files of submissions that are held elsewhere."""
        for submission_id, items in elsewhere.items():
            self._items.setdefault(submission_id, []).extend(items)

    def released(self) -> list[Item]:
        """Take out the files that nobody alive moves any more: they were brought, or left."""
        over = [submission_id for submission_id in self._items if not self._journal.is_held(submission_id)]
        return [item for submission_id in over for item in self._items.pop(submission_id)]

    def all(self) -> list[Item]:
        """Take out all files."""
        items = [item for group in self._items.values() for item in group]
        self._items.clear()
        return items
