"""The catalogue against an Alyx whose pages come in random order and repeat rows: the right set, or an error."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasks.catalogue import datasets, repositories
from tasks.clients.verdicts import DownloadError
from tasks.datasets.sessions import Session
from tasks.rest.pages import complete
from tasks.selection import Selection
from tests.fake_alyx import YEAR, FakeAlyx, dataset, session, uuid
from tests.loopback import client_of, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.model import Skip

RECORDINGS = Path(__file__).parent / "recordings"


SESSIONS = {row["id"]: row for row in YEAR.sessions}


def truth(test: Callable[[dict[str, Any], dict[str, Any]], bool]) -> set[str]:
    """The ids of the datasets for whose row, and whose session's row ({} for an aggregate), the test is true."""
    rows = ((row, SESSIONS.get((row["session"] or "")[-36:], {})) for row in YEAR.datasets)
    return {row["url"][-36:] for row, of in rows if test(row, of)}


def default(row: dict[str, Any], _: dict[str, Any]) -> bool:
    return row["default_dataset"]


def listed(alyx: FakeAlyx, selection: Selection, **more: Any) -> list[str]:
    with serve(alyx) as server:
        return [found.id for found in datasets(selection, client_of(server.url), **more)]


def error_of(alyx: FakeAlyx, selection: Selection) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        listed(alyx, selection)
    return caught.value


SOME_SESSIONS = [YEAR.sessions[number]["id"] for number in (3, 30, 41)]
SOME_DATASETS = [row["url"][-36:] for row in YEAR.datasets[::3]]


@pytest.mark.parametrize(
    ("fields", "test"),
    [
        ({"everything": True}, default),
        ({"everything": True, "revision_rule": "all"}, lambda row, of: True),
        ({"labs": ["labA"]}, lambda row, of: default(row, of) and of.get("lab") == "labA"),
        ({"labs": ["labA", "labC"]}, lambda row, of: default(row, of) and of.get("lab") in ("labA", "labC")),
        ({"subjects": ["labA_S0", "labB_S1", "labC_S5"], "labs": ["labB", "labA"]},
         lambda row, of: default(row, of) and of.get("subject") in ("labA_S0", "labB_S1")),
        ({"dates": ["2024-02-01..2024-03-31", "2024-11-01..", "2024-03-01..2024-03-02"]},
         lambda row, of: default(row, of) and of.get("start_time", "")[5:7] in ("02", "03", "11", "12")),
        ({"projects": ["main"]}, lambda row, of: default(row, of) and "main" in of.get("projects", ())),
        ({"projects": ["main_pilot", "main", "other"], "labs": ["labB"]},
         lambda row, of: default(row, of) and of.get("lab") == "labB"),
        ({"numbers": [0, 2]}, lambda row, of: default(row, of) and of.get("number") in (0, 2)),
        ({"task_protocol": "EPHYSchoice"}, lambda row, of: default(row, of) and "ephys" in of.get("task_protocol", "")),
        ({"session_ids": SOME_SESSIONS}, lambda row, of: default(row, of) and of.get("id") in SOME_SESSIONS),
        ({"session_ids": SOME_SESSIONS, "labs": ["labA"]},
         lambda row, of: default(row, of) and of.get("id") in SOME_SESSIONS and of["lab"] == "labA"),
        ({"tags": ["release"]}, lambda row, of: "release" in row["tags"]),
        ({"tags": ["release", "internal"], "labs": ["labC"]},
         lambda row, of: default(row, of) and "internal" in row["tags"] and of.get("lab") == "labC"),
        ({"public_only": True}, lambda row, of: bool(row["public"])),
        ({"names": ["object1.times.npy"]}, lambda row, of: row["name"] == "object1.times.npy"),
        ({"names": ["object1*", "trials?.table.pqt"]}, lambda row, of: row["name"].startswith(("object1", "trials"))),
        ({"collections": ["alf/probe00"]}, lambda row, of: default(row, of) and row["collection"] == "alf/probe00"),
        ({"dataset_types": ["spikes.times"]}, lambda row, of: default(row, of) and "spikes" in row["dataset_type"]),
        ({"names": ["spikes.*"], "revision_rule": "exact", "revision": "2024-01-01"},
         lambda row, of: row["revision"] == "2024-01-01"),
        ({"names": ["spikes.*"], "revision_rule": "last_before", "revision": "2023-12-31"},
         lambda row, of: row["name"] == "spikes.times.npy" and not row["revision"]),
        ({"names": ["spikes.*"], "qc_at_most": "PASS"}, lambda row, of: False),
        ({"dataset_ids": SOME_DATASETS}, lambda row, of: row["url"][-36:] in SOME_DATASETS),
        ({"dataset_ids": SOME_DATASETS, "labs": ["labA"]},
         lambda row, of: row["url"][-36:] in SOME_DATASETS and of.get("lab") == "labA"),
    ],
)  # fmt: skip
def test_exactly_the_right_set(fields: dict[str, Any], test: Callable[..., bool]) -> None:
    assert Counter(listed(YEAR, Selection(**fields))) == Counter(truth(test))


@pytest.mark.parametrize("most_rows", [30, 60])
def test_exactly_the_right_set_where_pages_are_small(most_rows: int) -> None:
    alyx = FakeAlyx(YEAR.sessions, YEAR.datasets, most_rows=most_rows)
    assert Counter(listed(alyx, Selection(everything=True))) == Counter(truth(default))


def test_offset_pages_of_this_server_do_lose_rows() -> None:
    """So that the tests above prove something."""
    alyx = FakeAlyx(YEAR.sessions, YEAR.datasets)
    with serve(alyx) as server:
        pages = [client_of(server.url).page("datasets", limit=50, offset=first) for first in range(0, 300, 50)]
    assert len({row["url"] for page in pages for row in page.rows}) < 300


def test_rest_lists_exactly_what_there_is_for_all_that() -> None:
    with serve(FakeAlyx(YEAR.sessions, YEAR.datasets, most_rows=45)) as server:
        found = client_of(server.url).rest("datasets", "list", limit=50)
    assert Counter(row["url"][-36:] for row in found) == Counter(truth(lambda row, of: True))


# --- never fewer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"repeats": True}, {"ignores": ("django",), "most_rows": 45}, {"ignores": ("session", "django")}]
)
def test_an_alyx_that_cannot_be_trusted_is_an_error(wrong: dict[str, Any]) -> None:
    alyx = FakeAlyx(YEAR.sessions, YEAR.datasets, **wrong)
    assert error_of(alyx, Selection(everything=True)).code == "alyx-incomplete"


def test_ids_that_alyx_does_not_have_are_named() -> None:
    unknown = [uuid("unknown", number) for number in range(7)]
    failure = error_of(YEAR, Selection(dataset_ids=[*SOME_DATASETS[:5], *unknown]))
    assert failure.code == "alyx-not-found"
    assert all(identifier in str(failure) for identifier in unknown[:5])
    assert "and 2 more" in str(failure)
    failure = error_of(YEAR, Selection(session_ids=[SOME_SESSIONS[0], unknown[0]]))
    assert failure.code == "alyx-not-found"
    assert unknown[0] in str(failure)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labs": ["labA", "lab-B"]}, "labs: Alyx has no 'lab-B' (did you mean 'labB'?)"),
        ({"labs": ["LABA"]}, "labs: Alyx has no 'LABA' (did you mean 'labA'?)"),
        ({"subjects": ["labA_S9"]}, "subjects: Alyx has no 'labA_S9' (did you mean 'labA_S"),
        ({"projects": ["mian"]}, "projects: Alyx has no 'mian' (did you mean 'main'?)"),
        ({"tags": ["relase"]}, "tags: Alyx has no 'relase' (did you mean 'release'?)"),
        ({"dataset_types": ["spike.times"]}, "dataset_types: Alyx has no 'spike.times' (did you mean 'spikes.times'?)"),
        ({"labs": ["labA"], "repositories": ["flatrion"]}, "Alyx has no 'flatrion' (did you mean 'flatiron'?)"),
        ({"labs": ["labA"], "avoid_repositories": ["x"]}, "avoid_repositories: Alyx has no 'x' (known are flatiron)"),
    ],
)  # fmt: skip
def test_a_misspelt_value_names_the_nearest(fields: dict[str, Any], words: str) -> None:
    failure = error_of(YEAR, Selection(**fields))
    assert failure.code == "selection"
    assert words in failure.reason


@pytest.mark.parametrize("broken", [{"start_time": None}, {"start_time": "soon"}, {"lab": 5, "projects": 7}])
def test_a_session_that_cannot_be_read_is_an_error(broken: dict[str, Any]) -> None:
    alyx = FakeAlyx([{**session(), **broken}])
    with pytest.raises(DownloadError) as caught:
        [Session.of(row) for row in alyx.sessions]
    assert caught.value.code == "alyx-incomplete"


@pytest.mark.parametrize("broken", [{"name": None}, {"file_records": [{}]}, {"hash": 5}])
def test_a_dataset_that_cannot_be_read_is_an_error(broken: dict[str, Any]) -> None:
    one = session()
    row = {**dataset(one, "a.b.npy"), **broken}
    if broken.get("name", "") is None:
        del row["name"]
    assert error_of(FakeAlyx([one], [row]), Selection(session_ids=[one["id"]])).code == "alyx-incomplete"


def test_what_the_rule_leaves_out_is_told() -> None:
    told: list[Skip] = []
    selection = Selection(labs=["labA"], revision_rule="exact", revision="2024-01-01")
    found = listed(FakeAlyx(YEAR.sessions, YEAR.datasets), selection, left_out=told.append)
    wanted = truth(lambda row, of: of.get("lab") == "labA" and row["name"] != "spikes.times.npy")
    assert {skip.dataset for skip in told} == wanted
    assert len(found) == 14


# --- what becomes of a row ----------------------------------------------------------------------------


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())["response"]["body"]


def test_a_recorded_session() -> None:
    """The datasets of a real session, as they come out of the catalogue."""
    rows = recorded("datasets-by-session")["results"]
    of = session("testlab", "ALX_002", "2023-03-03", id=rows[0]["session"][-36:])
    with serve(FakeAlyx([of], rows)) as server:
        found = {row.id: row for row in datasets(Selection(session_ids=[of["id"]]), client_of(server.url))}
    assert set(found) == {row["url"][-36:] for row in rows}
    for row in rows:
        mine = found[row["url"][-36:]]
        assert (mine.session, mine.lab, mine.size, mine.digest) == (of["id"], "testlab", row["file_size"], row["hash"])
        assert mine.path == f"testlab/Subjects/{row['file_records'][0]['relative_path']}"
        assert [record.repository for record in mine.records] == [one["data_repository"] for one in row["file_records"]]


@pytest.mark.parametrize(
    ("registered", "digest", "size"),
    [
        ({"hash": "ABCDEF01-2345-6789-ABCD-EF0123456789"}, "abcdef0123456789abcdef0123456789", 100),
        ({"hash": None, "file_size": None}, "", None),
        ({"hash": "", "file_size": 0}, "", 0),
    ],
)
def test_digest_and_size(registered: dict[str, Any], digest: str, size: int | None) -> None:
    of = session()
    with serve(FakeAlyx([of], [{**dataset(of, "a.b.npy"), **registered}])) as server:
        (found,) = datasets(Selection(session_ids=[of["id"]]), client_of(server.url))
    assert (found.digest, found.size) == (digest, size)


def test_repositories_by_name() -> None:
    with serve(FakeAlyx(repositories=["flatiron_a", "aws_b"])) as server:
        assert repositories(client_of(server.url)) == {name: {"name": name} for name in ("flatiron_a", "aws_b")}


def test_a_name_is_a_key_where_there_is_no_id() -> None:
    with serve(FakeAlyx(repositories=["x"] * 3 + ["y"], most_rows=1)) as server, pytest.raises(DownloadError) as caught:
        list(complete(client_of(server.url), "data-repository"))
    assert caught.value.code == "alyx-incomplete"
