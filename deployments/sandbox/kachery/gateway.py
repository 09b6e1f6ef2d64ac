"""The gateway as a server that can be started and stopped."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from deployments.sandbox.faults import Answer, FaultServer, Good, Hit
from deployments.sandbox.kachery.api import FindFile, OldFindFile
from deployments.sandbox.kachery.urls import Signed, key_of, signed
from deployments.sandbox.kachery.zones import Stored, Zone, Zones

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NEW, _OLD = "/api/findFile", "/api/gateway"


class Gateway:
    """Answers in both generations' way where an object is, and has a bucket that serves it; from its making on.

    Args:
        bucket: Serves the objects; by default one of its own, which looks at the signatures of its URLs.
        port: 0 takes a free one.
        now: Seconds since the epoch.
        url_seconds: How long a signed URL is good.
        cache_seconds: How long the same URL is answered again, as the real ones do to spare the bucket.
        log: Told one line a request.

    Attributes:
        bucket: The fault server behind it: its `hits`, its `gate`, its scripts.
        zones: The zones by name; `default` is there from the beginning.
        users: Names of users by API key.
        clients: Names of users by the old gateway's client ids.
    """

    def __init__(
        self,
        bucket: FaultServer | None = None,
        *,
        port: int = 0,
        now: Callable[[], float] = time.time,
        url_seconds: int = 3600,
        cache_seconds: float = 600,
        log: Callable[[str], object] | None = None,
    ) -> None:
        self._now, self._url_seconds, self._cache_seconds = now, url_seconds, cache_seconds
        self._known = Zones()
        self._urls: dict[str, tuple[str, float]] = {}
        self._servers = ExitStack()
        self._api = self._servers.enter_context(FaultServer(port=port, now=now, log=log))
        if bucket is None:
            bucket = self._servers.enter_context(FaultServer(now=now, log=log))
            bucket.gate = Signed(now)
        self.bucket = bucket
        self.zones, self.users, self.clients = self._known.zones, self._known.users, self._known.clients
        self.zones["default"] = Zone("default")
        self.play()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address: KACHERY_BASE_URL of the new client, KACHERY_GATEWAY_URL of the old one."""
        return self._api.endpoint

    @property
    def port(self) -> int:
        """The port, which it keeps while it is shut."""
        return self._api.port

    def put(self, zone: str, data: bytes, script: Sequence[Answer] = (Good(),)) -> str:
        """Store an object in a zone, which is made where it is new, and return its SHA-1.

        Args:
            zone: Name of the zone.
            data: What the SHA-1 is of; the script may serve something else.
            script: How the bucket answers.
        """
        sha1 = hashlib.sha1(data).hexdigest()
        key = self._zone(zone).key(sha1)
        self.bucket.put(key, data, script)
        return self.adopt(zone, self.bucket.s3_url(key), data)

    def adopt(self, zone: str, url: str, data: bytes) -> str:
        """Find what some bucket serves already at a URL under the SHA-1 of these bytes, which is returned."""
        sha1 = hashlib.sha1(data).hexdigest()
        self._zone(zone).objects[sha1] = Stored(url, len(data))
        return sha1

    def remove(self, zone: str, sha1: str) -> None:
        """Forget an object, as the volunteers behind kachery may do; its URLs stay good."""
        del self.zones[zone].objects[sha1]

    def play(self, *answers: Answer) -> None:
        """Answer the next requests in these ways, one each in either generation's way, and all others well."""
        self._api.put(_NEW, b"", [*answers, FindFile(self._known, self._find)])
        self._api.put(_OLD, b"", [*answers, OldFindFile(self._known, self._find)])

    def hits(self) -> list[Hit]:
        """Return the questions so far, in the order they came; the bucket counts its own."""
        return self._api.hits()

    def open(self) -> None:
        """Listen again after :meth:`shut`."""
        self._api.open()

    def shut(self) -> None:
        """Refuse connections, as a service that has ended; the bucket goes on."""
        self._api.shut()

    def close(self) -> None:
        """End all that is going on; a bucket that was given goes on."""
        self._servers.close()

    def _zone(self, name: str) -> Zone:
        return self.zones.setdefault(name, Zone(name))

    def _find(self, zone: Zone, sha1: str) -> dict[str, Any] | None:
        stored = zone.objects.get(sha1)
        if stored is None:
            return None
        url, cached = self._signed_url(stored.url)
        place = {"bucketUri": "r2://sandbox", "objectKey": key_of(stored.url)}
        return {"url": url, "size": stored.size, **place, **({"cacheHit": True} if cached else {})}

    def _signed_url(self, url: str) -> tuple[str, bool]:
        """Return a URL that is signed, and whether it was so for an earlier question."""
        now = self._now()
        known, until = self._urls.get(url, ("", 0.0))
        if now < until:
            return known, True
        self._urls[url] = (signed(url, now, self._url_seconds), now + self._cache_seconds)
        return self._urls[url][0], False
