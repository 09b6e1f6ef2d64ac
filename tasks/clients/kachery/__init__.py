"""kachery: files by the SHA-1 of their bytes, wherever a gateway says that they are (docs/kachery.md).

From the outside in: `client` (address to request) → `gateway` (where the bytes are) and `cache` (kachery's own files on
this machine) → `address`, `settings`.
"""

from tasks.clients.kachery.client import KacheryClient

__all__ = ["KacheryClient"]
