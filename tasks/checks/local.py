"""Looks at what this machine has: ONE's files, the root, the ledger. Nothing is changed but modes of ONE's files."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.checks.finding import Finding
from tasks.clients import shared_json, store
from tasks.clients.one_files import hosts
from tasks.clients.shared_json import as_download_error
from tasks.clients.verdicts import error, os_error
from tasks.ledgers.engines import ledger_file
from tasks.ledgers.opening import ledger_place, read_ledger
from tasks.model import State
from tasks.plan.disk import free_bytes
from tasks.wording import files, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def one_files() -> Iterator[Finding]:
    """ONE's files: each can be read, and by nobody else.

    Raises:
        DownloadError: `params-file`: one is corrupt or cannot be read.
    """
    if not store.path().exists():
        yield Finding("note", "params store", f"there is no {store.path()} yet", "`prefect-alyx setup` makes it.")
    names = [".remote", *(f".{host.removeprefix('.')}" for host in hosts())]
    for path in (store.directory() / name for name in names):
        if path.exists():
            yield _one_file(path)


def _one_file(path: Path) -> Finding:
    with as_download_error():
        before = stat.S_IMODE(path.stat().st_mode)
        shared_json.read(path)  # which closes it to others, where this user may
        mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        step = f"It may hold secrets: chmod 600 {path}"
        return Finding("note", str(path), f"others may read it (mode {mode:04o})", step)
    if before & _OTHERS:
        step = "Renew what is secret in it, where others have accounts on this machine."
        return Finding("note", str(path), f"others could read it (mode {before:04o}); it is private now", step)
    return Finding("ok", str(path), f"readable, and private (mode {mode:04o})")


def place(root: Path) -> Iterator[Finding]:
    """The root: files can be written there, and what its file system is like.

    Raises:
        DownloadError: `read-only` or whatever else the disk says.
    """
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(prefix=".prefect-alyx-doctor-", dir=there) as probe:
            folded = Path(probe.name.upper() if there == Path("/") else f"{there}/{Path(probe.name).name.upper()}")
            same = folded.exists()
    except OSError as failure:
        raise os_error(failure, there) from failure
    yield Finding("ok", "root", f"{root} can be written" if there == root else f"{root} can be made in {there}")
    if same:
        text = f"the file system of {there} does not tell `a` from `A`"
        yield Finding("note", "root", text, "Names that differ in nothing else are refused, and not overwritten.")


def space(root: Path, reserve: int) -> Iterator[Finding]:
    """The room that is left under the root, and what of it has to stay free.

    Raises:
        DownloadError: `no-space`.
    """
    free = free_bytes(root)
    text = f"{human_bytes(free)} free, of which {human_bytes(reserve)} stay free (reserve_bytes)"
    if free <= reserve:
        raise error("no-space", f"{root}: {text}.")
    yield Finding("ok", "disk", text)


def ledger(root: Path) -> Iterator[Finding]:
    """The ledger: it can be read, and what it holds.

    Raises:
        DownloadError: a `ledger...` row.
    """
    place = ledger_place(root)
    if isinstance(place, Path) and not ledger_file(place).exists():
        yield Finding("ok", "ledger", "there is none yet; the first run makes it")
        return
    book = read_ledger(root)
    try:
        proven, failed = len(book.datasets()), book.counts().get(State.FAILED, 0)
    finally:
        book.close()
    step = "`prefect-alyx status` says why, `prefect-alyx retry` tries them now." if failed else ""
    text = f"{files(proven)} proven, {failed:,} failed"
    yield Finding("note" if failed else "ok", "ledger", text, step)
