"""What the Globus tests share: an emulator with two endpoints, and a pace whose waits are the emulator's time."""

from __future__ import annotations

import globus_sdk
import pytest

from deployments.sandbox.globus import GlobusEmulator
from tasks.clients.globus.asking import no_retries, transport
from tasks.clients.globus.batches import Destination, Item
from tasks.clients.globus.journal import Journal
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.service import GlobusService
from tasks.clients.globus.transfer import Transfers
from tasks.clients.seams import Pace

LOCAL = "1b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"  # version 1, as old endpoints
STORE = "aaaaaaaa-0000-4000-8000-000000000001"  # version 4, as collections
CLIENT = "cccccccc-0000-4000-8000-000000000003"


class LinkedPace(Pace):
    """Waits by letting the emulator's time pass; nobody sleeps."""

    def __init__(self, emulator, stop=None):
        super().__init__(stop)
        self.emulator = emulator
        self.elapsed = 0.0
        self.waits = []
        self.hooks = {}

    def monotonic(self):
        return self.elapsed

    def uniform(self, low, high):
        return (low + high) / 2

    def wait(self, seconds):
        self.check()
        self.waits.append(seconds)
        if hook := self.hooks.pop(len(self.waits), None):
            hook()
        self.check()
        if seconds > 0:
            self.elapsed += seconds
            self.emulator.advance(seconds)
        self.check()


class Lab:
    """A collection with a directory, a personal endpoint that shows the test's directory, and the engine between."""

    LOCAL = LOCAL
    STORE = STORE

    def __init__(self, emulator, tmp_path):
        self.emulator = emulator
        self.source, self.root = tmp_path / "server", tmp_path / "root"
        self.staging = self.root / ".prefect-alyx" / "globus"
        self.source.mkdir(exist_ok=True)
        self.root.mkdir(exist_ok=True)
        common = {"connected": True, "paused": False, "data_access": False, "disable_verify": False, "https": False}
        emulator.endpoint(STORE, root=str(self.source), display_name="store", anonymous=False, **common)
        emulator.endpoint(
            LOCAL, root="/", paths=[str(tmp_path)], entity_type="GCP_mapped_collection", display_name="here", **common
        )
        self.pace = LinkedPace(emulator)
        self.login()
        self.results = {}
        self.progress = []
        self.older = {task["task_id"] for task in self.transfer.task_list(limit=1000)}
        emulator.clear_log()

    def login(self):
        authorizer = globus_sdk.AccessTokenAuthorizer(self.emulator.access_token(client=CLIENT))
        self.transfer = globus_sdk.TransferClient(
            base_url=self.emulator.url, authorizer=authorizer, retry_config=no_retries(), transport=transport()
        )

    def write(self, name, content=b"hello-data"):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return Item(name, f"globus://{STORE}/{name}", len(content))

    def items(self, count):
        return [self.write(f"day/{number:04d}.npy", f"content {number}".encode()) for number in range(count)]

    @property
    def destination(self):
        return Destination(LocalEndpoint(LOCAL, self.root, str(self.root)), self.staging)

    def deliver(self, results):
        for result in results:
            assert result.item.key not in self.results
            self.results[result.item.key] = result

    def move(self, items, there=None, **options):
        journal = Journal(self.staging)
        service = GlobusService(self.transfer, self.pace)
        engine = Transfers(service, journal, GlobusOptions(**options), self.pace)
        try:
            engine.move(items, self.destination, self.deliver, self.told, there)
        finally:
            journal.close()
        return self.results

    def told(self, *numbers):
        self.progress.append(numbers)

    def codes(self):
        return {key: result.failure.code if result.failure else "" for key, result in self.results.items()}

    def tasks(self):
        """The tasks of this test, newest first."""
        return [task for task in self.transfer.task_list(limit=1000) if task["task_id"] not in self.older]

    def submissions(self):
        return len(self.emulator.requests("POST /v0.10/transfer"))


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with GlobusEmulator(tmp_path_factory.mktemp("globus")) as running:
        running.freeze()
        yield running


@pytest.fixture
def lab(emulator, tmp_path, monkeypatch):
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    emulator.clear_faults()
    emulator.pace(files=None, bytes_per_second=None, retry_seconds=60)
    made = Lab(emulator, tmp_path)
    yield made
    made.login()
    for task in made.transfer.task_list(limit=1000, filter={"status": "ACTIVE"}):
        made.transfer.cancel_task(task["task_id"])
