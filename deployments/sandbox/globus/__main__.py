"""`python -m deployments.sandbox.globus --port 0 --state DIR`: serve, and say on which address."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from deployments.sandbox.globus.server import Server


def main() -> None:
    """Serve until interrupted or terminated."""
    parser = argparse.ArgumentParser(prog="python -m deployments.sandbox.globus", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, help="directory for what survives a restart")
    options = parser.parse_args()
    # uvicorn ends gracefully and then raises the signal once more: let that unwind, not kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(options.state, options.port)
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
