"""One request to Alyx and its answer: bounded in time and size, ended by a stop, redirected within one host only."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from tasks.clients.authorities import trusted_authorities
from tasks.clients.seams import bounded
from tasks.clients.verdicts import alyx_unreachable, error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from tasks.clients.seams import Pace

_MOST_REDIRECTS = 5
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost.

    Attributes:
        attempts: Times that a request is sent at most.
        connect_seconds: Until the server accepts the connection.
        read_seconds: Until its next bytes; Alyx itself gives up after 300.
        total_seconds: For a request with all its attempts and the waits between them.
        most_bytes: Size of an answer; a page of 1000 datasets has about 2 MB.
    """

    attempts: int = 4
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    total_seconds: float = 300.0
    most_bytes: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole; `url` is the address that answered, with its query."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        """Whether its status says that all went well."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def redirects_to(self) -> str:
        """Where it sends us, or ""."""
        moved = HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST
        return self.headers.get("Location", "") if moved else ""

    @property
    def content_type(self) -> str:
        """Its media type as the server states it."""
        return self.headers.get("Content-Type", "")

    @property
    def text(self) -> str:
        """The body as text; Alyx sends UTF-8."""
        return self.body.decode("utf-8", "replace")


class TokenAuth(AuthBase):
    """Sends the token, or nothing at all; given for every request, or requests would take a login from ~/.netrc."""

    def __init__(self, token: SecretStr | None = None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on."""
        if self._token:
            request.headers["Authorization"] = f"Token {self._token.get_secret_value()}"
        return request


class PasswordAuth(AuthBase):
    """Sends the form of a login; the password is a secret until the request is on its way."""

    def __init__(self, user: str, password: SecretStr) -> None:
        self._user = user
        self._password = password

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Fill the form in."""
        request.prepare_body({"username": self._user, "password": self._password.get_secret_value()}, None)
        return request


def new_session() -> requests.Session:
    """Return a session that threads may share: nothing in it changes after this, cookies included."""
    session = requests.Session()
    session.verify = trusted_authorities()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # a session cookie would ask for CSRF tokens
    session.headers.update({"Accept": "application/json", "User-Agent": "prefect-alyx"})
    return session


def exchange(
    session: requests.Session, method: str, url: str, *, limits: Limits, pace: Pace, seconds: float, **request: Any
) -> Answer:
    """Send a request and read its whole answer, whatever its status.

    A redirect is followed with the same method and body, but only to the same host: to another path, or from http to
    https. `Answer.url` is where the answer came from.

    Args:
        session: See :func:`new_session`.
        method: GET, POST, ...
        url: Where to.
        limits: Of time and size.
        pace: Stop signal.
        seconds: When to give up, answer or not.
        request: Further arguments of `requests.Session.request`.

    Raises:
        DownloadError: Nothing was answered (`alyx-unreachable`, `alyx-certificate`, ...), too much
            (`alyx-too-large`), from elsewhere (`alyx-redirect`), or the run was asked to stop.
    """

    def call() -> Answer:
        return _followed(session, method, url, limits, request)

    try:
        return bounded(call, pace, seconds)
    except (OSError, HTTPError) as failure:
        # Not `from failure`: the frames of requests hold header and form, and a report of a crash shows frames.
        raise alyx_unreachable(failure, request=f"{method} {url}") from None
    except ValueError:  # what parsers of addresses raise, requests' own included
        raise error("alyx-redirect", f"{method} {url}: it redirects to what is no address.") from None


def _followed(session: requests.Session, method: str, url: str, limits: Limits, request: dict[str, Any]) -> Answer:
    for _ in range(_MOST_REDIRECTS):
        answer = _answer(session, method, url, limits, request)
        if not answer.redirects_to:
            return answer
        url = _next_url(url, answer.redirects_to)
        request = {**request, "params": None}  # the new address holds the query already
    raise error("alyx-redirect", f"{method} {url}: it redirects in a circle.")


def _answer(session: requests.Session, method: str, url: str, limits: Limits, request: dict[str, Any]) -> Answer:
    timeout = (limits.connect_seconds, limits.read_seconds)
    with session.request(method, url, stream=True, allow_redirects=False, timeout=timeout, **request) as response:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > limits.most_bytes:
                raise error("alyx-too-large", f"{method} {url}: more than {limits.most_bytes} bytes.")
        return Answer(response.url, response.status_code, response.headers, bytes(body))


def _next_url(url: str, location: str) -> str:
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    upgraded = (old.scheme, new.scheme) == ("http", "https") and old.hostname == new.hostname
    if (old.scheme, old.netloc) == (new.scheme, new.netloc) or upgraded:
        return target
    raise error("alyx-redirect", f"{url} -> {new.scheme}://{new.netloc}.")
