"""What S3 says when it refuses, as XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

_ERRORS = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationQueryParametersError": (400, "Query-string authentication version 4 needs all X-Amz- parameters"),
    "ExpiredToken": (400, "The provided token has expired."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (
        400,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    ),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided.",
    ),
}


class S3Error(Exception):
    """A refusal.

    Args:
        code: S3's own name for it.
        detail: More elements, as XML.
        message: What to say instead of the usual.
    """

    def __init__(
        self, code: str, detail: str = "", headers: dict[str, str] | None = None, *, message: str | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.message = message

    def response(self, request: Request, bucket: str, key: str) -> Response:
        """Return the answer; HEAD has no body, so that a client sees the status alone, as at AWS."""
        status, message = _ERRORS[self.code]
        where = {"NoSuchBucket": element("BucketName", bucket), "NoSuchKey": element("Key", key)}.get(self.code, "")
        ends = element("RequestId", "SANDBOX") + element("HostId", "sandbox")
        text = element("Code", self.code) + element("Message", self.message or message) + where + self.detail + ends
        body = "" if request.method == "HEAD" else f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'
        return Response(body, status, {"Server": "AmazonS3", **self.headers}, media_type="application/xml")


def element(name: str, value: object) -> str:
    """Return one XML element."""
    return f"<{name}>{escape(str(value))}</{name}>"
