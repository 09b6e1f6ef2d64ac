"""The catalogue by hand: `python -m deployments.sandbox.faults` serves every fault at an address of its own.

stdout has one line a fault (name, HTTP address, S3 address, size, md5, CA file), stderr one line a request.
`curl ADDRESS/counts` shows requests and bytes by path, `curl ADDRESS/rewind` starts every script anew.
"""

from __future__ import annotations

import hashlib
import random
import re
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.sandbox.faults import CATALOGUE, Answer, Fault, FaultServer
from deployments.sandbox.faults.replies import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployments.sandbox.faults.replies import Reply


@dataclass(frozen=True, slots=True)
class Counts(Answer):
    """Requests and body bytes by path."""

    server: FaultServer

    def after(self, reply: Reply) -> Reply:
        paths = sorted({hit.path for hit in self.server.hits()})
        rows = [f"{path}\t{len(self.server.hits(path))}\t{self.server.sent(path)}\n" for path in paths]
        return document(reply.ask, "".join(rows), "text/tab-separated-values")


@dataclass(frozen=True, slots=True)
class Rewind(Answer):
    """Starts every script of the server anew."""

    server: FaultServer

    def after(self, reply: Reply) -> Reply:
        self.server.rewind()
        return document(reply.ask, "rewound\n", "text/plain")


def main(size: Annotated[int, typer.Option(help="Bytes of each file.")] = 1 << 20) -> None:
    """Serve every fault at an address of its own, until interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    content = random.Random(0).randbytes(size)
    digest = hashlib.md5(content).hexdigest()
    with ExitStack() as servers:
        for name, path, server in serve(servers, content):
            row = (name, server.url(path), server.s3_url(path), size, digest, server.ca_file or "")
            typer.echo("\t".join(map(str, row)))
        talk("Serving until interrupted (Ctrl-C).")
        with suppress(KeyboardInterrupt):
            Event().wait()


def serve(servers: ExitStack, content: bytes) -> Iterator[tuple[str, str, FaultServer]]:
    """Start the servers: one for all that scripts can do, and one for each door, gate and certificate."""
    shared = start(servers, CATALOGUE["none"])
    for name, fault in CATALOGUE.items():
        if fault.needs:
            talk(f"Left out: {name} (needs {fault.needs}).")
            continue
        server = shared if is_plain(fault) else start(servers, fault)
        path = f"/{slug(name)}.bin"
        server.put(path, content, fault.script)
        yield name, path, server


def start(servers: ExitStack, fault: Fault) -> FaultServer:
    """Start a server with a fault's doors, gate and certificate."""
    server = servers.enter_context(FaultServer(tls=fault.tls, log=talk))
    server.doors, server.gate = fault.doors, fault.gate
    server.put("/counts", b"", [Counts(server)])
    server.put("/rewind", b"", [Rewind(server)])
    return server


def is_plain(fault: Fault) -> bool:
    """Whether a fault is all in its script."""
    plain = CATALOGUE["none"]
    return (fault.doors, fault.gate, fault.tls) == (plain.doors, plain.gate, plain.tls)


def slug(name: str) -> str:
    """Return a name that needs no quotes in an address."""
    return re.sub(r"\W+", "-", name.lower(), flags=re.ASCII).strip("-")


def talk(line: str) -> None:
    """Say something to a human."""
    typer.echo(line, err=True)


if __name__ == "__main__":
    typer.run(main)
