"""Compares what is installed here with PyPA's advisory database, from a copy on disk: no network is asked.

git clone --depth 1 https://github.com/pypa/advisory-database
ADVISORIES=advisory-database make audit
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator


def installed() -> dict[str, Version]:
    """What is installed, by name."""
    return {canonicalize_name(one.metadata["Name"]): Version(one.version) for one in distributions()}


def advisories(folder: Path, names: dict[str, Version]) -> Iterator[tuple[str, Version, dict[str, Any]]]:
    """Each advisory on an installed version of a package; those that were withdrawn are left out."""
    for name, version in sorted(names.items()):
        for path in sorted((folder / "vulns" / name).glob("*.yaml")):
            advisory = yaml.safe_load(path.read_text("utf-8"))
            if not advisory.get("withdrawn") and any(concerns(part, version) for part in advisory.get("affected", [])):
                yield name, version, advisory


def concerns(affected: dict[str, Any], version: Version) -> bool:
    """Whether a version is among those that an advisory names, one by one or as a range."""
    if str(version) in affected.get("versions", []):
        return True
    ranges = [part["events"] for part in affected.get("ranges", []) if part.get("type") == "ECOSYSTEM"]
    return any(_within(events, version) for events in ranges)


def _within(events: list[dict[str, str]], version: Version) -> bool:
    """Whether a version comes after the last event that brought the fault, and before the one that took it away."""
    inside = False
    for event in events:
        if "introduced" in event and version >= Version(event["introduced"]):
            inside = True
        if "fixed" in event and version >= Version(event["fixed"]):
            inside = False
        if "last_affected" in event and version > Version(event["last_affected"]):
            inside = False
    return inside


def main() -> int:
    """Print what is found; 1 where there is anything."""
    folder = Path(os.environ.get("ADVISORIES") or "advisory-database")
    if not (folder / "vulns").is_dir():
        print("audit: skipped, since no copy of PyPA's advisory database is here (ADVISORIES names one)")
        return 0
    names = installed()
    found = list(advisories(folder, names))
    for name, version, advisory in found:
        print(f"audit: {name} {version}: {advisory['id']}: {' '.join(str(advisory.get('details', '')).split())[:200]}")
    print(f"audit: {len(names)} packages, {len(found)} advisories")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
