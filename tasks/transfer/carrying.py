"""Carries one transfer: what lies there already, else its sources in order, until one gives the proven bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from tasks.clients import client_class
from tasks.clients.fetching import Receipt
from tasks.clients.proof import HEAD_BYTES, Expected
from tasks.clients.verdicts import DownloadError, Verdict, error, os_error
from tasks.model import Outcome, State
from tasks.transfer.outcomes import failed
from tasks.transfer.switchboard import CLOSING

if TYPE_CHECKING:
    from tasks.clients.fetching import Exchange, Fetch
    from tasks.clients.partial import Partial
    from tasks.clients.partials import Partials
    from tasks.clients.streaming import StreamingClient
    from tasks.clients.tree import Tree
    from tasks.model import Source, Transfer
    from tasks.transfer.switchboard import Switchboard

_BLOCK = 1 << 20


@dataclass(slots=True)
class Carried:
    """A transfer whose bytes are proven and wait to be published.

    Attributes:
        note: What a person should know besides; "" for most.
    """

    transfer: Transfer
    partial: Partial
    source: Source
    receipt: Receipt
    note: str = ""


@dataclass(slots=True)
class Passed:
    """A transfer that only a service can still bring, and what its other sources said.

    Attributes:
        source: The service's source.
    """

    transfer: Transfer
    source: Source
    said: dict[Source, DownloadError] = field(default_factory=dict)
    receipt: Receipt = field(default_factory=Receipt)


@dataclass(slots=True)
class Begun:
    """A transfer whose first request was made together with others', and did not end in the proven file.

    Attributes:
        way: Holds the claimed partial.
        source: The one that was asked.
        fetch: What has the other attempts.
        first: The first attempt, which has ended.
    """

    way: Way
    source: Source
    fetch: Fetch
    first: Exchange

    @property
    def transfer(self) -> Transfer:
        """The transfer."""
        return self.way.transfer


#: What carrying a transfer ends in.
Arrival = Carried | Outcome | Passed


def is_managed(source: Source) -> bool:
    """Whether a service moves the bytes of a source."""
    return client_class(source.protocol).capabilities.managed


def parted(sources: tuple[Source, ...]) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Sources whose bytes pass through this process, and those that a service moves."""
    managed = tuple([source for source in sources if is_managed(source)])
    return tuple([source for source in sources if source not in managed]) if managed else sources, managed


@dataclass(slots=True)
class Carrier:
    """Carries the transfers of one run into one tree; used by many threads at once."""

    tree: Tree
    partials: Partials
    switchboard: Switchboard

    def carry(self, waiting: Transfer | Begun) -> Arrival:
        """Prove what lies at the final name, or fetch the bytes into a proven partial; go on with what is begun.

        Returns:
            The proven partial, to be published in a group; the outcome, where there is nothing to publish; or the
            transfer to be passed to a service, where only that can still bring it.
        """
        begun = waiting if isinstance(waiting, Begun) else None
        transfer = waiting.transfer if isinstance(waiting, Begun) else waiting
        direct, managed = parted(transfer.sources)
        way = begun.way if begun else Way(self, transfer, direct)
        try:
            expected = Expected.of(transfer.size, transfer.digest)
            found = None if begun else self.found(transfer)
            if found:
                return found
            return way.fetch(expected, begun) if direct or not managed else Passed(transfer, managed[0])
        except DownloadError as failure:
            hopeless = failure.verdict is Verdict.STOP_RUN or way.same_wrong_bytes()
            way.let_go()
            if managed and not hopeless:
                return Passed(transfer, managed[0], way.failures, way.receipt)
            return failed(transfer, failure, way.failures, way.receipt)._replace(wrong=tuple(way.wrong))
        except OSError as failure:  # of a file that is there, or of a partial
            way.let_go()
            return self.failed(transfer, os_error(failure, self.tree.root / transfer.path))

    def failed(self, transfer: Transfer, failure: DownloadError) -> Outcome:
        """The outcome of a transfer for which no source was asked."""
        return failed(transfer, failure, {}, Receipt())

    def found(self, transfer: Transfer) -> Outcome | None:
        """Prove a file that another program, or another run, left at the final name; raises as :meth:`proves`."""
        expected = Expected.of(transfer.size, transfer.digest)
        found = self.tree.stat(transfer.path)
        if found is None or expected.size not in (None, found.st_size):
            return None
        if not self.proves(transfer.path, expected):
            return None
        return Outcome(
            transfer.dataset,
            transfer.path,
            State.PRESENT,
            size=found.st_size,
            digest=transfer.digest,
            verified=expected.verified,
            mtime_ns=found.st_mtime_ns,
            reason="It was on disk already, and is proven now.",
        )

    def proves(self, path: str, expected: Expected) -> bool:
        """Read the file at a path, and say whether it is what is expected.

        Raises:
            DownloadError: `stopped` or `bad-path`.
            OSError: it cannot be read.
        """
        hasher, size, head = expected.hasher(), 0, b""
        with self.tree.open(path) as file:
            while block := file.read(_BLOCK):
                self.switchboard.pace.check()
                head = head or block[:HEAD_BYTES]
                size += len(block)
                if hasher:
                    hasher.update(block)
        try:
            expected.check(size, hasher.hexdigest() if hasher else "", head, path)
        except DownloadError:
            return False
        return True


@dataclass(slots=True)
class Way:
    """One transfer on its way along its sources."""

    carrier: Carrier
    transfer: Transfer
    sources: tuple[Source, ...]
    receipt: Receipt = field(default_factory=Receipt)
    failures: dict[Source, DownloadError] = field(default_factory=dict)
    partial: Partial | None = None
    wrong: list[tuple[str, str]] = field(default_factory=list)
    _blamed: int = 0

    def fetch(self, expected: Expected, begun: Begun | None = None) -> Carried:
        """Ask every source once without patience, then those that may mend with all of it.

        So a transient fault costs no wait while another source can go on where the first one stopped.
        """
        switchboard = self.carrier.switchboard
        candidates = switchboard.order(self.sources)
        if begun:
            candidates.sort(key=begun.source.__ne__)
        for impatient in (True, False) if len(candidates) > 1 else (False,):
            for source in list(candidates):
                if self.same_wrong_bytes():
                    break
                attempts = 1 if impatient else switchboard.options.attempts
                first, begun = begun, None
                if self._ask(source, expected, attempts, first):
                    assert self.partial is not None  # noqa: S101  (`_ask` claimed it; for the type checker)
                    return Carried(self.transfer, self.partial, source, self.receipt)
                if self.failures[source].verdict is not Verdict.RETRY:
                    candidates.remove(source)
        raise self._why()

    def same_wrong_bytes(self) -> bool:
        """Whether one wrong file came twice: then it is Alyx that differs from the servers, and no fault of a line."""
        wrong = self.partial.wrong if self.partial else []
        return len(set(wrong)) < len(wrong)

    def _ask(self, source: Source, expected: Expected, attempts: int, begun: Begun | None) -> bool:
        switchboard = self.carrier.switchboard
        try:
            client = cast("StreamingClient", switchboard.client(source))
            if begun:
                client.complete(begun.fetch, begun.first)
            else:
                client.fetch(source.address, self.claim(source, expected), receipt=self.receipt, attempts=attempts)
        except DownloadError as failure:
            self._note(source, failure)
            return False
        switchboard.note(source, None)
        return True

    def claim(self, source: Source, expected: Expected) -> Partial:
        """With a digest all sources continue one partial; without, each address has its own."""
        if self.partial and not expected.digest:
            self.let_go()
        if self.partial is None:
            self.partial = self.carrier.partials.claim(expected, source.address)
        return self.partial

    def _note(self, source: Source, failure: DownloadError) -> None:
        self.failures[source] = failure
        self._blame(source, failure)
        self.carrier.switchboard.note(source, failure)
        if failure.verdict is Verdict.SKIP_FILE:
            raise failure
        if failure.verdict is Verdict.STOP_RUN and failure.code not in CLOSING:
            raise failure

    def _blame(self, source: Source, failure: DownloadError) -> None:
        """Remember which wrong digests came from this source."""
        wrong = self.partial.wrong if self.partial else []
        if failure.code == "digest-mismatch":  # bytes of another size may be a page that is in the way
            self.wrong += [(source.repository, digest) for digest in wrong[self._blamed :] if digest]
        self._blamed = len(wrong)

    def _why(self) -> DownloadError:
        """One error for all sources: a source that may mend counts most; the run stops when all refuse the login."""
        failures = list(self.failures.values())
        if not failures:
            return error("no-source")
        mendable = [failure for failure in failures if failure.verdict is Verdict.RETRY]
        if mendable and not self.same_wrong_bytes():
            return mendable[0]
        if all(failure.verdict is Verdict.STOP_RUN for failure in failures):
            return failures[0]
        last = failures[-1]
        return DownloadError(Verdict.SKIP_FILE, last.reason, last.next_step, code=last.code)

    def let_go(self) -> None:
        """Give the partial back; the next run continues it."""
        if self.partial:
            self.partial.release()
            self.partial = None
