"""A Globus of one's own on loopback: token endpoint, Transfer API and HTTPS collections that really copy files.

What it answers is proven against the documents of the SDK's own testing package, and against the
unmodified `globus` command. Known guesses, where no public source says more: the text of a
`Duplicate` reply, the status of `TooManyPendingJobs`, the codes for cancelling a task that has ended
and for making a directory that exists, the code of a checksum that ends a task, the `nice_status` of
an inactive task, and the refusal of transfers between two personal endpoints.
"""

from __future__ import annotations

from deployments.sandbox.globus.handle import GlobusEmulator
from deployments.sandbox.globus.remote import TRANSFER_SCOPE, RemoteEmulator

__all__ = ["TRANSFER_SCOPE", "GlobusEmulator", "RemoteEmulator"]
