"""URLs that a gateway signs for a while, and the bucket that looks at them.

They have the form of S3's (version 4), as those of Cloudflare's R2 have; the signature is the sandbox's own.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from deployments.sandbox.faults import BUCKET, Answer, Hit, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SECRET = b"the gateway's own"
_CREDENTIAL = "SANDBOXKACHERY00/{day}/auto/s3/aws4_request"
_DATE = "%Y%m%dT%H%M%SZ"
_REFUSED = Status(403, "AccessDenied")


def key_of(url: str) -> str:
    """Return the key of the object that a bucket serves at a URL."""
    return unquote(urlsplit(url).path).removeprefix(f"/{BUCKET}").lstrip("/")


def signed(url: str, now: float, seconds: int) -> str:
    """Return the URL of an object, good from now on for so many seconds."""
    date = datetime.fromtimestamp(now, UTC).strftime(_DATE)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": _CREDENTIAL.format(day=date[:8]),
        "X-Amz-Date": date,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": _signature(key_of(url), date, str(seconds)),
        "x-id": "GetObject",
    }
    return f"{url}?{urlencode(query)}"


@dataclass(frozen=True, slots=True)
class Signed:
    """A gate that lets in whoever has a signed URL that is still good; like S3, it looks when a request begins.

    Attributes:
        now: Seconds since the epoch.
    """

    now: Callable[[], float]

    def answer(self, hits: Sequence[Hit]) -> Answer | None:
        """Hold the last request where its signature is none, or has run out."""
        said = {name: values[0] for name, values in parse_qs(hits[-1].query).items()}
        date, seconds = said.get("X-Amz-Date", ""), said.get("X-Amz-Expires", "")
        if said.get("X-Amz-Signature") != _signature(hits[-1].path.lstrip("/"), date, seconds):
            return _REFUSED
        signed_at = datetime.strptime(date, _DATE).replace(tzinfo=UTC).timestamp()
        return _REFUSED if self.now() > signed_at + int(seconds) else None


def _signature(key: str, date: str, seconds: str) -> str:
    return hmac.new(_SECRET, f"{key}\n{date}\n{seconds}".encode(), hashlib.sha256).hexdigest()
