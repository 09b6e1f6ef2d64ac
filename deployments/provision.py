"""Brings a site's file to the Prefect server: pool, limits, variables, blocks, automations, deployments.

Every step looks first, and changes only what differs: a second run changes nothing, and says so.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import httpx
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    VariableCreate,
    VariableUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

from deployments.automations import automations, substance
from deployments.check import checked
from deployments.site import Site
from deployments.wanted import same, wanted
from tasks.clients.verdicts import error
from tasks.transfer.limits import alyx_limit, alyx_rate, repository_limit, server_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from deployments.lines import Lined

PREFECT_YAML = Path(str(files("deployments") / "prefect.yaml"))
AUTOMATIONS_YAML = Path(str(files("deployments") / "automations.yaml"))
WEBHOOK = "alyx-alerts"


@dataclass(slots=True)
class Provision:
    """One pass over the server.

    Attributes:
        client: The server.
        site: What is wanted.
        say: Told of everything that is looked at, a line each.
        changed: How many things were made or altered.
    """

    client: SyncPrefectClient
    site: Site
    say: Callable[[str], None]
    changed: int = 0
    _webhook: UUID | None = field(default=None, repr=False)

    def run(self, lined: Lined) -> None:
        """Bring all of it."""
        self._work_pool()
        for name, limit in limits(self.site).items():
            self._limit(name, limit)
        for name, per_minute in rates(self.site).items():
            self._limit(name, per_minute, per_minute / 60)
        for name, value in self.site.variables().items():
            self._variable(name, value)
        self._blocks()
        self._automations()
        self._deployments(lined)

    def _note(self, kind: str, name: str, done: str) -> None:
        self.changed += done != "unchanged"
        self.say(f"{kind:12} {name:32} {done}")

    def _work_pool(self) -> None:
        name, limit = self.site.work_pool, self.site.flow_runs_at_once
        try:
            found = self.client.read_work_pool(name)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            pool = WorkPoolCreate(name=name, type="process", base_job_template=template, concurrency_limit=limit)
            self.client.create_work_pool(pool)
            self._note("work pool", name, "made")
            return
        if found.concurrency_limit != limit:
            self.client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))
        self._note("work pool", name, "unchanged" if found.concurrency_limit == limit else "altered")

    def _limit(self, name: str, limit: int, decay: float = 0.0) -> None:
        try:
            found = self.client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            made = GlobalConcurrencyLimitCreate(name=name, limit=limit, slot_decay_per_second=decay)
            self.client.create_global_concurrency_limit(made)
            self._note("limit", name, "made")
            return
        same = (found.limit, found.slot_decay_per_second) == (limit, decay)
        if not same:
            changed = GlobalConcurrencyLimitUpdate(limit=limit, slot_decay_per_second=decay)
            self.client.update_global_concurrency_limit(name, changed)
        self._note("limit", name, "unchanged" if same else "altered")

    def _variable(self, name: str, value: Any) -> None:
        found = self.client.read_variable_by_name(name)
        if found is None:
            self.client.create_variable(VariableCreate(name=name, value=value, tags=["alyx"]))
        elif found.value != value:
            self.client.update_variable(VariableUpdate(name=name, value=value))
        done = "made" if found is None else "unchanged" if found.value == value else "altered"
        self._note("variable", name, done)

    def _blocks(self) -> None:
        address = self.site.webhook()
        if not address:
            self.say(f"{'block':12} {WEBHOOK:32} left out: {self.site.webhook_env or 'webhook_env'} is not set")
            return
        found = self._known_webhook()
        if found is None or found.url.get_secret_value() != address:
            Webhook(url=SecretStr(address)).save(WEBHOOK, overwrite=True)
        done = "made" if found is None else "unchanged" if found.url.get_secret_value() == address else "altered"
        self._note("block", WEBHOOK, done)
        self._webhook = self.client.read_block_document_by_name(WEBHOOK, "webhook").id

    def _known_webhook(self) -> Webhook | None:
        try:
            return cast("Webhook", Webhook.load(WEBHOOK))
        except ValueError:
            return None

    def _automations(self) -> None:
        for automation in automations(AUTOMATIONS_YAML, self.site, self._webhook):
            found = self.client.read_automations_by_name(automation.name)
            if not found:
                self.client.create_automation(automation)
            elif substance(found[0]) != substance(automation):
                kept = automation.model_copy(update={"enabled": found[0].enabled})
                self.client.update_automation(found[0].id, kept)
            done = "made" if not found else "unchanged" if substance(found[0]) == substance(automation) else "altered"
            self._note("automation", automation.name, done)

    def _deployments(self, lined: Lined) -> None:
        for deployment in wanted(lined):
            try:
                found = self.client.read_deployment_by_name(deployment.full_name)
            except ObjectNotFound:
                found = None
            if found is None or not same(deployment, found):
                deployment.apply()
            done = "made" if found is None else "unchanged" if same(deployment, found) else "altered"
            self._note("deployment", deployment.full_name, done)


def limits(site: Site) -> dict[str, int]:
    """Return the global concurrency limits that a site wants, by name."""
    of_alyx = {alyx_limit(site.alyx_url): site.limits.alyx} if site.limits.alyx else {}
    repositories = {repository_limit(name): limit for name, limit in site.limits.repositories.items()}
    servers = {server_limit(name): limit for name, limit in site.limits.servers.items()}
    return {**of_alyx, **repositories, **servers}


def rates(site: Site) -> dict[str, int]:
    """Return the rate limits that a site wants, in requests a minute, by name."""
    per_minute = site.limits.alyx_per_minute
    return {alyx_rate(site.alyx_url): per_minute} if per_minute else {}


def prepared(site: Path, prefect_yaml: Path = PREFECT_YAML) -> tuple[Site, Lined]:
    """Read and check all files; nothing is sent.

    Raises:
        DownloadError: `deploy-file`, with line and key of everything that is wrong.
    """
    lined, known = checked(prefect_yaml), Site.read(site)
    automations(AUTOMATIONS_YAML, known, uuid4())
    return known, lined


def provision(site: Site, say: Callable[[str], None], lined: Lined) -> int:
    """Bring a site to the Prefect server that is configured; return how many things were made or altered.

    Args:
        site: What is wanted.
        say: Told of everything that is looked at, a line each.
        lined: Its prefect.yaml, checked.

    Raises:
        DownloadError: `prefect-refused`; what was done before stands, and the next run goes on.
    """
    with _told(), get_client(sync_client=True) as client:
        work = Provision(client, site, say)
        work.run(lined)
    return work.changed


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException) as failure:
        raise error("prefect-refused", f"{failure}") from failure
