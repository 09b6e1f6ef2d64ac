"""Globus: the service moves the bytes; this client submits once, watches, and proves what arrived.

From the outside in: `client` (what the engine calls) → `run` and `transfer` (many files, one poller) → `submit`,
`watch`, `harvest` (one task: in, under way, out) → `batches`, `outcomes`, `journal`, `leftovers`, `others`,
`endpoints`, `login`, `service`, `asking`.
"""

from tasks.clients.globus.client import GlobusClient, adopt, prune

__all__ = ["GlobusClient", "adopt", "prune"]
