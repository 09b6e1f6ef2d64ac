"""The emulator on a socket of the loopback interface."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from deployments.sandbox.globus.app import create_app
from deployments.sandbox.globus.service import Service

if TYPE_CHECKING:
    from pathlib import Path


class Server:
    """Service, application and uvicorn, bound at construction: `url` is known before the first request."""

    def __init__(self, state: Path, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        # Headers and body leave in two writes: without this, each reply waits 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.service = Service(state)
        config = uvicorn.Config(
            create_app(self.service),
            http="h11",  # the fault layer knows its request cycle
            lifespan="off",
            log_level="warning",
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def run(self) -> None:
        """Serve until told to stop."""
        self.service.start()
        try:
            self._uvicorn.run(sockets=[self._socket])
        finally:
            self.service.stop()
            self._socket.close()

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._uvicorn.should_exit = True
