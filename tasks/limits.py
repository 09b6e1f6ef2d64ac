"""Leased slots: how many batches ask one server at once, over all workers.

A lease ends by itself, so that a worker that is killed gives its slots back. A limit that nobody made limits nothing.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prefect.concurrency.sync import concurrency
from prefect.events import emit_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tasks.clients.seams import Pace
    from tasks.model import Transfer

#: A slot of a worker that is killed is free again after so long; Prefect allows no less than a minute.
LEASE_SECONDS = 120
#: How long one request for slots waits before a stop is looked for.
_PATIENCE_SECONDS = 5


def alyx_limit(url: str) -> str:
    """Name the limit of an Alyx host."""
    return f"alyx-host-{_plain(urlsplit(url).netloc or url)}"


def repository_limit(name: str) -> str:
    """Name the limit of a data repository."""
    return f"alyx-repository-{_plain(name)}"


def server_limit(host: str) -> str:
    """Name the limit of a data server: its host name, or the name of a bucket."""
    return f"alyx-server-{_plain(host)}"


def limits_of(transfers: Iterable[Transfer]) -> list[str]:
    """Name the limits of all that a batch asks first."""
    first = {transfer.sources[0] for transfer in transfers if transfer.sources}
    servers = {server_limit(urlsplit(source.address).netloc) for source in first}
    return sorted(servers | {repository_limit(source.repository) for source in first})


@contextmanager
def slots(names: list[str], pace: Pace, say: Callable[[str], None]) -> Iterator[None]:
    """Hold one slot of each of these limits, where they exist; say when it has to be waited for.

    Raises:
        DownloadError: `stopped`, while it waits.
    """
    with ExitStack() as held:
        if not _acquired(held, names):
            say(f"Waiting for a free slot of {', '.join(names)}: other batches hold them all.")
            _tell(names)
            while not _acquired(held, names):
                pace.check()
        yield


def _acquired(held: ExitStack, names: list[str]) -> bool:
    """Whether the slots could be had within some seconds."""
    try:
        held.enter_context(concurrency(names, timeout_seconds=_PATIENCE_SECONDS, lease_duration=LEASE_SECONDS))
    except TimeoutError:
        return False
    return True


def _tell(names: list[str]) -> None:
    emit_event(
        "alyx.batch.waiting",
        resource={"prefect.resource.id": f"alyx.limit.{names[0]}", "prefect.resource.name": names[0]},
        payload={"limits": names},
    )


def _plain(name: str) -> str:
    """What the name of a limit may hold."""
    return re.sub(r"[^\w.-]", "-", name)
