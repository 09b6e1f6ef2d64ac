"""The Globus clients as everybody uses clients: an address in, a proven file out."""

from __future__ import annotations

import hashlib
import json
import os
from types import SimpleNamespace

import pytest

from deployments.sandbox.globus import TRANSFER_SCOPE
from tasks.clients import client_for
from tasks.clients.globus.batches import Item
from tasks.clients.globus.client import GlobusClient
from tasks.clients.globus.folders import below
from tasks.clients.globus.https import GlobusHttpsClient
from tasks.clients.globus.receiving import adopt
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.publish import publish
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import DownloadError

pytest_plugins = ["globus_lab"]

DATA = b"\x93NUMPY" + os.urandom(5000)
MD5 = hashlib.md5(DATA).hexdigest()
DATASET = "0b305d2f-04dc-4ef1-be1c-db18931391a1"
SECRET = "a secret"


@pytest.fixture
def record(lab):
    lab.write(f"lab/S1/alf/#2024-01-01#/a.{DATASET}.npy", DATA)
    lab.emulator.tokens(clients=[{"client": lab.STORE, "secret": SECRET}])
    lab.emulator.clear_log()
    return {"name": "store", "globus_endpoint_id": lab.STORE, "globus_path": "/lab/", "globus_is_personal": False}


@pytest.fixture
def params(lab):
    account = {"client_id": lab.STORE, "client_secret": SECRET}
    return {"local_endpoint": lab.LOCAL, "local_path": str(lab.root.parent), **account}


@pytest.fixture
def client(lab, record, params):
    return client_for("globus", record, params, pace=lab.pace)


@pytest.fixture
def address(client):
    return client.to_address("S1/alf/#2024-01-01#/a.npy", DATASET)


def code_of(call, *arguments, **keywords):
    with pytest.raises(DownloadError) as caught:
        call(*arguments, **keywords)
    return caught.value.code


def test_a_file_is_moved_proven_and_published_and_nothing_is_left_behind(lab, client, address):
    target = lab.root / "deep" / "a.npy"
    assert client.download_file(address, target, size=len(DATA), digest=MD5) == target
    assert target.read_bytes() == DATA
    assert [path.name for path in lab.root.rglob("*")] == ["deep", "a.npy"]
    assert client.capabilities.managed


def test_a_mirrored_tree_keeps_what_is_ours(lab, client, address):
    (lab.root / OURS).mkdir()
    (lab.root / OURS / "ledger").touch()
    client.download_file(address, lab.root / "a.npy", size=len(DATA), digest=MD5)
    assert (lab.root / OURS / "ledger").exists()
    assert not [path for path in (lab.root / OURS).rglob("*") if path.name not in ("ledger", "partials", "globus")]


@pytest.mark.parametrize(
    ("registered", "code"),
    [({"digest": "0" * 32}, "digest-mismatch"), ({"size": 5}, "size-mismatch"), ({"digest": "what"}, "bad-digest")],
)
def test_a_file_that_is_not_what_alyx_registers_is_not_published(lab, client, address, registered, code):
    target = lab.root / "a.npy"
    target.write_bytes(b"the old good file")
    assert code_of(client.download_file, address, target, **registered) == code
    assert target.read_bytes() == b"the old good file"


def test_a_file_that_is_not_there_is_not_found(lab, client):
    missing = client.to_address("S1/none.npy", DATASET)
    assert code_of(client.download_file, missing, lab.root / "a.npy") == "not-found"
    assert not (lab.root / "a.npy").exists()


def test_files_of_several_repositories_travel_in_one_call(lab, client, record):
    other = GlobusClient({**record, "name": "other", "globus_path": "/"}, {})
    lab.write(f"b.{DATASET}.npy", DATA)
    wanted = {
        "x/a.npy": client.to_address("S1/alf/#2024-01-01#/a.npy", DATASET),
        "x/b.npy": other.to_address("b.npy", DATASET),
    }
    tree, expected, results = Tree(lab.root), Expected.of(len(DATA), MD5), []
    tree.prepare()
    client.move([Item(key, address, len(DATA), MD5) for key, address in wanted.items()], tree, results.extend)
    partials = Partials(tree.partials, tree.disk, lab.pace)
    publish(tree, [(adopt(result, partials, expected, result.item.key), result.item.key) for result in results])
    assert {key: (lab.root / key).read_bytes() for key in wanted} == dict.fromkeys(wanted, DATA)
    assert len(lab.tasks()) == 1


def test_a_client_reads_its_profile_from_the_store_when_it_needs_it(lab, record, params, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    client = GlobusClient(record, pace=lab.pace)
    address = client.to_address("S1/alf/#2024-01-01#/a.npy", DATASET)
    (tmp_path / ".one").mkdir()
    (tmp_path / ".one" / ".remote").write_text(json.dumps({"globus": {"default": params}}))
    assert client.download_file(address, lab.root / "a.npy", size=len(DATA), digest=MD5).exists()


def test_without_a_local_endpoint_nothing_is_submitted(lab, record, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    client = GlobusClient(record, {"client_id": lab.STORE, "client_secret": SECRET}, pace=lab.pace)
    assert code_of(client.download_file, f"globus://{lab.STORE}/lab/a", lab.root / "a") == "not-configured"
    assert lab.emulator.requests() == []


# --- folders ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(lab):
    """A folder with files in it and below it; one of them has a name that is no safe place here."""
    for name in ("a.npy", "#2024-01-01#/two words.npy", "deep/er/empty", "deep/nul.txt"):
        lab.write(f"lab/S2/{name}", b"" if name.endswith("empty") else DATA)
    return f"globus://{lab.STORE}/lab/S2"


def test_a_folder_is_listed_without_moving_anything(lab, client, folder):
    found = {file.path: file for file in client.list_folder(folder)}
    assert {path: file.size for path, file in found.items()} == {
        "a.npy": len(DATA),
        "#2024-01-01#/two words.npy": len(DATA),
        "deep/er/empty": 0,
        "deep/nul.txt": len(DATA),
    }
    assert found["#2024-01-01#/two words.npy"].address == f"{folder}/%232024-01-01%23/two%20words.npy"
    assert lab.submissions() == 0
    assert list(lab.root.iterdir()) == []


def test_a_folder_comes_whole_and_what_cannot_come_says_why(lab, client, folder):
    lab.emulator.path_fault("/lab/S2/a.npy", "PERMISSION_DENIED", op="scan", times=None)
    fates = client.download_folder(f"{folder}/", lab.root / "S2")
    failures = {path: fate.code for path, fate in fates.items() if isinstance(fate, DownloadError)}
    assert failures == {"deep/nul.txt": "bad-path", "a.npy": "globus-forbidden"}
    assert (lab.root / "S2/#2024-01-01#/two words.npy").read_bytes() == DATA
    assert (lab.root / "S2/deep/er/empty").read_bytes() == b""
    assert not (lab.root / "S2" / OURS).exists()


def test_a_folder_that_is_not_there_is_not_found(lab, client):
    assert code_of(client.list_folder, f"globus://{lab.STORE}/lab/none") == "not-found"
    assert code_of(client.download_folder, f"globus://{lab.STORE}/lab/none", lab.root / "x") == "not-found"
    assert list(lab.root.iterdir()) == []


@pytest.mark.parametrize(
    "entry",
    [
        {"name": ".", "type": "dir"},
        {"name": "..", "type": "dir"},
        {"name": "", "type": "dir"},
        {"name": "again", "type": "dir"},  # below each folder another one, without end
        {"name": "a/../../b", "type": "file", "size": 1},
        {"name": None, "type": "file", "size": 1},
        {"type": "file"},
        {"name": "a", "type": "file", "size": "much"},
        {"name": "a", "type": "file", "size": -1},
    ],
    ids=str,
)
def test_a_listing_that_no_file_system_has_is_one_error(entry):
    service = SimpleNamespace(entries=lambda *_: [entry])
    assert code_of(lambda: list(below(service, "globus://0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368/lab/S2"))) == "protocol"


# --- over HTTPS -----------------------------------------------------------------------------------------


@pytest.fixture
def https(lab, record, params):
    lab.emulator.endpoint(lab.STORE, https=True)
    return GlobusHttpsClient(record, params)


def test_a_service_account_reads_a_collection_over_https(lab, https, address):
    target = https.download_file(address, lab.root / "a.npy", size=len(DATA), digest=MD5)
    assert target.read_bytes() == DATA
    https.download_file(address, lab.root / "b.npy", size=len(DATA), digest=MD5)
    asked = [row["request"].split()[1] for row in lab.emulator.requests()]
    assert [path for path in asked if not path.startswith("/https/")] == [
        "/v2/oauth2/token",
        f"/v0.10/endpoint/{lab.STORE}",
        "/v2/oauth2/token",
    ]


def test_a_mapped_collection_is_read_with_its_consent(lab, https, address):
    lab.emulator.endpoint(lab.STORE, entity_type="GCSv5_mapped_collection", data_access=True)
    assert https.download_file(address, lab.root / "a.npy", size=len(DATA), digest=MD5).exists()


def test_a_public_collection_needs_nobody(lab, record, address, tmp_path, monkeypatch):
    lab.emulator.endpoint(lab.STORE, https=True, anonymous=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    lab.emulator.tokens(refresh=[{"token": "Rg", "client": "one", "scope": TRANSFER_SCOPE}])
    (tmp_path / ".one").mkdir()
    profile = {"GLOBUS_CLIENT_ID": "one", "refresh_token": "Rg", "access_token": None}
    (tmp_path / ".one" / ".remote").write_text(json.dumps({"globus": {"default": profile}}))
    https = GlobusHttpsClient(record)
    assert https.download_file(address, lab.root / "a.npy", size=len(DATA), digest=MD5).exists()
    lab.emulator.endpoint(lab.STORE, anonymous=False)
    assert code_of(https.download_file, address, lab.root / "b.npy", size=len(DATA), digest=MD5) == "not-data"


def test_a_collection_without_a_server_has_no_such_way(lab, record, params, address):
    https = GlobusHttpsClient(record, params)
    assert code_of(https.download_file, address, lab.root / "a.npy") == "not-addressable"


def test_the_emulator_s_secrets_do_not_show(https, client):
    assert SECRET not in repr(vars(https)["_app"]) + repr(client) + repr(https)
