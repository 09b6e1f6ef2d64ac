"""What may be written to Alyx: a login, the log of downloads, and a note on a file record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployments.sandbox.alyx.database import FileRow
from deployments.sandbox.alyx.gate import Accounts, Refusal
from deployments.sandbox.alyx.query import QueryError
from deployments.sandbox.model import identify

if TYPE_CHECKING:
    from deployments.sandbox.data import World


def login(accounts: Accounts, fields: dict[str, Any]) -> str:
    """Return the token of a user.

    Raises:
        Refusal: 400 and never 401, in two forms that have no `detail`.
    """
    missing = {name: ["This field is required."] for name in ("username", "password") if name not in fields}
    if missing:
        raise Refusal(400, missing)
    token = accounts.login(fields["username"], fields["password"])
    if token is None:
        raise Refusal(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
    return token


def new_download(
    world: World, counts: dict[tuple[str, str], int], user: str, fields: dict[str, Any]
) -> dict[str, list[Any]]:
    """Count a download of each dataset by a user; `datasets` is a list, or ids apart by commas."""
    asked = fields.get("datasets", [])
    ids = asked.split(",") if isinstance(asked, str) else asked
    if any(each not in world.datasets for each in ids):
        raise QueryError("Dataset matching query does not exist.")
    for each in ids:
        counts[user, each] = counts.get((user, each), 0) + 1
    return {
        "download": [identify("download", user, each) for each in ids],
        "count": [counts[user, each] for each in ids],
    }


def patch(world: World, model: str, row: Any, fields: dict[str, Any]) -> Any:
    """Change the `json` or `exists` of a file record; nothing else of the sandbox can be changed over REST.

    Raises:
        Refusal: 403 for everything else.
    """
    if model != "FileRecord" or not fields.keys() <= {"json"}:
        raise Refusal(403, "You do not have permission to perform this action.")
    changed = replace(row.record, json=fields["json"])
    records = tuple(changed if each == row.record else each for each in row.dataset.records)
    world.datasets[row.dataset.id] = replace(row.dataset, records=records)
    return FileRow(world.datasets[row.dataset.id], changed)
