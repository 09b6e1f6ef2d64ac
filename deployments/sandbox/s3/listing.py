"""What S3 answers about buckets as a whole: their names, and pages of their keys (versions 1 and 2)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from deployments.sandbox.s3.errors import element

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from starlette.requests import Request

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_PAGE = 1000


def answer(root: str, inside: str) -> Response:
    """Return a document of S3."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{_NAMESPACE}">{inside}</{root}>'
    return Response(body, headers={"Server": "AmazonS3"}, media_type="application/xml")


def buckets(names: Iterable[str]) -> Response:
    """Return the list of buckets."""
    rows = (_group("Bucket", element("Name", name)) for name in names)
    return answer("ListAllMyBucketsResult", _group("Buckets", *rows))


def objects(request: Request, bucket: str, root: Path, etag: Callable[[Path], str]) -> Response:
    """Return one page of the keys below a directory."""
    asked = request.query_params
    second = asked.get("list-type") == "2"
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    limit = min(int(asked.get("max-keys", _PAGE)), _PAGE)
    after = _after(asked.get("continuation-token"), asked.get("start-after" if second else "marker", ""))
    rest = [name for name in _collapsed(_keys(root, prefix), prefix, delimiter) if name.encode() > after.encode()]
    page, more = rest[:limit], len(rest) > limit
    encode = _url if asked.get("encoding-type") == "url" else str
    rows = [_row(root, name, encode, etag) for name in page]
    head = [
        element("Name", bucket),
        element("Prefix", encode(prefix)),
        element("Delimiter", encode(delimiter)) if delimiter else "",
        element("EncodingType", "url") if encode is _url else "",
        element("MaxKeys", limit),
        element("KeyCount", len(page)) if second else element("Marker", encode(after)),
        element("IsTruncated", str(more).lower()),
        _next(page[-1], encode, second=second) if more else "",
    ]
    return answer("ListBucketResult", "".join((*head, *rows)))


def _after(token: str | None, start: str) -> str:
    return base64.urlsafe_b64decode(token).decode() if token else start


def _next(last: str, encode: Callable[[str], str], *, second: bool) -> str:
    if second:
        return element("NextContinuationToken", base64.urlsafe_b64encode(last.encode()).decode())
    return element("NextMarker", encode(last))


def _keys(root: Path, prefix: str) -> list[str]:
    """Return the keys with this prefix, in the order of their UTF-8 bytes, as S3 sorts them."""
    keys = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted((key for key in keys if key.startswith(prefix)), key=str.encode)


def _collapsed(keys: list[str], prefix: str, delimiter: str) -> Iterable[str]:
    """Return keys, and once each what they have in common up to the delimiter behind the prefix."""
    if not delimiter:
        return keys
    heads = (key[len(prefix) :].partition(delimiter) for key in keys)
    return dict.fromkeys(prefix + head + mark for head, mark, _ in heads)


def _row(root: Path, name: str, encode: Callable[[str], str], etag: Callable[[Path], str]) -> str:
    path = root / name
    if not path.is_file():
        return _group("CommonPrefixes", element("Prefix", encode(name)))
    stat = path.stat()
    changed = f"{datetime.fromtimestamp(stat.st_mtime, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    fields = {"LastModified": changed, "ETag": etag(path), "Size": stat.st_size, "StorageClass": "STANDARD"}
    return _group("Contents", element("Key", encode(name)), *(element(key, value) for key, value in fields.items()))


def _group(name: str, *inside: str) -> str:
    return f"<{name}>{''.join(inside)}</{name}>"


def _url(text: str) -> str:
    return quote(text, safe="/")
