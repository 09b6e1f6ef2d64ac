"""The fault matrix: every client against every fault of the sandbox's catalogue, over real sockets.

`make faults` prints it, the peers' scores beside it; `tests/test_matrix.py` asserts it row by row. Waits are
skipped by a clock of the test's own; what happens on the wire takes its real time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from deployments.sandbox.faults import BUCKET, CATALOGUE, MATRIX, Expect, FaultServer
from tasks.clients import DownloadError, WireOptions, client_for
from tests.kachery_lab import kachery_client
from tests.pace import FakePace

KEYS = {"Access key ID": "sandbox", "Secret access key": "sandbox-secret"}
#: Of the eleven rows; one machine, 64 MiB files (the harness and its caveats: README, "The fault matrix").
PEERS = {
    "pooch 1.9.0": 10,
    "sentinelsat 1.2.1": 10,
    "openneuro-py 2026.9.1": 8,
    "huggingface_hub 2.4.0": 8,
    "dandi 0.81.0": 6,
    "curl -C- --retry 5": 6,
    "podaac download_file": 2,
    "ONE 3.6.1": 2,
}


def http_client(server, options, pace):
    repository = {"name": "flatiron_lab", "data_url": f"{server.endpoint}/", "globus_is_personal": False}
    return client_for("http", repository, {}, options, pace=pace)


def aws_client(server, options, pace):
    json = {"bucket_name": BUCKET, "region_name": "us-east-1", **KEYS}
    repository = {"name": "aws_lab", "globus_path": "", "json": json}
    return client_for("aws", repository, {"endpoint_url": server.endpoint}, options, pace=pace)


CLIENTS = {"http": http_client, "aws": aws_client, "kachery": kachery_client}


@dataclass(frozen=True)
class Cell:
    """What became of one client's meeting with one fault.

    Attributes:
        said: "published", or the code of the error.
        ratio: Body bytes served, as a share of the file's size.
    """

    passed: bool
    said: str
    ratio: float
    requests: int


@contextmanager
def trusting(server):
    """Trust the server's certificate, as a lab's own CA is trusted."""
    environment = {"REQUESTS_CA_BUNDLE": str(server.ca_file)} if server.ca_file else {}
    with mock.patch.dict(os.environ, environment):
        yield


QUICK = WireOptions(connect_seconds=1, stall_seconds=1)


def meet(protocol, fault, data, target, options=QUICK) -> Cell:
    """Let one client fetch one file through one fault, and judge it by the catalogue's expectation."""
    pace = FakePace()
    with FaultServer(tls=fault.tls, clock=pace.monotonic, now=pace.now) as server, trusting(server):
        server.play(fault, "/a.npy", data)
        if "shut" in fault.needs:
            server.shut()
            pace.on_wait = opener(server)
        client = CLIENTS[protocol](server, options, pace)
        said = "published"
        try:
            digest = hashlib.md5(data).hexdigest()
            client.download_file(client.to_address("a.npy"), target, size=len(data), digest=digest)
        except DownloadError as failure:
            said = failure.code
        hits = server.hits("/a.npy", "GET")
        ratio = server.sent("/a.npy") / len(data)
    return Cell(_passes(fault, said, target, data, ratio, len(hits)), said, ratio, len(hits))


def _passes(fault, said, target, data, ratio, requests):
    right = said == "published" and target.read_bytes() == data
    refused = said != "published" and not target.exists()
    as_expected = {Expect.RIGHT: right, Expect.ERROR: refused, Expect.EITHER: right or refused}[fault.expect]
    return as_expected and ratio <= fault.ratio and requests <= (fault.requests or sys.maxsize)


def opener(server):
    """Open the server's door at the first wait."""
    closed = [server]
    return lambda: closed.pop().open() if closed else None


def playable():
    """The faults that a script can play; the others have tests of their own."""
    return {name: fault for name, fault in CATALOGUE.items() if not fault.needs or "shut" in fault.needs}


def main() -> None:
    """Print the matrix as Markdown: data on stdout, exit code 1 when a cell fails."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--size", type=int, default=64 << 20, help="bytes of the file (64 MiB)")
    parser.add_argument("--all", action="store_true", help="the whole catalogue, not only the eleven rows")
    options = parser.parse_args()
    rows = playable() if options.all else MATRIX
    data = random.Random(1).randbytes(options.size)
    passed = dict.fromkeys(CLIENTS, 0)
    print("| fault |", " | ".join(CLIENTS), "|\n| --- |", " | ".join("---" for _ in CLIENTS), "|")
    for name, fault in rows.items():
        cells = []
        for protocol in CLIENTS:
            with tempfile.TemporaryDirectory() as folder:
                cell = meet(protocol, fault, data, Path(folder) / "a.npy")
            passed[protocol] += cell.passed
            verdict = "OK" if cell.passed else "**FAILS**"
            cells.append(
                f"{verdict} {cell.said if cell.said != 'published' else ''} x{cell.ratio:.2f}".replace("  ", " ")
            )
        print(f"| {name} |", " | ".join(cells), "|", flush=True)
    print("| **score** |", " | ".join(f"**{count}/{len(rows)}**" for count in passed.values()), "|")
    if not options.all:
        print("\nPeers on the same eleven rows:", ", ".join(f"{name} {score}/11" for name, score in PEERS.items()))
    sys.exit(any(count < len(rows) for count in passed.values()))


if __name__ == "__main__":
    main()
