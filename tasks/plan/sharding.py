"""Cuts a large plan into shards: plans of their own, each small enough for one flow run on one machine.

Neighbours in the tree stay together, and shards are about equal work, by bytes and files. Only one shard is in memory.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tasks.plan.batching import cut, work
from tasks.plan.planfile import Lines, Plan, Share, Total
from tasks.plan.spool import Spool, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tasks.model import Transfer

#: What a shard keeps together: nothing but neighbours, or all of a lab, a subject, a day.
By = Literal["neighbours", "lab", "subject", "date"]

#: Parts of `lab/Subjects/subject/date/...` that name the group.
_DEPTH: dict[By, int] = {"neighbours": 0, "lab": 1, "subject": 3, "date": 4}
#: Work of a shard, in full batches, and how many there are at most; a batch is 10 to 60 seconds of work.
SHARD_WORK = 5.0
MOST_SHARDS = 200


def shards(plan: Plan, by: By = "subject", count: int | None = None) -> Iterator[Path]:
    """Save a plan's shards, one after the other, and yield where each one lies.

    Args:
        plan: The plan.
        by: What stays together, unless it is more than two shards' work.
        count: How many there should be; by default as many as make each an hour's work at most.

    Raises:
        DownloadError: `disk-full`, `read-only` or `local-io`; the shards before stand.
    """
    total = work(plan.fetch.bytes + plan.check.bytes, plan.fetch.files + plan.check.files)
    wanted = min(MOST_SHARDS, count or math.ceil(total / SHARD_WORK))
    for transfers in _portions(_in_order(plan), total / max(1, wanted), _DEPTH[by]):
        yield _shard(plan, transfers).save()


def _in_order(plan: Plan) -> Iterator[Transfer]:
    """Yield the transfers as they lie in the tree; within a batch the plan has them by size."""
    for number in range(len(plan.batches)):
        yield from sorted(plan.transfers(number), key=lambda transfer: transfer.path)


def _portions(transfers: Iterable[Transfer], share: float, depth: int) -> Iterator[list[Transfer]]:
    """Cut where a share is full and a group ends; a group of more than two shares is cut inside."""
    portion: list[Transfer] = []
    group, done, start = "", 0.0, 0.0
    for transfer in transfers:
        now = "/".join(transfer.path.split("/")[:depth]) if depth else transfer.path
        full = done - start >= share * (1 - 1e-9)
        if portion and full and (now != group or done - start >= 2 * share):
            yield portion
            portion, start = [], done
        portion.append(transfer)
        group, done = now, done + work(transfer.size)
    if portion:
        yield portion


def _shard(plan: Plan, transfers: list[Transfer]) -> Plan:
    """Make a plan of some of another one's transfers; what is present or skipped stays with the other."""
    body = Spool()
    fetch = _total(transfers)
    batches = tuple(_write(body, batch) for batch in cut(transfers, work(fetch.bytes, fetch.files)))
    return Plan(
        id=body.name(plan.root),
        root=plan.root,
        catalogue=plan.catalogue,
        fetch=fetch,
        check=Total(),
        present=Total(),
        skipped=0,
        shares=tuple(_shares(transfers)),
        space=replace(plan.space, adds=fetch.bytes),
        batches=batches,
        skip_lines=(),
        present_lines=(),
        read=body.read,
    )


def _write(body: Spool, batch: list[Transfer]) -> Lines:
    start, total = body.size, _total(batch)
    for transfer in batch:
        body.put(line(transfer.to_row()))
    return Lines(start, body.size - start, total.files, total.bytes)


def _total(transfers: list[Transfer]) -> Total:
    sizes = [transfer.size for transfer in transfers]
    return Total(len(sizes), sum(size or 0 for size in sizes), sizes.count(None))


def _shares(transfers: list[Transfer]) -> Iterator[Share]:
    """Say what each source is asked for first, the largest share first."""
    files: Counter[tuple[str, str]] = Counter()
    size: Counter[tuple[str, str]] = Counter()
    for transfer in transfers:
        route = (transfer.sources[0].protocol, transfer.sources[0].repository) if transfer.sources else ("", "")
        files[route] += 1
        size[route] += transfer.size or 0
    for route in sorted(files, key=lambda route: (-size[route], -files[route], route)):
        yield Share(*route, files[route], size[route])
