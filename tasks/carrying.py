"""Carries one transfer: what lies there already, else its sources in order, until one gives the proven bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.clients.fetching import Receipt
from tasks.clients.proof import HEAD_BYTES, Expected
from tasks.clients.streaming import StreamingClient
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.model import Outcome, State

if TYPE_CHECKING:
    from tasks.clients.partials import Partial, Partials
    from tasks.clients.publish import Published
    from tasks.clients.tree import Tree
    from tasks.model import Source, Transfer
    from tasks.switchboard import Switchboard

_BLOCK = 1 << 20
#: A source that refuses its credentials is done with; the other sources may still have the file.
_CLOSES_A_SOURCE = ("unauthorised", "refused")


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
class Carrier:
    """Carries the transfers of one run into one tree; used by many threads at once."""

    tree: Tree
    partials: Partials
    switchboard: Switchboard

    def carry(self, transfer: Transfer) -> Carried | Outcome:
        """Prove what lies at the final name, or fetch the bytes into a proven partial.

        Returns:
            The proven partial, to be published in a group; or the outcome, where there is nothing to publish.
        """
        way = _Way(self, transfer)
        try:
            expected = Expected.of(transfer.size, transfer.digest)
            return self._adopt(transfer, expected) or way.fetch(expected)
        except DownloadError as failure:
            return way.failed(failure)

    def failed(self, transfer: Transfer, failure: DownloadError) -> Outcome:
        """The outcome of a transfer for which no source was asked."""
        return _Way(self, transfer).failed(failure)

    def _adopt(self, transfer: Transfer, expected: Expected) -> Outcome | None:
        """Prove a file that another program, or a run that was killed, left at the final name."""
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
class _Way:
    """One transfer on its way along its sources."""

    carrier: Carrier
    transfer: Transfer
    receipt: Receipt = field(default_factory=Receipt)
    failures: dict[Source, DownloadError] = field(default_factory=dict)
    partial: Partial | None = None

    def fetch(self, expected: Expected) -> Carried:
        """Ask every source once without patience, then those that may mend with all of it.

        So a transient fault costs no wait while another source can go on where the first one stopped.
        """
        switchboard = self.carrier.switchboard
        candidates = switchboard.order(self.transfer.sources)
        for impatient in (True, False) if len(candidates) > 1 else (False,):
            for source in list(candidates):
                if self._same_wrong_bytes():
                    break
                if self._ask(source, expected, attempts=1 if impatient else switchboard.options.attempts):
                    assert self.partial is not None  # noqa: S101  (`_ask` claimed it; for the type checker)
                    return Carried(self.transfer, self.partial, source, self.receipt)
                if self.failures[source].verdict is not Verdict.RETRY:
                    candidates.remove(source)
        raise self._why()

    def _same_wrong_bytes(self) -> bool:
        """Whether one wrong file came twice: then it is Alyx that differs from the servers, and no fault of a line."""
        wrong = self.partial.wrong if self.partial else []
        return len(set(wrong)) < len(wrong)

    def _ask(self, source: Source, expected: Expected, *, attempts: int) -> bool:
        switchboard = self.carrier.switchboard
        try:
            client = switchboard.client(source)
            if not isinstance(client, StreamingClient):
                raise error("not-addressable", f"{source.protocol} does not move single files.")
            client.fetch(source.address, self._claim(source, expected), receipt=self.receipt, attempts=attempts)
        except DownloadError as failure:
            self._note(source, failure)
            return False
        switchboard.note(source, None)
        return True

    def _claim(self, source: Source, expected: Expected) -> Partial:
        """With a digest all sources continue one partial; without, each address has its own."""
        if self.partial and not expected.digest:
            self._let_go()
        if self.partial is None:
            self.partial = self.carrier.partials.claim(expected, source.address)
        return self.partial

    def _note(self, source: Source, failure: DownloadError) -> None:
        self.failures[source] = failure
        self.carrier.switchboard.note(source, failure)
        if failure.verdict is Verdict.SKIP_FILE:
            raise failure
        if failure.verdict is Verdict.STOP_RUN and failure.code not in _CLOSES_A_SOURCE:
            raise failure

    def _why(self) -> DownloadError:
        """One error for all sources: a source that may mend counts most; the run stops when all refuse the login."""
        failures = list(self.failures.values())
        if not failures:
            return error("no-source")
        mendable = [failure for failure in failures if failure.verdict is Verdict.RETRY]
        if mendable and not self._same_wrong_bytes():
            return mendable[0]
        if all(failure.verdict is Verdict.STOP_RUN for failure in failures):
            return failures[0]
        last = failures[-1]
        return DownloadError(Verdict.SKIP_FILE, last.reason, last.next_step, code=last.code)

    def failed(self, failure: DownloadError) -> Outcome:
        """The outcome of a transfer that could not be had; the partial is kept for the next run."""
        self._let_go()
        asked = list(self.failures)
        return Outcome(
            self.transfer.dataset,
            self.transfer.path,
            State.FAILED,
            source=asked[-1].repository if asked else "",
            protocol=asked[-1].protocol if asked else "",
            bytes=self.receipt.bytes,
            attempts=self.receipt.attempts,
            verdict=failure.verdict,
            reason=self._reasons() or failure.reason,
            next_step=failure.next_step,
            code=failure.code,
            size=self.transfer.size,
            digest=self.transfer.digest,
        )

    def _reasons(self) -> str:
        """What each source said; those that said the same, together."""
        said: dict[str, list[str]] = {}
        for source, why in self.failures.items():
            said.setdefault(why.reason, []).append(source.repository)
        return " | ".join(f"{', '.join(repositories)}: {reason}" for reason, repositories in said.items())

    def _let_go(self) -> None:
        if self.partial:
            self.partial.release()
            self.partial = None


def published(carried: Carried, result: Published | DownloadError) -> Outcome:
    """The outcome of a transfer after its group was published."""
    transfer, source, receipt = carried.transfer, carried.source, carried.receipt
    failure = result if isinstance(result, DownloadError) else None
    return Outcome(
        transfer.dataset,
        transfer.path,
        State.FAILED if failure else State.PUBLISHED,
        source=source.repository,
        protocol=source.protocol,
        bytes=receipt.bytes,
        attempts=receipt.attempts,
        verdict=failure.verdict if failure else "",
        reason=failure.reason if failure else carried.note,
        next_step=failure.next_step if failure else "",
        code=failure.code if failure else "",
        size=transfer.size if isinstance(result, DownloadError) else result.size,
        digest=transfer.digest,
        verified="" if isinstance(result, DownloadError) else result.verified,
        mtime_ns=None if isinstance(result, DownloadError) else result.mtime_ns,
    )
