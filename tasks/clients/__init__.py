"""Bytes: one client a protocol. Knows neither Prefect nor the rest of ``tasks``.

>>> client = client_for("http", repository=alyx.rest("data-repository", "read", id="flatiron_cortexlab"))
>>> client.download_file(client.to_address(record["relative_path"], dataset_id), target, size=size, digest=md5)
"""

from __future__ import annotations

import difflib
import functools
import importlib
from typing import TYPE_CHECKING, Any

from tasks.clients.base import ALYX_JSON, PROC_PRECEDENCE, Capabilities, DownloadClient, RestClient
from tasks.clients.options import WireOptions
from tasks.clients.verdicts import DownloadError, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.clients.seams import Pace

__all__ = [
    "ALYX_JSON",
    "PROC_PRECEDENCE",
    "Capabilities",
    "DownloadClient",
    "DownloadError",
    "RestClient",
    "Verdict",
    "WireOptions",
    "client_class",
    "client_for",
    "protocol_name",
]

#: Where each protocol's client is; imported when it is asked for, since boto3 and globus-sdk are slow to load.
_CLIENTS = {
    "aws": "tasks.clients.aws:AwsClient",
    "http": "tasks.clients.http:HttpClient",
    "globus": "tasks.clients.globus:GlobusClient",
    "kachary": "tasks.clients.kachery:KacheryClient",
}
_OTHER_NAMES = {"kachery": "kachary"}


def protocol_name(name: str) -> str:
    """Return a protocol's name in ONE's spelling.

    Raises:
        ValueError: for a name that is no protocol; it names the nearest one.
    """
    known = _OTHER_NAMES.get(name, name)
    if known not in PROC_PRECEDENCE:
        near = difflib.get_close_matches(name, [*PROC_PRECEDENCE, *_OTHER_NAMES], n=1, cutoff=0.0)
        raise ValueError(
            f"{name!r} is not a protocol; did you mean {near[0]!r}? There are {', '.join(PROC_PRECEDENCE)}."
        )
    return known


@functools.cache
def client_class(protocol: str) -> type[DownloadClient]:
    """Return the class that speaks a protocol."""
    module, _, name = _CLIENTS[protocol_name(protocol)].partition(":")
    found: type[DownloadClient] = getattr(importlib.import_module(module), name)
    return found


def client_for(
    protocol: str,
    repository: Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    options: WireOptions | None = None,
    *,
    pace: Pace | None = None,
) -> DownloadClient:
    """Make the client of one protocol for one repository.

    Args:
        protocol: One of `PROC_PRECEDENCE`; `kachery` is `kachary`.
        repository: What Alyx answers for the data repository.
        params: The protocol's profile; by default what the params store and ONE's files hold.
        options: How patient to be.
        pace: Clock, dice and stop signal, shared by all clients of a run.

    Raises:
        ValueError: for an unknown protocol.
        DownloadError: `not-configured`, where the protocol needs a profile that is not there.
    """
    return client_class(protocol)(repository, params, options, pace)  # type: ignore[call-arg]
