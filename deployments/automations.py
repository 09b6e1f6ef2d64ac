"""The automations of a site, from automations.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.events.schemas.automations import AutomationCore
from pydantic import ValidationError

from deployments.lines import Lined

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from deployments.site import Site
    from tasks.model import Json

#: What of an automation is compared and set; a person may switch it off.
_OURS = set(AutomationCore.model_fields) - {"enabled", "owner_resource"}


def automations(path: Path, site: Site, webhook: UUID | None) -> list[AutomationCore]:
    """Read the automations that a site can have.

    Args:
        path: automations.yaml.
        site: Fills in the figures.
        webhook: The block of the webhook; without it, what would call it is left out.

    Raises:
        DownloadError: `deploy-file`, with line and key of everything that is wrong.
    """
    lined = Lined.read(path, site.words())
    made, faults = [], []
    for index, row in enumerate(lined.data):
        calls = any("call" in action for action in row["actions"])
        if calls and webhook is None:
            continue
        try:
            made.append(
                AutomationCore.model_validate({**row, "actions": [_action(one, webhook) for one in row["actions"]]})
            )
        except ValidationError as failure:
            faults += lined.faults_of(failure, (index,))
    lined.refuse(faults)
    return made


def substance(automation: AutomationCore) -> Json:
    """Return what makes two automations the same."""
    return automation.model_dump(include=_OURS)


def _action(row: Json, webhook: UUID | None) -> Any:
    if "call" not in row:
        return row
    return {"type": "call-webhook", "block_document_id": webhook, "payload": row["text"]}
