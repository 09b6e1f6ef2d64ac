"""The official kachery clients, unmodified, in an environment of their own outside this repository."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

NEW, OLD = "kachery==2.0.3", "kachery_cloud==0.4.10"
#: What the two import; the old one also asks for dask and pubnub, which it never loads.
NEEDS = ("requests", "simplejson", "click", "numpy", "cryptography", "pyyaml", "setuptools")
_UNREACHABLE = "connection broken by"  # what pip says of a registry that it cannot reach


def official_python():
    """Return the interpreter of an environment with both clients, made from PyPI the first time."""
    name = hashlib.sha1(" ".join((sys.version, NEW, OLD, *NEEDS)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-alyx"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"official-kachery-{name}"
    with FileLock(f"{place}.lock"):
        if not (place / "ready").exists():
            venv.create(place, clear=True, with_pip=True)
            _install(place, NEW, *NEEDS)
            _install(place, OLD, "--no-deps")
            (place / "ready").touch()
    return place / "bin" / "python"


def _install(place, *what):
    command = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--retries", "2", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and _UNREACHABLE in done.stderr:
        pytest.skip(f"The package registry cannot be reached, so the official kachery clients cannot be had: {what[0]}")
    assert done.returncode == 0, done.stderr


_LOAD = """
import json, sys
module, uri = sys.argv[1:]
load_file = __import__(module).load_file
try:
    said = {"path": load_file(uri)}
except Exception as failure:
    said = {"error": str(failure)}
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Official:
    """One of the two clients, with a home of its own.

    Attributes:
        module: `kachery` or `kachery_cloud`.
        cache: Where it keeps its files.
        environment: Where its gateway is, and who asks.
    """

    python: Path
    module: str
    cache: Path
    environment: dict[str, str]

    def load(self, uri):
        """Let it load a file; return what its `load_file` returned, or the words that it raised."""
        environment = {
            "HOME": str(self.cache),
            "KACHERY_DIR": str(self.cache),
            "KACHERY_CLOUD_DIR": str(self.cache),
            "NO_PROXY": "127.0.0.1",
            **self.environment,
        }
        command = [self.python, "-c", _LOAD, self.module, uri]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout.splitlines()[-1])

    def cached(self, sha1):
        """Return where it keeps the file of a hash."""
        return self.cache / "sha1" / sha1[0:2] / sha1[2:4] / sha1[4:6] / sha1
