"""Asks the servers that a run may need one small question each: Alyx, its clock, every repository."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks.catalogue import repositories
from tasks.checks.finding import Finding
from tasks.clients import PROC_PRECEDENCE, client_class, client_for
from tasks.clients.verdicts import DownloadError
from tasks.plan.sources import ANYWHERE, KACHERY, protocols
from tasks.preparing import configured
from tasks.rest.exchange import TokenAuth, exchange, new_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tasks.alyx import AlyxClient
    from tasks.clients import WireOptions
    from tasks.clients.seams import Pace
    from tasks.model import Json
    from tasks.rest.exchange import Answer, Limits

    Check = Callable[[], Iterable[Finding]]

#: A clock that is off by this much is worth a word; from a quarter of an hour on, S3 refuses signatures.
_SKEW_SECONDS = 60
_REFUSED_SECONDS = 900


def alyx_answers(url: str, limits: Limits, pace: Pace) -> Iterator[Finding]:
    """Alyx: it answers, and its clock is ours.

    Raises:
        DownloadError: an `alyx-...` row, where there is no answer.
    """
    answer = exchange(
        new_session(), "GET", f"{url}/", limits=limits, pace=pace, seconds=limits.total_seconds, auth=TokenAuth()
    )
    yield Finding("ok", "Alyx", f"{url} answers")
    yield from clock(answer, pace.now())


def clock(answer: Answer, now: float) -> Iterator[Finding]:
    """This machine's clock beside that of a server's answer."""
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except ValueError:
        yield Finding("note", "clock", "Alyx does not say what time it is")
        return
    skew = round(now - theirs)
    text = f"{abs(skew)} s {'ahead of' if skew > 0 else 'behind'} Alyx's" if skew else "as Alyx's"
    if abs(skew) <= _SKEW_SECONDS:
        yield Finding("ok", "clock", text)
        return
    step = "Let the system keep the time (NTP): S3 and kachery refuse what is signed at another time."
    yield Finding("FAIL" if abs(skew) >= _REFUSED_SECONDS else "note", "clock", text, step)


def known_repositories(alyx: AlyxClient) -> tuple[Finding, dict[str, Json]]:
    """The login: it is good, and which repositories it sees.

    Raises:
        DownloadError: an `alyx-...` row, where the login is not good.
    """
    found = repositories(alyx)
    login = alyx.credentials
    who = f"user {login.user}" if login.user else "a token" if login.token else "nobody"
    return Finding("ok", "login", f"good, as {who} ({login.origin}); {len(found):,} repositories"), found


def routes(records: Mapping[str, Json], options: WireOptions, pace: Pace) -> Iterator[tuple[str, Check]]:
    """Yield what there is to check of each repository, by each protocol that it offers; nothing is asked yet."""
    ready = configured()
    offers = [(protocol, name) for name, record in sorted(records.items()) for protocol in protocols(record)]
    if KACHERY in ready:
        offers.append((KACHERY, ANYWHERE))
    for protocol in PROC_PRECEDENCE:
        names = [name for offered, name in offers if offered == protocol]
        if protocol not in ready and (names or client_class(protocol).capabilities.by_digest):
            yield protocol, partial(_unready, protocol, len(names))
            continue
        for name in names:
            yield f"{protocol} {name}", partial(_route, protocol, name, records.get(name, {}), options, pace)


def _unready(protocol: str, count: int) -> Iterator[Finding]:
    text = f"not configured; {count:,} of the repositories offer it, and are left out" if count else "not configured"
    yield Finding("note", protocol, text, f"`prefect-alyx setup {protocol}`, where it is wanted.")


def _route(protocol: str, name: str, record: Json, options: WireOptions, pace: Pace) -> Iterator[Finding]:
    """A repository's server; a personal endpoint is somebody's computer, and may well be off."""
    subject = f"{protocol} {name}"
    try:
        yield Finding("ok", subject, client_for(protocol, record, None, options, pace=pace).reach())
    except DownloadError as failure:
        yield Finding.of(subject, failure, "note" if record.get("globus_is_personal") else "FAIL")
