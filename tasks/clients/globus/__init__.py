"""Globus: the service moves the bytes; this client submits once, watches, and proves what arrived.

From the outside in: `client` (what the engine calls) → `run` and `transfer` (many files, one poller) → `submit`,
`watch`, `harvest` (one task: in, under way, out) → `batches`, `outcomes`, `journal`, `others` → `leftovers`,
`receiving`, `folders` (this machine's and the collection's disks) → `endpoints`, `login`, `service`, `asking`.
"""

from tasks.clients.globus.client import GlobusClient
from tasks.clients.globus.receiving import adopt, prune

__all__ = ["GlobusClient", "adopt", "prune"]
