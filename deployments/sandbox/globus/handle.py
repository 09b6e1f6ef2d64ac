"""One emulator from a test's or a demo's side: started in a thread or as a process, controlled over HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

from deployments.sandbox.globus.remote import RemoteEmulator
from deployments.sandbox.globus.server import Server

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

STOP_SECONDS = 10


class GlobusEmulator(RemoteEmulator):
    """An emulator of one's own; :meth:`restart` keeps its port, its collections, its tokens and its tasks.

    Args:
        state: Directory for what survives a restart.
        as_process: Run it as a process of its own, which can be killed.
    """

    def __init__(self, state: Path, *, as_process: bool = False) -> None:
        self._state = state
        self._as_process = as_process
        self._process: subprocess.Popen[str] | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        super().__init__("")
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._session.close()

    def start(self) -> None:
        """Start, at the same port as before if there was one."""
        port = int(self.url.rpartition(":")[2] or 0)
        if self._as_process:
            self._start_process(port)
        else:
            self._server = Server(self._state, port)
            self.url = self._server.url
            self._thread = threading.Thread(target=self._server.run, name="globus-emulator", daemon=True)
            self._thread.start()

    def _start_process(self, port: int) -> None:
        command = [sys.executable, "-m", __package__ or "", "--port", str(port), "--state", str(self._state)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  (our own module)
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""

    def stop(self) -> None:
        """Stop in good order."""
        if self._process:
            self._process.terminate()
            self._reap(self._process)
        elif self._server and self._thread:
            self._server.stop()
            self._thread.join(STOP_SECONDS)

    def kill(self) -> None:
        """Stop as a power cut does; only a process can be killed."""
        if self._process:
            self._process.kill()
            self._reap(self._process)

    def _reap(self, process: subprocess.Popen[str]) -> None:
        process.wait(STOP_SECONDS)
        if process.stdout:
            process.stdout.close()
        self._process = None

    def restart(self) -> None:
        """Stop and start again, at the same port with the same tables."""
        self.stop()
        self.start()
