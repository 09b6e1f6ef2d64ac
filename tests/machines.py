"""Machines for a test: a network, a host name, and process numbers of their own, joined to this one by virtual cables.

They share this machine's files, as the machines of a fleet share a root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of the block that is kept for tests between networks (RFC 2544); another test run at once has another part of it.
NETWORK = f"198.18.{os.getpid() % 256}"
#: Where this machine is found by the others.
HERE = f"{NETWORK}.1"


@dataclass(frozen=True)
class Machine:
    """One of them; what it runs ends with the command that began it."""

    name: str
    address: str

    @property
    def entering(self) -> list[str]:
        """What goes before a command that runs there."""
        space = ["ip", "netns", "exec", self.name]
        own = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return [*space, *own, "sh", "-c", 'hostname "$0" && exec "$@"', self.name]


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Have some for a while; the test is skipped where none can be made."""
    with ExitStack() as stack:
        yield [stack.enter_context(_machine(number)) for number in range(count)]


@contextmanager
def _machine(number: int) -> Iterator[Machine]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        pytest.skip("only root makes network namespaces, with ip (iproute2) and unshare")
    name, address = f"alyx-{os.getpid()}-{number}", f"{NETWORK}.{number + 2}"
    _ip(f"netns add {name}")
    try:
        _join(name, address)
        yield Machine(name, address)
    finally:
        _ip(f"netns delete {name}")  # the cable goes with it


def _join(name: str, address: str) -> None:
    """Lay a cable; both ends have a part of the name, since an interface may have no longer one."""
    cable = name.removeprefix("alyx-")
    _ip(f"link add {cable} type veth peer name {cable} netns {name}")
    _ip(f"address add {HERE} peer {address} dev {cable}")
    _ip(f"link set {cable} up")
    _ip(f"-n {name} address add {address} peer {HERE} dev {cable}")
    _ip(f"-n {name} link set {cable} up")
    _ip(f"-n {name} link set lo up")


def _ip(words: str) -> None:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespace can be made here: ip {words}: {done.stderr.strip()}")
