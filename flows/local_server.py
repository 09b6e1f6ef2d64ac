"""One local Prefect server, started once in the background and found again.

Prefect's own throw-away server costs 20 to 50 seconds a run and loses most task-run records when the process
ends; a server that stays costs about a second a run, and its UI can be looked at afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import requests
from filelock import FileLock
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A first start migrates a new database: 32 to 50 seconds on a slow machine.
_START_SECONDS = 180
_STOP_SECONDS = 15
#: A server on a busy machine may be silent for a while; longer than that, it hangs.
_BUSY_SECONDS = 60
_HEALTH_SECONDS = 5
#: The server records task runs one by one by default; in batches it needs a fifth of the CPU and lags a tenth as long.
_TUNED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "200",
    # A server of one person on loopback has nobody to report to.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server of ours, as its state file remembers it."""

    url: str
    pid: int
    born: float

    @property
    def ui(self) -> str:
        """Where a person looks."""
        return self.url.removesuffix("/api")

    def process(self) -> psutil.Process | None:
        """The server's process, unless it is gone or its PID is another's."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.born) < 1.0 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def is_healthy(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/health", timeout=_HEALTH_SECONDS).ok
        return False


@contextlib.contextmanager
def prefect_api(say: Callable[[str], None]) -> Iterator[str]:
    """Make a Prefect API available for the `with` block: the configured one, else the local server.

    Args:
        say: Told, a line each, what is started and waited for.

    Yields:
        The API's URL.

    Raises:
        DownloadError: `prefect-server`, when no server comes up; `prefect-api` or `prefect-login`, when the
            configured one cannot be used, or goes away meanwhile.
    """
    configured = get_current_settings().api.url
    if configured:
        with _told(configured):
            _check()
            yield configured
        return
    server = start(say)
    with _told(server.url), temporary_settings(updates={PREFECT_API_URL: server.url}):
        yield server.url


def _check() -> None:
    """Ask the API for its version, as Prefect does before a run; it wraps what goes wrong."""
    with get_client(sync_client=True) as client:
        try:
            client.raise_for_api_version_mismatch()
        except RuntimeError as failure:
            raise failure.__cause__ or error("prefect-api", f"{failure}.") from failure


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what Prefect's client raises into the errors of the table."""
    try:
        yield
    except httpx.HTTPError as failure:
        refused = isinstance(failure, httpx.HTTPStatusError) and failure.response.status_code in (401, 403)
        said = str(failure).splitlines()[0].partition(" - ")[0].rstrip(".")  # the rest is advice about HTTP
        code = "prefect-login" if refused else "prefect-api"
        raise error(code, f"{httpx.URL(url).copy_with(userinfo=b'')}: {said}.") from failure


def start(say: Callable[[str], None]) -> LocalServer:
    """Return the local server, starting it if it does not run; two callers at once start one.

    Raises:
        DownloadError: `prefect-server`.
    """
    state = _state_file()
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(state.with_suffix(".lock"), timeout=_START_SECONDS + _STOP_SECONDS):
            known = _known()
            if known and _found_again(known, say):
                return known
            return _launch(say)
    except OSError as failure:  # also the lock's, when another process starts one without end
        raise error("prefect-server", f"{failure}.") from failure


def running_server() -> LocalServer | None:
    """Return the local server where it runs and answers; nothing is started."""
    known = _known()
    return known if known and known.process() and known.is_healthy() else None


def stop(say: Callable[[str], None]) -> bool:
    """Stop the local server; return whether one ran."""
    known = _known()
    process = known.process() if known else None
    _state_file().unlink(missing_ok=True)
    if not known or not process:
        say("No local Prefect server runs.")
        return False
    say(f"Stopping the local Prefect server at {known.ui} ...")
    _end(process)
    return True


def _found_again(known: LocalServer, say: Callable[[str], None]) -> bool:
    """Whether the server of the state file can be used; one that hangs is ended, so that none is left behind."""
    process = known.process()
    if process is None or known.is_healthy():
        return process is not None
    say(f"Waiting for the local Prefect server at {known.ui}, which is busy ...")
    if _answers(known, _BUSY_SECONDS):
        return True
    _end(process)
    return False


def _end(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.terminate()
        for survivor in psutil.wait_procs(family, timeout=_STOP_SECONDS)[1]:
            survivor.kill()


def _launch(say: Callable[[str], None]) -> LocalServer:
    port, log = _free_port(), _state_file().with_suffix(".log")
    url = f"http://127.0.0.1:{port}/api"
    say(f"Starting a local Prefect server at {url.removesuffix('/api')} (the first start takes up to a minute) ...")
    with open(log, "ab", opener=_private) as output:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(  # noqa: S603  (our own interpreter, our own words)
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(url),
        )
    server = LocalServer(url, process.pid, psutil.Process(process.pid).create_time())
    _state_file().write_text(
        json.dumps(asdict(server))
    )  # before it answers: who is interrupted here leaves none behind
    if not _answers(server, _START_SECONDS):
        process.kill()
        raise error("prefect-server", f"What it said is in {log}.")
    say(f"The local Prefect server runs at {server.ui}; `prefect-alyx demo --stop` ends it.")
    return server


def _private(path: str, flags: int) -> int:
    """Open for this user alone: a server's log may hold what was sent to it."""
    return os.open(path, flags, 0o600)


def _answers(server: LocalServer, seconds: float) -> bool:
    """Wait until a server answers; False when it ended, or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.process():
        if server.is_healthy():
            return True
        time.sleep(0.2)
    return False


def _environment(url: str) -> dict[str, str]:
    """The server's environment: ours, tuned; it must not take itself for a client of another server.

    Its UI asks port 4200 for data, whatever port it is served on, unless it is told.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**_TUNED, **inherited, "PREFECT_UI_API_URL": url}


def _known() -> LocalServer | None:
    try:
        return LocalServer(**json.loads(_state_file().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _state_file() -> Path:
    return Path(get_current_settings().home) / "prefect-alyx-server.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
