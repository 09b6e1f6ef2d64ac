"""What the gateways of both generations answer when they are asked for a file, word for word as their sources have it.

The new one: https://github.com/magland/kachery (apiHelpers/requestHandlers.ts); the old one:
https://github.com/magland/kachery-gateway (api/gateway.ts). Both run on Vercel.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deployments.sandbox.faults import Answer
from deployments.sandbox.faults.replies import document

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments.sandbox.faults.replies import Ask, Reply
    from deployments.sandbox.kachery.zones import Zone, Zones

#: How the old gateway's clock and the client's may differ, in milliseconds.
_MOST_ELAPSED = 30_000
_CRASH = "A server error has occurred\n\nFUNCTION_INVOCATION_FAILED"


class RefusalError(Exception):
    """What a gateway says instead of an answer.

    Args:
        status: HTTP status.
        words: Why.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True)
class FindFile(Answer):
    """`POST /api/findFile`: kachery 2, since 2024.

    Attributes:
        find: Signs a URL for an object and tells its size; None where there is no such object.
    """

    known: Zones
    find: Callable[[Zone, str], dict[str, Any] | None]

    def after(self, reply: Reply) -> Reply:
        """Answer JSON, whatever happens."""
        try:
            said, status = self._answer(reply.ask), 200
        except RefusalError as refusal:
            said, status = {"error": refusal.words}, refusal.status
        return document(reply.ask, json.dumps(said), "application/json; charset=utf-8", status)

    def _answer(self, ask: Ask) -> dict[str, Any]:
        request = _parsed(ask.body)
        if set(request) != {"type", "hashAlg", "hash", "zoneName"} or request["type"] != "findFileRequest":
            raise RefusalError(400, "Invalid request")
        if request["hashAlg"] != "sha1" or not re.fullmatch("[0-9a-f]{40}", str(request["hash"])):
            raise RefusalError(400, "Invalid hash")
        zone = self.known.zones.get(request["zoneName"])
        if zone is None:
            raise RefusalError(400, f"Zone not found: {request['zoneName']}")
        self._admit(zone, ask.authorization)
        found = self.find(zone, request["hash"])
        return {"type": "findFileResponse", "found": found is not None, **(found or {})}

    def _admit(self, zone: Zone, authorization: str) -> None:
        key = authorization.partition(" ")[2]
        user = self.known.users.get(key)
        if key and not user:
            raise RefusalError(401, "Unauthorized - no user for token")
        if zone.public:
            return
        if not user:
            raise RefusalError(401, "User API token must be provided when zone does not allow public download")
        if user not in zone.readers:
            raise RefusalError(401, "This user is not allowed to download files from this zone")


@dataclass(frozen=True, slots=True)
class OldFindFile(Answer):
    """`POST /api/gateway`: kachery-cloud, 2022 to 2024. Whatever it dislikes is a 500 in plain text.

    Attributes:
        find: Signs a URL for an object and tells its size; None where there is no such object.
    """

    known: Zones
    find: Callable[[Zone, str], dict[str, Any] | None]

    def after(self, reply: Reply) -> Reply:
        """Answer JSON where it is a file, else text."""
        try:
            said = self._answer(reply.ask)
        except RefusalError as refusal:
            return document(reply.ask, refusal.words, "text/html; charset=utf-8", refusal.status)
        return document(reply.ask, json.dumps(said), "application/json; charset=utf-8")

    def _answer(self, ask: Ask) -> dict[str, Any]:
        request = _parsed(ask.body)
        payload = request.get("payload")
        if not isinstance(payload, dict) or payload.get("type") != "findFile" or payload.get("hashAlg") != "sha1":
            raise RefusalError(400, f"Invalid request: {json.dumps(request)}")
        if abs(ask.now * 1000 - payload.get("timestamp", 0)) > _MOST_ELAPSED:
            raise RefusalError(500, _CRASH)
        client = _verified_client(request)
        zone = self.known.zones.get(payload.get("zone") or "default")
        if zone is None:
            raise RefusalError(
                500, "Error: Error getting metadata for object: The specified key does not exist."
            )  # the key of the zone's own settings
        self._admit(zone, client)
        found = self.find(zone, payload["hash"])
        return {"type": "findFile", "found": found is not None, **(found or {})}

    def _admit(self, zone: Zone, client: str) -> None:
        if zone.public:
            return
        if not client:
            raise RefusalError(500, "Error: No verified client ID or user ID")
        if client not in self.known.clients:
            raise RefusalError(
                500,
                "Error: Client not registered. Use kachery-cloud-init to register this kachery-cloud client.",
            )
        user = self.known.clients[client]
        if user not in zone.readers:
            raise RefusalError(500, f"Error: User {user} is not authorized.")


def _verified_client(request: dict[str, Any]) -> str:
    """Return the client's id, "" for none: an Ed25519 key, which signs the SHA-1 of the sorted, compact payload."""
    client = str(request.get("fromClientId") or "")
    if not client:
        return ""
    if not request.get("signature"):
        raise RefusalError(500, "Error: No signature provided with fromClientId")
    text = json.dumps(request["payload"], sort_keys=True, separators=(",", ":"))
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(client))
        key.verify(bytes.fromhex(request["signature"]), hashlib.sha1(text.encode()).digest())
    except (ValueError, InvalidSignature):
        raise RefusalError(500, "Error: Invalid signature") from None
    return client


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
