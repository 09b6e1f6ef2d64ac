"""A kachery gateway in front of any fault server: what the fault matrix meets kachery through."""

from __future__ import annotations

import base64
import functools
import hashlib

from deployments.sandbox.kachery import Gateway, Zone
from deployments.sandbox.kachery.zones import Stored
from tasks.clients.kachery import KacheryClient


class Everywhere(dict):
    """Zones that are named after the one URL at which each of them has all its files.

    The gateway need not be told anything, so a child process may ask it, too.
    """

    def get(self, name):
        zone = Zone(name)
        zone.objects = OnlyOne(base64.urlsafe_b64decode(name).decode())
        return zone


class OnlyOne(dict):
    def __init__(self, url):
        super().__init__()
        self.url = url

    def get(self, sha1):
        return Stored(self.url, 0)


@functools.cache
def shared_gateway():
    """One gateway for all tests of a process; it lives as long, and its own bucket is not asked."""
    gateway = Gateway()
    gateway._known.zones = Everywhere()
    return gateway


class ByName(KacheryClient):
    """A client for tests that know names: a name's address is that of the content that it has just then."""

    server = None

    def to_address(self, data_path, dataset_id=None):
        zone = base64.urlsafe_b64encode(self.server.s3_url(data_path).encode()).decode()
        content = self.server._objects[f"/{data_path}"].content
        return f"kachery:{zone}:sha1:{hashlib.sha1(content).hexdigest()}:{data_path}"


def kachery_client(server, options, pace):
    """A client whose bytes come from this server."""
    client = ByName({"name": "kachery_lab"}, {"base_url": shared_gateway().url}, options, pace)
    client.server = server
    return client
