"""Sends one request and moves its bytes: limits, stall detection, connection reuse, stopping.

Every streaming client turns an address into a `Request`; what happens on the wire is written once, here.
libcurl moves the bytes: it costs a seventh of what requests costs for a small file, and brings stall
detection, bandwidth limits and connection reuse along. `fetching` makes whole files of such requests.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pycurl

from tasks.clients.authorities import trusted_authorities
from tasks.clients.ending import no_answer
from tasks.clients.gather import GATHERED_BYTES, Gather
from tasks.clients.lines import LINES, Lines
from tasks.clients.metered import METERED_BYTES, metered
from tasks.clients.patience import HOLDS, Budget, Holds
from tasks.clients.reach import guarded, is_plain
from tasks.clients.sending import Sending, Watch
from tasks.clients.verdicts import DownloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from tasks.clients.answer import Answer
    from tasks.clients.flights import Flight
    from tasks.clients.metered import Take
    from tasks.clients.options import WireOptions
    from tasks.clients.seams import Pace

_MOST_REDIRECTS = 5
_HTTP = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for.

    Attributes:
        url: Percent-encoded; may hold a signature, so it never reaches a message.
        headers: Further header lines.
        user: Basic auth's user name, or the key to sign with; "" for none.
        password: Basic auth's password, or the secret to sign with.
        sign: Sign for this region and service ("aws:amz:us-east-1:s3") instead of basic auth.
        temporary: Somebody else signed the URL, for a while: a refusal may mean that it ran out, and does not concern
            credentials of ours.
    """

    url: str = field(repr=False)
    headers: tuple[str, ...] = field(default=(), repr=False)
    user: str = ""
    password: SecretStr | None = None
    sign: str = ""
    temporary: bool = False

    def is_plain(self) -> bool:
        """Whether nothing in it would end a header line and begin another."""
        secret = self.password.get_secret_value() if self.password else ""
        signer = self.user if self.sign else ""
        return "\0" not in self.user + secret and is_plain(self.url, signer, *self.headers)


class Wire:
    """Connections of one client, shared by its threads.

    Args:
        options: How patient to be.
        pace: Clock, dice and stop signal.
        holds: Which hosts asked for patience.
        lines: Which connections are in use, by host.
    """

    def __init__(self, options: WireOptions, pace: Pace, holds: Holds = HOLDS, lines: Lines = LINES) -> None:
        self.options = options
        self.pace = pace
        self.holds = holds
        self.lines = lines
        self.flights: deque[Flight] = deque()
        self._handles: deque[pycurl.Curl] = deque()

    def status(self, request: Request) -> int:
        """Ask for the first byte only and return the HTTP status; 0 when no answer came."""
        try:
            return self.knock(request)[0]
        except DownloadError:
            return 0

    def knock(self, request: Request) -> tuple[int, bytes]:
        """Ask for the first byte only; return the HTTP status and how the body begins.

        Raises:
            DownloadError: no answer came.
        """
        handle, body = self.new_handle(), bytearray()
        guard = guarded(request, self.options.allow_hosts)
        try:
            self.address(handle, request, self.options.connect_seconds + self.options.stall_seconds)
            handle.setopt(pycurl.OPENSOCKETFUNCTION, guard.open)
            handle.setopt(pycurl.NOPROGRESS, 1)
            handle.setopt(pycurl.RANGE, "0-0")
            handle.setopt(pycurl.WRITEFUNCTION, body.extend)
            handle.setopt(pycurl.MAXFILESIZE, GATHERED_BYTES)
            handle.perform()
        except pycurl.error as failure:
            if not handle.getinfo(pycurl.RESPONSE_CODE):
                raise no_answer(handle, failure, host_of(request), guard) from None
            return int(handle.getinfo(pycurl.RESPONSE_CODE)), bytes(body)
        else:
            return int(handle.getinfo(pycurl.RESPONSE_CODE)), bytes(body)
        finally:
            handle.close()

    def perform(self, request: Request, answer: Answer, headers: list[str], budget: Budget) -> None:
        """Send one request and let `answer` take what comes.

        Raises:
            DownloadError: unless the answer was accepted to its end.
        """
        gather = Gather(answer.on_body)
        sending, failure = self.prepare(request, answer, headers, budget, gather.take), None
        try:
            sending.handle.perform()
        except pycurl.error as raised:
            failure = raised
        try:
            gather.hand_on()
            sending.conclude(failure)
        finally:
            self.take_back(sending)

    def prepare(self, request: Request, answer: Answer, headers: Sequence[str], budget: Budget, take: Take) -> Sending:
        """Set up all that one request needs; `take` gets the body.

        Raises:
            DownloadError: `address-refused` or `bad-request`.
        """
        watch, guard = Watch(self.pace, self.options.stall_seconds), guarded(request, self.options.allow_hosts)
        handle = self._borrow()
        self.address(handle, request, budget.seconds_left(), headers)
        handle.setopt(pycurl.OPENSOCKETFUNCTION, guard.open)
        handle.setopt(pycurl.XFERINFOFUNCTION, watch.on_progress)
        handle.setopt(pycurl.HEADERFUNCTION, answer.lines.append)
        handle.setopt(pycurl.WRITEFUNCTION, metered(take, self.options.meter))
        return Sending(handle, answer, budget, watch, guard)

    def take_back(self, sending: Sending) -> None:
        """Keep what a request was sent with for the next one, its connection included."""
        self._handles.append(sending.handle)

    def _borrow(self) -> pycurl.Curl:
        try:
            return self._handles.pop()
        except IndexError:
            return self.new_handle()

    def new_handle(self) -> pycurl.Curl:
        """A handle with what is the same for every request; connection, TLS session and DNS answers stay with it."""
        handle, options, authorities = pycurl.Curl(), self.options, trusted_authorities()
        slowest = min(options.stall_bytes_per_second, (options.bytes_per_second or math.inf) / 2)
        settings: tuple[tuple[int, object], ...] = (
            (pycurl.USERAGENT, "prefect-alyx"),
            # As options, and not as a header line: those are signed, and proxies change this one.
            (pycurl.ACCEPT_ENCODING, "identity"),
            (pycurl.HTTP_CONTENT_DECODING, 0),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.PROTOCOLS, _HTTP),
            (pycurl.MAXREDIRS, _MOST_REDIRECTS),
            (pycurl.CAPATH if os.path.isdir(authorities) else pycurl.CAINFO, authorities),
            (pycurl.NOSIGNAL, 1),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.BUFFERSIZE, METERED_BYTES if options.meter else GATHERED_BYTES),
            (pycurl.CONNECTTIMEOUT_MS, math.ceil(options.connect_seconds * 1000)),
            (pycurl.LOW_SPEED_LIMIT, 0 if options.meter else math.ceil(slowest)),
            (pycurl.LOW_SPEED_TIME, math.ceil(options.stall_seconds)),
            (pycurl.MAX_RECV_SPEED_LARGE, options.bytes_per_second or 0),
            (pycurl.NOPROGRESS, 0),
        )
        for option, value in settings:
            handle.setopt(option, value)
        return handle

    def address(self, handle: pycurl.Curl, request: Request, seconds: float, headers: Sequence[str] = ()) -> None:
        """Set what differs from request to request; what one request has and the next has not is taken back."""
        secure = request.url.lower().startswith("https:")
        handle.setopt(pycurl.URL, request.url)
        handle.unsetopt(pycurl.HTTPHEADER)  # an empty list would leave the last request's lines there
        handle.setopt(pycurl.HTTPHEADER, [*request.headers, *headers])
        # libcurl holds back logins where a redirect leads to another host, but no session token of S3.
        handle.setopt(pycurl.FOLLOWLOCATION, 0 if request.sign and request.headers else 1)
        handle.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTPS if secure else _HTTP)
        handle.setopt(pycurl.TIMEOUT_MS, math.ceil(seconds * 1000))
        if request.sign:
            handle.setopt(pycurl.AWS_SIGV4, request.sign)
        else:
            handle.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)
        if request.user and request.password is not None:
            handle.setopt(pycurl.USERNAME, request.user.encode())
            handle.setopt(pycurl.PASSWORD, request.password.get_secret_value().encode())
        else:
            handle.unsetopt(pycurl.USERNAME)
            handle.unsetopt(pycurl.PASSWORD)


def host_of(request: Request) -> str:
    """Host and port that a request goes to, without credentials."""
    authority = request.url.partition("://")[2]
    return re.split("[/?#]", authority, maxsplit=1)[0].rpartition("@")[2]
