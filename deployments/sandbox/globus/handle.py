"""One emulator from a test's or a demo's side: started in a thread or as a process, controlled over HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

import requests

from deployments.sandbox.globus.server import Server

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from deployments.sandbox.globus.store import Json

TRANSFER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
STOP_SECONDS = 10


class GlobusEmulator:
    """A running emulator; :meth:`restart` keeps its port, its collections, its tokens and its tasks.

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
        self._session = requests.Session()
        self._session.trust_env = False  # loopback needs no proxy
        self.url = ""
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._session.close()

    @property
    def environment(self) -> dict[str, str]:
        """What points the SDK and the `globus` command here."""
        return {
            "GLOBUS_SDK_SERVICE_URL_TRANSFER": self.url,
            "GLOBUS_SDK_SERVICE_URL_AUTH": self.url,
            "NO_PROXY": "127.0.0.1",
        }

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

    def control(self, route: str, method: str = "POST", /, **fields: Any) -> Json:
        """Call the control API; `fields` are its JSON body."""
        reply = self._session.request(method, f"{self.url}/_emu/{route}", json=fields)
        reply.raise_for_status()
        document: Json = reply.json()
        return document

    def endpoint(self, endpoint_id: str, **fields: Any) -> str:
        """Add or change a collection; its id."""
        self.control("endpoint", id=endpoint_id, **fields)
        return endpoint_id

    def http_fault(self, match: str, kind: str = "status", **fields: Any) -> None:
        """Set what the next matching requests meet; see `faults.HttpFault`."""
        self.control("faults", layer="http", match=match, kind=kind, **fields)

    def path_fault(self, path: str, code: str, **fields: Any) -> None:
        """Set what the next matching paths meet; see `faults.PathFault`."""
        self.control("faults", layer="path", path=path, code=code, **fields)

    def clear_faults(self) -> None:
        """Behave again."""
        self.control("faults", "DELETE")

    def requests(self, match: str = "") -> list[Json]:
        """The requests so far whose method and path begin with `match`."""
        rows = self.control("log", "GET")["requests"]
        return [row for row in rows if row["request"].startswith(match)]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self.control("log", "DELETE")

    def freeze(self) -> None:
        """Stop the clock: from now on only :meth:`advance` moves time."""
        self.control("clock", freeze=True)

    def advance(self, seconds: float) -> None:
        """Let time pass, and the engine do what it brings."""
        self.control("clock", advance=seconds)

    def settle(self) -> None:
        """Return when the engine has nothing left to do now."""
        self.control("settle")

    def pace(self, **limits: Any) -> None:
        """Set `files`, `bytes_per_second` or `retry_seconds`."""
        self.control("pace", **limits)

    def tokens(self, **wishes: Any) -> None:
        """Set or spoil credentials; see `control.set_tokens`."""
        self.control("tokens", **wishes)

    def access_token(self, *, client: str = "sandbox", scope: str = TRANSFER_SCOPE) -> str:
        """Make an access token that is valid from now on."""
        token = f"Ag-{uuid.uuid4()}"
        self.tokens(access=[{"token": token, "client": client, "scope": scope}])
        return token
