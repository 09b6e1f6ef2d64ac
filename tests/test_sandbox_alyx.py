"""The REST API, compared with what Alyx 3.6.1 answered in the recorded exchanges.

The keys, the texts and the odd statuses below are copied from those exchanges.
"""

import importlib.util
import io
import json
import zipfile

import pytest
import requests

from deployments.sandbox import Lab
from deployments.sandbox.alyx import pages
from deployments.sandbox.lab import ACCESS_KEY, PASSWORD, READER_PASSWORD, SECRET_KEY
from deployments.sandbox.model import identify

NOBODY = "00000000-0000-4000-8000-000000000000"
PAGE = ["count", "next", "previous", "results"]
DATASET = [
    "url", "name", "created_by", "created_datetime", "dataset_type", "data_format", "collection", "session",
    "file_size", "hash", "version", "experiment_number", "file_records", "auto_datetime", "revision",
    "default_dataset", "tags", "qc", "json",
]  # fmt: skip
RECORD = ["id", "data_repository", "data_repository_path", "relative_path", "data_url", "exists"]
LISTED_SESSION = ["id", "subject", "start_time", "number", "lab", "projects", "url", "task_protocol"]
SESSION = [
    "subject", "users", "location", "procedures", "lab", "projects", "type", "task_protocol", "number", "start_time",
    "end_time", "narrative", "parent_session", "n_correct_trials", "n_trials", "url", "extended_qc", "qc",
    "wateradmin_session_related", "data_dataset_session_related", "auto_datetime", "id", "json", "probe_insertion",
    "field_of_view", "notes",
]  # fmt: skip
RELATED = [
    "id", "name", "dataset_type", "data_url", "url", "file_size", "hash", "version", "collection", "revision",
    "default_revision", "qc",
]  # fmt: skip
FILE = ["url", "dataset", "data_repository", "name", "json", "relative_path", "exists"]
REPOSITORY = [
    "name", "timezone", "globus_path", "hostname", "data_url", "repository_type", "globus_endpoint_id",
    "globus_is_personal", "json",
]  # fmt: skip
SMALL = {
    "labs/cortexlab": [
        "name", "institution", "address", "timezone", "repositories", "reference_weight_pct", "zscore_weight_pct",
        "json",
    ],
    "subjects/KS005": [
        "nickname", "url", "id", "responsible_user", "birth_date", "age_weeks", "death_date", "species", "sex",
        "litter", "strain", "source", "line", "projects", "session_projects", "lab", "genotype", "description", "alive",
        "reference_weight", "last_water_restriction", "expected_water", "remaining_water", "json",
    ],
    "projects/sandbox_brain_wide": ["name", "description", "users"],
    "revisions/2024-01-01": ["id", "json", "name", "description", "created_datetime"],
    "tags/internal_only": ["id", "json", "name", "description", "protected", "public", "hash"],
    "dataset-types/spikes.times": ["id", "name", "created_by", "description", "filename_pattern"],
    "data-formats/npy": [
        "id", "json", "name", "description", "file_extension", "matlab_loader_function", "python_loader_function",
    ],
    "users/alice": ["id", "username", "email", "subjects_responsible", "lab", "allowed_users", "is_stock_manager"],
}  # fmt: skip
NOT_FOUND = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n'
    "  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n"
)


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(running):
    running.reset()
    return running


@pytest.fixture
def ask(lab):
    """Ask Alyx as alice, or as whoever the headers say."""
    session = requests.Session()
    session.trust_env = False
    known = {"Authorization": f"Token {lab.alyx.accounts.token('alice')}", "Accept": "application/json"}

    def request(path, method="GET", headers=None, **options):
        sent = {key: value for key, value in {**known, **(headers or {})}.items() if value is not None}
        return session.request(
            method, lab.urls["alyx"] + path, headers=sent, allow_redirects=False, timeout=10, **options
        )

    return request


@pytest.fixture
def rows(ask):
    def every(path):
        page = ask(path).json()
        assert page["next"] is None
        assert page["count"] == len(page["results"])
        return page["results"]

    return every


def ids(rows):
    return {row["url"][-36:] for row in rows}


def session_of(lab, kind):
    return lab.world.odd(kind).session


# --- who may come in --------------------------------------------------------------------------------


def test_a_login_gives_the_same_token_every_time(lab, ask):
    known = {"username": "alice", "password": PASSWORD}
    form, again, as_json = (
        ask("/auth-token", "POST", **each) for each in ({"data": known}, {"data": known}, {"json": known})
    )
    assert form.json() == again.json() == as_json.json() == {"token": lab.alyx.accounts.token("alice")}
    assert len(form.json()["token"]) == 40
    assert (form.headers["Allow"], form.headers["Vary"]) == ("POST, OPTIONS", "Cookie")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"username": "alice", "password": "x"}, {"non_field_errors": ["Unable to log in with provided credentials."]}),
        (
            {"username": "nobody", "password": "x"},
            {"non_field_errors": ["Unable to log in with provided credentials."]},
        ),
        ({"username": "alice"}, {"password": ["This field is required."]}),
    ],
)
def test_a_bad_login_is_400_without_a_detail(ask, fields, body):
    answer = ask("/auth-token", "POST", data=fields)
    assert (answer.status_code, answer.json()) == (400, {**body, "status_code": 400})


def test_a_login_is_posted(ask):
    answer = ask("/auth-token")
    assert (answer.status_code, answer.json()) == (405, {"detail": 'Method "GET" not allowed.', "status_code": 405})


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (None, "Authentication credentials were not provided."),
        ("Bearer abc", "Authentication credentials were not provided."),
        ("Token", "Invalid token header. No credentials provided."),
        ("Token a b", "Invalid token header. Token string should not contain spaces."),
        ("Token " + "0" * 40, "Invalid token."),
    ],
)
def test_it_is_403_and_never_401(ask, header, detail):
    answer = ask("/datasets", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (403, {"detail": detail, "status_code": 403})
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers["Vary"] == "Accept, Cookie"


def test_tokens_can_end(lab, ask):
    lab.alyx.accounts.invalidate()
    assert ask("/labs").json()["detail"] == "Invalid token."
    new = ask("/auth-token", "POST", data={"username": "alice", "password": PASSWORD}).json()["token"]
    assert ask("/labs", headers={"Authorization": f"Token {new}"}).status_code == 200


def test_readers_read_even_the_keys_but_write_nothing_except_downloads(lab, ask):
    known = {"username": "intbrainlab", "password": READER_PASSWORD}
    reader = {"Authorization": "Token " + ask("/auth-token", "POST", data=known).json()["token"]}
    keys = ask("/data-repository/aws_churchlandlab", headers=reader).json()["json"]
    assert (keys["Access key ID"], keys["Secret access key"]) == (ACCESS_KEY, SECRET_KEY)
    dataset = lab.world.odd("sha1").id
    refused = ask(f"/datasets/{dataset}", "PATCH", headers=reader, json={"version": "x"})
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "You do not have permission to perform this action.",
    )
    assert ask("/new-download", "POST", headers=reader, json={"datasets": dataset}).status_code == 201


def test_patience_is_asked_for(lab, ask):
    lab.alyx.throttle.refuse(2, wait=40)
    answer = ask("/labs")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "40")
    assert answer.json()["detail"] == "Request was throttled. Expected available in 40 seconds."
    assert [ask("/labs").status_code for _ in range(3)] == [429, 200, 200]


def test_a_user_has_so_many_requests_a_minute(lab, ask):
    now = [0.0]
    lab.alyx.throttle.limit, lab.alyx.throttle.clock = 2, lambda: now[0]
    statuses = []
    for now[0] in (0.0, 20.5, 21.0, 60.0, 60.1):
        statuses.append(ask("/labs").status_code)
    assert statuses == [200, 200, 429, 200, 429]
    assert ask("/labs").headers["Retry-After"] == "21"


# --- forms and errors -------------------------------------------------------------------------------


def test_answers_come_in_the_form_that_was_asked_for(ask):
    page = ask("/datasets?limit=1", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask("/datasets?limit=1", headers={"Accept": "*/*"}).json()["count"] == 60
    answer = ask("/datasets?limit=1", headers={"Accept": "application/xml"})
    assert (answer.status_code, answer.json()["detail"]) == (406, "Could not satisfy the request Accept header.")


def test_head_has_the_length_and_no_body(ask):
    head, get = ask("/datasets?limit=1", "HEAD"), ask("/datasets?limit=1")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert get.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert get.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("path", "method", "status", "detail"),
    [
        ("/datasets", "DELETE", 405, 'Method "DELETE" not allowed.'),
        ("/datasets", "OPTIONS", 500, "'list' object has no attribute 'items'"),
        (f"/datasets/{NOBODY}", "GET", 404, "No Dataset matches the given query."),
        (f"/sessions/{NOBODY}", "GET", 404, "No Session matches the given query."),
        ("/data-repository/nope", "GET", 404, "No DataRepository matches the given query."),
        ("/datasets?django=name", "GET", 500, "list index out of range"),
        ("/datasets?django=id,xyz", "GET", 500, "['“xyz” is not a valid UUID.']"),
        ("/datasets?qc=NOPE", "GET", 500, "Invalidqc, choices are: CRITICAL, FAIL, WARNING, NOT_SET, PASS"),
        ("/sessions?date_range=foo", "GET", 500, "list index out of range"),
    ],
)
def test_errors_are_json_with_the_status_in_the_body(ask, path, method, status, detail):
    answer = ask(path, method)
    assert (answer.status_code, answer.json()) == (status, {"detail": detail, "status_code": status})


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/datasets?session=not-a-uuid", "session", "“not-a-uuid” is not a valid UUID."),
        (
            f"/datasets?session={NOBODY}",
            "session",
            "Select a valid choice. That choice is not one of the available choices.",
        ),
        ("/datasets?created_date_gte=yesterday", "created_date_gte", "Enter a valid date/time."),
        ("/datasets?id=x", "id", "Enter a valid UUID."),
        ("/sessions?number=x", "number", "Enter a number."),
        ("/files?dataset=x", "dataset", "“x” is not a valid UUID."),
    ],
)
def test_values_of_the_wrong_type_are_400(ask, path, field, message):
    answer = ask(path)
    assert (answer.status_code, answer.json()) == (400, {field: [message], "status_code": 400})


@pytest.mark.parametrize(
    "django",
    ["nofield,1", "name__nolookup,1", "file_size,big", "auto_datetime__gt,soon", "id__in,[oops]",
     "default_dataset,maybe", "session__start_time__date,x", "file_size__icontains,1", "qc__a__b,1"],
)  # fmt: skip
def test_bad_lookups_are_500_as_json(ask, django):
    answer = ask(f"/datasets?django={django}")
    assert (answer.status_code, answer.json()["status_code"]) == (500, 500)


def test_a_list_in_a_lookup_is_never_evaluated(ask, tmp_path):
    target = tmp_path / "made"
    answer = ask(f"/datasets?django=id__in,[__import__('pathlib').Path('{target}').touch()]")
    assert answer.status_code == 500
    assert not target.exists()


@pytest.mark.parametrize("path", ["/datasets/", "/datasets/not-a-uuid", f"/datasets/{NOBODY}/", "/me", "/labs/a/b"])
def test_addresses_that_match_nothing_are_html(ask, path):
    answer = ask(path)
    assert (answer.status_code, answer.text) == (404, NOT_FOUND)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_other_hosts_and_long_addresses_are_refused_before_all(ask):
    assert ask("/labs", headers={"Host": "evil.example"}).status_code == 400
    assert ask("/datasets?django=id__in," + "x" * 8200).status_code == 414


def test_redirects(ask):
    assert [ask(path).headers["Location"] for path in ("/", "/cache/info")] == ["/admin", "/cache/info/"]
    assert [ask(path).status_code for path in ("/", "/cache/info")] == [302, 301]


# --- pages ------------------------------------------------------------------------------------------


def test_a_page_links_to_its_neighbours(lab, ask):
    base = lab.urls["alyx"] + "/datasets"
    first = ask("/datasets?limit=5&lab=cortexlab").json()
    assert list(first) == PAGE
    assert (first["next"], first["previous"]) == (f"{base}?lab=cortexlab&limit=5&offset=5", None)
    assert ask("/datasets?limit=5&offset=5").json()["previous"] == f"{base}?limit=5"
    beyond = ask("/datasets?limit=5&offset=9999").json()
    assert beyond == {"count": 60, "next": None, "previous": f"{base}?limit=5&offset=9994", "results": []}


def test_limits_are_capped_and_bad_ones_ignored(lab, ask):
    assert len(ask("/datasets?limit=-1&offset=x").json()["results"]) == 60
    assert ask("/datasets?limit=abc&offset=58").json()["previous"] == lab.urls["alyx"] + "/datasets?limit=250"
    found = [pages.page(range(1_200), str, {"limit": limit}, "/x", None) for limit in ("5000", "0", "")]
    assert [len(each["results"]) for each in found] == [1000, 250, 250]
    assert [each["next"] for each in found] == ["/x?limit=1000&offset=1000"] + ["/x?limit=250&offset=250"] * 2


@pytest.mark.parametrize("path", ["/datasets?limit=7", "/files?limit=50"])
def test_a_walk_over_pages_loses_rows_although_the_count_is_right(lab, ask, path):
    seen, address = [], path
    while address:
        page = ask(address.removeprefix(lab.urls["alyx"])).json()
        seen += [row["url"] for row in page["results"]]
        address = page["next"]
    assert len(seen) == page["count"]
    assert len(set(seen)) < page["count"]


def test_one_page_is_complete_and_in_no_order(lab, rows):
    listed = rows("/datasets?limit=1000")
    assert ids(listed) == set(lab.world.datasets)
    assert [row["url"][-36:] for row in listed] != sorted(lab.world.datasets)
    assert [row["url"][-36:] for row in listed] != list(lab.world.datasets)


def test_sessions_and_names_are_in_order(rows):
    starts = [row["start_time"] for row in rows("/sessions")]
    assert starts == sorted(starts, reverse=True)
    names = [row["name"] for row in rows("/data-repository")]
    assert names == sorted(names)


# --- rows -------------------------------------------------------------------------------------------


def test_a_dataset_has_the_keys_of_the_recordings(lab, ask, rows):
    dataset = lab.world.odd("sha1")
    row = ask(f"/datasets/{dataset.id}").json()
    assert list(row) == DATASET
    assert [list(record) for record in row["file_records"]] == [RECORD] * 4
    (listed,) = rows(f"/datasets?id={dataset.id}")
    keys = list(listed)
    assert keys[keys.index("default_dataset") + 1 :][:2] == ["protected", "public"]
    assert {key: listed[key] for key in row} == row
    assert row["created_datetime"] == dataset.created.isoformat()
    assert "+" not in row["auto_datetime"]


def test_public_and_protected_are_numbers_of_tags_and_in_lists_only(lab, rows):
    released = rows("/datasets?tag=2024_Q3_Sandbox_et_al")
    assert {(row["public"], row["protected"]) for row in released} == {(1, 1)}
    assert {(row["public"], row["protected"]) for row in rows("/datasets?tag=internal_only")} == {(0, 0)}


def test_addresses_are_raw_and_given_even_where_nothing_is(lab, ask):
    revised = next(each for each in lab.world.datasets.values() if each.revision == "2024-01-01")
    url = ask(f"/datasets/{revised.id}").json()["file_records"][0]["data_url"]
    assert url.endswith(
        f"/cortexlab/Subjects/KS005/2019-04-01/001/alf/probe00/#2024-01-01#/spikes.times.{revised.id}.npy"
    )
    nowhere = ask(f"/datasets/{lab.world.odd('nowhere').id}").json()["file_records"]
    assert [(record["exists"], record["data_url"] is None) for record in nowhere] == [(False, i > 1) for i in range(4)]
    private = ask(f"/datasets/{lab.world.odd('unicode').id}").json()["file_records"][1]
    assert private["data_repository_path"] == "data/churchlandlab/Subjects/"
    assert private["data_url"].startswith(
        f"{lab.urls['s3']}/sandbox-brain-private/data/churchlandlab/Subjects/CSHL_003/"
    )
    assert " Größe 日本 1." in private["data_url"]


def test_an_aggregate_has_no_session(lab, ask):
    row = ask(f"/datasets/{lab.world.odd('aggregate').id}").json()
    assert (row["session"], row["experiment_number"], row["collection"]) == (None, None, "cortexlab/KS005")
    (record,) = row["file_records"]
    assert record["relative_path"] == "Subjects/cortexlab/KS005/_ibl_subjectTrials.table.pqt"


def test_nulls_and_empty_texts(lab, ask):
    assert ask(f"/datasets/{lab.world.odd('no-size').id}").json()["file_size"] is None
    assert ask(f"/datasets/{lab.world.odd('no-hash').id}").json()["hash"] == ""
    assert ask(f"/datasets/{lab.world.odd('no-records').id}").json()["file_records"] == []


def test_a_session_has_the_keys_of_the_recordings(lab, ask, rows):
    session = session_of(lab, "multipart")
    row = ask(f"/sessions/{session}").json()
    assert list(row) == SESSION
    assert all(list(each) == LISTED_SESSION for each in rows("/sessions"))
    assert [list(each) for each in row["data_dataset_session_related"]] == [RELATED] * 13


def test_a_session_shows_what_exists_on_servers_and_prefers_names_late_in_the_alphabet(lab, ask):
    shown = {}
    for session in lab.world.sessions:
        shown |= {row["id"]: row for row in ask(f"/sessions/{session}").json()["data_dataset_session_related"]}
    hidden = {lab.world.datasets[key].kind for key in lab.world.datasets.keys() - shown.keys()}
    assert hidden == {"no-records", "nowhere", "only-laptop", "aggregate"}
    assert shown[lab.world.odd("passed").id]["data_url"].startswith(lab.urls["http"])
    assert shown[lab.world.odd("http-absent").id]["data_url"].startswith(lab.urls["s3"])
    revised = next(each for each in lab.world.datasets.values() if each.revision == "2024-06-15")
    assert shown[revised.id]["revision"] == identify("revision", "2024-06-15")
    assert shown[revised.id]["default_revision"] == "True"
    assert {row["default_revision"] for row in shown.values()} == {"True", "False"}


def test_a_base_session_has_no_number_and_no_datasets(ask, rows):
    (base,) = [row for row in rows("/sessions") if row["number"] is None]
    assert ask(f"/sessions/{base['id']}").json()["data_dataset_session_related"] == []
    assert rows(f"/datasets?session={base['id']}") == []


def test_repositories(lab, ask, rows):
    listed = {row["name"]: row for row in rows("/data-repository")}
    assert all(list(row) == REPOSITORY for row in listed.values())
    assert listed["flatiron_cortexlab"]["data_url"] == f"{lab.urls['http']}/cortexlab/Subjects/"
    assert listed["aws_cortexlab"]["json"] == {"bucket_name": "sandbox-brain-public", "region_name": "us-east-1"}
    assert (
        listed["aws_churchlandlab"]["data_url"]
        == f"{lab.urls['s3']}/sandbox-brain-private/data/churchlandlab/Subjects/"
    )
    assert listed["members_cortexlab"]["data_url"].startswith(lab.urls["members"])
    laptop = listed["churchlandlab_SR"]
    assert (laptop["data_url"], laptop["globus_is_personal"]) == (None, True)
    assert laptop["globus_endpoint_id"] in lab.endpoints
    assert ask("/data-repository/churchlandlab_SR").json() == laptop


@pytest.mark.parametrize("path", SMALL)
def test_small_tables_have_the_keys_of_the_recordings(ask, rows, path):
    assert list(ask(f"/{path}").json()) == SMALL[path]
    assert ask(f"/{path}").json() in rows("/" + path.partition("/")[0])


def test_tables_that_the_sandbox_leaves_empty(rows):
    assert rows("/insertions") == rows("/data-notices") == []


# --- filters ----------------------------------------------------------------------------------------


def world_ids(lab, test):
    return {each.id for each in lab.world.datasets.values() if test(each)}


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ("lab=churchlandlab", lambda each: each.lab == "churchlandlab"),
        ("subject=KS014", lambda each: "/KS014/" in each.path and each.session),
        ("date=2019-05-07", lambda each: "/2019-05-07/" in each.path),
        ("name=spikes.times.npy", lambda each: each.name == "spikes.times.npy"),
        ("name=spikes.times", lambda _: False),
        ("collection=alf/probe00", lambda each: each.collection == "alf/probe00"),
        ("dataset_type=camera.raw", lambda each: each.name.endswith(".mp4")),
        ("revision=2024-01-01", lambda each: each.revision == "2024-01-01"),
        ("tag=internal_only", lambda each: each.collection == "raw_behavior_data"),
        ("public=true", lambda each: each.collection == "alf/probe00"),
        ("qc=critical", lambda each: each.kind == "critical"),
        ("qc=30", lambda each: each.kind == "warned"),
        ("file_size=8000000", lambda each: each.kind == "multipart"),
        ("default_dataset=False", lambda each: not each.default),
        ("experiment_number=2", lambda each: "/2020-11-10/002/" in each.path),
        ("created_by=alice&version=2.40.0", lambda _: True),
        ("created_date_gte=2024-07-01T12:59:00", lambda each: each.kind == "aggregate"),
        (
            "created_date_lte=2024-07-01T12:00:00",
            lambda each: each.path.endswith("04-01/001/alf/_ibl_trials.table.pqt"),
        ),
        (f"probe_insertion={NOBODY}", lambda _: False),
        ("content_type=3", lambda _: False),
        ("exists=True", lambda each: each.kind not in ("no-records", "nowhere", "only-laptop")),
        ("exists=banana", lambda _: True),
        ("nosuchfilter=1", lambda _: True),
        ("lab=", lambda _: True),
        ("lab=cortexlab&name=licks.times.npy", lambda each: each.lab == "cortexlab" and each.name == "licks.times.npy"),
    ],
)
def test_filters_of_datasets(lab, rows, query, test):
    assert ids(rows(f"/datasets?{query}")) == world_ids(lab, test)


def test_filters_by_session_and_hash(lab, rows):
    dataset = lab.world.odd("dashes")
    assert ids(rows(f"/datasets?hash={dataset.hash}")) == {dataset.id}
    assert ids(rows(f"/datasets?session={dataset.session}&limit=1000")) == world_ids(
        lab, lambda each: each.session == dataset.session
    )


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ("id__in,['{0}', '{1}']", lambda each, a, b: each.id in (a, b)),
        ("pk__in,('{0}','{1}')", lambda each, a, b: each.id in (a, b)),
        ("id,{0}", lambda each, a, _: each.id == a),
        ("id__gte,40000000-0000-0000-0000-000000000000,id__lt,80000000-0000-0000-0000-000000000000",
         lambda each, *_: "4" <= each.id[0] < "8"),
        ("session__subject__nickname,KS005,collection__icontains,PROBE",
         lambda each, *_: "/KS005/" in each.path and "probe00" in each.collection),
        ("session__lab__name,churchlandlab", lambda each, *_: each.lab == "churchlandlab"),
        ("session__isnull,True", lambda each, *_: each.session is None),
        ("session__number,2", lambda each, *_: "/002/" in each.path),
        ("session__start_time__date,2019-05-07", lambda each, *_: "/2019-05-07/" in each.path),
        ("session__start_time__gte,2020-01-01", lambda each, *_: "/2020-" in each.path),
        ("revision__isnull,False", lambda each, *_: each.revision),
        ("tags__name,internal_only", lambda each, *_: each.collection == "raw_behavior_data"),
        ("tags__public,True", lambda each, *_: each.collection == "alf/probe00"),
        ("file_size,None", lambda each, *_: each.kind == "no-size"),
        ("file_size__range,[8000000,8000001]", lambda each, *_: each.kind == "multipart"),
        ("hash,''", lambda *_: False),
        ("hash__regex,-", lambda each, *_: each.kind == "dashes"),
        ("name__startswith,_ibl_,name__iendswith,.NPY", lambda each, *_: "_ibl_wheel" in each.name),
        ("data_format__name,parquet", lambda each, *_: each.name.endswith(".pqt")),
        ("~file_records__isnull,False", lambda each, *_: not each.records),
        ("~default_dataset,True", lambda each, *_: not each.default),
        ("file_records__data_repository__name,members_cortexlab", lambda each, *_: each.kind == "members"),
        ("file_records__data_repository__globus_is_personal,False,file_records__exists,True",
         lambda each, *_: each.kind not in ("no-records", "nowhere")),
        ("qc__gte,30", lambda each, *_: each.kind in ("critical", "warned")),
    ],
)  # fmt: skip
def test_lookups_of_datasets(lab, ask, query, test):
    two = [lab.world.odd("sha1").id, lab.world.odd("zero-byte").id]
    page = ask("/datasets", params={"django": query.format(*two), "limit": 1000}).json()
    assert ids(page["results"]) == world_ids(lab, lambda each: test(each, *two))


def test_two_conditions_may_be_met_by_two_records(lab, ask, rows):
    """So `django=` finds the file that exists on a laptop only, where `exists=True` does not."""
    chained = "file_records__data_repository__globus_is_personal,False,file_records__exists,True"
    found = ids(ask("/datasets", params={"django": chained}).json()["results"])
    assert found - ids(rows("/datasets?exists=True")) == {lab.world.odd("only-laptop").id}


def test_changes_since_a_moment(lab, rows):
    newest = max(lab.world.datasets.values(), key=lambda each: each.changed)
    since = newest.changed.isoformat()
    assert ids(rows(f"/datasets?django=auto_datetime__gte,{since}")) == {newest.id}
    assert ids(rows(f"/datasets?django=auto_datetime__gt,{since}")) == set()
    assert ids(rows("/datasets?django=auto_datetime__gt,2024-07-01 13:30:00%2B01:00")) == world_ids(
        lab, lambda each: each.changed.isoformat() > "2024-07-01T12:30"
    )


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("subject=ks005", {"2019-04-01", "2019-04-02"}),
        ("lab=churchlandlab&number=1", {"2019-05-07", "2019-05-08"}),
        ("date_range=2019-04-02,2019-05-07", {"2019-04-02", "2019-05-07"}),
        ("datasets=notes.table Größe 日本 1.csv", {"2019-05-07"}),
        ("datasets=licks.times.npy,licks.raw.npy", {"2019-05-07"}),
        ("datasets=licks.times.npy", {"2019-04-01", "2019-04-02", "2019-05-07", "2020-11-10"}),
        ("dataset_types=licks.times,camera.raw&lab=churchlandlab", {"2019-05-07", "2019-05-08"}),
        ("projects=BRAIN&tag=2024_Q3_Sandbox_et_al&users=alice&location=ephys&task_protocol=choiceworld&subject=KS014",
         {"2020-11-10"}),
        ("dataset_qc_lte=PASS&qc=NOT_SET&subject=KS014", {"2020-11-10"}),
        ("qc=FAIL", set()),
        ("django=start_time__date__gte,2020-01-01", {"2020-11-10"}),
        ("django=data_dataset_session_related__name,licks.raw.npy", {"2019-05-07"}),
        ("django=subject__lab__name,churchlandlab,type,Base", {"2019-05-09"}),
    ],
)  # fmt: skip
def test_filters_of_sessions(ask, query, paths):
    assert {row["start_time"][:10] for row in ask(f"/sessions?{query}").json()["results"]} == paths


def test_a_half_date_range_and_bad_dates_are_500(ask):
    assert [ask(f"/sessions?date_range={each}").status_code for each in ("2019-01-01", "a,b")] == [500, 500]
    assert ask("/datasets?date=yesterday").status_code == 500


def test_filters_of_files(lab, rows, ask):
    dataset = lab.world.odd("http-absent")
    records = rows(f"/files?dataset={dataset.id}")
    assert [list(row) for row in records] == [FILE] * 2
    assert {(row["data_repository"], row["exists"]) for row in records} == {
        ("flatiron_cortexlab", False),
        ("aws_cortexlab", True),
    }
    assert len(rows("/files?data_repository=flatiron_cortexlab&exists=False")) == 1
    assert len(rows("/files?globus_is_personal=True&exists=true&lab=churchlandlab&limit=1000")) == 23
    one = ask(records[0]["url"].removeprefix(lab.urls["alyx"])).json()
    assert one == records[0]
    assert rows(f"/files?id={one['url'][-36:]}") == [one]
    as_one_asks = f"dataset,{dataset.id},data_repository__globus_is_personal,False"
    assert len(ask("/files", params={"django": as_one_asks}).json()["results"]) == 2


def test_filters_of_small_tables(rows):
    assert [row["name"] for row in rows("/data-repository?globus_is_personal=true")] == [
        "churchlandlab_SR",
        "cortexlab_SR",
    ]
    assert [row["nickname"] for row in rows("/subjects?lab=cortexlab")] == ["KS005", "KS014"]
    assert [row["name"] for row in rows("/labs?name=cortexlab")] == ["cortexlab"]


# --- writing ----------------------------------------------------------------------------------------


def test_a_file_record_takes_a_note(lab, ask, rows):
    record = rows(f"/files?dataset={lab.world.odd('only-http').id}")[0]
    path = record["url"].removeprefix(lab.urls["alyx"])
    answer = ask(path, "PATCH", json={"json": {"mismatch_hash": True}})
    assert (answer.status_code, answer.json()) == (200, {**record, "json": {"mismatch_hash": True}})
    assert ask(path).json()["json"] == {"mismatch_hash": True}
    assert ask(path, "PATCH", json={"exists": False}).status_code == 403
    assert ask(f"/datasets/{lab.world.odd('sha1').id}", "PATCH", json={"version": "x"}).status_code == 403


def test_downloads_are_counted(lab, ask):
    one, two = lab.world.odd("sha1").id, lab.world.odd("dashes").id
    assert ask("/new-download", "POST", json={"datasets": [one, two]}).json()["count"] == [1, 1]
    answer = ask("/new-download", "POST", json={"datasets": f"{one},{two}", "projects": "x"})
    assert (answer.status_code, list(answer.json()), answer.json()["count"]) == (201, ["download", "count"], [2, 2])
    unknown = ask("/new-download", "POST", json={"datasets": [NOBODY]})
    assert (unknown.status_code, unknown.json()["detail"]) == (500, "Dataset matching query does not exist.")


def test_broken_json_is_400(ask):
    answer = ask("/new-download", "POST", data='{"datasets": ', headers={"Content-Type": "application/json"})
    expected = "JSON parse error - Expecting value: line 1 column 14 (char 13)"
    assert (answer.status_code, answer.json()) == (400, {"detail": expected, "status_code": 400})
    assert ask("/new-download", "POST", data="[]").status_code == 400


# --- schema and tables ------------------------------------------------------------------------------


def test_the_schema_is_readable_without_a_login(ask):
    answer = ask("/api/schema", headers={"Authorization": None, "Accept": "application/vnd.oai.openapi+json"})
    assert answer.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    paths = answer.json()["paths"]
    assert {"/datasets", "/datasets/{id}", "/data-repository/{name}", "/auth-token"} <= paths.keys()
    assert "date_range" in {each["name"] for each in paths["/sessions"]["get"]["parameters"]}


def test_cache_info_counts_what_is_on_flatiron_and_aws(ask):
    about = ask("/cache/info/").json()
    assert list(about) == ["date_created", "origin", "min_api_version", "tables"]
    assert {name: table["nrecs"] for name, table in about["tables"].items()} == {"sessions": 5, "datasets": 55}
    tagged = ask("/cache/info/2024_Q3_Sandbox_et_al/").json()
    assert tagged["database_tags"] == ["2024_Q3_Sandbox_et_al"]
    assert tagged["tables"]["datasets"]["nrecs"] == 16
    unknown = ask("/cache/info/nope/")
    assert (unknown.status_code, unknown.text) == (404, "Tag matching query does not exist.")
    assert ask("/cache/info/with-hyphen/").text == NOT_FOUND
    assert ask("/cache/info/", headers={"Authorization": None}).status_code == 403


def test_the_tables_come_as_a_zip(ask):
    answer = ask("/cache.zip", headers={"Accept": "*/*"})
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        assert sorted(zipped.namelist()) == ["cache_info.json", "datasets.pqt", "sessions.pqt"]
        assert json.loads(zipped.read("cache_info.json")) == ask("/cache/info/").json()


def test_without_pandas_there_are_no_tables(ask, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for path in ("/cache/info/", "/cache.zip"):
        answer = ask(path)
        assert (answer.status_code, answer.json()["status_code"]) == (500, 500)
