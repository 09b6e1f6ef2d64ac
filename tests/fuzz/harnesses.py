"""The harnesses: each takes bytes, and fails unless what is fuzzed answers or refuses in its own words.

A harness does what the project does with what strangers send; the one error that it may end in is `DownloadError`
(for the params store also ONE's own errors), and what is accepted has to keep what was promised.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import math
import os
import posixpath
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from tasks import params
from tasks.catalogue import _candidate
from tasks.clients import client_for, shared_json, store
from tasks.clients.addresses import encode, server_path
from tasks.clients.answer import Answer
from tasks.clients.globus.endpoints import Endpoint
from tasks.clients.kachery.address import KacheryAddress
from tasks.clients.kachery.settings import KacherySettings
from tasks.clients.partials import Partial
from tasks.clients.paths import fold, safe_path
from tasks.clients.proof import Expected
from tasks.clients.reach import as_address, host_name, names_this_machine
from tasks.clients.seams import Disk
from tasks.clients.tree import Tree
from tasks.clients.verdicts import DownloadError, alyx_answer, http_status, kachery_answer, retry_after
from tasks.datasets.choice import chosen
from tasks.datasets.sessions import Session
from tasks.plan.sources import protocols
from tasks.rest.pages import Page, readable
from tasks.selection import Selection
from tasks.tables.files import DATASETS, SESSIONS, unpack
from tasks.tables.rows import Tables
from tests.fuzz.source import Source

refused = contextlib.suppress(DownloadError)
HTTP = client_for("http", {"data_url": "http://host"}, {})


@cache
def workshop() -> Path:
    """A directory of this process; around the root in it lies what must never change."""
    place = Path(tempfile.mkdtemp(prefix="prefect-alyx-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    (place / "around" / "root").mkdir(parents=True)
    (place / "around" / "elsewhere").mkdir()
    return place


def outside() -> set[str]:
    """What is around the root and was not from the beginning; the root itself is not walked: it may hold much."""
    place = workshop()
    return {entry.path for folder in (place / "around", place / "around" / "elsewhere") for entry in os.scandir(folder)
            if entry.name not in ("root", "elsewhere")}  # fmt: skip


def paths(data: bytes) -> None:
    """A registered path is refused, or lies below the root; now and then a file is really made there."""
    source = Source(data)
    real, trap, path = source.byte() == 0, source.byte(), source.text()
    with refused:
        assert safe_path(path) == path
        assert posixpath.normpath(f"/root/{path}") == f"/root/{path}"
        assert fold(fold(path)) == fold(path)
        assert not set(path) & set("\\:\x00\r\n")
        if real:
            make(path, trap)


def make(path: str, trap: int) -> None:
    """Make a file, mostly with a link that leads out of the root planted somewhere on its way; then clear the root."""
    root, parts = workshop() / "around" / "root", path.split("/")
    planted = root.joinpath(*parts[: trap % (len(parts) + 1)])
    try:
        with contextlib.suppress(OSError):
            planted.parent.mkdir(parents=True, exist_ok=True)
            planted.symlink_to(workshop() / "around" / "elsewhere")
        with contextlib.suppress(OSError), Tree(root).directory(PurePosixPath(*parts[:-1])) as fd:
            os.close(os.open(parts[-1], os.O_CREAT | os.O_NOFOLLOW | os.O_WRONLY, 0o600, dir_fd=fd))
    finally:
        assert outside() == set()
        shutil.rmtree(root / parts[0], ignore_errors=True)
        with contextlib.suppress(OSError):
            (root / parts[0]).unlink()


def addresses(data: bytes) -> None:
    """An address holds what was registered, encoded once, and nothing that a URL or a server reads differently."""
    source = Source(data)
    path = source.text()
    with refused:
        plain = server_path(path, source.choice((None, "0b305d2f-04dc-4ef1-be1c-db18931391a1", "x")))
        encoded = encode(plain)
        assert unquote(encoded) == plain
        assert encoded.isascii()
        assert not {"", ".", ".."} & set(encoded.split("/"))
        assert not set(encoded) & set("?#\\ \r\n%") - {"%"}
    with refused:
        str(KacheryAddress.parse(path))
    with refused:
        HTTP.repository = {"data_url": f"http://h/{source.text()}"}
        HTTP.__dict__.pop("_base", None)
        HTTP.to_address("a/b")
    with refused:
        Endpoint.of_record({"globus_endpoint_id": path, "globus_path": source.text()}).address("a/b", None)
    names_this_machine(host_name(f"http://{path}/"))
    as_address(path)


BODY = bytes(range(256)) * 4


def ranges(data: bytes) -> None:
    """An answer is accepted only where it continues exactly what is there; the rest is refused in one error."""
    source = Source(data)
    offset = source.choice((0, 0, 1, 100, 512, 1023))
    status = source.choice((b"206", b"206", b"200", b"416", b"302", b"404", source.bytes(4)))
    lines = [b"HTTP/1.1 %s x\r\n" % status]
    given = f"bytes {offset}-1023/1024".encode()
    for _ in range(source.byte() % 5):
        name = source.choice((b"Content-Range", b"Content-Range", b"Content-Length", b"Content-Encoding", b"ETag",
                              b"Content-Type", b"Last-Modified", b"Retry-After", source.bytes(6)))  # fmt: skip
        value = source.choice(
            (given, given, b"gzip", b"1024", b"text/html", source.bytes(20), source.text().encode("utf-8", "replace"))
        )
        lines.append(name + b": " + value + b"\r\n")
    fd = os.memfd_create("partial")
    try:
        exchange(fd, offset, lines, source.bytes())
    finally:
        os.close(fd)


def exchange(fd: int, offset: int, lines: list[bytes], body: bytes) -> None:
    expected = Expected.of(len(BODY), hashlib.md5(BODY).hexdigest())
    partial = Partial(None, "x.free..part", expected, Disk(), fd)
    partial.write(BODY[:offset])
    answer = Answer(partial, address="a", name="a.npy", where="a.npy at host", now=lambda: 0.0)
    answer.lines.extend(lines)
    with refused:
        while body and answer.on_body(body[:64]) is None:
            body = body[64:]
        answer.finish()
        assert answer.status in (200, 206, 416)
        assert answer.status != 206 or offset > 0
    assert partial.size <= len(BODY)
    assert partial.size in (0, offset) or answer.status in (200, 206)


def waits(data: bytes) -> None:
    """What a server asks to wait is nothing, or a time that a run can live with."""
    source = Source(data)
    for text in (source.text(), source.bytes(30).decode("latin-1")):
        seconds = retry_after(text, 1.8e9)
        assert seconds is None or (0 <= seconds <= 7 * 86400 and math.isfinite(seconds))


def answers(data: bytes) -> None:
    """REST answers, right or wrong, are read or are one error that a person can read."""
    source = Source(data)
    status, kind = (
        source.choice((200, 400, 401, 403, 404, 429, 500, 502)),
        source.choice(("application/json", "text/html", "")),
    )
    value = source.value()
    body = json.dumps(value) if source.byte() % 4 else source.text()
    for failure in (
        alyx_answer(status, kind, body, request="GET /datasets"),
        http_status(status, "a.npy", {"retry-after": source.text()}, body.encode("utf-8", "replace"), now=0.0),
        kachery_answer(status, "a.npy", {}, body.encode("utf-8", "replace"), keyed=True, now=0.0),
    ):
        assert failure.reason.isprintable()
        assert failure.next_step
    with refused:
        Page.of(value).by_key()


def records(data: bytes) -> None:
    """A row of Alyx that lacks what it should have, or has something else there, is one error; its path stays text."""
    source = Source(data)
    row = {name: source.value(2) for name in ("url", "name", "session", "collection", "revision", "hash", "file_size")
           if source.byte() % 4}  # fmt: skip
    row["file_records"] = [record(source) for _ in range(source.byte() % 3)]
    with refused, readable("datasets"):
        made = _candidate(row, None)
        safe_path(made.dataset.path)
        list(chosen([made], Selection.read({"everything": True}), lambda _: None))
    with refused, readable("sessions"):
        Session.of(
            {name: source.value(2) for name in ("id", "url", "subject", "lab", "number", "start_time", "projects")}
        )
    protocols(
        {name: source.value(2) for name in ("name", "json", "data_url", "globus_endpoint_id", "globus_is_personal")}
    )


def record(source: Source):
    return {"data_repository": source.text(), "relative_path": source.choice((source.text(), source.value(2))),
            "exists": source.number(), "json": source.value(2), "data_repository_path": source.text()}  # fmt: skip


def stores(data: bytes) -> None:
    """A params file of any content is read, or refused without a word of its text."""
    source = Source(data)
    built = source.value()
    content, _ = shared_json._parse(source.bytes(200))
    for found in (content, built):
        if isinstance(found, dict):
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                store._fields(found, source.choice(("globus", "kachery", "http")), source.choice(("default", "id")))
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                params._resolve(found, "")
            with contextlib.suppress(ValueError):
                store.check_names(found, "globus")
            with refused:
                KacherySettings.gather(found)


def selections(data: bytes) -> None:
    """A file of a selection is a selection, or one error."""
    file = workshop() / "selection.yaml"
    source = Source(data)
    text = source.text() if source.byte() % 2 else json.dumps(source.value())
    file.write_bytes(text.encode("utf-8", "replace") + b"\n" + source.bytes(200))
    with refused:
        Selection.from_yaml(file)
    with refused:
        Selection.read({source.choice(("labs", "dates", "dataset_ids", "names", "regex", "number")): source.value()})


@cache
def good_tables() -> tuple[bytes, bytes, bytes]:
    eid, did = "01390fcc-4f86-4707-8a3b-4d9309feb0a1", "0b305d2f-04dc-4ef1-be1c-db18931391a1"
    sessions = {"id": [eid], "lab": ["l"], "subject": ["s"], "date": ["2020-01-01"], "number": [1], "projects": ["p"]}
    datasets = {
        "eid": [eid],
        "id": [did],
        "rel_path": ["alf/#r#/a.npy"],
        "file_size": [1.0],
        "hash": ["x"],
        "exists": [True],
    }
    files = []
    for table in (sessions, datasets):
        sink = io.BytesIO()
        pq.write_table(pa.table(table), sink)
        files.append(sink.getvalue())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zip((SESSIONS, DATASETS, "../../escaped"), (*files, b"evil"), strict=True):
            archive.writestr(name, content)
    return files[0], files[1], packed.getvalue()


def spoilt(source: Source, content: bytes) -> bytes:
    """Some bytes of a good file changed, cut out or cut off."""
    found = bytearray(content)
    for _ in range(source.byte() % 6):
        at = (source.byte() << 8 | source.byte()) % max(1, len(found))
        if source.byte() % 8:
            found[at : at + 1] = bytes([source.byte()])
        else:
            del found[at : at + source.byte()]
    return bytes(found)


def values(source: Source):
    """A table of the right shape, whose cells hold something else."""
    eid = "01390fcc-4f86-4707-8a3b-4d9309feb0a1"
    cell = lambda: source.choice((None, eid, source.text().encode("utf-8", "replace").decode(), source.byte(), 1e309))  # noqa: E731
    columns = {name: [cell()] for name in ("eid", "id", "rel_path", "file_size", "hash", "exists") if source.byte() % 5}
    sink = io.BytesIO()
    with contextlib.suppress(pa.ArrowException):
        pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def tables(data: bytes) -> None:
    """Cache tables of any content are rows, or one error; nothing is taken out of a zip but two files."""
    source = Source(data)
    folder = workshop() / "around" / "root"
    sessions, datasets, packed = good_tables()
    if source.byte() % 2:
        (folder / "t.zip").write_bytes(spoilt(source, packed))
        for name in (SESSIONS, DATASETS):
            (folder / name).unlink(missing_ok=True)
        with refused:
            unpack(folder / "t.zip", folder)
    else:
        (folder / SESSIONS).write_bytes(spoilt(source, sessions))
        (folder / DATASETS).write_bytes(values(source) if source.byte() % 2 else spoilt(source, datasets))
    assert outside() == set()
    if not ((folder / SESSIONS).exists() and (folder / DATASETS).exists()):
        return
    with refused:
        found = Tables.open(folder)
        list(found.sessions())
        found.fault()
        for group in found.rows(lambda _: True):
            for row in group:
                with refused:
                    safe_path(row.path)


#: Every harness, and its share of the cases: those that write files are slow.
HARNESSES = {
    paths: 180, addresses: 120, ranges: 200, waits: 100, answers: 120, records: 120, stores: 100, selections: 40,
    tables: 20,
}  # fmt: skip
