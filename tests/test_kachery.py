"""The kachery client: addresses, gateways of both generations, proof by SHA-1, the official clients' files."""

import hashlib
import itertools
import json
import logging
import os
import random
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kachery_official import Official, official_python
from one.remote.base import load_client_params as one_load
from pace import FakePace

from deployments.sandbox.faults import (
    Answer,
    Cut,
    Drip,
    Drop,
    Flip,
    Garbage,
    Good,
    Html,
    Redirect,
    Silent,
    Sized,
    Stall,
    Status,
)
from deployments.sandbox.faults.replies import document
from deployments.sandbox.kachery import Gateway, Zone
from tasks.clients import DownloadError, Verdict, WireOptions, client_class, client_for, store
from tasks.clients.kachery import KacheryClient
from tasks.clients.partials import Partials
from tasks.clients.patience import Holds
from tasks.clients.publish import publish
from tasks.clients.tree import Tree
from tasks.model import Dataset, FileRecord, Source, State, Transfer
from tasks.plan.sources import ANYWHERE, Router
from tasks.preparing import Addresses
from tasks.transfer.carrying import Carried, Carrier
from tasks.transfer.outcomes import published
from tasks.transfer.switchboard import Switchboard

DATA = random.Random(3).randbytes(300_001)
SHA1, MD5 = hashlib.sha1(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()
QUICK = WireOptions(connect_seconds=1, stall_seconds=1)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = KEY.private_bytes_raw().hex()
CLIENT = KEY.public_key().public_bytes_raw().hex()
ADDRESS = f"kachery:default:sha1:{SHA1}:a.npy"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("ZONE", "API_KEY", "BASE_URL", "GATEWAY_URL", "DIR", "CLOUD_DIR", "CLOUD_PRIVATE_KEY"):
        monkeypatch.delenv(f"KACHERY_{name}", raising=False)
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    return place


@pytest.fixture
def pace():
    return FakePace()


@pytest.fixture
def gateway(pace):
    with Gateway(now=pace.now) as running:
        running.put("default", DATA)
        running.users["alices-key"], running.users["bobs-key"] = "alice", "bob"
        running.clients[CLIENT] = "alice"
        running.zones["private"] = Zone("private", public=False, readers={"alice"})
        running.put("private", DATA)
        yield running


@pytest.fixture(params=["base_url", "gateway_url"])
def generation(request):
    """Both generations: the new gateway is at `base_url`, the old one at `gateway_url`."""
    return request.param


def client_of(gateway, pace, generation="base_url", repository=None, options=QUICK, **params):
    client = client_for("kachery", repository or {}, {generation: gateway.url, **params}, options, pace=pace)
    client.wire.holds = Holds()
    return client


def code_of(call, *arguments, **named):
    with pytest.raises(DownloadError) as caught:
        call(*arguments, **named)
    return caught.value.code


# --- addresses ----------------------------------------------------------------------------------------


def test_it_is_the_fourth_protocol_under_both_names():
    assert client_class("kachary") is client_class("kachery") is KacheryClient


@pytest.mark.parametrize(
    ("text", "zone", "label"),
    [
        (f"kachery:lab.public:sha1:{SHA1}", "lab.public", ""),
        (f"kachery:lab:sha1:{SHA1}:a%20b.npy", "lab", "a%20b.npy"),
        (f"kachery:lab:sha1:{SHA1.upper()}:a:b.npy", "lab", "a%3Ab.npy"),
        (f"kachery::sha1:{SHA1}", "default", ""),
        (f"sha1://{SHA1}", "default", ""),
        (f"sha1://{SHA1}/a.npy", "default", "a.npy"),
        (f"sha1://{SHA1}.json", "default", ""),
        (f"sha1://{SHA1}?label=a%20b.npy&location=/etc/passwd", "default", "a%20b.npy"),
        (f"sha1://{SHA1}/a.npy?manifest={'0' * 40}", "default", "a.npy"),
        (SHA1, "default", ""),
        (f"{SHA1}/a.npy", "default", "a.npy"),
        (f"{SHA1[:8]}-{SHA1[8:].upper()}", "default", ""),
    ],
)
def test_uris_of_all_years_and_digests_become_one_form(text, zone, label):
    address = client_for("kachery", {}, {}).to_address(text, "11111111-1111-4111-8111-111111111111")
    assert address == ":".join(filter(None, ("kachery", zone, "sha1", SHA1, label)))
    assert client_for("kachery", {}, {}).to_address(address) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MD5, f"{MD5} is an md5"),
        (f"{MD5}/a.npy", "is an md5"),
        ("", "has no digest"),
        ("/a.npy", "a.npy has no digest"),
        ("subject/2024-01-01/001/alf/a.npy", "'subject/2024-01-01/001/alf/a.npy' holds none"),
        (f"kachery:lab:md5:{MD5}", "is no kachery:"),
        (f"kachery:lab:sha1:{SHA1[:39]}", "is no kachery:"),
        ("sha1://", "is no kachery:"),
        (f"kachery:../etc:sha1:{SHA1}", "no name of a kachery zone"),
        (f"kachery:{'z' * 101}:sha1:{SHA1}", "no name of a kachery zone"),
    ],
)
def test_what_is_no_sha1_is_not_addressable_and_says_why(text, words):
    with pytest.raises(DownloadError) as caught:
        client_for("kachery", {}, {}).to_address(text)
    assert caught.value.code == "not-addressable"
    assert caught.value.verdict is Verdict.NEXT_SOURCE
    assert words in caught.value.reason


@pytest.mark.parametrize(
    ("record", "repository", "params", "zone"),
    [
        ({"kachery_uri": f"kachery:u:sha1:{SHA1}", "zone": "r"}, {"zone": "s"}, {"zone": "p"}, "u"),
        ({"kachary_uri": f"sha1://{SHA1}", "kachery_zone": "r"}, {"zone": "s"}, {"zone": "p"}, "r"),
        ({"kachery_uri": f"sha1://{SHA1}"}, {"zone": "s"}, {"zone": "p"}, "s"),
        ({"zone": "r"}, {"zone": "s"}, {}, "r"),
        (None, {"kachary_zone": "s"}, {"zone": "p"}, "s"),
        (None, {"kachery_uri": "kachery:s"}, {"zone": "p"}, "s"),
        ({}, "an old row", {"zone": "p"}, "p"),
        (None, None, {}, "default"),
    ],
)
def test_the_nearest_word_about_the_zone_counts(record, repository, params, zone):
    client = client_for("kachery", {"name": "r", "json": repository}, params)
    assert client.address_of("s/a.npy", digest=SHA1, json=record).startswith(f"kachery:{zone}:sha1:{SHA1}")


def test_a_record_that_names_other_bytes_than_alyx_is_refused():
    client = client_for("kachery", {}, {})
    record = {"kachery_uri": f"kachery:lab:sha1:{'0' * 40}:a.npy"}
    assert code_of(client.address_of, "s/a.npy", digest=SHA1, json=record) == "digest-mismatch"
    assert client.address_of("s/a.npy", digest=MD5, json=record) == record["kachery_uri"]
    assert client.address_of("s/a.npy", json=record) == record["kachery_uri"]


def test_it_is_configured_by_a_profile_or_by_the_environment_even_by_a_wrong_one(monkeypatch):
    assert not KacheryClient.is_configured()
    monkeypatch.setenv("KACHERY_DIR", "/somewhere")
    assert not KacheryClient.is_configured()
    monkeypatch.setenv("KACHERY_BASE_URL", "no address")
    assert KacheryClient.is_configured()
    monkeypatch.delenv("KACHERY_BASE_URL")
    KacheryClient.setup()
    assert KacheryClient.is_configured()


def test_without_a_word_from_anybody_no_gateway_is_asked_for_a_digest():
    """To show digests to a stranger's server is for someone to decide."""
    assert code_of(client_for("kachery", {}).to_address, SHA1) == "not-configured"
    assert client_for("kachery", {}).to_address(ADDRESS) == ADDRESS
    assert client_for("kachery", {"json": {"zone": "lab"}}).to_address(SHA1) == f"kachery:lab:sha1:{SHA1}"
    address = client_for("kachery", {}).address_of("s/a.npy", digest=SHA1, json={"zone": "lab"})
    assert address == f"kachery:lab:sha1:{SHA1}:a.npy"


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["kachary", "kachery"])
def test_the_params_store_is_read_under_both_spellings(gateway, pace, tmp_path, home, section):
    (home / ".one").mkdir()
    profile = {"zone": "private", "api_key": "alices-key", "base_url": gateway.url, "cache_dir": None}
    (home / ".one" / ".remote").write_text(json.dumps({section: {"default": profile}}))
    client = client_for("kachary", {}, None, QUICK, pace=pace)
    address = client.to_address(SHA1)
    assert address == f"kachery:private:sha1:{SHA1}"
    assert client.download_file(address, tmp_path / "a.npy").read_bytes() == DATA


def test_the_environment_goes_before_the_store_and_what_is_given_before_both(monkeypatch):
    store.merge_profile("kachary", "default", {"zone": "stored", "api_key": "stored"})
    assert ":stored:" in client_for("kachery", {}).to_address(SHA1)
    monkeypatch.setenv("KACHERY_ZONE", "environment")
    assert ":environment:" in client_for("kachery", {}).to_address(SHA1)
    assert ":given:" in client_for("kachery", {}, {"zone": "given"}).to_address(SHA1)


def test_the_official_names_in_the_environment_are_enough(gateway, pace, tmp_path, monkeypatch):
    monkeypatch.setenv("KACHERY_BASE_URL", f"{gateway.url}/")
    monkeypatch.setenv("KACHERY_API_KEY", "alices-key\n")
    monkeypatch.setenv("KACHERY_ZONE", "private")
    client = client_for("kachery", {}, None, QUICK, pace=pace)
    client.download_file(client.to_address(SHA1), tmp_path / "a.npy")
    monkeypatch.delenv("KACHERY_BASE_URL")
    monkeypatch.setenv("KACHERY_GATEWAY_URL", gateway.url)
    monkeypatch.setenv("KACHERY_CLOUD_PRIVATE_KEY", SIGNER)
    client = client_for("kachery", {}, None, QUICK, pace=pace)
    client.download_file(client.to_address(SHA1), tmp_path / "b.npy")
    assert [hit.path for hit in gateway.hits()] == ["/api/findFile", "/api/gateway"]


@pytest.mark.parametrize(
    "params",
    [
        {"base_url": "kachery.org"},
        {"gateway_url": "http://[::1"},
        {"fill_cache": "perhaps"},
        {"api_key": "secret\u2028key"},
        {"zone": ["secret"]},
    ],
)
def test_a_parameter_that_cannot_be_used_is_named_and_not_shown(params):
    with pytest.raises(DownloadError) as caught:
        client_for("kachery", {}, params)
    assert caught.value.code == "bad-params"
    assert f"kachary.{next(iter(params))}" in caught.value.reason
    assert "secret" not in str(caught.value)


def test_setup_writes_what_one_can_read():
    written = KacheryClient.setup(zone="lab", api_key="a-key", fill_cache=True)
    assert one_load("kachary.default").as_dict() == written
    assert (written["zone"], written["api_key"], written["base_url"]) == ("lab", "a-key", None)
    assert stat.S_IMODE(store.path().stat().st_mode) == 0o600
    assert client_for("kachery", {}).to_address(SHA1) == f"kachery:lab:sha1:{SHA1}"


# --- who may read what --------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["default", "private"])
def test_public_zones_need_no_key_and_private_ones_take_one(gateway, pace, tmp_path, generation, zone):
    keys = {"api_key": "alices-key", "client_key": SIGNER} if zone == "private" else {}
    client = client_of(gateway, pace, generation, **keys)
    target = client.download_file(f"kachery:{zone}:sha1:{SHA1}", tmp_path / "a.npy", size=len(DATA), digest=SHA1)
    assert target.read_bytes() == DATA
    assert len(gateway.hits()) == len(gateway.bucket.hits()) == 1


@pytest.mark.parametrize(
    ("address", "keys", "code"),
    [
        (f"kachery:default:sha1:{'0' * 40}", {}, "not-found"),
        (f"kachery:nowhere:sha1:{SHA1}", {}, "not-addressable"),
        (f"kachery:private:sha1:{SHA1}", {}, "not-configured"),
        (f"kachery:private:sha1:{SHA1}", {"api_key": "bobs-key", "client_key": SIGNER}, "forbidden"),
        (f"kachery:private:sha1:{SHA1}", {"api_key": "nobodys-key", "client_key": "07" * 32}, "unauthorised"),
    ],
)
def test_what_a_gateway_refuses_is_said_in_the_words_of_the_table(
    gateway, pace, tmp_path, generation, address, keys, code
):
    gateway.clients[CLIENT] = "bob"
    client = client_of(gateway, pace, generation, **keys)
    with pytest.raises(DownloadError) as caught:
        client.download_file(address, tmp_path / "a.npy")
    assert caught.value.code == code
    assert address in caught.value.reason
    assert not any(key in str(caught.value) for key in keys.values())
    assert len(gateway.hits()) == 1, "asked once"
    assert list(tmp_path.glob("*.npy")) == []


def test_a_login_in_netrc_is_not_taken_for_the_key(gateway, pace, tmp_path, home):
    (home / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    client_of(gateway, pace, api_key="alices-key").download_file(f"kachery:private:sha1:{SHA1}", tmp_path / "a.npy")
    (hit,) = gateway.hits()
    assert hit.headers["Authorization"] == "Bearer alices-key"
    assert "Authorization" not in gateway.bucket.hits()[0].headers


# --- proof --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [None, SHA1, f"{SHA1[:8]}-{SHA1[8:]}".upper(), MD5])
@pytest.mark.parametrize("answer", [Flip(), Sized(0.5), Sized(0), Sized(1.5), Html(padded=True)])
def test_what_is_not_the_file_is_never_published_nor_cached(gateway, pace, tmp_path, digest, answer):
    gateway.put("default", DATA, [answer])
    client = client_of(gateway, pace, cache_dir=str(tmp_path / "cache"), fill_cache=True)
    (tmp_path / "lab").mkdir()
    code = code_of(client.download_file, ADDRESS, tmp_path / "lab" / "a.npy", digest=digest)
    assert code in ("digest-mismatch", "not-data", "size-mismatch")
    assert list((tmp_path / "lab").iterdir()) == []
    assert not (tmp_path / "cache").exists()


def test_a_flip_once_is_mended(gateway, pace, tmp_path):
    gateway.put("default", DATA, [Flip(), Good()])
    assert client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy").read_bytes() == DATA


def test_an_address_of_other_bytes_than_alyx_registers_is_refused_unasked(gateway, pace, tmp_path):
    client = client_of(gateway, pace)
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy", digest="0" * 40) == "digest-mismatch"
    assert gateway.hits() == []
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_interrupted_file_without_a_digest_is_continued_and_still_proven(gateway, pace, tmp_path):
    gateway.put("default", DATA, [Drop(0.5), Status(404), Good()])
    client = client_of(gateway, pace)
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") == "not-found"
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA
    assert gateway.bucket.sent() <= 1.02 * len(DATA)


def test_an_interrupted_prefix_that_is_wrong_does_not_get_through(gateway, pace, tmp_path):
    gateway.put("default", DATA, [Flip(0.1) + Drop(0.5), Status(404), Good()])
    client = client_of(gateway, pace)
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") == "not-found"
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA


# --- URLs that run out --------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [SHA1, None])
def test_a_url_that_ran_out_during_a_wait_is_asked_for_anew(pace, tmp_path, digest):
    """The bucket asks for more patience than the URL has life."""
    with Gateway(now=pace.now, url_seconds=60, cache_seconds=30) as gateway:
        gateway.put("default", DATA, [Drop(0.5), Status(503, retry_after="100"), Good()])
        client = client_of(gateway, pace)
        client.download_file(ADDRESS, tmp_path / "a.npy", size=len(DATA), digest=digest)
        assert (tmp_path / "a.npy").read_bytes() == DATA
        assert [hit.status for hit in gateway.bucket.hits()] == [200, 503, 403, 206]
        assert gateway.bucket.sent() <= 1.02 * len(DATA)


@pytest.mark.parametrize(
    "refusal", [Status(403), Status(401), Status(400, "ExpiredToken"), Status(403, "SignatureDoesNotMatch")]
)
def test_a_bucket_that_refuses_a_fresh_url_has_the_last_word_and_it_is_about_the_file(gateway, pace, tmp_path, refusal):
    """The credentials are the gateway's: nothing of ours is refused, so the run goes on."""
    gateway.put("default", DATA, [refusal])
    with pytest.raises(DownloadError) as caught:
        client_of(gateway, pace, api_key="alices-key").download_file(ADDRESS, tmp_path / "a.npy")
    assert (caught.value.code, caught.value.verdict) == ("forbidden", Verdict.NEXT_SOURCE)
    assert len(gateway.bucket.hits()) == 1, "the same URL is not tried twice"
    assert "Signature=" not in str(caught.value)


def test_a_bucket_that_refuses_every_url_is_asked_twice(pace, tmp_path):
    """Each question gets a URL of its own, as the gateway's clock runs on."""
    seconds = itertools.count(1_800_000_000)
    with Gateway(now=lambda: next(seconds), cache_seconds=0) as gateway:
        gateway.put("default", DATA, [Status(401)])
        assert code_of(client_of(gateway, pace).download_file, ADDRESS, tmp_path / "a.npy") == "forbidden"
        first, second = gateway.bucket.hits()
        assert first.query != second.query


def test_one_connection_carries_many_questions(gateway, pace):
    client = client_of(gateway, pace)
    urls = {client.request(ADDRESS).url for _ in range(5)}
    assert (len(gateway.hits()), gateway._api.connections, len(urls)) == (5, 1, 1)


# --- gateways that fail -------------------------------------------------------------------------------


class Said(Answer):
    """A gateway's answer with status 200 and any body."""

    def __init__(self, text):
        self.text = text

    def after(self, reply):
        return document(reply.ask, self.text, "application/json")


@pytest.mark.parametrize(
    "answers",
    [
        [Status(500)],
        [Status(502), Status(504)],
        [Status(429, retry_after="20")],
        [Said('{"found": true, "url": "http://127') + Drop(20)],
        [Said('{"found": true, "url": "http://127') + Cut(20)],
        [Garbage()],
        [Garbage(b"")],
        [Silent()],
    ],
)
def test_what_passes_at_a_gateway_is_waited_for(gateway, pace, tmp_path, generation, answers):
    gateway.play(*answers)
    client_of(gateway, pace, generation).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA
    assert len(gateway.hits()) == len(answers) + 1
    assert len(gateway.bucket.hits()) == 1


def test_a_gateway_that_asks_for_patience_gets_it_from_all_files(gateway, pace, tmp_path):
    gateway.play(Status(429, retry_after="20"), Status(429, retry_after="20"))
    client = client_of(gateway, pace)
    client.download_file(ADDRESS, tmp_path / "a.npy")
    long = [wait for wait in pace.waits if wait > 1]
    assert len(long) == 2
    assert all(19 <= wait <= 40 for wait in long)


def test_a_gateway_that_asks_for_a_day_is_given_up_and_asked_again_by_the_next_file(gateway, pace, tmp_path):
    gateway.play(Status(503, retry_after="86400"))
    client = client_of(gateway, pace)
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") == "throttled"
    assert len(gateway.hits()) == 1
    client.download_file(ADDRESS, tmp_path / "b.npy")
    assert (tmp_path / "b.npy").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "code", "questions"),
    [
        (Status(500), "server-error", 5),
        (Status(404), "kachery-gateway", 1),
        (Status(402), "kachery-gateway", 1),
        (Html(), "kachery-gateway", 1),
        (Redirect("/elsewhere", 308), "kachery-gateway", 1),
        (Said("{}"), "kachery-gateway", 1),
        (Said("[]"), "kachery-gateway", 1),
        (Said("not JSON"), "kachery-gateway", 1),
        (Said('{"found": "yes", "url": "http://127.0.0.1/"}'), "kachery-gateway", 1),
        (Said('{"found": true}'), "kachery-gateway", 1),
        (Said('{"found": true, "url": "file:///etc/passwd"}'), "kachery-gateway", 1),
        (Said('{"found": true, "url": null}'), "kachery-gateway", 1),
        (Said('{"found": false, "url": ""}'), "not-found", 1),
        (Said('{"error": "x"}' + " " * 100_000), "kachery-gateway", 1),
    ],
)
def test_what_stays_wrong_at_a_gateway_ends_in_an_error_and_no_file(
    gateway, pace, tmp_path, generation, answer, code, questions
):
    gateway.play(*[answer] * 9)
    client = client_of(gateway, pace, generation)
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") == code
    assert len(gateway.hits()) == questions
    assert gateway.bucket.hits() == []
    assert list(tmp_path.glob("*.npy")) == []


def test_a_gateway_that_is_down_is_tried_again(gateway, pace, tmp_path):
    client = client_of(gateway, pace)
    gateway.shut()
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") == "connect"
    assert len([wait for wait in pace.waits if wait]) == QUICK.attempts - 1
    pace.on_wait = gateway.open
    assert client.download_file(ADDRESS, tmp_path / "a.npy").read_bytes() == DATA


def test_the_old_gateway_serves_what_the_new_one_cannot(gateway, pace, tmp_path):
    with Gateway(now=pace.now) as new:
        client = client_of(new, pace, gateway_url=gateway.url)
        assert client.download_file(ADDRESS, tmp_path / "not-there.npy").read_bytes() == DATA
        new.shut()
        assert client.download_file(ADDRESS, tmp_path / "down.npy").read_bytes() == DATA
        assert code_of(client.download_file, f"kachery:default:sha1:{'0' * 40}", tmp_path / "none.npy") == "connect"
    assert {hit.path for hit in gateway.hits()} == {"/api/gateway"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_here_is_mended_by_the_gateways(tmp_path, hours):
    pace = FakePace()
    with Gateway(now=lambda: pace.now() + 3600 * hours) as gateway:
        gateway.put("default", DATA)
        gateway.bucket.gate = None
        client_of(gateway, pace, "gateway_url").download_file(ADDRESS, tmp_path / "a.npy")
        assert [hit.status for hit in gateway.hits()] == [500, 200]


def test_a_gateway_that_drips_is_left_in_time(gateway, pace, tmp_path):
    class Long(Drip):
        def after(self, reply):
            return super().after(Said("{" + " " * 5000).after(reply))

    gateway._api._wait = lambda _seconds: gateway._api.released.wait(0.2)
    gateway.play(*[Long(piece=1, pause=1.0)] * 2)
    client = client_of(gateway, pace, options=WireOptions(attempts=1, connect_seconds=1, stall_seconds=1))
    assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") == "stalled"


@pytest.mark.parametrize("where", ["gateway", "bucket"])
def test_stop_is_seen_while_somebody_says_nothing(gateway, pace, tmp_path, where):
    if where == "gateway":
        gateway.play(Silent())
        silent = gateway._api
    else:
        gateway.put("default", DATA, [Stall(0.5)])
        silent = gateway.bucket
    client = client_of(gateway, pace, options=WireOptions(stall_seconds=3600))
    caught = []

    def work():
        caught.append(code_of(client.download_file, ADDRESS, tmp_path / "a.npy"))

    thread = threading.Thread(target=work)
    thread.start()
    assert silent.stalling.wait(30)
    pace.stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert caught == ["stopped"]


def test_no_secret_reaches_a_log(gateway, pace, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    gateway.play(Status(500), Status(429, retry_after="1"))
    client = client_of(gateway, pace, api_key="alices-key")
    client.download_file(f"kachery:private:sha1:{SHA1}", tmp_path / "a.npy")
    assert "alices-key" not in caplog.text + repr(client._settings) + repr(client.request(ADDRESS))
    assert "Signature" not in caplog.text + repr(client.request(ADDRESS))


# --- the official clients' files ----------------------------------------------------------------------


def place(directory, sha1=SHA1, kind="sha1"):
    return Path(directory, kind, sha1[0:2], sha1[2:4], sha1[4:6], sha1)


def stored(directory, content, sha1=SHA1, kind="sha1"):
    path = place(directory, sha1, kind)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def asked(gateway):
    """How many questions and requests there were."""
    return lambda: (len(gateway.hits()), len(gateway.bucket.hits()))


@pytest.mark.parametrize("digest", [SHA1, MD5, None])
@pytest.mark.parametrize("directory", [".kachery", ".kachery-cloud"])
def test_a_file_that_kachery_has_here_is_taken_once_it_is_hashed(
    gateway, pace, tmp_path, home, asked, directory, digest
):
    kept = stored(home / directory, DATA)
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy", size=len(DATA), digest=digest)
    assert (tmp_path / "a.npy").read_bytes() == kept.read_bytes() == DATA
    assert not (tmp_path / "a.npy").samefile(kept)
    assert asked() == (0, 0)


@pytest.mark.parametrize("content", [DATA[:-1], DATA[:-1] + b"\0", b"", DATA + b"\0"])
def test_a_corrupt_file_of_kachery_is_not_believed(gateway, pace, tmp_path, home, asked, content):
    kept = stored(home / ".kachery", content)
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA
    assert kept.read_bytes() == content, "not asked to fill it, so it is left alone"
    assert asked() == (1, 1)


def test_a_corrupt_file_of_kachery_costs_no_byte_that_was_fetched_before(gateway, pace, tmp_path, home):
    gateway.put("default", DATA, [Drop(0.5), Status(404), Good()])
    assert code_of(client_of(gateway, pace).download_file, ADDRESS, tmp_path / "a.npy", digest=SHA1) == "not-found"
    stored(home / ".kachery", DATA[::-1])
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy", digest=SHA1)
    assert gateway.bucket.sent() <= 1.02 * len(DATA)


def test_behind_a_corrupt_file_the_other_clients_good_one_is_found(gateway, pace, tmp_path, home, asked):
    stored(home / ".kachery", DATA[::-1])
    stored(home / ".kachery-cloud", DATA)
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert asked() == (0, 0)


def test_by_choice_what_was_proven_is_kept_and_heals_what_was_corrupt(gateway, pace, tmp_path, asked):
    kept = stored(tmp_path / "cache", b"corrupt")
    client = client_of(gateway, pace, cache_dir=str(tmp_path / "cache"), fill_cache="yes")
    client.download_file(ADDRESS, tmp_path / "a.npy")
    assert kept.read_bytes() == DATA
    client.download_file(ADDRESS, tmp_path / "b.npy")
    assert (tmp_path / "b.npy").read_bytes() == DATA
    assert asked() == (1, 1)
    assert list(kept.parent.iterdir()) == [kept]


def test_without_the_choice_nothing_is_kept(gateway, pace, tmp_path, home):
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert list(home.iterdir()) == []


def test_what_only_an_md5_proves_is_not_kept_under_a_sha1_that_it_has_not(gateway, pace, tmp_path):
    other = b"what Alyx registers" * 1000
    gateway.put("default", DATA, [])
    gateway.bucket.put(gateway.zones["default"].key(SHA1), other)
    client = client_of(gateway, pace, cache_dir=str(tmp_path / "cache"), fill_cache=True)
    client.download_file(ADDRESS, tmp_path / "a.npy", digest=hashlib.md5(other).hexdigest())
    assert (tmp_path / "a.npy").read_bytes() == other
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


@pytest.mark.parametrize("right", [True, False])
def test_a_linked_file_is_taken_once_it_is_hashed(gateway, pace, tmp_path, home, asked, right):
    linked = tmp_path / "linked.npy"
    linked.write_bytes(DATA if right else DATA[::-1])
    seen = linked.stat()
    record = {"path": str(linked), "size": len(DATA), "mtime": seen.st_mtime, "sha1": SHA1}
    stored(home / ".kachery-cloud", json.dumps(record).encode(), kind="linked_files/sha1")
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA
    assert asked() == ((0, 0) if right else (1, 1))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"path": null}', b'{"path": "/nowhere"}', b'{"path": "/%s"}' % (b"x" * 5000), b"\xff"],
    ids=range(7),
)
def test_a_broken_link_is_no_error(gateway, pace, tmp_path, home, content):
    stored(home / ".kachery", content, kind="linked_files/sha1")
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA


def test_what_is_no_file_in_the_cache_is_passed_by(gateway, pace, tmp_path, home):
    fifo = place(home / ".kachery")
    fifo.parent.mkdir(parents=True)
    os.mkfifo(fifo)
    link = place(home / ".kachery", kind="linked_files/sha1")
    link.parent.mkdir(parents=True)
    os.mkfifo(link)
    place(home / ".kachery-cloud").mkdir(parents=True)
    client_of(gateway, pace).download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA


def test_a_cache_that_cannot_be_filled_costs_a_warning_and_no_file(gateway, pace, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file, where a directory should be")
    client = client_of(gateway, pace, cache_dir=str(tmp_path / "cache"), fill_cache=True)
    client.download_file(ADDRESS, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == DATA
    assert "cache is not filled" in caplog.text


# --- among the other protocols ------------------------------------------------------------------------

FIXED = {"name": "http_lab", "data_url": "", "globus_is_personal": False}
ZONED = {"name": "kachery_lab", "json": {"zone": "default"}}


def carry(root, gateway, pace, sources, digest, **params):
    """Let one transfer go along its sources, as a run does."""
    repositories = {"http_lab": {**FIXED, "data_url": gateway.bucket.endpoint}, "kachery_lab": ZONED}
    profiles = {"kachary": {"base_url": gateway.url, **params}, "http": {}}
    switchboard = Switchboard(repositories, QUICK, pace, profiles)
    tree = Tree(root)
    tree.prepare()
    transfer = Transfer("id", "lab/a.npy", len(DATA), digest, tuple(sources))
    arrived = Carrier(tree, Partials(tree.partials, tree.disk, pace), switchboard).carry(transfer)
    if isinstance(arrived, Carried):
        return published(arrived, publish(tree, [(arrived.partial, transfer.path)])[0])
    return arrived


KACHERY = Source("kachary", "kachery_lab", ADDRESS)


@pytest.mark.parametrize(("digest", "verified"), [(SHA1, "sha1"), (MD5, "md5"), ("", "sha1")])
def test_a_file_whose_only_source_is_kachery(gateway, pace, tmp_path, digest, verified):
    outcome = carry(tmp_path / "root", gateway, pace, [KACHERY], digest)
    assert (outcome.state, outcome.protocol, outcome.verified) == (State.PUBLISHED, "kachary", verified)
    assert (tmp_path / "root" / "lab" / "a.npy").read_bytes() == DATA


@pytest.mark.parametrize("digest", [SHA1, MD5, ""])
def test_a_corrupt_object_fails_in_a_run_too(gateway, pace, tmp_path, digest):
    gateway.put("default", DATA, [Flip()])
    outcome = carry(tmp_path / "root", gateway, pace, [KACHERY], digest)
    assert outcome.state is State.FAILED
    assert not (tmp_path / "root" / "lab").exists()


def test_a_file_that_is_found_by_its_digest_alone(gateway, pace, tmp_path):
    outcome = carry(tmp_path / "root", gateway, pace, [Source("kachary", ANYWHERE, ADDRESS)], SHA1)
    assert (outcome.state, outcome.source) == (State.PUBLISHED, ANYWHERE)


def test_a_file_that_is_corrupt_in_kachery_comes_from_elsewhere(gateway, pace, tmp_path):
    gateway.bucket.gate = None
    gateway.put("default", DATA, [Flip()])
    http = Source("http", "http_lab", gateway.bucket.put("/a.npy", DATA))
    outcome = carry(tmp_path / "root", gateway, pace, [KACHERY, http], SHA1)
    assert (outcome.state, outcome.protocol) == (State.PUBLISHED, "http")


def test_a_key_that_is_refused_closes_kachery_and_not_the_run(gateway, pace, tmp_path):
    gateway.bucket.gate = None
    http = Source("http", "http_lab", gateway.bucket.put("/a.npy", DATA))
    outcome = carry(tmp_path / "root", gateway, pace, [KACHERY, http], SHA1, api_key="nobodys-key")
    assert (outcome.state, outcome.protocol) == (State.PUBLISHED, "http")


def test_a_file_fails_over_to_kachery_in_mid_file(gateway, pace, tmp_path):
    gateway.bucket.gate = None
    gateway.bucket.put("/a.npy", DATA, [Drop(0.5), Status(404)])
    http = Source("http", "http_lab", gateway.bucket.url("/a.npy"))
    outcome = carry(tmp_path / "root", gateway, pace, [http, KACHERY], SHA1)
    assert (outcome.state, outcome.protocol) == (State.PUBLISHED, "kachary")
    assert (tmp_path / "root" / "lab" / "a.npy").read_bytes() == DATA
    assert gateway.bucket.sent() <= 1.02 * len(DATA), "kachery continues where http stopped"


def route(dataset, repositories):
    return Router(repositories, Addresses(repositories)).sources(dataset)


def dataset(digest, *records):
    return Dataset("id", None, "lab", "lab/a.npy", len(DATA), digest, records=records)


def test_an_md5_is_skipped_with_the_reason():
    record = FileRecord("kachery_lab", "s/2024-01-01/001/a.npy")
    with pytest.raises(DownloadError, match=f"{MD5} is an md5"):
        route(dataset(MD5, record), {"kachery_lab": ZONED})


def test_a_planner_finds_kachery_by_digest_by_record_and_by_repository(monkeypatch):
    record = FileRecord("kachery_lab", "s/2024-01-01/001/a.npy")
    explicit = FileRecord("http_lab", "s/2024-01-01/001/a.npy", json={"kachery_uri": f"sha1://{SHA1}/b.npy"})
    assert route(dataset(SHA1, record), {"kachery_lab": ZONED}) == (KACHERY,)
    (found,) = route(dataset(MD5, explicit), {"http_lab": FIXED})
    assert found.address == f"kachery:default:sha1:{SHA1}:b.npy"
    monkeypatch.setenv("KACHERY_ZONE", "lab")
    (found,) = route(dataset(SHA1), {})
    assert (found.protocol, found.address) == ("kachary", f"kachery:lab:sha1:{SHA1}:a.npy")


# --- side by side with the official client ------------------------------------------------------------


@pytest.fixture(scope="session")
def python():
    return official_python()


@pytest.mark.slow
@pytest.mark.parametrize(("module", "generation"), [("kachery", "base_url"), ("kachery_cloud", "gateway_url")])
@pytest.mark.parametrize("answer", [Flip(), Sized(0.5), Sized(0)], ids=["corrupt", "short", "empty"])
def test_what_the_official_clients_take_and_keep_is_refused_here(python, tmp_path, module, generation, answer):
    """The official client answers with the wrong bytes, and goes on to when the object is whole again; ours never."""
    pace = FakePace()
    with Gateway(now=pace.now) as gateway:
        gateway.put("default", DATA, [answer])
        identity = {"KACHERY_CLOUD_CLIENT_ID": CLIENT, "KACHERY_CLOUD_PRIVATE_KEY": SIGNER}
        where = {"KACHERY_BASE_URL": gateway.url, "KACHERY_GATEWAY_URL": gateway.url}
        official = Official(python, module, tmp_path / "official", {**where, **identity})
        client = client_of(gateway, pace, generation, cache_dir=str(tmp_path / "official"), fill_cache=True)

        said = official.load(f"sha1://{SHA1}")
        assert said == {"path": str(official.cached(SHA1))}, "the official client calls it a success"
        assert official.cached(SHA1).read_bytes() != DATA
        assert code_of(client.download_file, ADDRESS, tmp_path / "a.npy") in ("digest-mismatch", "size-mismatch")
        assert not (tmp_path / "a.npy").exists()

        gateway.put("default", DATA)
        assert official.load(f"sha1://{SHA1}") == said
        assert official.cached(SHA1).read_bytes() != DATA, "and never asks again"
        assert client.download_file(ADDRESS, tmp_path / "a.npy").read_bytes() == DATA
        assert official.cached(SHA1).read_bytes() == DATA, "filled by choice, its copy is healed"
