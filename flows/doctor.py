"""Looks at everything that a run needs, side by side and within bounds of time, for the verb `doctor`."""

from __future__ import annotations

import platform
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.exit_codes import DONE, STOPPED, TEMPORARY
from flows.local_server import running_server
from tasks.alyx import AlyxClient
from tasks.checks import local as local_checks
from tasks.checks import remote as remote_checks
from tasks.checks.finding import Finding
from tasks.clients import WireOptions
from tasks.clients.seams import Pace, bounded
from tasks.clients.verdicts import DownloadError, Verdict, error, os_error
from tasks.preparing import find_root
from tasks.rest.exchange import Limits
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tasks.checks.remote import Check
    from tasks.model import Json

#: Longest time for one check, and how many go side by side.
_SECONDS = 20.0
_AT_ONCE = 16
_OPTIONS = WireOptions(attempts=1, connect_seconds=5, stall_seconds=5)
_LIMITS = Limits(attempts=1, connect_seconds=5, read_seconds=10, total_seconds=15)


@dataclass
class Doctor:
    """One examination.

    Args:
        root: Where the files go; by default as for a run.
        settings: Defaults.
        seconds: Longest time for one check.
        pace: Clock and stop signal.
    """

    root: Path | None = None
    settings: AlyxSettings = field(default_factory=AlyxSettings)
    seconds: float = _SECONDS
    pace: Pace = field(default_factory=Pace)

    def findings(self) -> Iterator[Finding]:
        """Yield what is found, always in the same order, each as soon as it and those before it are known."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            try:
                for group in threads.map(self._bounded, self._local()):
                    yield from group
                yield from self._remote(threads)
            except BaseException:
                self.pace.stop.set()  # no check outlives a Ctrl-C
                raise

    def _remote(self, threads: ThreadPoolExecutor) -> Iterator[Finding]:
        """Alyx, and the repositories where it names them."""
        try:
            alyx = AlyxClient(pace=self.pace, limits=_LIMITS)
        except DownloadError as failure:
            yield Finding.of("Alyx", failure)
            return
        answers = self._bounded(("Alyx", partial(remote_checks.alyx_answers, alyx.url, _LIMITS, self.pace)))
        yield from answers
        if any(one.mark == "FAIL" and one.subject == "Alyx" for one in answers):
            yield Finding("note", "repositories", "not tried: only Alyx knows them")
            return
        try:
            login, records = bounded(partial(remote_checks.known_repositories, alyx), self.pace, self.seconds)
            checks = [*remote_checks.routes(records, _OPTIONS, self.pace)]
        except (DownloadError, TimeoutError) as failure:
            yield self._failed("login and repositories", failure)
            return
        yield login
        for group in threads.map(self._bounded, checks):
            yield from group

    def _local(self) -> Iterator[tuple[str, Check]]:
        yield "versions", _versions
        yield "Prefect API", partial(copy_context().run, _prefect_api)  # Prefect's settings belong to a context
        yield "ONE's files", local_checks.one_files
        try:
            place = self._place()
        except DownloadError as failure:
            yield "root", partial(iter, (Finding.of("root", failure),))
            return
        yield "root", partial(local_checks.place, place)
        yield "disk", partial(local_checks.space, place, self.settings.reserve_bytes)
        yield "ledger", partial(local_checks.ledger, place)

    def _place(self) -> Path:
        known = self.root or self.settings.root
        return known.expanduser().absolute() if known else find_root(None, self.settings, AlyxClient())

    def _bounded(self, named: tuple[str, Check]) -> Sequence[Finding]:
        """All that a check finds; what stops it, or that it takes too long, is its last finding."""
        subject, check = named
        found: list[Finding] = []
        try:
            bounded(lambda: found.extend(check()), self.pace, self.seconds)
        except (DownloadError, OSError) as failure:
            found = [*found, self._failed(subject, failure)]
        return found

    def _failed(self, subject: str, failure: DownloadError | OSError) -> Finding:
        if isinstance(failure, DownloadError):
            return Finding.of(subject, failure)
        if isinstance(failure, TimeoutError):
            return Finding.of(subject, error("stalled", f"There is no answer after {self.seconds:.0f} s."))
        return Finding.of(subject, os_error(failure, failure.filename or subject))


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing failed, 5 where all that failed may mend by itself, 7 else."""
    failures = [one for one in findings if one.mark == "FAIL"]
    if not failures:
        return DONE
    return TEMPORARY if all(one.is_temporary for one in failures) else STOPPED


def summary(findings: Iterable[Finding]) -> Json:
    """How many findings there are of each kind."""
    marks = Counter(one.mark.lower() for one in findings)
    return {"summary": {kind: marks[kind] for kind in ("ok", "note", "fail")}}


def _versions() -> Iterator[Finding]:
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.system()}")
    yield Finding("ok", "Prefect", version("prefect"))


def _prefect_api() -> tuple[Finding, ...]:
    """The API that a run would use: the configured one, or the local server, which a run starts by itself."""
    configured = get_current_settings().api.url
    if not configured:
        known = running_server()
        return (Finding("ok", "Prefect API", known.url if known else "none configured; a run starts a local server"),)
    parts = urlsplit(str(configured))
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # a login may stand before the host
    with get_client(sync_client=True) as client:
        if not client.api_healthcheck():
            return (Finding("ok", "Prefect API", f"{shown} answers"),)
    step = "Start the server (`prefect server start`), or correct PREFECT_API_URL (`prefect config view`)."
    raise DownloadError(Verdict.RETRY, f"{shown} does not answer.", step, code="prefect-server")
