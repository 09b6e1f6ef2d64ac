"""A kachery gateway of both generations, with its zones, and a bucket that misbehaves on demand behind it.

Examples:
    >>> with Gateway() as gateway:
    ...     sha1 = gateway.put("default", b"0123456789", [Drop(0.5), Good()])
    ...     requests.post(f"{gateway.url}/api/findFile", json={"type": "findFileRequest", ...})
"""

from deployments.sandbox.kachery.gateway import Gateway
from deployments.sandbox.kachery.zones import Zone

__all__ = ["Gateway", "Zone"]
