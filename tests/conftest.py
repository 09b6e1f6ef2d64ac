"""What the tests share. They only ever talk to loopback."""

from __future__ import annotations

import os

# boto3 must not look for an instance role on the network.
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
