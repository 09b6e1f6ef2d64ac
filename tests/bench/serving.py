"""What the contenders fetch from: nginx on loopback, plain and with TLS, and a stand-in for a long line."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager

from deployments.sandbox.faults.tls import Tls, server_context

#: One way, in seconds, and what one connection carries at most.
DELAY = 0.020
BYTES_PER_SECOND = 25_000_000
_CHUNK = 128 * 1024
_FIRST_WINDOW = 10 * 1460

_NGINX = """
worker_processes 1; pid {run}/nginx.pid; error_log {run}/error.log; daemon off; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; types {{ }}
  default_type binary/octet-stream;
  client_body_temp_path {run}/t; proxy_temp_path {run}/t; fastcgi_temp_path {run}/t;
  uwsgi_temp_path {run}/t; scgi_temp_path {run}/t;
  server {{
    autoindex on; listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; root {www};
    ssl_certificate {run}/server.pem; ssl_certificate_key {run}/server.pem;
  }}
}}
"""


def install(*programs: str) -> None:
    """Install what is missing, from Debian's packages.

    Raises:
        SystemExit: when that cannot be done, with what to do.
    """
    packages = {"nginx": "nginx-light", "aria2c": "aria2"}
    missing = [packages.get(name, name) for name in programs if not which(name)]
    if not missing:
        return
    if os.getuid():
        raise SystemExit(f"Please run: sudo apt-get install {' '.join(missing)}")
    # Debian starts a server that it installs; this one is not wanted on port 80.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True, env=environment, stdout=2)


def which(name):
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def nginx(run, www):
    """Serve a folder; yields the address over HTTP, the one over HTTPS, and the CA to trust."""
    (run / "t").mkdir(parents=True)
    plain, secure = free_port(), free_port()
    _, ca = server_context(run, Tls.TRUSTED)
    user = "" if os.getuid() else "user root;"
    (run / "nginx.conf").write_text(_NGINX.format(run=run, www=www, http=plain, https=secure, user=user))
    process = subprocess.Popen([which("nginx"), "-c", str(run / "nginx.conf"), "-e", str(run / "error.log")])
    try:
        wait_for(plain)
        yield f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", ca
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port) -> None:
    for _ in range(100):
        with closing(socket.socket()) as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise SystemExit("nginx does not start.")


@contextmanager
def long_line(address):
    """Put a long line before a server: 20 ms each way, 25 MB/s a connection, once its window has grown to that.

    Yields the address at its other end.
    """
    host, _, port = address.removeprefix("http://").partition(":")
    loop = asyncio.new_event_loop()

    async def serve(reader, writer):
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_carry(reader, there_writer), _carry(there_reader, writer), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _carry(reader, writer):
    """Carry one direction: each piece arrives a delay after it was sent, and no faster than the line carries.

    As TCP does, a connection begins with two ways of the line for its handshake, and with a window of ten segments that
    doubles each time that it has gone there and back.
    """
    clock = asyncio.get_running_loop().time
    pieces: asyncio.Queue = asyncio.Queue(maxsize=max(2, int(DELAY * BYTES_PER_SECOND / _CHUNK) + 2))

    async def receive():
        free, window, sent = clock() + 2 * DELAY, _FIRST_WINDOW, 0
        while data := await reader.read(min(_CHUNK, window)):
            free = max(clock(), free) + len(data) / min(BYTES_PER_SECOND, window / (2 * DELAY))
            await pieces.put((free + DELAY, data))
            sent += len(data)
            if sent >= window:
                window, sent = 2 * window, 0
        await pieces.put((0.0, b""))

    receiving = asyncio.ensure_future(receive())
    try:
        while True:
            due, data = await pieces.get()
            if not data:
                break
            await asyncio.sleep(max(0.0, due - clock()))
            writer.write(data)
            await writer.drain()
    finally:
        receiving.cancel()
        writer.close()
