"""What went wrong on this machine: the file system, the ledger's database, ONE's params files."""

from __future__ import annotations

import errno
import os
import sqlite3
from json import JSONDecodeError
from pathlib import Path

from tasks.clients.verdicts.rules import DownloadError, error

_ERRNO = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EFBIG: "disk-full",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EPERM: "read-only",
    errno.EISDIR: "target",
    errno.ENOTDIR: "target",
    errno.EEXIST: "target",
    errno.ENOTEMPTY: "target",
    errno.ENAMETOOLONG: "name-too-long",
    errno.EINVAL: "name-too-long",
    errno.EILSEQ: "name-too-long",
    errno.ELOOP: "bad-path",
}


def os_error(failure: OSError, path: object, *, missing: int | None = None) -> DownloadError:
    """The verdict on a failure of the local file system; a full disk says how much is free, and how much is needed.

    Args:
        failure: What the system said.
        path: What was read or written.
        missing: Bytes that this file still needs; None where nobody knows.
    """
    code = _ERRNO.get(failure.errno or 0, "local-io")
    detail = f"{path}: {failure.strerror or failure}."
    if code == "disk-full" and (free := _free(path)):
        detail += f" {free} free there"
        detail += "." if missing is None else f", and this file alone needs {missing:,} more."
    return error(code, detail)


def _free(path: object) -> str:
    """How much is free where a path lies; a disk of many small files may be full with bytes to spare."""
    place = Path(str(path))
    for parent in (place, *place.parents):
        if parent.is_absolute() and parent.exists():
            found = os.statvfs(parent)
            inodes = ", but no inode for another file, are" if found.f_files and not found.f_favail else " are"
            return f"{found.f_bavail * found.f_frsize:,} bytes{inodes}"
    return ""


#: SQLite's result codes, without what refines them (https://www.sqlite.org/rescode.html).
_SQLITE = {
    sqlite3.SQLITE_FULL: "disk-full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
    sqlite3.SQLITE_CANTOPEN: "read-only",
    sqlite3.SQLITE_BUSY: "ledger-locked",
    sqlite3.SQLITE_LOCKED: "ledger-locked",
    sqlite3.SQLITE_CORRUPT: "ledger-corrupt",
    sqlite3.SQLITE_NOTADB: "ledger-corrupt",
    sqlite3.SQLITE_IOERR: "local-io",
}


#: PostgreSQL's codes (https://www.postgresql.org/docs/current/errcodes-appendix.html), the longest beginning first.
_POSTGRESQL = {
    "25006": "read-only",
    "40001": "ledger-locked",
    "40P01": "ledger-locked",
    "53100": "disk-full",
    "53300": "ledger-away",
    "55P03": "ledger-locked",
    "XX001": "ledger-corrupt",
    "XX002": "ledger-corrupt",
    "57P": "ledger-away",
    "08": "ledger-away",
}


def ledger_error(failure: BaseException, where: object) -> DownloadError:
    """The verdict on a failure of the ledger's database: SQLite's, or that of a driver for another one."""
    code = _database_code(failure)
    room = f" {_free(where)} free there." if code == "disk-full" and Path(str(where)).exists() else ""
    return error(code, f"{where}: {str(failure).strip()}.{room}")


def _database_code(failure: BaseException) -> str:
    if hasattr(failure, "sqlstate"):
        if failure.sqlstate is None:  # the server said nothing: it was not reached, or the line broke
            return "ledger-away" if type(failure).__name__ == "OperationalError" else "ledger"
        return next((code for start, code in _POSTGRESQL.items() if failure.sqlstate.startswith(start)), "ledger")
    primary = getattr(failure, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return _SQLITE.get(primary, "ledger")


def params_error(failure: OSError | ValueError | TypeError) -> DownloadError:
    """Classify what goes wrong with ONE's params files; the failure's own message says which file and why."""
    if isinstance(failure, TimeoutError):
        return error("params-busy", str(failure))
    if isinstance(failure, OSError) and failure.filename:
        return error("params-file", f"{failure.filename}: {failure.strerror}.")
    if isinstance(failure, OSError | JSONDecodeError):
        return error("params-file", str(failure))
    return error("bad-params", str(failure))
