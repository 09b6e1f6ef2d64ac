"""Addresses of kachery: a file is named by the SHA-1 of its bytes, in a zone.

`kachery:<zone>:sha1:<hash>[:label]` is the form of today and the one that is written here; `sha1://<hash>/<name>`,
`sha1://<hash>.<suffix>` and `sha1://<hash>?label=<name>` are those of earlier years. Labels mean nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, quote, unquote

from tasks.clients.proof import ALGORITHMS
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMES = ("kachery:", "kachary:", "sha1:")
_NEW = re.compile(r"kach[ae]ry:(?P<zone>[^:]*):sha1:(?P<sha1>[0-9a-f]{40})(?::(?P<label>.*))?", re.IGNORECASE)
_OLD = re.compile(
    r"sha1://(?P<sha1>[0-9a-f]{40})(?:\.[^/?]*)?(?:/(?P<label>[^?]*))?(?:\?(?P<query>.*))?", re.IGNORECASE
)
_ZONE = re.compile(r"[^\s:/?#]{1,100}")
#: Keys of an Alyx `json` field, in the order they are looked for.
_URI_KEYS = ("kachery_uri", "kachary_uri")
_ZONE_KEYS = ("kachery_zone", "kachary_zone", "zone")


@dataclass(frozen=True, slots=True)
class KacheryAddress:
    """One file's address.

    Attributes:
        sha1: Of its bytes, lower case.
        zone: Where it lies; "" where the address does not say.
        label: A name for people, not quoted.
    """

    sha1: str
    zone: str = ""
    label: str = ""

    def __str__(self) -> str:
        return ":".join(filter(None, (f"kachery:{self.zone}:sha1:{self.sha1}", quote(self.label, errors="replace"))))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI.

        Raises:
            DownloadError: `not-addressable`.
        """
        found = _NEW.fullmatch(text) or _OLD.fullmatch(text)
        if not found:
            raise error("not-addressable", f"{text!r} is no kachery:<zone>:sha1:<40 hex digits>, nor sha1://<...>.")
        said = found.groupdict()
        named = parse_qs(said.get("query") or "").get("label", [""])
        return cls(said["sha1"].lower(), checked_zone(said.get("zone") or ""), unquote(said["label"] or "") or named[0])

    @classmethod
    def of_digest(cls, text: str) -> Self:
        """Name a file by what Alyx registers: `<digest>[/<label>]`.

        Raises:
            DownloadError: `not-addressable` for whatever is no SHA-1.
        """
        digest, _, label = text.partition("/")
        plain = digest.replace("-", "").strip().lower()
        algorithm = ALGORITHMS.get(len(plain), "") if set(plain) <= set("0123456789abcdef") else ""
        if algorithm == "sha1":
            return cls(plain, label=label)
        instead = f"{plain} is an md5" if algorithm else f"{text!r} holds none" if plain else f"{label} has no digest"
        raise error("not-addressable", f"kachery finds a file by its SHA-1, and {instead}.")

    def in_zone(self, zone: str) -> Self:
        """Return the address with a zone, where it names none itself."""
        return self if self.zone else replace(self, zone=checked_zone(zone))


def is_uri(text: str) -> bool:
    """Whether a text is meant as a kachery URI."""
    return text.lower().startswith(_SCHEMES)


def uri_in(json: Mapping[str, Any] | None) -> str:
    """Return the URI that an Alyx `json` field names, "" for none."""
    return _text(json, _URI_KEYS)


def zone_in(json: Mapping[str, Any] | None) -> str:
    """Return the zone that an Alyx `json` field names, alone or in a URI; "" for none.

    Raises:
        DownloadError: `not-addressable` for a name that no zone has.
    """
    parts = uri_in(json).split(":")
    in_uri = parts[1] if parts[0].lower().startswith("kach") and len(parts) > 1 else ""
    return checked_zone(_text(json, _ZONE_KEYS) or in_uri)


def checked_zone(zone: str) -> str:
    """Return a zone's name, "" for none.

    Raises:
        DownloadError: `not-addressable` for a name that no zone has.
    """
    if zone and not _ZONE.fullmatch(zone):
        raise error("not-addressable", f"{zone!r} is no name of a kachery zone.")
    return zone


def _text(json: Mapping[str, Any] | None, keys: tuple[str, ...]) -> str:
    """The first of these fields that holds a text; old rows of Alyx hold a string or null in place of the map."""
    fields = json if isinstance(json, dict) else {}
    return next((str(fields[key]) for key in keys if fields.get(key)), "")
