"""The emulator's state, put together: everything that requests and the engine share."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from deployments.sandbox.globus.clock import Clock
from deployments.sandbox.globus.endpoints import Endpoints
from deployments.sandbox.globus.engine import Engine
from deployments.sandbox.globus.faults import Faults
from deployments.sandbox.globus.mover import Mover
from deployments.sandbox.globus.pace import Pace
from deployments.sandbox.globus.store import Json, Store
from deployments.sandbox.globus.table import TaskTable
from deployments.sandbox.globus.tokens import Tokens
from deployments.sandbox.globus.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

LOGGED_REQUESTS = 10_000


class Service:
    """One emulated Globus; what is in `state` survives a restart."""

    def __init__(self, state: Path) -> None:
        self.clock = Clock()
        self.store = Store(state / "globus.sqlite")
        self.tokens = Tokens(self.store, self.clock)
        self.endpoints = Endpoints(self.store)
        self.table = TaskTable(self.store)
        self.faults = Faults()
        self.pace = Pace()
        self.worker = Worker(self.table, Mover(self.endpoints, self.faults, self.pace), self.pace)
        self.engine = Engine(self.table, self.worker, self.pace, self.clock)
        self.log: deque[Json] = deque(maxlen=LOGGED_REQUESTS)

    def start(self) -> None:
        """Go on with the tasks that the table holds."""
        self.engine.start()

    def stop(self) -> None:
        """Stop working; what was done is on disk."""
        self.engine.stop()
        self.store.close()
