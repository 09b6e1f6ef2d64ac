"""A kachery gateway in front of any fault server: what the fault matrix meets kachery through."""

from __future__ import annotations

import functools
import hashlib

from deployments.sandbox.kachery import Gateway
from tasks.clients.kachery import KacheryClient


@functools.cache
def shared_gateway():
    """One gateway for all tests of a process; it lives as long, and its own bucket is not asked."""
    return Gateway()


class ByName(KacheryClient):
    """A client for tests that know names: a name's address is that of the content that it has just then.

    Each name is a zone of its own, so that two names for the same content stay two objects.
    """

    server = None

    def to_address(self, data_path, dataset_id=None):
        url, content = self.server.s3_url(data_path), self.server._objects[f"/{data_path}"].content
        zone = hashlib.sha1(url.encode()).hexdigest()
        return f"kachery:{zone}:sha1:{shared_gateway().adopt(zone, url, content)}:{data_path}"


def kachery_client(server, options, pace):
    """A client whose bytes come from this server."""
    client = ByName({"name": "kachery_lab"}, {"base_url": shared_gateway().url}, options, pace)
    client.server = server
    return client
