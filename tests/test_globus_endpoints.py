"""Globus addresses, endpoints of any kind, and this machine's own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.clients.globus.client import GlobusClient
from tasks.clients.globus.endpoints import (
    Endpoint,
    endpoints_from_alyx,
    find_endpoint,
    globus_path,
    parse_address,
)
from tasks.clients.globus.local import LocalEndpoint, installed_endpoint, writable_paths
from tasks.clients.verdicts import DownloadError

DATASET = "0b305d2f-04dc-4ef1-be1c-db18931391a1"
OLD = "0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"
NEW = "aaaaaaaa-0000-4000-8000-000000000001"
SERVER = {
    "name": "flatiron_lab",
    "globus_endpoint_id": NEW,
    "globus_path": "/lab/Subjects/",
    "globus_is_personal": False,
}
PERSONAL = {"name": "lab_SR", "globus_endpoint_id": OLD, "globus_path": "/mnt/s0/Data/", "globus_is_personal": True}
BUCKET = {"name": "aws_lab", "globus_endpoint_id": None, "globus_path": "data/"}
PATH = "KS005/2019-04-01/001/alf/#2024-05-06#/spikes times.npy"


def code_of(call, *arguments):
    with pytest.raises(DownloadError) as caught:
        call(*arguments)
    return caught.value.code


def test_server_names_carry_the_uuid_and_personal_ones_do_not():
    server, personal = GlobusClient(SERVER), GlobusClient(PERSONAL)
    folder = "KS005/2019-04-01/001/alf/%232024-05-06%23"
    assert server.to_address(PATH, DATASET) == f"globus://{NEW}/lab/Subjects/{folder}/spikes%20times.{DATASET}.npy"
    assert personal.to_address(PATH, DATASET) == f"globus://{OLD}/mnt/s0/Data/{folder}/spikes%20times.npy"
    assert parse_address(server.to_address("a.npy")) == (NEW, "/lab/Subjects/a.npy")


@settings(deadline=None)
@given(st.lists(st.text("aé %#?&+/~ü", min_size=1).filter(lambda part: "/" not in part), min_size=1))
def test_an_address_names_exactly_the_registered_path(parts):
    path = "/".join(f"x{part}" for part in parts)
    assert parse_address(Endpoint(NEW, "/~/root").address(path, None)) == (NEW, f"/~/root/{path}")


@pytest.mark.parametrize("path", ["/etc/passwd", "a/../../b", "a\\b", ""])
def test_hostile_paths_have_no_address(path):
    assert code_of(GlobusClient(SERVER).to_address, path, DATASET) == "bad-path"


@pytest.mark.parametrize("record", [BUCKET, {**SERVER, "globus_endpoint_id": "simons#ibl"}, {}])
def test_a_repository_without_an_endpoint_has_no_address(record):
    assert code_of(GlobusClient(record).to_address, PATH) == "not-addressable"


@pytest.mark.parametrize("address", ["http://host/a", f"globus://{NEW}", "globus://nobody/a", ""])
def test_what_is_no_address_is_refused(address):
    assert code_of(parse_address, address) == "not-addressable"


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/mnt/s0/", "/mnt/s0/"),
        ("", "/"),
        (None, "/"),
        ("data/lab", "/~/data/lab"),
        ("~/data", "/~/data"),
        ("E:\\Data", "/E/Data"),
    ],
)
def test_a_registered_root_becomes_one_of_globus(path, root):
    assert Endpoint.of_record({**SERVER, "globus_path": path}).root == root


@pytest.mark.parametrize(
    "uuid",
    [OLD, NEW, "aaaaaaaa-0000-3000-8000-000000000001", "aaaaaaaa-0000-5000-8000-000000000001", OLD.upper(), UUID(OLD)],
)
def test_an_endpoint_may_have_a_uuid_of_any_version(uuid):
    assert Endpoint.of_record({**SERVER, "globus_endpoint_id": uuid}).id == str(uuid).lower()
    assert find_endpoint([], uuid).id == str(uuid).lower()


class Alyx:
    def rest(self, url, action, *_args, **_kwargs):
        assert (url, action) == ("data-repository", "list")
        return [
            SERVER,
            PERSONAL,
            BUCKET,
            {**SERVER, "name": "flatiron_other", "globus_path": "/other/"},
            {"name": "none"},
        ]


def test_endpoints_are_found_by_label_and_by_uuid():
    known = endpoints_from_alyx(Alyx())
    assert [endpoint.label for endpoint in known] == ["flatiron_lab", "lab_SR", "flatiron_other"]
    assert find_endpoint(known, "flatiron_other").root == "/other/"
    assert find_endpoint(known, UUID(OLD)).label == "lab_SR"
    with pytest.raises(DownloadError, match="name one of flatiron_lab, flatiron_other"):
        find_endpoint(known, NEW)
    with pytest.raises(DownloadError, match="'nobody'"):
        find_endpoint(known, "nobody")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (PureWindowsPath("E:\\FlatIron\\integration"), "/E/FlatIron/integration"),
        (PureWindowsPath("C:\\"), "/C"),
        (PurePosixPath("/mnt/s0/Data"), "/mnt/s0/Data"),
    ],
)
def test_a_path_of_any_system_is_written_as_globus_writes_it(path, shown):
    assert globus_path(path) == shown


@pytest.mark.parametrize(
    "path", [PureWindowsPath("\\\\server\\share\\x"), PurePosixPath("data"), PureWindowsPath("data")]
)
def test_a_path_that_globus_cannot_name_is_refused(path):
    assert code_of(globus_path, path) == "not-addressable"


def install(home, *lines):
    place = home / ".globusonline" / "lta"
    place.mkdir(parents=True)
    (place / "client-id.txt").write_text(OLD + "\n")
    (place / "config-paths").write_text("\n".join(lines) + "\n")


def test_an_installed_globus_connect_personal_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (installed_endpoint(), writable_paths()) == (None, [])
    assert code_of(LocalEndpoint.of_params, {}) == "not-configured"
    install(tmp_path, "~/,0,1", "/mnt/read only,0,0", '"/mnt/a,b",0,1', "relative,0,1", "", "/mnt/data,1,1")
    assert installed_endpoint() == OLD
    assert writable_paths() == [tmp_path, Path("/mnt/a,b"), Path("/mnt/data")]
    assert LocalEndpoint.of_params({}).path_of(tmp_path / "x") == f"{tmp_path}/x"


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"local_path": "/data"}, "/data/a/b"),
        ({"local_path": "/data", "local_endpoint_path": "/"}, "/a/b"),
        ({"local_path": None}, "/data/a/b"),
        ({"local_path": "/data/a", "local_endpoint_path": "/~/mirror/"}, "/~/mirror/b"),
    ],
)
def test_a_local_path_is_called_as_the_endpoint_shows_it(params, shown):
    local = LocalEndpoint.of_params({"local_endpoint": NEW, **params})
    assert (local.id, local.path_of(Path("/data/a/b"))) == (NEW, shown)


def test_a_local_path_that_the_endpoint_does_not_show_is_refused():
    local = LocalEndpoint.of_params({"local_endpoint": NEW, "local_path": "/data"})
    assert code_of(local.path_of, Path("/database/x")) == "globus-destination"
