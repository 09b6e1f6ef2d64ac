"""One application on one port of its own, in a thread of its own; on loopback, unless another address is given."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_BACKLOG = 512
_IDLE_SECONDS = 75  # nginx's own; shorter ones close connections that a client is about to use again


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what uvicorn says about requests that a stopping server cuts off; errors of an application stay."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


logging.getLogger("uvicorn.error").addFilter(_is_news)


class Served:
    """An application that can be started, stopped, and started again on the same port.

    The port is bound by whoever makes the object and never given back before `stop`, so nobody else can take
    it in between; a request that comes before the server is up waits in the socket's queue.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1") -> None:
        self._app, self._host = app, host
        self._socket = _listen(host, 0)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Return the address, without a slash at its end."""
        return f"http://{self._host}:{self.port}"

    def start(self) -> None:
        """Serve until `stop`; nothing happens where it already does."""
        if self._thread:
            return
        if self._socket.fileno() < 0:
            self._socket = _listen(self._host, self.port)
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._server.force_exit = True  # an open request has nobody left who waits for it
        self._thread = threading.Thread(
            target=self._run, args=(self._server,), name=f"sandbox:{self.port}", daemon=True
        )
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begin to stop, so that many servers can stop side by side."""
        if self._server:
            self._server.should_exit = True

    def stop(self) -> None:
        """Stop, close every connection, and give the port back."""
        self.ask_to_stop()
        if self._thread:
            self._thread.join()
        self._server = self._thread = None
        self._socket.close()

    def _run(self, server: uvicorn.Server) -> None:
        asyncio.run(server.serve(sockets=[self._socket]))


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that already accepts connections into its queue."""
    # asyncio turns Nagle's delay (40 ms an answer) off only for sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener
