"""The clients of streaming protocols over real sockets: the contract, and what each protocol adds to it."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

import pytest
import requests
from one.remote.base import load_client_params as one_load
from one.webclient import AlyxClient as OneAlyxClient

from deployments.sandbox.lab import ACCESS_KEY, MEMBER, MEMBER_PASSWORD, PASSWORD, SECRET_KEY, Lab
from tasks.alyx import AlyxClient
from tasks.clients import DownloadClient, Verdict, client_for, store
from tasks.clients.aws import AwsClient
from tasks.clients.http import LOGIN, SERVER, HttpClient
from tasks.clients.http import PASSWORD as PASSWORD_FIELD
from tests.contract import DATA, ID, MD5, Contract, Route, refused
from tests.loopback import Reply, serve
from tests.pace import FakePace

ROUTES = {
    "http": ("http", "flatiron_cortexlab"),
    "http of another lab": ("http", "flatiron_churchlandlab"),
    "aws unsigned": ("aws", "aws_cortexlab"),
    "aws signed": ("aws", "aws_churchlandlab"),
}
AWS_VARIABLES = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def records(running):
    alyx = requests.Session()
    alyx.headers["Authorization"] = f"Token {running.alyx.accounts.token('alice')}"
    rows = alyx.get(f"{running.urls['alyx']}/data-repository", timeout=10).json()["results"]
    return {row["name"]: row for row in rows}


@pytest.fixture
def lab(running, monkeypatch):
    running.reset()
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture
def nobody(lab, tmp_path, monkeypatch):
    """An account for which nothing is set up."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def routes(running, records):
    return {name: Route(running, protocol, records[repository]) for name, (protocol, repository) in ROUTES.items()}


class TestContract(Contract):
    @pytest.fixture(params=ROUTES)
    def route(self, request, lab, routes):
        return routes[request.param]


# --- HTTP ------------------------------------------------------------------------------------------------


@pytest.fixture
def members(lab, records):
    """The route to the file server that asks for a login, with one file on it."""
    route = Route(lab, "http", records["members_cortexlab"])
    route.lay("alf/a.tsv")
    return route


def fetch(client, target):
    return client.download_file(client.to_address("alf/a.tsv", ID), target, digest=MD5)


def test_the_login_comes_from_ones_file_of_the_host(members, tmp_path):
    assert fetch(members.client_with(), tmp_path / "a.tsv").read_bytes() == DATA
    assert {row.status for row in members.lab.requests.seen(server="members")} == {200}


def test_the_login_comes_from_the_params_store(members, nobody, tmp_path):
    login = {SERVER: members.lab.urls["members"], LOGIN: MEMBER, PASSWORD_FIELD: MEMBER_PASSWORD}
    store.merge_profile("http", "default", {**login, SERVER: "https://elsewhere.example.org"})
    assert refused(fetch, members.client_with(), tmp_path / "a.tsv").code == "unauthorised"
    store.merge_profile("http", "lab", login)
    assert fetch(members.client_with(), tmp_path / "a.tsv").read_bytes() == DATA


def test_the_login_comes_from_given_params(members, nobody, tmp_path):
    client = members.client_with({LOGIN: MEMBER, PASSWORD_FIELD: MEMBER_PASSWORD})
    assert fetch(client, tmp_path / "a.tsv").read_bytes() == DATA


@pytest.mark.parametrize("params", [None, {}, {LOGIN: MEMBER, PASSWORD_FIELD: "wrong"}])
def test_a_refused_login_stops_and_says_what_to_do(members, nobody, params, tmp_path):
    before = members.requests()
    failure = refused(fetch, members.client_with(params), tmp_path / "a.tsv")
    assert (failure.code, failure.verdict) == ("unauthorised", Verdict.STOP_RUN)
    assert "setup" in failure.next_step
    assert members.requests() - before == 1
    assert not (tmp_path / "a.tsv").exists()


def test_a_login_that_was_corrected_meanwhile_is_taken(members, nobody, tmp_path):
    login = {SERVER: members.lab.urls["members"], LOGIN: MEMBER, PASSWORD_FIELD: "old"}
    HttpClient.setup(**login)
    client = members.client_with()
    HttpClient.setup(**{**login, PASSWORD_FIELD: MEMBER_PASSWORD})
    assert fetch(client, tmp_path / "a.tsv").read_bytes() == DATA


def test_a_login_is_never_shown_to_another_server(lab, records, tmp_path):
    """Neither to the server beside it, nor to an address that is none of the repository's."""
    open_route = Route(lab, "http", records["flatiron_cortexlab"])
    open_route.lay("alf/a.tsv")
    fetch(open_route.client_with(), tmp_path / "a.tsv")
    address = open_route.client_with().to_address("alf/a.tsv", ID)
    Route(lab, "http", records["members_cortexlab"]).client.download_file(address, tmp_path / "b.tsv", digest=MD5)
    seen = lab.requests.seen(server="http")
    assert len(seen) == 2
    assert not any("authorization" in row.headers for row in seen)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_login_does_not_follow_a_redirect(members, status, tmp_path):
    with serve(lambda _: Reply(body=DATA)) as other:
        elsewhere = f"{other.url}/stolen.tsv"
        with serve(lambda _: Reply(status, headers={"Location": elsewhere})) as server:
            client = client_for(
                "http", {"data_url": server.url}, {LOGIN: "ana", PASSWORD_FIELD: "secret"}, pace=FakePace()
            )
            fetch(client, tmp_path / "a.tsv")
        assert "Authorization" in server.asked[0].headers
        assert [asked.headers.get("Authorization") for asked in other.asked] == [None]


@pytest.mark.parametrize("root", ["{}", "{}/", "{}/My Data/", "{}/My%20Data", "{}/Größe", "{}/100%/"])
def test_a_root_is_taken_as_it_is_and_mended_where_it_is_no_url(root, tmp_path):
    with serve(lambda _: Reply(body=DATA)) as server:
        client = client_for("http", {"data_url": root.format(server.url)}, {}, pace=FakePace())
        address = client.to_address("alf/a.tsv", ID)
        assert fetch(client, tmp_path / "a.tsv").read_bytes() == DATA
    assert address.isascii()
    assert "%25" not in address.replace("100%25", "")
    assert " " not in address


@pytest.mark.parametrize("root", [None, ""])
def test_a_repository_without_data_url_gives_no_address(root, nobody):
    failure = refused(client_for("http", {"name": "nas", "data_url": root}).to_address, "alf/a.tsv", ID)
    assert (failure.code, failure.verdict) == ("not-addressable", Verdict.NEXT_SOURCE)
    assert "nas" in failure.reason


# --- S3 --------------------------------------------------------------------------------------------------


@pytest.fixture
def private(lab, records):
    route = Route(lab, "aws", records["aws_churchlandlab"])
    route.lay("alf/a.tsv")
    return route


@pytest.fixture
def public(lab, records):
    route = Route(lab, "aws", records["aws_cortexlab"])
    route.lay("alf/a.tsv")
    return route


def with_json(route, **fields):
    """The client for the repository with these fields of its json changed; None takes one out."""
    changed = {**route.record["json"], **fields}
    return route.client_with(json={name: value for name, value in changed.items() if value is not None})


def signatures(lab):
    """The Authorization header of each request to S3, "" for none."""
    return [row.headers.get("authorization", "") for row in lab.requests.seen(server="s3")]


def test_each_repository_has_its_own_bucket_and_keys(public, private, tmp_path):
    fetch(public.client_with(), tmp_path / "a.tsv")
    fetch(private.client_with(), tmp_path / "b.tsv")
    first, second = private.lab.requests.seen(server="s3")
    assert first.path.startswith(f"/{public.record['json']['bucket_name']}/data/cortexlab/Subjects/alf/")
    assert second.path.startswith(f"/{private.record['json']['bucket_name']}/data/churchlandlab/Subjects/alf/")
    unsigned, signed = signatures(private.lab)
    assert unsigned == ""
    assert f"Credential={ACCESS_KEY}/" in signed


def test_each_repository_has_its_own_region(private, tmp_path):
    fetch(with_json(private, region_name="eu-west-2"), tmp_path / "a.tsv")
    (signature,) = signatures(private.lab)
    assert "/eu-west-2/s3/" in signature


def test_keys_of_this_machine_open_a_bucket_that_alyx_has_no_keys_for(private, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    keyless = {"Access key ID": None, "Secret access key": None}
    assert fetch(with_json(private, **keyless), tmp_path / "a.tsv").read_bytes() == DATA


def test_a_public_bucket_never_sees_the_keys_of_this_machine(public, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebodys-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebodys-secret")
    fetch(public.client_with(), tmp_path / "a.tsv")
    assert signatures(public.lab) == [""]


@pytest.mark.parametrize("fields", [{"Secret access key": "wrong/secret"}, {"Access key ID": "NOBODYSKEY0000000000"}])
def test_wrong_keys_stop_the_run_at_once(private, fields, tmp_path):
    failure = refused(fetch, with_json(private, **fields), tmp_path / "a.tsv")
    assert (failure.code, failure.verdict) == ("unauthorised", Verdict.STOP_RUN)
    assert private.requests() == 1
    assert "wrong/secret" not in str(failure)
    assert "X-Amz" not in str(failure)


def test_expired_keys_stop_the_run(private, tmp_path):
    private.lab.s3.gate.expired.add(ACCESS_KEY)
    assert refused(fetch, private.client_with(), tmp_path / "a.tsv").verdict is Verdict.STOP_RUN


def test_a_private_bucket_without_keys_is_forbidden(private, tmp_path):
    keyless = with_json(private, **{"Access key ID": None, "Secret access key": None})
    failure = refused(fetch, keyless, tmp_path / "a.tsv")
    assert (failure.code, failure.verdict) == ("forbidden", Verdict.NEXT_SOURCE)


def test_a_bucket_that_does_not_exist(public, tmp_path):
    failure = refused(fetch, with_json(public, bucket_name="sandbox-public-nowhere"), tmp_path / "a.tsv")
    assert (failure.code, failure.verdict) == ("not-found", Verdict.NEXT_SOURCE)


def host(client):
    return urlsplit(client.request(client.to_address("alf/a.tsv", ID)).url).netloc


def test_the_endpoint_comes_from_the_environment(public, monkeypatch):
    assert host(public.client_with()) == urlsplit(public.lab.urls["s3"]).netloc
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert host(public.client_with()).endswith("amazonaws.com")


def test_the_endpoint_comes_from_the_profile(public, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store.merge_profile("aws", "default", {"endpoint_url": public.lab.urls["s3"]})
    assert host(public.client_with()) == urlsplit(public.lab.urls["s3"]).netloc


@pytest.mark.parametrize("field", ["not json", "null", '"a string"', "[]", "{}"])
def test_a_repository_without_a_bucket_gives_no_address(public, field):
    value = json.loads(field) if field != "not json" else field
    failure = refused(public.client_with(json=value).to_address, "alf/a.tsv", ID)
    assert (failure.code, failure.verdict) == ("not-addressable", Verdict.NEXT_SOURCE)
    assert "aws_cortexlab" in failure.reason


@pytest.mark.parametrize(
    "fields",
    [
        {"region_name": "no region"},
        {"region_name": 7},
        {"Access key ID": "alone"},
        {"Secret access key": "alone"},
        {"bucket_name": "no bucket, public"},
    ],
)
def test_what_alyx_has_wrong_costs_this_source_only(public, fields, tmp_path):
    def use():
        return fetch(with_json(public, **fields), tmp_path / "a.tsv")

    failure = refused(use)
    assert (failure.code, failure.verdict) == ("not-addressable", Verdict.NEXT_SOURCE)


@pytest.mark.parametrize(
    ("variable", "profile"),
    [
        (("AWS_PROFILE", "nolab"), {}),
        (("AWS_ENDPOINT_URL_S3", "no address"), {}),
        ((), {"profile_name": "nolab"}),
        ((), {"endpoint_url": "no address"}),
    ],
)
def test_what_is_wrong_on_this_machine_is_told_at_once(public, nobody, variable, profile, monkeypatch):
    if variable:
        monkeypatch.setenv(*variable)
    failure = refused(public.client_with, profile)
    assert (failure.code, failure.verdict) == ("bad-params", Verdict.STOP_RUN)
    assert "nolab" in failure.reason or "no address" in failure.reason


# --- profiles --------------------------------------------------------------------------------------------


class Silent:
    """Standard input of a program that nobody sits before; reading it is the failure."""

    closed = False

    def isatty(self):
        return False

    def readline(self):
        raise AssertionError("it prompts")

    read = readline


@pytest.fixture
def headless(nobody, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Silent())
    return nobody


def test_setup_writes_the_login_of_a_file_server(headless):
    written = HttpClient.setup("lab", **{SERVER: "https://data.example.org", LOGIN: "ana", PASSWORD_FIELD: "s3cret"})
    assert written == {SERVER: "https://data.example.org", LOGIN: "ana", PASSWORD_FIELD: "s3cret"}
    assert one_load("http.lab").as_dict() == written
    assert (headless / ".one" / ".remote").stat().st_mode & 0o777 == 0o600


def test_setup_writes_the_settings_of_s3(headless):
    written = AwsClient.setup(region_name="eu-west-2")
    assert written == {"profile_name": None, "region_name": "eu-west-2", "endpoint_url": None}
    assert one_load("aws.default").as_dict() == written


def test_setup_without_what_it_needs_names_it_and_writes_nothing(headless):
    failure = refused(HttpClient.setup, **{LOGIN: "ana"})
    assert failure.code == "not-configured"
    assert SERVER in failure.reason
    assert not (headless / ".one" / ".remote").exists()


# --- repositories ----------------------------------------------------------------------------------------


@pytest.fixture
def one_alyx(lab):
    return OneAlyxClient(base_url=lab.urls["alyx"], username="alice", password=PASSWORD, silent=True, cache_rest=None)


NAMES = ["flatiron_cortexlab", "aws_cortexlab", "aws_churchlandlab", "cortexlab_SR", "members_cortexlab"]


@pytest.mark.parametrize("name", NAMES)
def test_a_repository_is_the_same_from_our_alyx_client_and_from_ones(lab, one_alyx, records, name):
    ours, theirs = (DownloadClient.repo_from_alyx(name, alyx) for alyx in (AlyxClient(), one_alyx))
    assert ours == theirs == records[name]


def test_any_client_finds_its_repository(lab, one_alyx, tmp_path):
    record = HttpClient.repo_from_alyx("flatiron_cortexlab", one_alyx)
    route = Route(lab, "http", record)
    route.lay("alf/a.tsv")
    assert fetch(route.client_with(), tmp_path / "a.tsv").read_bytes() == DATA


@pytest.mark.parametrize(
    "name",
    ["nowhere", "x/aws_cortexlab", "aws_cortexlab?x=1", "aws_cortexlab#", "../labs", "Größe", "a b", "%61ws_cortexlab"],
)
def test_an_unknown_name_is_no_other_repository(lab, name):
    failure = refused(DownloadClient.repo_from_alyx, name, AlyxClient())
    assert failure.code == "alyx-not-found"


@pytest.mark.parametrize("name", [None, "", "/", " "])
def test_no_name_is_told_without_a_request(lab, name):
    assert refused(DownloadClient.repo_from_alyx, name, AlyxClient()).code == "alyx-bad-request"
    assert lab.requests.count(server="alyx") == 0


def test_ones_own_answers_to_what_is_unknown_stay_ones(lab, one_alyx):
    assert DownloadClient.repo_from_alyx(None, one_alyx) is None
    with pytest.raises(requests.HTTPError):
        DownloadClient.repo_from_alyx("nowhere", one_alyx)
