"""Brings the simulated shard to the server: `python -m tests.simulation.deploying POOL`."""

from __future__ import annotations

import sys

from prefect.deployments.runner import EntrypointType, RunnerDeployment

from tests.simulation.moving import simulated

if __name__ == "__main__":
    RunnerDeployment.from_flow(
        simulated, name="shard", work_pool_name=sys.argv[1], entrypoint_type=EntrypointType.MODULE_PATH
    ).apply()
