"""Any zip file of cache tables, from any server: what is kept, what is refused, and who gets the token."""

from __future__ import annotations

import struct
import uuid as uuids
import zipfile
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.clients.verdicts import DownloadError
from tasks.datasets.choice import ignore
from tasks.datasets.listing import listing
from tasks.selection import Selection
from tasks.tables.files import current, unpack
from tasks.tables.rows import Tables
from tests.fake_alyx import FakeAlyx
from tests.loopback import Asked, Reply, client_of, serve
from tests.table_server import TableServer, archive, zipped

if TYPE_CHECKING:
    from pathlib import Path

EID, ID = (str(uuids.UUID(int=number, version=4)) for number in (5, 100))
SESSION = {"id": EID, "lab": "labA", "subject": "S1", "date": date(2024, 1, 2), "number": 3}
ROW = {"eid": EID, "id": ID, "file_size": 10, "hash": "0" * 32, "exists": True, "rel_path": "alf/a.times.npy"}


def good(folder: Path) -> bytes:
    return archive(folder, [SESSION], [ROW])


def test_no_entry_chooses_where_it_goes(tmp_path: Path) -> None:
    content = BytesIO(good(tmp_path))
    with zipfile.ZipFile(content, "a") as zip_file:
        for name in ("../escaped", "/tmp/escaped", "sub/../../escaped", "more.pqt", "C:\\escaped"):  # noqa: S108
            zip_file.writestr(name, b"x")
    (tmp_path / "cache.zip").write_bytes(content.getvalue())
    target = tmp_path / "a" / "b"
    target.mkdir(parents=True)
    unpack(tmp_path / "cache.zip", target)
    assert {path.name for path in (tmp_path / "a").rglob("*")} == {"b", "sessions.pqt", "datasets.pqt"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>no zip</html>", "not a zip file"),
        (b"", "not a zip file"),
        (zipped(sessions__pqt=b"x"), "once each"),
        (zipped(sessions__pqt=b"x", datasets__pqt=b"y" * 999).replace(b"datasets.pqt", b"sessions.pqt"), "once each"),
    ],
    ids=["a-page", "empty", "half", "twice"],  # the bytes hold the hour, and the workers of a run must agree on names
)
def test_a_zip_file_that_is_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "cache.zip").write_bytes(content)
    with pytest.raises(DownloadError, match=words) as caught:
        unpack(tmp_path / "cache.zip", tmp_path)
    assert caught.value.code == "tables"


def lying(content: bytes) -> bytes:
    """The same zip file, whose last entry says in both of its headers that it is ten bytes long."""
    with zipfile.ZipFile(BytesIO(content)) as zip_file:
        size = struct.pack("<I", zip_file.infolist()[-1].file_size)
    assert content.count(size) == 2
    return content.replace(size, struct.pack("<I", 10))


BOMB = zipped(sessions__pqt=b"x", datasets__pqt=bytes(40 << 20))


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (BOMB, "tables-bomb", "datasets.pqt has .* packed, and more than .* unpacked"),
        (lying(BOMB), "tables", "Bad CRC"),
        (zipped(**{f"n{number}": b"" for number in range(101)}), "tables-bomb", "101 entries"),
    ],
    ids=["packed", "lying", "entries"],
)
def test_a_zip_bomb_fills_no_disk(tmp_path: Path, content: bytes, code: str, words: str) -> None:
    assert len(content) < 100_000
    (tmp_path / "cache.zip").write_bytes(content)
    with pytest.raises(DownloadError, match=words) as caught:
        unpack(tmp_path / "cache.zip", tmp_path)
    assert caught.value.code == code
    assert sum(path.stat().st_size for path in tmp_path.glob("*.pqt")) < 1000


def test_rows_that_take_no_room_fill_no_memory(tmp_path: Path) -> None:
    (tmp_path / "cache.zip").write_bytes(good(tmp_path))
    unpack(tmp_path / "cache.zip", tmp_path)
    many = {name: pa.repeat(value, 2_000_000).dictionary_encode() for name, value in ROW.items()}
    pq.write_table(pa.table(many), tmp_path / "datasets.pqt")
    with pytest.raises(DownloadError, match=r"2,000,000 rows in .* bytes, too few for as many ids") as caught:
        Tables.open(tmp_path)
    assert caught.value.code == "tables-bomb"


def test_a_bomb_leaves_the_plan_to_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serve(TableServer(FakeAlyx(), files={"/cache.zip": BOMB})) as there:
        found = listing(
            Selection(everything=True), client_of(there.url), {}, wanted="tables", configured=["http"], left_out=ignore
        )
    assert found.catalogue.startswith(f"REST of {there.url} (ONE's cache tables would take far more room")
    assert not list(tmp_path.rglob("*.pqt"))


@pytest.mark.parametrize("content", [b"PAR1 is not enough", b""])
def test_a_table_that_is_none(tmp_path: Path, content: bytes) -> None:
    for name in ("sessions.pqt", "datasets.pqt"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DownloadError) as caught:
        Tables.open(tmp_path)
    assert caught.value.code == "tables"


def test_what_fails_leaves_nothing_that_is_taken_for_tables(tmp_path: Path) -> None:
    server = TableServer(FakeAlyx(), files={"/cache.zip": b"no zip"})
    with serve(server) as there:
        for _ in range(2):
            with pytest.raises(DownloadError):
                current(client_of(there.url), home=tmp_path)
        assert not list(tmp_path.rglob("*.pqt"))
        server.files["/cache.zip"] = good(tmp_path)
        assert Tables.open(current(client_of(there.url), home=tmp_path)).dataset_count == 1


def test_two_sets_are_kept(tmp_path: Path) -> None:
    server = TableServer(FakeAlyx(), files={"/cache.zip": good(tmp_path)})
    with serve(server) as there:
        for day in range(1, 5):
            server.info[""]["date_created"] = f"2026-11-0{day} 07:02"
            kept = current(client_of(there.url), home=tmp_path)
    assert {path.name for path in kept.parent.iterdir()} == {"2026-11-03-07-02", "2026-11-04-07-02"}


def test_tables_of_a_tag_lie_where_alyx_says_and_get_no_token_there(tmp_path: Path) -> None:
    asked: list[Asked] = []

    def elsewhere(request: Asked) -> Reply:
        asked.append(request)
        return Reply(200, good(tmp_path), {"Content-Type": "application/zip"})

    server = TableServer(FakeAlyx())
    with serve(elsewhere) as place, serve(server) as there:
        server.info["release"] = {
            "date_created": "2026-11-22 07:02",
            "database_tags": ["release"],
            "location": f"{place.url}/caches/release.zip",
        }
        kept = current(client_of(there.url), "release", tmp_path)
    assert kept.parent.name == "release"
    assert Tables.open(kept).dataset_count == 1
    assert [one.path for one in asked] == ["/caches/release.zip"]
    assert "Authorization" not in asked[0].headers
    assert "GET /cache.zip" not in there.paths


@pytest.mark.parametrize(
    ("tag", "info"),
    [
        ("of-hyphens", {}),
        ("release", {}),
        ("release", {"location": "https://data.example.org/cache.zip"}),
        ("release", {"location": "file:///etc/passwd", "database_tags": ["release"]}),
        ("", {"date_created": None}),
    ],
)
def test_tables_that_cannot_be_had(tmp_path: Path, tag: str, info: dict[str, Any]) -> None:
    server = TableServer(FakeAlyx(), info={tag: {"date_created": "2026-11-22 07:02", **info}})
    with serve(server) as there, pytest.raises(DownloadError) as caught:
        current(client_of(there.url), tag, tmp_path)
    assert caught.value.code == "tables"
    assert not list(tmp_path.rglob("*.pqt"))


def test_alyx_gets_its_token(tmp_path: Path) -> None:
    with serve(TableServer(FakeAlyx(), files={"/cache.zip": good(tmp_path)})) as there:
        current(client_of(there.url), home=tmp_path)
    (zip_asked,) = (one for one in there.asked if one.path == "/cache.zip")
    assert zip_asked.headers["Authorization"] == "Token 0123456789abcdef"
