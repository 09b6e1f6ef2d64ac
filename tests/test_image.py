"""The image's build steps and the containers of compose.yaml, as far as a machine without a container engine goes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[1]
DEPLOYMENTS = CHECKOUT / "deployments"
SERVICES = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())["services"]
UID, GID = 4242, 4343
PAGE = ("python", "-c", "import urllib.request as u; print(u.urlopen('http://localhost:4200/').read().decode()[:15])")


def may_mount():
    tools = all(map(shutil.which, ("unshare", "setpriv", "ip")))
    return (
        tools
        and os.geteuid() == 0
        and subprocess.run(["unshare", "--mount", "--net", "true"], check=False).returncode == 0
    )


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not may_mount(), reason="The image's steps need root, and leave to mount"),
]


def worker():
    """What a container of the image runs by default."""
    (command,) = re.findall(r"^CMD (.+)$", (DEPLOYMENTS / "Dockerfile").read_text(), re.MULTILINE)
    return shlex.join(json.loads(command))


def healthy(service):
    """Wait as compose does: until the check of a service is content."""
    return f"until {shlex.join(SERVICES[service]['healthcheck']['test'][1:])}; do sleep 2; done 2>/dev/null"


def provisioning():
    command = shlex.join(SERVICES["provision"]["command"])
    return command.replace("/etc/prefect-alyx/site.yaml", str(DEPLOYMENTS / "site.yaml"))


def as_composed():
    """All containers but the database, one after the other: each waits for what compose lets it wait for.

    What a shell starts in the background ignores SIGINT, and a container does not.
    """
    return "; ".join(
        [
            "export PREFECT_API_URL=http://localhost:4200/api",
            f"env -u PREFECT_API_URL {shlex.join(SERVICES['server']['command'])} >/tmp/server.log 2>&1 & server=$!",
            healthy("server"),
            shlex.join(PAGE),
            f"{provisioning()} | tail -1",
            f"{provisioning()} | tail -1",
            f"env --default-signal=INT {worker()} >/tmp/worker.log 2>&1 & worker=$!",
            healthy("worker"),
            "touch /tmp/from-the-worker; stat -c 'owner %u:%g' /tmp/from-the-worker",
            "touch /var/tmp/x 2>/dev/null && echo writable || echo read-only",
            "kill $worker; wait $worker || true; kill $server; wait $server || true; echo ended",
        ]
    )


def test_the_image_is_built_and_its_containers_start_in_order(tmp_path):
    command = [sys.executable, "scripts/image.py", str(CHECKOUT), str(tmp_path / "image"), str(UID), str(GID)]
    done = subprocess.run(
        command, input=f"{as_composed()}\n", capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = done.stdout.splitlines()
    last = said[next(number for number, line in enumerate(said) if line.startswith("$ ")) + 1 :]
    assert last[0] == "<!DOCTYPE html>"
    assert re.fullmatch(r"\d+ made or altered", last[1]), last
    assert last[2:] == ["Nothing to change: the server has all of it", f"owner {UID}:{GID}", "read-only", "ended"]
