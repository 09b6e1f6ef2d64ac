"""A PostgreSQL of the tests' own, from the machine's binaries."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

#: Where Debian puts what `apt-get install postgresql` brings.
_DEBIAN = Path("/usr/lib/postgresql")


def binaries():
    """The folder of `initdb`, or None."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(_DEBIAN.glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class Server:
    """A database server.

    Attributes:
        host: The address that it listens at.
        port: And the port.
        control: The beginning of every `pg_ctl` command.
    """

    def __init__(self, host, port, control, **quiet):
        self.host, self.port, self.control, self.quiet = host, port, control, quiet

    def url(self, driver="postgresql", name="postgres"):
        """Address of a database, for a driver."""
        return f"{driver}://prefect@{self.host}:{self.port}/{name}"

    def query(self, statement, name="postgres"):
        """Execute a statement in a database, and return the first value that it gives, if any."""
        engine = sa.create_engine(
            self.url("postgresql+psycopg", name), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        with contextlib.closing(engine.connect()) as connection:
            result = connection.execute(sa.text(statement))
            return result.scalar() if result.returns_rows else None

    def start(self):
        subprocess.run([*self.control, "start"], check=True, **self.quiet)

    def stop(self):
        """Stop at once, as a crash does; it recovers when it starts again."""
        subprocess.run([*self.control, "-m", "immediate", "stop"], check=True, **self.quiet)


@contextlib.contextmanager
def running(host="127.0.0.1"):
    """Start a database server in a folder of its own, on a free port; the network around its address may use it."""
    who = {"user": "postgres"} if os.geteuid() == 0 else {}  # it refuses to run as root
    port, tools = _free_port(), binaries()
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as data:
        if who:
            shutil.chown(data, "postgres")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data, **who}
        subprocess.run(
            [tools / "initdb", "-D", data, "-U", "prefect", "-A", "trust", "-E", "UTF8"], check=True, **quiet
        )
        (Path(data) / "pg_hba.conf").write_text(f"host all all {host}/24 trust\n")
        options = f"-p {port} -c listen_addresses={host} -c unix_socket_directories= -c fsync=off"
        server = Server(host, port, [tools / "pg_ctl", "-D", data, "-w", "-o", options], **quiet)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _free_port():
    """A port of loopback; the command's own function would import Prefect before the tests say where its home is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
