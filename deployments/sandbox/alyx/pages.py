"""Pages of a list, as Alyx makes them: limit and offset, and no stable order where Alyx has none."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_DEFAULT, _CAP = 250, 1000


def page(
    rows: Sequence[Any], show: Callable[[Any], Any], asked: Mapping[str, str], address: str, shuffle: str | None
) -> dict[str, Any]:
    """Return one page.

    Args:
        rows: All rows that pass the filters.
        show: Makes JSON of one of them.
        asked: The query; bad limits and offsets are ignored.
        address: Of the list, without a query.
        shuffle: Seed of an order that is another one at each offset, or None for the order of `rows`.
            A walk over pages then repeats some rows and never shows others, as PostgreSQL does without an
            ORDER BY. A list that fits one page is complete.
    """
    limit = min(_positive(asked.get("limit")) or _DEFAULT, _CAP)
    offset = _positive(asked.get("offset")) or 0
    if shuffle is not None:
        rows = random.Random(f"{shuffle}/{limit}/{offset}/{len(rows)}").sample(rows, len(rows))
    following = {"limit": limit, "offset": offset + limit} if offset + limit < len(rows) else None
    before = {"limit": limit, "offset": offset - limit} if offset > 0 else None
    return {
        "count": len(rows),
        "next": _link(address, asked, following),
        "previous": _link(address, asked, before),
        "results": [show(row) for row in rows[offset : offset + limit]],
    }


def _positive(text: str | None) -> int | None:
    try:
        number = int(text or "")
    except ValueError:
        return None
    return number if number > 0 else None


def _link(address: str, asked: Mapping[str, str], change: dict[str, int] | None) -> str | None:
    """Return the address of another page, its parameters in the order of their names."""
    if change is None:
        return None
    if change["offset"] <= 0:
        change = {"limit": change["limit"]}
    query = {key: value for key, value in asked.items() if key != "offset"} | change
    return f"{address}?{urlencode(sorted(query.items()))}"
