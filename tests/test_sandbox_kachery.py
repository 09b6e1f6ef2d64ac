"""The gateway of the sandbox: honest answers of both generations, refusals word for word, URLs that run out.

The proof that it is like the real ones: the official clients, unmodified, download from it.
"""

import hashlib
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kachery_official import Official, official_python

from deployments.sandbox.faults import Drop, FaultServer, Good, Status
from deployments.sandbox.kachery import Gateway, Zone

DATA = bytes(range(256)) * 400
SHA1 = hashlib.sha1(DATA).hexdigest()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CLIENT = KEY.public_key().public_bytes_raw().hex()


class Clock:
    def __init__(self):
        self.seconds = 1_800_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gateway(clock):
    with Gateway(now=clock, url_seconds=3600, cache_seconds=600) as running:
        running.put("default", DATA)
        running.users["alice's key"], running.users["bob's key"] = "alice", "bob"
        running.clients[CLIENT] = "alice"
        running.zones["private"] = Zone("private", public=False, readers={"alice"}, directory="labs/one")
        running.put("private", DATA)
        yield running


def ask(gateway, key=None, **changes):
    question = {"type": "findFileRequest", "hashAlg": "sha1", "hash": SHA1, "zoneName": "default", **changes}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.post(f"{gateway.url}/api/findFile", json=question, headers=headers, timeout=10)


def ask_the_old_way(gateway, clock, signer=None, **changes):
    payload = {"type": "findFile", "hashAlg": "sha1", "hash": SHA1, "zone": "default", "timestamp": clock() * 1000}
    request = {"payload": {**payload, **changes}}
    if signer:
        text = json.dumps(request["payload"], sort_keys=True, separators=(",", ":"))
        request["fromClientId"] = CLIENT
        request["signature"] = signer.sign(hashlib.sha1(text.encode()).digest()).hex()
    return requests.post(f"{gateway.url}/api/gateway", json=request, timeout=10)


# --- the new generation -------------------------------------------------------------------------------


def test_a_file_is_found_with_a_url_that_serves_its_bytes_and_ranges(gateway):
    said = ask(gateway).json()
    assert {**said, "url": ""} == {
        "type": "findFileResponse",
        "found": True,
        "url": "",
        "size": len(DATA),
        "bucketUri": "r2://sandbox",
        "objectKey": f"sha1/{SHA1[:2]}/{SHA1[2:4]}/{SHA1[4:6]}/{SHA1}",
    }
    assert requests.get(said["url"], timeout=10).content == DATA
    part = requests.get(said["url"], headers={"Range": "bytes=1000-"}, timeout=10)
    assert (part.status_code, part.content) == (206, DATA[1000:])
    assert parse_qs(urlsplit(said["url"]).query)["X-Amz-Expires"] == ["3600"]


def test_a_file_that_is_not_there_is_no_error(gateway):
    answer = ask(gateway, hash="0" * 40)
    assert (answer.status_code, answer.json()) == (200, {"type": "findFileResponse", "found": False})
    gateway.remove("default", SHA1)
    assert ask(gateway).json()["found"] is False


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hash": "xyz"}, "Invalid hash"),
        ({"hash": SHA1.upper()}, "Invalid hash"),
        ({"hashAlg": "md5"}, "Invalid hash"),
        ({"zoneName": "nowhere"}, "Zone not found: nowhere"),
        ({"type": "findFile"}, "Invalid request"),
        ({"more": 1}, "Invalid request"),
    ],
)
def test_a_question_that_makes_no_sense_is_a_400(gateway, changes, words):
    answer = ask(gateway, **changes)
    assert (answer.status_code, answer.json()) == (400, {"error": words})


@pytest.mark.parametrize(
    ("zone", "key", "status"),
    [
        ("default", None, 200),
        ("default", "bob's key", 200),
        ("default", "nobody's key", 401),
        ("private", None, 401),
        ("private", "nobody's key", 401),
        ("private", "bob's key", 401),
        ("private", "alice's key", 200),
    ],
)
def test_only_its_readers_read_a_private_zone(gateway, zone, key, status):
    answer = ask(gateway, key, zoneName=zone)
    assert answer.status_code == status
    assert answer.json().get("objectKey", "").startswith("labs/one/sha1/") == (zone == "private" and status == 200)


# --- the old generation -------------------------------------------------------------------------------


def test_the_old_way_finds_the_same_file(gateway, clock):
    old, new = ask_the_old_way(gateway, clock).json(), ask(gateway).json()
    assert old["type"] == "findFile"
    assert {**old, "type": "", "cacheHit": True} == {**new, "type": ""}
    assert ask_the_old_way(gateway, clock, hash="0" * 40).json() == {"type": "findFile", "found": False}


@pytest.mark.parametrize(
    ("changes", "signed", "status", "words"),
    [
        ({"hashAlg": "md5"}, False, 400, "Invalid request"),
        ({"timestamp": 1_800_000_031_000}, False, 500, "FUNCTION_INVOCATION_FAILED"),
        ({"timestamp": 1_799_999_971_000}, False, 200, ""),
        ({"zone": "nowhere"}, False, 500, "Error getting metadata for object"),
        ({"zone": "private"}, False, 500, "No verified client ID or user ID"),
        ({"zone": "private"}, True, 200, ""),
    ],
)
def test_the_old_way_says_500_to_what_it_dislikes(gateway, clock, changes, signed, status, words):
    answer = ask_the_old_way(gateway, clock, KEY if signed else None, **changes)
    assert answer.status_code == status
    assert words in answer.text


def test_the_old_way_looks_at_signatures_and_users(gateway, clock):
    other = Ed25519PrivateKey.generate()
    assert "Invalid signature" in ask_the_old_way(gateway, clock, other).text
    gateway.clients[CLIENT] = "bob"
    assert "User bob is not authorized" in ask_the_old_way(gateway, clock, KEY, zone="private").text
    gateway.clients.clear()
    assert "Client not registered" in ask_the_old_way(gateway, clock, KEY, zone="private").text


# --- URLs, faults, start and stop ---------------------------------------------------------------------


def test_a_url_is_answered_again_for_a_while_and_runs_out_later(gateway, clock):
    first = ask(gateway).json()
    clock.seconds += 599
    again = ask(gateway).json()
    assert (again["url"], again["cacheHit"]) == (first["url"], True)
    clock.seconds += 2
    fresh = ask(gateway).json()["url"]
    assert fresh != first["url"]
    clock.seconds += 3000
    refused = requests.get(first["url"], timeout=10)
    assert (refused.status_code, "AccessDenied" in refused.text) == (403, True)
    assert requests.get(fresh, timeout=10).status_code == 200


def test_a_url_without_its_signature_is_refused(gateway):
    url = ask(gateway).json()["url"]
    assert requests.get(url.partition("?")[0], timeout=10).status_code == 403
    assert requests.get(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"), timeout=10).status_code == 403


def test_faults_of_the_bucket_and_of_the_gateway_itself(gateway):
    sha1 = gateway.put("default", DATA, [Drop(100), Good()])
    url = ask(gateway, hash=sha1).json()["url"]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=10)
    assert requests.get(url, timeout=10).content == DATA
    gateway.play(Status(503, retry_after="7"))
    busy = ask(gateway)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "7")
    assert ask(gateway).status_code == 200
    assert [hit.status for hit in gateway.hits()] == [200, 503, 200]


def test_another_server_may_be_the_bucket(clock):
    with FaultServer() as bucket, Gateway(bucket, now=clock) as gateway:
        bucket.put("/lab/a b#c.npy", DATA)
        sha1 = gateway.adopt("lab", bucket.s3_url("/lab/a b#c.npy"), DATA)
        said = ask(gateway, zoneName="lab", hash=sha1).json()
        assert (sha1, said["objectKey"]) == (SHA1, "lab/a b#c.npy")
        assert requests.get(said["url"], timeout=10).content == DATA
        assert len(bucket.hits("/lab/a b#c.npy")) == 1


def test_a_gateway_that_is_shut_refuses_and_comes_back_at_its_port(gateway):
    url, port = gateway.url, gateway.port
    gateway.shut()
    with pytest.raises(requests.ConnectionError):
        ask(gateway)
    gateway.open()
    assert (gateway.url, gateway.port) == (url, port)
    assert ask(gateway).status_code == 200


# --- the official clients -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def python():
    return official_python()


@pytest.fixture
def open_now():
    with Gateway(now=time.time) as running:
        running.put("default", DATA)
        running.users["alices-key"] = "alice"
        running.clients[CLIENT] = "alice"
        running.zones["private"] = Zone("private", public=False, readers={"alice"})
        running.put("private", DATA)
        yield running


@pytest.fixture(params=["kachery", "kachery_cloud"])
def official(request, python, open_now, tmp_path):
    identity = {"KACHERY_CLOUD_CLIENT_ID": CLIENT, "KACHERY_CLOUD_PRIVATE_KEY": KEY.private_bytes_raw().hex()}
    environment = {"KACHERY_BASE_URL": open_now.url, "KACHERY_GATEWAY_URL": open_now.url, **identity}
    return Official(python, request.param, tmp_path, environment)


@pytest.mark.slow
def test_the_official_clients_download_from_it(official, open_now):
    said = official.load(f"sha1://{SHA1}?label=a.npy")
    assert said == {"path": str(official.cached(SHA1))}
    assert official.cached(SHA1).read_bytes() == DATA
    assert official.load(f"sha1://{'0' * 40}") == {"path": None}
    assert [hit.path for hit in open_now.hits()] == [open_now.hits()[0].path] * 2


@pytest.mark.slow
def test_the_official_clients_read_a_private_zone_with_their_key(official, open_now):
    official.environment["KACHERY_ZONE"] = "private"
    keyed = {**official.environment, "KACHERY_API_KEY": "alices-key"}
    assert Official(official.python, official.module, official.cache, keyed).load(f"sha1://{SHA1}")["path"]
    official.cached(SHA1).unlink()
    open_now.users.clear()
    open_now.clients.clear()
    refused = official.load(f"sha1://{SHA1}")["error"]
    assert ("401" in refused and "API token must be provided" in refused) or "Client not registered" in refused


@pytest.mark.slow
def test_the_official_client_reads_todays_addresses(python, open_now, tmp_path):
    official = Official(python, "kachery", tmp_path, {"KACHERY_BASE_URL": open_now.url})
    assert official.load(f"kachery:default:sha1:{SHA1}:a.npy") == {"path": str(official.cached(SHA1))}
    assert "Zone not found" in official.load(f"kachery:nowhere:sha1:{'1' * 40}")["error"]
