"""Which client serves a source, and which repositories are not worth asking any more in this run."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from tasks.clients import DownloadClient, DownloadError, Verdict, WireOptions, client_for
from tasks.clients.verdicts import error, printable
from tasks.plan.sources import ANYWHERE
from tasks.transfer.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tasks.clients.seams import Pace
    from tasks.model import Source

#: Transient failures in a row after which a repository is asked last.
_TROUBLE = 3
#: A repository that refuses its credentials is done with; other repositories may still have the file.
CLOSING = ("unauthorised", "refused", "globus-login")


class Switchboard:
    """The clients of one run: one a protocol and repository, shared by all threads.

    A repository that refuses its credentials is closed: it is not asked again. One that keeps failing is
    asked last, until it answers (a circuit breaker); and where it asks for more patience than a file has, not before
    that time. `refusals` holds, by protocol and repository, how often one could
    not give a file that it was asked for, and why at last. `came` counts files that came many at a time, about;
    `turns` says which batch may keep the interpreter busy.

    Args:
        repositories: What Alyx answers for each repository, by name.
        options: How patient the wire is.
        pace: Clock, dice and stop signal.
        params: Profiles by protocol that go before the params store.
    """

    def __init__(
        self,
        repositories: Mapping[str, Mapping[str, Any]],
        options: WireOptions,
        pace: Pace,
        params: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.repositories = {ANYWHERE: {}, **repositories}
        self.options = options
        self.pace = pace
        self.params = params or {}
        self.closed: dict[tuple[str, str], DownloadError] = {}
        self.asked_last: dict[tuple[str, str], DownloadError] = {}
        self._clients: dict[tuple[str, str], DownloadClient] = {}
        self.refusals: dict[tuple[str, str], tuple[int, str]] = {}
        self._trouble: Counter[tuple[str, str]] = Counter()
        self._resting: dict[tuple[str, str], tuple[float, DownloadError]] = {}
        self.came = 0
        self.turns = Turns()
        self._lock = threading.Lock()

    def order(self, sources: Sequence[Source]) -> list[Source]:
        """Sources by precedence; those in trouble come last."""
        if not self._trouble:
            return list(sources)
        return sorted(sources, key=lambda source: self._trouble[_key(source)] >= _TROUBLE)

    def client(self, source: Source) -> DownloadClient:
        """Return the client of a source.

        Raises:
            DownloadError: why its repository is closed, or cannot be asked at all.
        """
        key = _key(source)
        client = self._clients.get(key)
        if client and not self.closed and not self._resting:  # almost always; a lock for each file is not for nothing
            return client
        with self._lock:
            if key in self.closed:
                raise self.closed[key]
            until, why = self._resting.get(key, (0.0, None))
            if why and self.pace.monotonic() < until:
                raise why
            if key not in self._clients:
                self._clients[key] = self._connect(source)
            return self._clients[key]

    def _connect(self, source: Source) -> DownloadClient:
        record = self.repositories.get(source.repository)
        if record is None:
            raise error("not-addressable", f"Alyx has no repository {source.repository!r}.")
        return client_for(source.protocol, record, self.params.get(source.protocol), self.options, pace=self.pace)

    def note(self, source: Source, failure: DownloadError | None) -> None:
        """Remember how a source answered."""
        if failure is None and not self._trouble:
            return
        key = _key(source)
        with self._lock:
            if failure is None:
                del self._trouble[key]
                return
            self.refusals[key] = (self.refusals.get(key, (0, ""))[0] + 1, failure.reason)
            if failure.verdict is Verdict.RETRY:
                self._trouble[key] += 1
                if self._trouble[key] == _TROUBLE:
                    self.asked_last[key] = failure
                if self._trouble[key] >= _TROUBLE and (failure.retry_after or 0.0) > self.options.deadline_seconds:
                    self._resting[key] = self.pace.monotonic() + (failure.retry_after or 0.0), failure
            elif failure.code in CLOSING:
                self.closed[key] = failure

    def remarks(self) -> list[str]:
        """Say which repositories were closed or asked last in this run, a sentence each."""
        with self._lock:
            return [
                *(f"{_name(key)} was closed, and not asked any more. {why.reason}" for key, why in self.closed.items()),
                *(
                    f"{_name(key)} failed {_TROUBLE} times in a row, and was asked last until it answered. {why.reason}"
                    for key, why in self.asked_last.items()
                    if key not in self.closed
                ),
            ]


def _name(key: tuple[str, str]) -> str:
    return printable(f"{key[1]} ({key[0]})")


def _key(source: Source) -> tuple[str, str]:
    return (source.protocol, source.repository)
