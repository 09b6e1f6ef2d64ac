"""ONE's cache tables on this disk: fetched from Alyx as a zip file, kept with their date, refreshed when it changes.

A set of tables lies in a directory of its own, named by its date, that appears whole or not at all: readers of an
older one are not disturbed, and a writer that dies leaves nothing that is taken for tables.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from tasks.clients.http import HttpClient
from tasks.clients.one_files import client_key
from tasks.clients.verdicts import error, os_error
from tasks.clients.wire import Request

if TYPE_CHECKING:
    from tasks.alyx import AlyxClient
    from tasks.clients.verdicts import DownloadError
    from tasks.model import Json

#: The tables that are taken out of the zip file; whatever else is in it stays there.
SESSIONS, DATASETS = "sessions.pqt", "datasets.pqt"
INFO = "cache_info.json"
#: Bytes of one table, unpacked: fifty times what a million datasets need.
_MOST_BYTES = 8 << 30
#: How much larger than packed a table may be, beyond the first bytes: it is compressed in itself, so a zip wins little.
_MOST_RATIO, _FREE_BYTES = 20, 16 << 20
#: Entries of a zip file; Alyx writes three.
_MOST_ENTRIES = 100
_COPY = 1 << 20
#: What zipfile raises for archives that are cut off, changed or made to mislead.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, KeyError, NotImplementedError, RuntimeError, EOFError, ValueError,
    OverflowError,
)  # fmt: skip
#: Sets of tables that are kept: another process may still read the one before the newest.
_KEPT = 2
#: What a tag must be made of for Alyx to find its tables.
_TAG = re.compile(r"\w+", re.ASCII)


def cache_home() -> Path:
    """Return this user's directory for what can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-alyx"


def current(alyx: AlyxClient, tag: str = "", home: Path | None = None) -> Path:
    """Return the directory that holds Alyx's newest tables; they are fetched if they are not there yet.

    Args:
        alyx: Whose tables.
        tag: Tables of the datasets with this tag only, "" for all.
        home: Where tables are kept; by default :func:`cache_home`.

    Raises:
        DownloadError: `tables`, where Alyx offers none that can be used; or an `alyx-...` row, or one of the wire.
            What is kept stays as it was.
    """
    info, url = _offer(alyx, tag)
    folder = (home or cache_home()) / "tables" / client_key(alyx.url) / (tag or "all tags")
    kept = folder / re.sub(r"\W+", "-", str(info["date_created"]))
    if not (kept / INFO).exists():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _fetch(alyx, url, info, kept)
        except OSError as failure:
            raise os_error(failure, folder) from failure
    return kept


def info_of(directory: Path) -> Json:
    """Return what Alyx said about the tables in a directory: `date_created` and more."""
    found: Json = json.loads((directory / INFO).read_text("utf-8"))
    return found


def _offer(alyx: AlyxClient, tag: str) -> tuple[Json, str]:
    """What Alyx says about its tables, and where they are; a tag's own tables need a place of their own."""
    if tag and not _TAG.fullmatch(tag):
        raise error("tables", f"Alyx cannot find the tables of a tag that is spelt {tag!r}.")
    info = alyx.request("GET", f"/cache/info/{quote(tag)}/" if tag else "/cache/info/")
    if not isinstance(info, dict) or not info.get("date_created"):
        raise error("tables", "Alyx does not say of what date they are.")
    if tag and (not info.get("location") or tag not in info.get("database_tags", ())):
        raise error("tables", f"Alyx has none of the tag {tag!r} alone.")
    return info, _place(alyx.url, str(info.get("location") or "cache.zip"))


def _place(base: str, location: str) -> str:
    try:
        url = urljoin(f"{base}/", location)
        if urlsplit(url).scheme in ("http", "https"):
            return url
    except ValueError:  # half an IPv6 address, say
        pass
    raise error("tables", f"They lie at {location}, which is no web address.")


class _Archive(HttpClient):
    """The server that has the zip file; Alyx's own gets Alyx's token, and no other does."""

    def __init__(self, alyx: AlyxClient) -> None:
        super().__init__({"name": "cache tables", "data_url": alyx.url})
        self._alyx = alyx

    def request(self, file_address: str) -> Request:
        """Return what to ask for."""
        return Request(file_address, headers=self._alyx.authorisation(file_address))


def _fetch(alyx: AlyxClient, url: str, info: Json, kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".new-") as name:
        archive = _Archive(alyx).download_file(url, Path(name, "cache.zip"))
        fresh = Path(name, "tables")
        fresh.mkdir()
        unpack(archive, fresh)
        (fresh / INFO).write_text(json.dumps(info), "utf-8")
        try:
            fresh.rename(kept)
        except OSError:  # another process was first
            if not (kept / INFO).exists():
                raise
    _forget_old(kept)


def unpack(archive: Path, target: Path) -> None:
    """Take the two tables out of a zip file: by their names alone, so no entry can choose where it goes.

    Raises:
        DownloadError: `tables`: it is no zip file, lacks a table, or has one twice; `tables-bomb`: it would fill the
            disk. What was unpacked until then is left in `target`.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            for entry in _tables_of(zipped, archive.stat().st_size):
                _unpack_one(zipped, entry, target / entry.filename)
    except _BROKEN as failure:
        raise error("tables", f"The zip file cannot be read: {failure}.") from failure
    except OSError as failure:
        if failure.errno != errno.EINVAL:
            raise
        raise error("tables", "The zip file cannot be read: it says that an entry begins before it.") from failure


def _tables_of(zipped: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """The entries of the two tables, each of which must be there once; what is said of their sizes may be a lie."""
    entries = zipped.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise error("tables-bomb", f"It has {len(entries):,} entries, where {_MOST_ENTRIES} are the most.")
    tables = [entry for entry in entries if entry.filename in (SESSIONS, DATASETS)]
    if sorted(entry.filename for entry in tables) != sorted((SESSIONS, DATASETS)):
        raise error("tables", f"The zip file does not hold {SESSIONS} and {DATASETS} once each.")
    for entry in tables:
        if entry.compress_size > size or entry.file_size > _most(entry):
            raise _bomb(entry)
    return tables


def _most(entry: zipfile.ZipInfo) -> int:
    """Bytes that an entry may have, unpacked."""
    return min(_MOST_BYTES, _FREE_BYTES + _MOST_RATIO * entry.compress_size)


def _bomb(entry: zipfile.ZipInfo) -> DownloadError:
    detail = f"{entry.filename} has {entry.compress_size:,} bytes packed, and more than {_most(entry):,} unpacked."
    return error("tables-bomb", detail)


def _unpack_one(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    left = _most(entry)
    with zipped.open(entry) as packed, target.open("xb") as file:
        while block := packed.read(_COPY):
            left -= len(block)
            if left < 0:
                raise _bomb(entry)
            file.write(block)


def _forget_old(newest: Path) -> None:
    """Remove all but the newest sets, by the time that they were fetched."""
    others = (path for path in newest.parent.iterdir() if path != newest and not path.name.startswith("."))
    for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
