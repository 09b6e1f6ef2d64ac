"""Leased slots: how many batches ask one server at once, over all workers.

A lease ends by itself, so that a worker that is killed gives its slots back. A limit that nobody made limits nothing.
"""

from __future__ import annotations

import logging
import re
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency, rate_limit
from prefect.events import emit_event

from tasks.alyx import AlyxClient
from tasks.clients import wire
from tasks.clients.seams import Pace
from tasks.clients.wire import Request
from tasks.rest.throttle import BEYOND
from tasks.telling.progress import tolerant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

    from tasks.model import Transfer

_log = logging.getLogger(__name__)

#: Requests to Alyx that are got of a rate limit at a time: about a second's.
_AT_A_TIME = 9
#: A slot of a worker that is killed is free again after so long; Prefect allows no less than a minute.
LEASE_SECONDS = 120
#: How long one request for slots waits before a stop is looked for.
_PATIENCE_SECONDS = 5
#: A page of Prefect's API.
_MOST_LIMITS = 200
#: Events of a batch that waits for slots, and of its end; `wait` in their payloads says which belong together.
WAITING, WAITED = "alyx.batch.waiting", "alyx.batch.waited"


def alyx_limit(url: str) -> str:
    """Name the limit of an Alyx host."""
    return f"alyx-host-{_plain(host_of(url) or url)}"


def alyx_rate(url: str) -> str:
    """Name the limit of the requests a minute to an Alyx host, by all machines."""
    return f"alyx-rate-{_plain(host_of(url) or url)}"


def repository_limit(name: str) -> str:
    """Name the limit of a data repository."""
    return f"alyx-repository-{_plain(name)}"


def server_limit(host: str) -> str:
    """Name the limit of a data server: its host name, or the name of a bucket."""
    return f"alyx-server-{_plain(host)}"


def limits_of(transfers: Iterable[Transfer]) -> list[str]:
    """Name the limits of all that a batch asks first."""
    first = [transfer.sources[0] for transfer in transfers if transfer.sources]
    # An address of each server will do: to take every one apart costs more than to read it.
    servers = {source.address.partition("://")[2].partition("/")[0]: source.address for source in first}
    names = {server_limit(host_of(address)) for address in servers.values()}
    return sorted(names | {repository_limit(name) for name in {source.repository for source in first}})


def host_of(address: str) -> str:
    """Host and port of an address, without a login that may stand before them; also of one that no parser takes."""
    return wire.host_of(Request(address))


def known_limits(client: SyncPrefectClient) -> dict[str, GlobalConcurrencyLimitResponse]:
    """Return the limits that somebody made, by name."""
    return {limit.name: limit for limit in client.read_global_concurrency_limits(limit=_MOST_LIMITS)}


def existing(names: list[str]) -> list[str]:
    """Return those of the limits that somebody made; none where the server cannot say, as bytes do not wait for it."""
    made = _looked_up()
    return [name for name in names if name in made]


def _full(names: list[str]) -> list[str]:
    """Those of the limits that have no free slot now; all of them where one became free meanwhile."""
    made = _looked_up()
    return [name for name in names if name in made and made[name].active_slots >= made[name].limit] or names


def _looked_up() -> dict[str, GlobalConcurrencyLimitResponse]:
    try:
        with get_client(sync_client=True) as client:
            return known_limits(client)
    except httpx.HTTPError:
        return {}


@contextmanager
def alyx_slot(say: Callable[[str], None]) -> Iterator[None]:
    """Hold a slot of the Alyx host, where its limit exists.

    Raises:
        DownloadError: no Alyx is configured.
    """
    url = AlyxClient().url
    with slots([alyx_limit(url)], Pace(), say), _counted(alyx_rate(url)):
        yield


@contextmanager
def _counted(name: str) -> Iterator[None]:
    """Let each request to Alyx be counted by Prefect, for all machines, where the rate limit exists."""
    before = BEYOND.set(_Share(name).take) if existing([name]) else None
    try:
        yield
    finally:
        if before:
            BEYOND.reset(before)


class _Share:
    """Requests that this run may send: some at a time are got of a rate limit, as each time costs as much as one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = 0

    def take(self) -> None:
        """Wait until one more request may go. A Prefect server that is away keeps nobody waiting."""
        if not self._left:
            try:
                rate_limit(self._name, occupy=_AT_A_TIME)
            except (ConcurrencySlotAcquisitionError, httpx.HTTPError) as failure:
                _log.warning("Requests to Alyx are counted for this machine alone for a while: %s", failure)
            self._left = _AT_A_TIME
        self._left -= 1


@contextmanager
def slots(
    names: list[str], pace: Pace, say: Callable[[str], None], waited_for: list[str] | None = None
) -> Iterator[None]:
    """Hold one slot of each of these limits, where they exist; say when it has to be waited for.

    Args:
        names: The limits.
        pace: Ends the wait.
        say: Told once, when there is no free slot.
        waited_for: Holds the names of those that have none, for as long as that is so.

    Raises:
        DownloadError: `stopped`, while it waits.
    """
    names = existing(names)
    with ExitStack() as held:
        if names and not _acquired(held, names):
            with _waiting(_full(names), say, [] if waited_for is None else waited_for):
                while not _acquired(held, names):
                    pace.check()
        yield


@contextmanager
def _waiting(names: list[str], say: Callable[[str], None], waited_for: list[str]) -> Iterator[None]:
    """Say what is waited for, and tell the event feed when it begins and ends: `prefect-alyx status` reads it there."""
    say(f"Waiting for a free slot of {', '.join(names)}: other batches hold them all.")
    wait = str(uuid4())
    waited_for.extend(names)
    _tell(WAITING, names, wait)
    try:
        yield
    finally:
        for name in names:
            waited_for.remove(name)
        _tell(WAITED, names, wait)


def _acquired(held: ExitStack, names: list[str]) -> bool:
    """Whether the slots could be had within some seconds, or the server cannot say: bytes do not wait for it."""
    lease = concurrency(
        names,
        timeout_seconds=_PATIENCE_SECONDS,
        lease_duration=LEASE_SECONDS,
        strict=True,
        raise_on_lease_renewal_failure=False,  # a server that is away for a minute stops no bytes
    )
    try:
        lease.__enter__()
    except TimeoutError:
        return False
    except ConcurrencySlotAcquisitionError as failure:
        _log.warning("The Prefect server gives no slots, and the batch goes on without them: %s", failure)
        return True
    held.callback(_give_back, lease)
    return True


def _give_back(lease: AbstractContextManager[None]) -> None:
    """Return slots; where the server is away, or has forgotten them in a restart, they end by themselves."""
    with tolerant():
        lease.__exit__(None, None, None)


def _tell(what: str, names: list[str], wait: str) -> None:
    emit_event(
        what,
        resource={"prefect.resource.id": f"alyx.limit.{names[0]}", "prefect.resource.name": names[0]},
        payload={"limits": names, "wait": wait},
    )


def _plain(name: str) -> str:
    """What the name of a limit may hold."""
    return re.sub(r"[^\w.-]", "-", name)
