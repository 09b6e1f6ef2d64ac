"""What a gateway knows: zones, what lies in them, who may read them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of a zone.

    Attributes:
        url: Where a bucket serves it, not signed.
    """

    url: str
    size: int


@dataclass(slots=True)
class Zone:
    """One zone.

    Attributes:
        public: Whether everybody may read it.
        readers: Names of the users who may where it is not public.
        directory: The beginning of all its keys in the bucket.
        objects: What lies in it, by SHA-1.
    """

    name: str
    public: bool = True
    readers: set[str] = field(default_factory=set)
    directory: str = ""
    objects: dict[str, Stored] = field(default_factory=dict)

    def key(self, sha1: str) -> str:
        """Return the path of an object in the bucket; both generations lay it out alike."""
        place = f"sha1/{sha1[0:2]}/{sha1[2:4]}/{sha1[4:6]}/{sha1}"
        return f"{self.directory}/{place}" if self.directory else place


@dataclass(slots=True)
class Zones:
    """All zones, and all users.

    Attributes:
        users: Names of users by API key, which the new gateway asks for.
        clients: Names of users by client id (a public key), which the old gateway asks for.
    """

    zones: dict[str, Zone] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
