"""A small JSON file that many processes share: read it, lock it, replace it.

Every file under ONE's `~/.one` is one. ONE itself takes no lock and writes in place; so readers here bear with a
half-written file for a moment, and writers hold a lock, write beside the file and rename. What ONE sees is always a
whole file, in its own format.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tasks.clients.verdicts import params_error

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

#: Seconds to wait for the lock; longer than a refresh of a token takes.
LOCK_SECONDS = 60.0
#: Pauses before a file that does not parse is read again: ONE empties a file before it writes it.
_REREADS = (0.005, 0.02, 0.05)


class CorruptFileError(json.JSONDecodeError, TypeError):
    """The file holds no JSON map. ONE raises one of the two bases, depending on what it holds instead.

    The message names the file and the way out. `doc` stays empty: the text of these files is secret.
    """

    def __init__(self, message: str, doc: str = "", pos: int = 0) -> None:
        super().__init__(message, doc, pos)
        self.args = (message,)


def read(path: Path) -> Json | None:
    """Return the map in the file, or None where there is no file; any UTF with or without BOM.

    Raises:
        CorruptFileError: It holds something else. The file is left as it is.
        OSError: It cannot be read.
    """
    fault = ""
    for pause in (0.0, *_REREADS):
        time.sleep(pause)
        try:
            content, fault = _parse(_read_private(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        if content is not None:
            return content
    raise CorruptFileError(
        f"{path} cannot be read: {fault}. It is left as it is: "
        "mend it in an editor, or move it away and set up again (`prefect-alyx setup`, or ONE's own)."
    )


def submap(content: Json, name: str, path: Path) -> Json:
    """Return the map of that name inside a file's content; a missing or null one is empty.

    Raises:
        CorruptFileError: Something else stands there.
    """
    found = content.get(name)
    if found is not None and not isinstance(found, dict):
        raise CorruptFileError(f"{name!r} in {path} is a {type(found).__name__}, not a map: mend it in an editor.")
    return found or {}


@contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep every other writer of ours away from the file; makes its directory where it is missing.

    The kernel drops the lock of a process that dies, so a left-over lock file never blocks.

    Raises:
        TimeoutError: Another process holds the lock for longer than `seconds`.
        OSError: The directory cannot be written.
    """
    real = _real(path)
    if not real.parent.exists():
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _hand_over(real.parent)
    lock = FileLock(real.with_name(f"{real.name}.flock"), timeout=seconds, mode=0o600)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout:
        raise TimeoutError(
            f"{path} has been locked by another process for {seconds:g} s (lock file {lock.lock_file}). "
            "Wait for it, or end it; the lock file itself need not be removed."
        ) from None
    try:
        _hand_over(Path(lock.lock_file))
        yield
    finally:
        lock.release()


def replace(path: Path, content: Json) -> None:
    """Put `content` in place of the file, durably and at once, mode 0600; call it with the lock held.

    A symlink stays one: the file it points at is replaced. Whatever is raised, the old file is untouched.

    Raises:
        TypeError: A value is not JSON.
        OSError: The disk is full or cannot be written.
    """
    text = json.dumps(content, indent=4)
    real = _real(path)
    _sweep(real)
    descriptor, name = tempfile.mkstemp(prefix=f"{real.name}.", suffix=".tmp", dir=real.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        _hand_over(temporary)
        temporary.replace(real)
    except OSError as failure:
        failure.filename = str(real)  # a full disk's error names no file by itself
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(real.parent)


@contextmanager
def as_download_error() -> Iterator[None]:
    """Turn what this module raises into the one error that clients raise; also a decorator."""
    try:
        yield
    except (OSError, ValueError, TypeError) as failure:
        raise params_error(failure) from failure


def _read_private(path: Path) -> bytes:
    """Read a file, and close it to others where it is open to them, as ONE leaves its own: it may hold secrets."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if sys.platform != "win32" and mode & _OTHERS:
            with suppress(OSError):  # somebody else's file, or a file system without modes
                os.fchmod(file.fileno(), stat.S_IMODE(mode) & ~_OTHERS)
                _log.warning("%s could be read by others (mode %04o), and cannot any more.", path, stat.S_IMODE(mode))
        return file.read()


def _parse(data: bytes) -> tuple[Json | None, str]:
    # The fault is returned, not raised: a raised error would carry the whole text, secrets included.
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as fault:
        return None, f"it is not valid JSON ({fault})" if data.strip() else "it is empty"
    if not isinstance(content, dict):
        return None, f"its top level is a {type(content).__name__}, not a map"
    return content, ""


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _sweep(real: Path) -> None:
    """Remove what a killed writer left: it may hold secrets, and nobody else writes while the lock is held."""
    for leftover in real.parent.glob(f"{real.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _hand_over(made: Path) -> None:
    """Give what root made to the owner of the directory: workers in containers often run as root in a user's home."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = made.parent.stat()
        with suppress(OSError):  # a squashed or mapped root may not; then nobody else can mind, either
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync_directory(directory: Path) -> None:
    if sys.platform != "win32":  # which cannot open a directory, and journals renames
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems refuse; the new file stands all the same
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
