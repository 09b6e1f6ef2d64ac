"""Asks a kachery gateway where a file's bytes are: a URL into a bucket, signed for about an hour.

For zones that are not public, the gateway of kachery 2 takes an API key, and that of kachery-cloud wants questions
signed. Neither wants to know who asks for a file of a public zone.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, StrictBool, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from tasks.clients.authorities import trusted_authorities
from tasks.clients.patience import Budget
from tasks.clients.seams import bounded
from tasks.clients.verdicts import DownloadError, Verdict, error, kachery_answer, unreachable
from tasks.clients.wire import Request, host_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import SecretStr

    from tasks.clients.kachery.address import KacheryAddress
    from tasks.clients.wire import Wire

#: More than any answer has; what is beyond it is not looked at.
_MOST_BYTES = 64 * 1024
_CONNECTIONS = 64


class Gateway(ABC):
    """One gateway's way to be asked.

    Args:
        url: Its address, without the path of the question.
        key: What shows who asks; None for nobody.
    """

    path: str

    def __init__(self, url: str, key: SecretStr | None) -> None:
        self.url = f"{url.rstrip('/')}{self.path}"
        self.key = key

    @abstractmethod
    def question(self, address: KacheryAddress, now: float) -> Mapping[str, Any]:
        """Return the JSON that asks for a file."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers that show who asks."""
        return {}


class NewGateway(Gateway):
    """kachery 2."""

    path = "/api/findFile"

    def question(self, address: KacheryAddress, now: float) -> Mapping[str, Any]:  # noqa: ARG002  (the old one's)
        """Name hash and zone."""
        return {"type": "findFileRequest", "hashAlg": "sha1", "hash": address.sha1, "zoneName": address.zone}

    @property
    def headers(self) -> dict[str, str]:
        """The API key, where there is one."""
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}


class OldGateway(Gateway):
    """kachery-cloud."""

    path = "/api/gateway"

    def question(self, address: KacheryAddress, now: float) -> Mapping[str, Any]:
        """Name hash, zone and time, signed where there is a key: a client's id is its public key."""
        what = {"type": "findFile", "hashAlg": "sha1", "hash": address.sha1, "zone": address.zone}
        payload = {**what, "timestamp": int(now * 1000)}
        if not self.key:
            return {"payload": payload}
        try:
            signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.key.get_secret_value()))
        except ValueError:
            raise error("bad-params", "client_key is no Ed25519 private key: 64 hex digits.") from None
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        signature = signer.sign(hashlib.sha1(text.encode(), usedforsecurity=False).digest()).hex()
        return {
            "payload": payload,
            "fromClientId": signer.public_key().public_bytes_raw().hex(),
            "signature": signature,
        }


class Gateways:
    """Gateways that are asked one after the other; shared by the threads of a client.

    Args:
        gateways: In the order they are asked.
        wire: Its options, its clock and its patience with hosts count for gateways, too.
    """

    def __init__(self, gateways: Sequence[Gateway], wire: Wire) -> None:
        self._gateways = gateways
        self._wire = wire
        self._session = _session()
        self._clock_offsets: dict[str, float] = {}

    def find(self, address: KacheryAddress) -> str:
        """Return the URL of a file, as the first gateway that knows the file signs it.

        Raises:
            DownloadError: why none gives one; what may pass counts most.
        """
        failures = []
        for gateway in self._gateways:
            try:
                return self._ask(gateway, address)
            except DownloadError as failure:
                if failure.verdict is Verdict.STOP_RUN:
                    raise
                failures.append(failure)
        raise next((failure for failure in failures if failure.verdict is Verdict.RETRY), failures[0])

    def _ask(self, gateway: Gateway, address: KacheryAddress) -> str:
        wire, host = self._wire, host_of(Request(gateway.url))
        budget = Budget(wire.pace, wire.holds, attempts=1, seconds=wire.options.deadline_seconds)
        budget.wait_for(host)
        try:
            return self._url(gateway, address, f"{address} at {host}")
        except DownloadError as failure:
            budget.heed(failure, host)
            raise

    def _url(self, gateway: Gateway, address: KacheryAddress, where: str) -> str:
        now = self._wire.pace.now()
        question = gateway.question(address, now + self._clock_offsets.get(gateway.url, 0.0))
        said = self._exchange(gateway, question, where)
        # The old gateway fails where the clocks differ by 30 s; the next attempt goes by its own.
        if date := parsedate_tz(said.headers.get("date", "")):
            self._clock_offsets[gateway.url] = mktime_tz(date) - now
        answer = said.parsed()
        if answer and not answer.found:
            raise error("not-found", f"{where}.")
        if not answer or not answer.url:
            raise kachery_answer(said.status, where, said.headers, said.body, keyed=gateway.key is not None, now=now)
        return answer.url

    def _exchange(self, gateway: Gateway, question: Mapping[str, Any], where: str) -> _Said:
        options = self._wire.options
        timeout = (options.connect_seconds, options.stall_seconds)

        def call() -> _Said:
            with self._session.post(
                gateway.url,
                json=question,
                headers=gateway.headers,
                auth=_as_it_is,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = response.raw.read(_MOST_BYTES, decode_content=True)
                return _Said(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)

        try:
            return bounded(call, self._wire.pace, sum(timeout))
        except (OSError, HTTPError) as failure:
            raise unreachable(failure, where) from None


class _FindFile(BaseModel):
    """What both generations answer, as far as it is of use."""

    found: StrictBool
    url: str | None = Field(None, pattern="^(https?://|$)")


@dataclass(frozen=True, slots=True)
class _Said:
    """What came back, names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def parsed(self) -> _FindFile | None:
        """Return the answer; None where it is none."""
        if self.status != HTTPStatus.OK:
            return None
        try:
            return _FindFile.model_validate_json(self.body)
        except ValidationError:
            return None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request as it is; without any `auth`, requests would take a login from ~/.netrc."""
    return request


def _session() -> requests.Session:
    """Return a session that threads may share: nothing in it changes after this, cookies included."""
    session = requests.Session()
    session.verify = trusted_authorities()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"Accept": "application/json", "User-Agent": "prefect-alyx"})
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return session
