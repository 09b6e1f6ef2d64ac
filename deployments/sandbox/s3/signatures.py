"""Who may talk to the S3 server: AWS Signature Version 4, in the header and in the query.

The signature is computed a second time, with botocore's own signer, from the request as it arrived.
"""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from deployments.sandbox.s3.errors import S3Error, element

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)")
_STAMP = "%Y%m%dT%H%M%SZ"
_SKEW_SECONDS = 15 * 60


@dataclass(slots=True)
class Gate:
    """Access keys and their secrets; a test may change them while the server runs.

    Attributes:
        expired: Access keys whose session has ended.
        clock: Seconds since the epoch.
    """

    secrets: dict[str, str]
    expired: set[str] = field(default_factory=set)
    clock: Callable[[], float] = time.time

    def admit(self, request: Request) -> bool:
        """Return whether the request is signed.

        Raises:
            S3Error: It is signed, and not as it should be.
        """
        if "AWSAccessKeyId" in request.query_params:
            raise S3Error("InvalidRequest")  # version 2, which buckets made since June 2020 refuse
        if "X-Amz-Signature" in request.query_params:
            return self._check(request, _from_query(request))
        if "Authorization" in request.headers:
            return self._check(request, _from_header(request))
        return False

    def _check(self, request: Request, claim: _Claim) -> bool:
        secret = self.secrets.get(claim.key)
        if secret is None:
            raise S3Error("InvalidAccessKeyId", element("AWSAccessKeyId", claim.key))
        if claim.key in self.expired:
            raise S3Error("ExpiredToken")
        claim.check_age(self.clock())
        if not hmac.compare_digest(claim.expected(request, secret), claim.signature):
            raise S3Error("SignatureDoesNotMatch", element("AWSAccessKeyId", claim.key))
        return True


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a signed request says about its signature."""

    key: str
    region: str
    headers: tuple[str, ...]
    signature: str
    stamp: str
    expires: int | None  # seconds, for the form in the query

    def check_age(self, now: float) -> None:
        at = _seconds(self.stamp)
        if self.expires is None:
            if abs(now - at) > _SKEW_SECONDS:
                raise S3Error("RequestTimeTooSkewed")
        elif now > at + self.expires:
            detail = element("Expires", _utc(at + self.expires)) + element("ServerTime", _utc(now))
            raise S3Error("AccessDenied", detail, message="Request has expired")

    def expected(self, request: Request, secret: str) -> str:
        kind = S3SigV4Auth if self.expires is None else S3SigV4QueryAuth
        signer = kind(Credentials(self.key, secret), "s3", self.region)
        again = AWSRequest(
            request.method, _url(request), {name: request.headers.get(name, "") for name in self.headers}
        )
        again.context["timestamp"] = self.stamp
        canonical = signer.canonical_request(again)
        return str(signer.signature(signer.string_to_sign(again, canonical), again))


def _from_header(request: Request) -> _Claim:
    match = _AUTHORIZATION.fullmatch(request.headers["Authorization"])
    if not match:
        raise S3Error("InvalidRequest")
    credential, headers, signature = match.groups()
    key, _, region = credential.split("/")[:3]
    return _Claim(key, region, tuple(headers.split(";")), signature, request.headers.get("X-Amz-Date", ""), None)


def _from_query(request: Request) -> _Claim:
    asked = request.query_params
    try:
        key, _, region = asked["X-Amz-Credential"].split("/")[:3]
        headers = tuple(asked["X-Amz-SignedHeaders"].split(";"))
        return _Claim(key, region, headers, asked["X-Amz-Signature"], asked["X-Amz-Date"], int(asked["X-Amz-Expires"]))
    except (KeyError, ValueError):
        raise S3Error("AuthorizationQueryParametersError") from None


def _url(request: Request) -> str:
    """Return the address as it was signed: the raw path and query, without the signature itself."""
    path = request.scope["raw_path"].decode("latin-1")
    pairs = request.scope["query_string"].decode("latin-1").split("&")
    query = "&".join(pair for pair in pairs if not pair.startswith("X-Amz-Signature="))
    return f"http://{request.headers['Host']}{path}?{query}"


def _seconds(stamp: str) -> float:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        message = "AWS authentication requires a valid Date or x-amz-date header"
        raise S3Error("AccessDenied", message=message) from None


def _utc(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
