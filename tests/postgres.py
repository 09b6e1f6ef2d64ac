"""A PostgreSQL of the tests' own, from the machine's binaries."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from flows.local_server import _free_port

#: Where Debian puts what `apt-get install postgresql` brings.
_DEBIAN = Path("/usr/lib/postgresql")


def binaries():
    """The folder of `initdb`, or None."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(_DEBIAN.glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def running():
    """Start a database in a folder of its own, on a free port of loopback; yield its address for Prefect."""
    who = {"user": "postgres"} if os.geteuid() == 0 else {}  # it refuses to run as root
    port, tools = _free_port(), binaries()
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as data:
        if who:
            shutil.chown(data, "postgres")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data, **who}
        subprocess.run(
            [tools / "initdb", "-D", data, "-U", "prefect", "-A", "trust", "-E", "UTF8"], check=True, **quiet
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        control = [tools / "pg_ctl", "-D", data, "-w", "-o", options]
        subprocess.run([*control, "start"], check=True, **quiet)
        try:
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, **quiet)
