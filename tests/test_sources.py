"""Where a dataset's bytes can be had from, and in words why from nowhere."""

from __future__ import annotations

import pytest

from tasks.clients.verdicts import DownloadError, error
from tasks.model import Dataset, FileRecord
from tasks.plan.sources import ANYWHERE, Router, protocols

ENDPOINT = "0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"
REPOSITORIES = {
    row["name"]: row
    for row in (
        {
            "name": "flatiron_x",
            "data_url": "https://files.example.org/x/",
            "globus_endpoint_id": ENDPOINT,
            "json": None,
        },
        {"name": "nas", "data_url": "https://nas.example.org/", "globus_endpoint_id": None, "globus_is_personal": None},
        {"name": "aws_x", "data_url": "https://b.s3.amazonaws.com/x/", "json": {"bucket_name": "b"}},
        {"name": "laptop", "data_url": "http://laptop/", "globus_endpoint_id": ENDPOINT, "globus_is_personal": True},
        {"name": "zurich", "globus_endpoint_id": ENDPOINT, "globus_is_personal": False},
        {"name": "minimal", "data_url": None, "globus_endpoint_id": None, "globus_is_personal": None, "json": None},
    )
}
PATH = "mouse/2020-01-01/001/alf/a.npy"


def address(protocol, repository, record, dataset):
    if record and ".." in record.relative_path:
        raise error("bad-path", f"It says {record.relative_path!r}.")
    return f"{protocol}:{repository['name'] if repository else ''}:{record.relative_path if record else dataset.digest}"


def dataset(*records, digest="a" * 32, path=PATH):
    made = tuple(FileRecord(name, path, exists) for name, exists in records)
    return Dataset("id", None, "lab", f"lab/Subjects/{PATH}", 1, digest, records=made)


def routes(found, **options):
    return [(source.protocol, source.repository) for source in Router(REPOSITORIES, address, **options).sources(found)]


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ({"name": "flatiron_x", "data_url": "https://h/", "globus_endpoint_id": ENDPOINT}, ("http", "globus")),
        ({"name": "aws_x", "data_url": "https://b.s3.amazonaws.com/", "json": {"bucket_name": "b"}}, ("aws",)),
        ({"name": "store", "data_url": "https://b.example/", "json": {"bucket_name": "b"}}, ("aws",)),
        ({"name": "aws_old", "data_url": "https://b.example/", "json": None}, ("aws", "http")),
        ({"name": "old", "data_url": "https://h/", "json": "a string"}, ("http",)),
        (
            {"name": "sr", "globus_endpoint_id": ENDPOINT, "globus_is_personal": True, "data_url": "http://l/"},
            ("globus",),
        ),
        ({"name": "k", "json": {"kachery_uri": "kachery:default"}}, ("kachary",)),
        ({"name": "minimal_repo", "data_url": None, "json": None}, ()),
    ],
)
def test_a_repository_offers_what_its_fields_say(repository, expected):
    assert protocols(repository) == expected


@pytest.mark.parametrize(
    ("records", "options", "expected"),
    [
        ([("flatiron_x", True)], {}, [("http", "flatiron_x"), ("globus", "flatiron_x")]),
        (
            [("flatiron_x", True), ("aws_x", True)],
            {"precedence": ("aws", "http")},
            [("aws", "aws_x"), ("http", "flatiron_x")],
        ),
        ([("aws_x", True), ("nas", True)], {"precedence": ("http", "aws")}, [("http", "nas"), ("aws", "aws_x")]),
        ([("aws_x", False), ("nas", True)], {}, [("http", "nas")]),
        ([("nas", None), ("flatiron_x", True)], {"precedence": ("http",)}, [("http", "flatiron_x"), ("http", "nas")]),
        (
            [("laptop", True), ("zurich", True)],
            {"precedence": ("globus",)},
            [("globus", "zurich"), ("globus", "laptop")],
        ),
        ([("flatiron_x", True), ("nas", True)], {"avoid": ["flatiron_x"]}, [("http", "nas")]),
        ([("flatiron_x", True), ("nas", True)], {"use": ["nas"]}, [("http", "nas")]),
        ([("flatiron_x", True)], {"configured": ["http"]}, [("http", "flatiron_x")]),
        ([("nas", True), ("nas", True)], {}, [("http", "nas")]),
        ([("gone", True), ("nas", True)], {}, [("http", "nas")]),
    ],
)
def test_precedence_orders_and_filters_the_sources(records, options, expected):
    assert routes(dataset(*records), **options) == expected


def test_kachery_finds_by_sha1_alone_even_without_file_records():
    assert routes(dataset(digest="b" * 40)) == [("kachary", ANYWHERE)]


@pytest.mark.parametrize("name", ["kachery", "kachary"])
def test_kachery_has_two_names(name):
    assert routes(dataset(digest="b" * 40), precedence=(name,), configured={name}) == [("kachary", ANYWHERE)]


def test_kachery_is_not_asked_for_what_it_cannot_name():
    with pytest.raises(DownloadError, match="Alyx has no file record"):
        routes(dataset(digest="a" * 32))


def test_a_file_record_may_itself_name_a_kachery_address():
    record = FileRecord("minimal", PATH, json={"kachery_uri": "kachery:z:sha1:1"})
    found = Dataset("id", None, None, PATH, 1, "b" * 40, records=(record,))
    assert routes(found) == [("kachary", "minimal")]


@pytest.mark.parametrize(
    ("records", "options", "reason"),
    [
        ([], {}, "Registered, but on no server: Alyx has no file record."),
        (
            [("flatiron_x", False), ("aws_x", False)],
            {},
            "Alyx says it exists nowhere (exists is false on aws_x, flatiron_x).",
        ),
        (
            [("laptop", True)],
            {"configured": ["http"]},
            "Only on the personal endpoint laptop: globus is not configured.",
        ),
        (
            [("laptop", True), ("nas", False)],
            {"precedence": ["http"]},
            "Only on the personal endpoint laptop: globus is not in the precedence (exists is false on nas).",
        ),
        ([("gone", True)], {}, "Only on gone: Alyx has no repository of this name."),
        ([("nas", True)], {"avoid": ["nas"]}, "Only on nas: this repository is left out on request."),
        ([("minimal", True)], {}, "Only on minimal: the repository has no bucket, data_url"),
        (
            [("nas", True), ("aws_x", True)],
            {"precedence": ["globus"]},
            "Only on aws_x: aws is not in the precedence; on nas: http is not in the precedence.",
        ),
    ],
)
def test_why_there_is_no_source_is_said_in_words(records, options, reason):
    with pytest.raises(DownloadError) as refusal:
        routes(dataset(*records), **options)
    assert refusal.value.code == "no-source"
    assert reason in refusal.value.reason


def test_a_hostile_file_record_is_no_source_and_the_others_are():
    bad, good = FileRecord("flatiron_x", "../x.npy"), FileRecord("nas", PATH)
    found = Dataset("id", None, None, PATH, 1, "", records=(bad, good))
    assert routes(found) == [("http", "nas")]
    with pytest.raises(DownloadError, match=r"Only on flatiron_x: .*'\.\./x\.npy'"):
        routes(Dataset("id", None, None, PATH, 1, "", records=(bad,)), precedence=["http"])


@pytest.mark.parametrize("options", [{"precedence": ["ftp"]}, {"configured": ["ftp"]}])
def test_an_unknown_protocol_is_refused_at_once(options):
    with pytest.raises(ValueError, match="'ftp' is not a protocol"):
        Router(REPOSITORIES, address, **options)
