"""Makes the outcome of a transfer: published in a group, or failed with what every source said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.clients.verdicts import DownloadError
from tasks.model import Outcome, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.clients.fetching import Receipt
    from tasks.clients.publish import Published
    from tasks.model import Source, Transfer
    from tasks.transfer.carrying import Carried


def published(carried: Carried, result: Published | DownloadError) -> Outcome:
    """The outcome of a transfer after its group was published."""
    transfer, source, receipt = carried.transfer, carried.source, carried.receipt
    if isinstance(result, DownloadError):
        lost = failed(transfer, result, {}, receipt)  # it is this machine's failure, and none of the source
        return lost._replace(source=source.repository, protocol=source.protocol)
    return Outcome(
        transfer.dataset,
        transfer.path,
        State.PUBLISHED,
        source=source.repository,
        protocol=source.protocol,
        bytes=receipt.bytes,
        attempts=receipt.attempts,
        reason=carried.note,
        size=result.size,
        digest=transfer.digest,
        verified=result.verified,
        mtime_ns=result.mtime_ns,
        seconds=receipt.seconds,
    )


def failed(
    transfer: Transfer, failure: DownloadError, said: Mapping[Source, DownloadError], receipt: Receipt
) -> Outcome:
    """The outcome of a transfer that could not be had.

    Args:
        transfer: What was to be had.
        failure: What it amounts to.
        said: What each source answered that was asked.
        receipt: What it has cost.
    """
    asked = list(said)
    return Outcome(
        transfer.dataset,
        transfer.path,
        State.FAILED,
        source=asked[-1].repository if asked else "",
        protocol=asked[-1].protocol if asked else "",
        bytes=receipt.bytes,
        attempts=receipt.attempts,
        verdict=failure.verdict,
        reason=_reasons(said) or failure.reason,
        next_step=failure.next_step,
        code=failure.code,
        size=transfer.size,
        digest=transfer.digest,
        seconds=receipt.seconds,
    )


def _reasons(said: Mapping[Source, DownloadError]) -> str:
    """What each source said; those that said the same, together."""
    who: dict[str, list[str]] = {}
    for source, why in said.items():
        who.setdefault(why.reason, []).append(source.repository)
    return " | ".join(f"{', '.join(repositories)}: {reason}" for reason, repositories in who.items())
