"""A site as a lab has it: a lab on loopback, a real Prefect server, and process workers, each a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from deployments.provision import PREFECT_YAML
from deployments.sandbox import Lab
from deployments.sandbox.model import Fate
from flows.local_server import _TUNED, _free_port

CHECKOUT = Path(__file__).parents[1]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
SITE_YAML = """
alyx_url: {alyx}
root: {root}
selection: {{everything: true, revision_rule: all}}
timezone: Europe/London
flow_runs_at_once: 4
limits: {{alyx: 2, repositories: {{flatiron_cortexlab: 2}}}}
heartbeat_seconds: 30
webhook_env: SITE_WEBHOOK
"""


def until(test, seconds, what, every=0.25):
    """Wait for something to become true, and return it; a look that costs something is taken less often."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := test():
            return found
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds} s")


class Site:
    """A lab, a Prefect server and its workers, as a site has them.

    Args:
        lab: The lab.
        folder: Where root and logs lie.
        database: URL of the Prefect server's database; by default a file.
        host: This machine's address that the Prefect server listens at.
    """

    def __init__(self, lab, folder, database="", host="127.0.0.1"):
        self.lab, self.folder, self.database, self.host = lab, folder, database, host
        self.api = f"http://{host}:{_free_port()}/api"
        self.root = folder / "root"
        self.processes = []
        self.http = requests.Session()
        # A busy SQLite answers 503, and the server of one test is away for a while.
        patience = Retry(8, backoff_factor=0.5, status_forcelist=[503], allowed_methods=None)
        self.http.mount("http://", HTTPAdapter(max_retries=patience))

    def environment(self, **more):
        return {
            **os.environ,
            **self.lab.environment(),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES": "0",
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            **more,
        }

    def start(self, *command, log, machine=None, **more):
        """Start a module's command, here or on a machine of its own."""
        words = [*(machine.entering if machine else []), sys.executable, "-m", *command]
        with (self.folder / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(words, env=self.environment(**more), stdout=output, stderr=output, cwd=CHECKOUT)
        self.processes.append(process)
        return process

    def start_server(self, **more):
        port = self.api.split(":")[2].removesuffix("/api")
        more |= {"PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database} if self.database else {}
        command = ("prefect", "server", "start", "--host", self.host, "--port", port)
        server = self.start(*command, log="server", **_TUNED, **more)
        until(self.is_up, 120, "the server's health")
        return server

    def is_up(self):
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.api}/health", timeout=5).ok
        return False

    def start_worker(self, *options, **more):
        worker = self.start("prefect", "worker", "start", "--pool", "alyx", *options, log="worker", **more)
        until(
            lambda: any(one["status"] == "ONLINE" for one in self.post("work_pools/alyx/workers/filter")),
            90,
            "a worker",
        )
        return worker

    def write_file(self):
        """Write the file that a site edits."""
        (self.folder / "site.yaml").write_text(SITE_YAML.format(alyx=self.lab.urls["alyx"], root=self.root))

    def deploy(self, *words):
        """Bring the site's file to the server, and return what was said."""
        return self.command("deploy", "--site", str(self.folder / "site.yaml"), *words)

    def command(self, *words):
        """Run `prefect-alyx` against the server, and return what it printed."""
        return self.command_of("flows.cli", *words)

    def command_of(self, *words):
        """Run a module against the server, and return what it printed."""
        run = subprocess.run(
            [sys.executable, "-m", *words],
            env=self.environment(),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def post(self, path, **body):
        answer = self.http.post(f"{self.api}/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path):
        answer = self.http.get(f"{self.api}/{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def trigger(self, deployment, *, due=None, **parameters):
        """Make a run that is due at a moment, by default now."""
        found = self.get(f"deployments/name/{deployment}")
        details = {"state_details": {"scheduled_time": due.isoformat()}} if due else {}
        run = self.post(
            f"deployments/{found['id']}/create_flow_run", parameters=parameters, state={"type": "SCHEDULED", **details}
        )
        return run["id"]

    def hurry(self, automation, seconds):
        """Let an automation that waits for hours wait for some seconds."""
        (found,) = self.post("automations/filter", automations={"name": {"any_": [automation]}})
        fields = {key: found[key] for key in ("name", "description", "enabled", "tags", "trigger", "actions")}
        fields["trigger"]["within"] = seconds
        self.http.put(f"{self.api}/automations/{found['id']}", json=fields, timeout=30).raise_for_status()

    def run(self, run_id):
        return self.get(f"flow_runs/{run_id}")

    def state(self, run_id):
        return self.run(run_id)["state_type"]

    def ended(self, run_id, seconds=180):
        until(lambda: self.state(run_id) in ENDED, seconds, "the end of a run")
        return self.run(run_id)

    def kill(self, process):
        """End a process and all that it started, as a power cut does."""
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()

    def slots_held(self, limit):
        """How many slots of a limit are taken."""
        return self.get(f"v2/concurrency_limits/{limit}")["active_slots"]

    def bytes_sent(self):
        return sum(self.lab.requests.sent(server=server) for server in ("http", "members", "s3"))

    def assert_mirrored(self):
        for truth in self.lab.manifest.values():
            path = self.root / truth.path
            assert path.exists() == (truth.fate is Fate.PUBLISHED), truth.path
            assert not path.exists() or hashlib.md5(path.read_bytes()).hexdigest() == truth.md5
        return sum(truth.size for truth in self.lab.manifest.values() if truth.fate is Fate.PUBLISHED)


@contextlib.contextmanager
def started(folder, database=""):
    with Lab() as lab:
        site = Site(lab, folder, database)
        try:
            site.start_server()
            site.write_file()
            minutely = PREFECT_YAML.read_text().replace('cron: "30 1 * * *"', 'cron: "* * * * *"')
            (site.folder / "minutely.yaml").write_text(minutely)
            yield site
        finally:
            for process in site.processes:
                if process.poll() is None:
                    site.kill(process)
