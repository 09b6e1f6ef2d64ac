"""Talks to Alyx's REST interface: one login, every request bounded, repeated by verdict, its answer checked."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.clients.base import DownloadClient
from tasks.clients.one_files import same_server
from tasks.clients.seams import Pace
from tasks.clients.verdicts import DownloadError, Verdict, alyx_answer, error, printable, retry_after
from tasks.hints import did_you_mean
from tasks.rest.credentials import Credentials, base_url, credentials_from
from tasks.rest.exchange import Answer, Limits, PasswordAuth, TokenAuth, exchange, new_session
from tasks.rest.login import Login
from tasks.rest.pages import PAGE_ROWS, Page, check_filters, complete
from tasks.rest.throttle import Throttle, shared_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests
    from requests.auth import AuthBase

Json = dict[str, Any]

#: Headers by which newer servers announce changes.
_NOTICES = ("Alyx-API-Notice", "Deprecation", "Sunset")
_ACTIONS = ("read", "list", "create", "partial_update")
#: Names of fields whose values are secret, as parts in lower case; S3 keys lie in a repository's json.
_SECRET = ("secret", "password", "token", "access key", "credential")

_log = logging.getLogger(__name__)


class AlyxClient:
    """A login to one Alyx, with the `rest` of ONE's client of this name; threads may share it.

    It never prompts, caches nothing and prints no secret. A 403 that says `Invalid token.` is answered by one new
    login where there is a password.

    Args:
        url: Alyx's address; by default ALYX_URL, then ONE's own default.
        credentials: A login; by default see :func:`tasks.rest.credentials.credentials_from`.
        pace: Clock and stop signal.
        limits: What a request may cost.
        throttle: By default the one that all processes of this machine share for this user.
        session: By default one that honours proxies and REQUESTS_CA_BUNDLE.

    Raises:
        DownloadError: `alyx-no-url` or `alyx-url`. Nothing is sent before the first request.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        credentials: Credentials | None = None,
        pace: Pace | None = None,
        limits: Limits | None = None,
        throttle: Throttle | None = None,
        session: requests.Session | None = None,
    ) -> None:
        self.credentials = credentials or credentials_from(url=url or "")
        self._url = base_url(self.credentials.url)
        if url and base_url(url) != self._url:
            raise error("alyx-url", f"The login is for {self._url}, not for {url}.")
        self._pace = pace or Pace()
        self._limits = limits or Limits()
        self._throttle = throttle or Throttle(self._pace, shared_file(self._url, self.credentials.user))
        self._session = session or new_session()
        self._login = Login(self.credentials, self._ask_token)
        self._notices_seen: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"AlyxClient({self._url!r}, user={self.credentials.user!r})"

    @property
    def url(self) -> str:
        """Alyx's address; https as soon as a redirect said so."""
        return self._url

    def rest(self, url: str, action: str, id: object = None, data: Any = None, **filters: Any) -> Any:  # noqa: A002  (ONE's name)
        """Call an action of an endpoint, in the shape that ONE's client has.

        Args:
            url: Endpoint, such as `datasets`.
            action: `read`, `list`, `create` or `partial_update`.
            id: For `read` and `partial_update`: a UUID, a name, or the record's URL; encoded here.
            data: For `create` and `partial_update`.
            filters: For `list`. A list of values is joined by commas. `no_cache` and `expires` are accepted and mean
                nothing here.

        Returns:
            The record, or the list of all records that match: every one once, or an error.

        Raises:
            DownloadError: An `alyx-...` row of the table of verdicts.
        """
        endpoint = url.strip("/")
        sent = {name: value for name, value in filters.items() if name not in ("no_cache", "expires")}
        match action.replace("-", "_"):
            case "read":
                return self.request("GET", self._item(endpoint, id))
            case "list":
                return self._list(endpoint, sent if id is None else {**sent, "id": id})
            case "create":
                return self.request("POST", f"/{quote(endpoint)}", data=data)
            case "partial_update":
                return self.request("PATCH", self._item(endpoint, id), data=data)
        raise error("alyx-bad-request", f"No action {action!r}{did_you_mean(action, _ACTIONS)}.")

    def page(self, endpoint: str, **filters: Any) -> Page:
        """Return one page of a list, with what Alyx counts: so the caller can tell whether all rows are there.

        Raises:
            DownloadError: An `alyx-...` row; `alyx-bad-request` without a request for a filter that Alyx would ignore.
        """
        check_filters(endpoint, filters)
        query = {name: _value(value) for name, value in filters.items() if value is not None}
        return Page.of(self.request("GET", f"/{quote(endpoint)}", query={"limit": PAGE_ROWS, **query}))

    def request(self, method: str, path: str, *, query: Mapping[str, Any] | None = None, data: Any = None) -> Any:
        """Send a request, logged in, repeated by verdict, and return the JSON of its answer; None for an empty one.

        Args:
            method: GET, POST, PATCH, ...
            path: Below Alyx's address, encoded, with its slash at the front.
            query: Parameters, not encoded.
            data: Anything that JSON can hold.

        Raises:
            DownloadError: An `alyx-...` row, or `stopped`.
        """
        token = self._login.token()
        try:
            return self._repeated(method, path, TokenAuth(token), params=query, json=data)
        except DownloadError as failure:
            if failure.code != "alyx-token" or not self._login.renewed(token):
                raise
        return self._repeated(method, path, TokenAuth(self._login.token()), params=query, json=data)

    def login(self) -> None:
        """Log in anew with user name and password; where ONE stored the old token, it gets the new one.

        Raises:
            DownloadError: `alyx-login` where Alyx refuses them.
        """
        self._login.renew()

    def authorisation(self, url: str) -> tuple[str, ...]:
        """Return the header lines that open a URL: the token on this very server, none on any other."""
        return (
            (f"Authorization: Token {self._login.token().get_secret_value()}",) if same_server(url, self._url) else ()
        )

    def _ask_token(self, login: PasswordAuth) -> Any:
        return self._repeated("POST", "/auth-token", login)

    def _repeated(self, method: str, path: str, login: AuthBase, **request: Any) -> Any:
        until = self._pace.monotonic() + self._limits.total_seconds
        attempt = 1
        while True:
            try:
                return self._once(method, path, login, until, request)
            except DownloadError as failure:
                if attempt >= self._limits.attempts or not _may_repeat(method, path, failure):
                    raise
                self._pause(failure, attempt, until)
            attempt += 1

    def _pause(self, failure: DownloadError, attempt: int, until: float) -> None:
        seconds = (failure.retry_after or 0.0) + self._pace.backoff(attempt)
        if self._pace.monotonic() + seconds > until:
            raise failure
        if failure.code == "alyx-throttled":
            self._throttle.close(failure.retry_after or seconds)
        _log.warning("%s Attempt %d follows in %.1f s.", failure.reason, attempt + 1, seconds)
        self._pace.wait(seconds)

    def _once(self, method: str, path: str, login: AuthBase, until: float, request: dict[str, Any]) -> Any:
        self._throttle.take()
        answer = exchange(
            self._session,
            method,
            self._url + path,
            limits=self._limits,
            pace=self._pace,
            seconds=until - self._pace.monotonic(),
            auth=login,
            **request,
        )
        self._follow_upgrade(answer)
        self._log_notices(answer)
        return self._content(method, answer)

    def _content(self, method: str, answer: Answer) -> Any:
        if answer.good and not answer.body:
            return None
        if answer.good and "json" in answer.content_type:
            with suppress(ValueError, RecursionError):
                return json.loads(answer.body)
        raise alyx_answer(
            answer.status,
            answer.content_type,
            answer.text,
            request=f"{method} {unquote_plus(answer.url)}",
            login=f"user {self.credentials.user!r}, {self.credentials.origin}",
            retry_after=retry_after(answer.headers.get("Retry-After", ""), self._pace.now()),
        )

    def _follow_upgrade(self, answer: Answer) -> None:
        """Stay with https once Alyx redirected there, so that the token goes in the clear no more."""
        old, new = urlsplit(self._url), urlsplit(answer.url)
        if (old.scheme, new.scheme) == ("http", "https"):
            self._url = urlunsplit((new.scheme, new.netloc, old.path, "", ""))

    def _log_notices(self, answer: Answer) -> None:
        for name in _NOTICES:
            notice = (name, answer.headers.get(name, ""))
            if notice[1] and notice not in self._notices_seen:
                self._notices_seen.add(notice)
                _log.warning("Alyx says: %s: %s", name, printable(notice[1]))

    def _item(self, endpoint: str, identifier: object) -> str:
        own_url = f"{self._url}/{endpoint}/"
        name = str(identifier).removeprefix(own_url) if identifier is not None else ""
        if not name.strip("/ "):
            raise error("alyx-bad-request", f"A record of {endpoint!r} is asked for without its id or name.")
        return f"/{quote(endpoint)}/{quote(name, safe='')}"

    def _list(self, endpoint: str, filters: dict[str, Any]) -> list[Json]:
        """All rows, page by page; where these repeat some rows and leave out others, range by range."""
        page = self.page(endpoint, **filters)
        rows, fetched = page.by_key(), len(page.rows)
        if "offset" in filters:
            return page.rows
        more = True
        while more and fetched < page.count:
            page, before = self.page(endpoint, **filters, offset=fetched), len(rows)
            rows |= page.by_key()
            fetched += len(page.rows)
            more = len(rows) > before  # a page with nothing new: its server would go on like that for ever
        return list(rows.values()) if len(rows) == page.count else list(complete(self, endpoint, **filters))


def _may_repeat(method: str, path: str, failure: DownloadError) -> bool:
    """A POST that may have been carried out is not sent again; a login may be."""
    sure = method != "POST" or path == "/auth-token" or failure.code == "alyx-throttled"
    return failure.verdict is Verdict.RETRY and sure


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple | set) else str(value)


def without_secrets(record: Any) -> Any:
    """Return what Alyx answers without the values that open something; the field names stay."""
    if isinstance(record, list):
        return [without_secrets(item) for item in record]
    if not isinstance(record, dict):
        return record
    return {
        name: None if any(word in name.lower() for word in _SECRET) else without_secrets(value)
        for name, value in record.items()
    }


@task(name="lookup repository", persist_result=False, cache_policy=NO_CACHE)
def lookup_repository(name: str, url: str | None = None) -> Json:
    """Return what Alyx answers for a data repository, without its keys.

    Nothing of it is stored, and nothing in it is secret: whoever needs the keys asks
    :meth:`DownloadClient.repo_from_alyx` in the process that uses them. The client retries; the task does not.

    Args:
        name: The repository's name.
        url: Alyx's address, by default as configured.

    Raises:
        DownloadError: An `alyx-...` row.
    """
    found: Json = without_secrets(DownloadClient.repo_from_alyx(name, AlyxClient(url)))
    return found
