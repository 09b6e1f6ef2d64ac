"""An S3-compatible server that unmodified boto3 talks to, path style, read only.

Objects are files: their ETag is the md5 of their bytes, or that of their parts where the key was uploaded
in parts. Signatures are checked in `signatures`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from deployments.sandbox.ranges import Span, UnsatisfiableError, asked, respond
from deployments.sandbox.s3 import listing
from deployments.sandbox.s3.errors import S3Error, element

if TYPE_CHECKING:
    from os import stat_result
    from pathlib import Path

    from starlette.requests import Request

    from deployments.sandbox.s3.signatures import Gate


@dataclass(slots=True)
class Bucket:
    """One bucket, a directory of the same name.

    Attributes:
        public: Whether it is read without a signature.
        lists: Whether its readers may list it; without that right a missing key is 403, as at AWS.
        parts: Size of the parts in which a key was uploaded, by key; other keys were uploaded in one.
    """

    name: str
    public: bool = False
    lists: bool = True
    parts: dict[str, int] = field(default_factory=dict)


class S3:
    """The state behind the server: buckets and keys, changeable while it runs.

    Args:
        root: Directory that holds a directory for each bucket.
        gate: Who may come in.
    """

    def __init__(self, root: Path, buckets: list[Bucket], gate: Gate) -> None:
        self.root = root
        self.buckets = {bucket.name: bucket for bucket in buckets}
        self.gate = gate
        self._etags: dict[tuple[Path, int, int], str] = {}
        methods = ["GET", "PUT", "POST", "DELETE"]
        self.app = Starlette(routes=[Route("/{path:path}", self._serve, methods=methods)])

    async def _serve(self, request: Request) -> Response:
        name, _, key = request.path_params["path"].partition("/")
        await request.body()  # unread, its bytes would be taken for the next request of the connection
        try:
            return self._answer(request, name, key)
        except S3Error as error:
            return error.response(request, name, key)

    def _answer(self, request: Request, name: str, key: str) -> Response:
        signed = self.gate.admit(request)
        if request.method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed")
        if not name:
            return listing.buckets(self.buckets) if signed else self._refuse()
        bucket = self.buckets.get(name)
        if bucket is None:
            raise S3Error("NoSuchBucket")
        if not (signed or bucket.public):
            self._refuse()
        return self._object(request, bucket, key) if key else self._bucket(request, bucket)

    def _refuse(self) -> Response:
        raise S3Error("AccessDenied")

    def _bucket(self, request: Request, bucket: Bucket) -> Response:
        if request.method == "HEAD":
            return Response(headers={"x-amz-bucket-region": "us-east-1"}, media_type="application/xml")
        if "location" in request.query_params:
            return listing.answer("LocationConstraint", "")
        if not bucket.lists:
            self._refuse()
        root = self.root / bucket.name
        return listing.objects(request, bucket.name, root, lambda path: self.etag(bucket, path))

    def _object(self, request: Request, bucket: Bucket, key: str) -> Response:
        path = self.root / bucket.name / key
        if ".." in path.parts or not path.is_file():
            raise S3Error("NoSuchKey" if bucket.lists else "AccessDenied")
        stat = path.stat()
        etag = self.etag(bucket, path)
        if not _matches(request.headers.get("If-Match"), etag, otherwise=True):
            raise S3Error("PreconditionFailed", element("Condition", "If-Match"))
        headers = _headers(stat, etag)
        if _matches(request.headers.get("If-None-Match"), etag, otherwise=False):
            return Response(status_code=304, headers=headers)
        return _content(request, path, stat.st_size, headers)

    def etag(self, bucket: Bucket, path: Path) -> str:
        """Return an object's ETag, in quotes; it follows the file's bytes."""
        stat = path.stat()
        found = (path, stat.st_mtime_ns, stat.st_size)
        if found not in self._etags:
            key = path.relative_to(self.root / bucket.name).as_posix()
            self._etags[found] = _etag(path, bucket.parts.get(key))
        return self._etags[found]


def _content(request: Request, path: Path, size: int, headers: dict[str, str]) -> Response:
    wanted = request.headers.get("Range")
    try:
        span = asked(wanted, size)
    except UnsatisfiableError:
        detail = element("ActualObjectSize", size) + element("RangeRequested", wanted)
        raise S3Error("InvalidRange", detail, {"Content-Range": f"bytes */{size}"}) from None
    if span is None:
        return respond(request, path, Span(0, size), headers, 200)
    return respond(request, path, span, {**headers, "Content-Range": span.header(size)}, 206)


def _headers(stat: stat_result, etag: str) -> dict[str, str]:
    return {
        "Server": "AmazonS3",
        "Content-Type": "binary/octet-stream",
        "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
        "ETag": etag,
        "Accept-Ranges": "bytes",
    }


def _matches(condition: str | None, etag: str, *, otherwise: bool) -> bool:
    if condition is None:
        return otherwise
    return condition == "*" or etag.strip('"') in (tag.strip().strip('"') for tag in condition.split(","))


def _etag(path: Path, part_size: int | None) -> str:
    content = path.read_bytes()
    if part_size is None:
        return f'"{hashlib.md5(content).hexdigest()}"'
    parts = [content[at : at + part_size] for at in range(0, len(content), part_size)]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'
