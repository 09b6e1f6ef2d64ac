"""The raw sockets under the fault server: doors, TLS, and every byte and every end exactly as the reply says."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import sys
import termios
import threading
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any, Protocol

from deployments.sandbox.faults.replies import End, Reply

if TYPE_CHECKING:
    from email.message import Message

    from deployments.sandbox.faults.gates import Hit

HOST = "127.0.0.1"


class Door(Enum):
    """What a new connection meets before it can ask anything."""

    OPEN = "a server that listens"
    RESET = "a reset"
    CUT = "a close at its first word: over TLS, in mid-handshake"
    SILENT = "nothing, until the server is released"


class House(Protocol):
    """What the sockets ask of the server that they belong to."""

    context: ssl.SSLContext | None
    released: threading.Event

    def door(self, connection: int) -> Door:
        """Return what the n-th connection meets."""
        ...

    def answer(self, method: str, target: str, headers: Message, connection: int, body: bytes) -> tuple[Hit, Reply]:
        """Write a request down and return its answer."""
        ...

    def stall(self) -> None:
        """Return when the server is released."""
        ...

    def wait(self, seconds: float, /) -> bool:
        """Wait between two pieces; true ends the answer."""
        ...


class Listener(ThreadingTCPServer):
    """A bound port, which refuses connections until it is started; one thread a connection.

    Args:
        house: The server that answers.
        port: 0 takes a free one.
        accepted: Connections that were accepted before, for the count.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, house: House, port: int, accepted: int = 0) -> None:
        super().__init__((HOST, port), _Talk, bind_and_activate=False)
        self.house = house
        self.accepted = accepted
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._open: dict[Any, int] = {}
        self.server_bind()

    def start(self) -> None:
        """Accept connections; a second call changes nothing."""
        if self._thread:
            return
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name="faults", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, break all connections, and return when each is closed."""
        if self._thread:
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._open:
                with suppress(OSError):  # it has just ended by itself
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open)

    def number(self, connection: socket.socket) -> int:
        """Return which connection this is, from 1."""
        return self._open[connection]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; the TLS handshake is left to the connection's own thread."""
        connection, address = super().get_request()
        if self.house.context:
            connection = self.house.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self.accepted += 1
            self._open[connection] = self.accepted
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close at once: socketserver's polite FIN would come before a reset."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close, and forget."""
        super().close_request(request)
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  (socketserver's hook)
        """Clients that go away are our daily bread; anything else is a defect of this server, and is raised."""
        if not isinstance(sys.exc_info()[1], OSError):
            raise  # noqa: PLE0704  (socketserver calls this inside its except clause)


class _Talk(BaseHTTPRequestHandler):
    """One connection: the standard library reads the requests, and we write the answers byte by byte."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener
    connection: Any

    def handle(self) -> None:
        self.house = self.server.house
        self.number = self.server.number(self.connection)
        match self.house.door(self.number):
            case Door.OPEN:
                self._talk()
            case Door.RESET:
                self._reset()
            case Door.CUT:
                socket.socket.recv(self.connection, 1)
            case Door.SILENT:
                self.house.stall()

    def _talk(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()
        super().handle()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hit, reply = self.house.answer(self.command, self.path, self.headers, self.number, body)
        end = self._send(reply, hit)
        self.close_connection |= end is not End.KEEP
        match end:
            case End.CLOSE:
                self._farewell()
            case End.RESET:
                self._drain()
                self._reset()
            case End.HANG:
                self.house.stall()

    do_HEAD = do_POST = do_GET  # noqa: N815  (the standard library's names)

    def _send(self, reply: Reply, hit: Hit) -> End:
        self.connection.sendall(reply.head())
        for piece in reply.pieces():
            hit.sent += len(piece)
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) if reply.chunked else piece)
            if reply.pause and self.house.wait(reply.pause):
                return End.CUT
        if reply.chunked and reply.is_whole:
            self.connection.sendall(b"0\r\n\r\n")
        return reply.end

    def _farewell(self) -> None:
        """Say over TLS that nothing was cut off, without waiting for the client's own farewell."""
        if isinstance(self.connection, ssl.SSLSocket):
            self._drain()  # a farewell that finds no room in the kernel's buffer would be left unsaid
            self.connection.setblocking(False)
            with suppress(ssl.SSLWantReadError):
                self.connection.unwrap()

    def _drain(self) -> None:
        """Wait until the client's kernel has every byte: a reset takes along those that are under way."""
        while struct.unpack("i", fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)))[0]:
            if self.house.released.wait(0.001):
                return

    def _reset(self) -> None:
        """Make the close that follows a reset: a linger of no seconds."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the standard library's name)
        """The server logs; BaseHTTPRequestHandler does not."""
