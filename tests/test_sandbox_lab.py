"""The lab as a whole: starting, stopping, counting, changing, and being used from elsewhere."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from starlette.responses import PlainTextResponse

from deployments.sandbox import Lab
from deployments.sandbox.lab import MEMBER, MEMBER_PASSWORD, PASSWORD
from deployments.sandbox.model import Fate, digest


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(running):
    running.reset()
    return running


def token(lab):
    return {"Authorization": f"Token {lab.alyx.accounts.token('alice')}"}


def test_every_server_has_a_loopback_port_of_its_own(lab):
    assert set(lab.urls) == {"alyx", "http", "members", "s3", "control"}
    assert all(url.startswith("http://127.0.0.1:") for url in lab.urls.values())
    assert len(set(lab.urls.values())) == 5


def test_two_labs_live_side_by_side_and_leave_nothing():
    before = threading.active_count()
    with Lab() as one, Lab(seed=1) as two:
        assert not set(one.urls.values()) & set(two.urls.values())
        roots = [one.root, two.root]
        ports = [served.port for lab in (one, two) for served in lab.servers.values()]
        assert all(root.is_dir() for root in roots)
    assert not any(root.exists() for root in roots)
    assert threading.active_count() == before
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_given_directory_stays(tmp_path):
    with Lab(tmp_path / "lab") as lab:
        assert lab.root == tmp_path / "lab"
    assert (tmp_path / "lab" / "servers" / "http").is_dir()


def test_it_stops_in_spite_of_an_open_connection():
    with Lab() as lab, requests.Session() as session:
        assert session.get(lab.urls["http"], timeout=5).status_code == 404
        threads = [served._thread for served in lab.servers.values()]
    assert not any(thread.is_alive() for thread in threads)


def test_it_stops_in_spite_of_a_request_that_hangs(caplog):
    begun = threading.Event()

    async def hang(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        begun.set()
        await asyncio.Event().wait()

    with Lab() as lab:
        address = ("127.0.0.1", lab.serve("hang", hang).port)
        with socket.create_connection(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert begun.wait(10)
            lab.servers["hang"].stop()
            assert b"".join(iter(lambda: client.recv(1000), b"")).endswith(b"\r\n\r\n")  # headers alone
    assert not caplog.records


def test_a_server_can_be_down_for_a_while(lab):
    lab.servers["http"].stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(lab.urls["http"], timeout=5)
    lab.servers["http"].start()
    lab.servers["http"].start()  # twice does nothing
    assert requests.get(lab.urls["http"], timeout=5).status_code == 404


def test_the_manifest_is_what_lies_on_the_servers(lab):
    manifest = lab.manifest
    for dataset in lab.world.datasets.values():
        truth = manifest[dataset.id]
        paths = [path for path in lab.paths(dataset, ("http", "members", "s3")) if path.exists()]
        found = [path.read_bytes() for path in paths]
        proofs = {(len(each), digest(each), digest(each, "sha1")) for each in found}
        assert ((truth.size, truth.md5, truth.sha1) in proofs) == (truth.fate is not Fate.SKIPPED)
        assert len(proofs) == (0 if truth.fate is Fate.SKIPPED else 2 if dataset.kind == "s3-stale" else 1)


def test_endpoints_show_names_with_and_without_uuid(lab):
    dataset = lab.world.odd("multipart")
    (server,) = lab.paths(lab.world.odd("passed"), ["globus"])[:1]
    assert lab.world.odd("passed").id in server.name
    (laptop,) = [path for path in lab.paths(lab.world.odd("only-laptop"), ["globus"]) if path.exists()]
    assert laptop.name == "_iblrig_leftCamera.raw.mp4"
    assert any(laptop.is_relative_to(directory) for directory in lab.endpoints.values())
    assert dataset.records[-1].state == "absent"  # the rig has no room for raw ephys


def test_requests_are_counted_by_path(lab):
    dataset = lab.world.odd("only-http")
    (path,) = lab.paths(dataset, ["http"])
    url = f"{lab.urls['http']}/{path.relative_to(lab.stores.root / 'http')}"
    requests.get(url, headers={"Range": "bytes=0-9"}, timeout=5)
    requests.head(url, timeout=5)
    requests.get(lab.urls["alyx"] + "/labs?limit=1", timeout=5)
    assert lab.requests.count() == 3
    assert lab.requests.count(server="http", method="GET", status=206) == 1
    assert lab.requests.sent(server="http") == 10
    assert lab.requests.by_path("http") == {
        "/" + str(path.relative_to(lab.stores.root / "http")): {"requests": 2, "bytes": 10}
    }
    (alyx,) = lab.requests.seen(server="alyx")
    assert (alyx.path, alyx.query, alyx.status) == ("/labs", "limit=1", 403)
    assert lab.requests.seen(method="GET")[0].headers["range"] == "bytes=0-9"
    assert lab.requests.peak["http"] == 1


def test_open_requests_are_counted(lab):
    together, barrier = 3, threading.Barrier(3, timeout=10)

    async def wait(scope, receive, send):
        await asyncio.to_thread(barrier.wait)
        await PlainTextResponse("ok")(scope, receive, send)

    url = lab.serve("slow", wait).url
    threads = [threading.Thread(target=requests.get, args=(url,)) for _ in range(together)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lab.requests.peak["slow"] == together
    lab.servers.pop("slow").stop()
    del lab.urls["slow"]


def test_the_journal_is_readable_from_another_process(lab):
    requests.get(lab.urls["alyx"] + "/labs", headers=token(lab), timeout=5)
    control = lab.urls["control"]
    (seen,) = [row for row in requests.get(f"{control}/requests", timeout=5).json() if row["server"] == "alyx"]
    assert (seen["path"], seen["status"]) == ("/labs", 200)
    assert requests.get(f"{control}/counters/alyx", timeout=5).json() == {
        "/labs": {"requests": 1, "bytes": seen["sent"]}
    }
    truths = requests.get(f"{control}/manifest", timeout=5).json()
    assert {each["dataset"]: each["fate"] for each in truths} == {key: each.fate for key, each in lab.manifest.items()}
    assert requests.post(f"{control}/reset", timeout=5).status_code == 204
    assert lab.requests.count(server="alyx") == 0


def test_reset_makes_everything_as_it_was(lab):
    first = dict(lab.world.datasets)
    old = token(lab)
    (path,) = lab.paths(lab.world.odd("only-http"), ["http"])
    true = path.read_bytes()
    path.write_bytes(b"spoilt")
    lost = lab.paths(lab.world.odd("http-lost"), ["http"])[0]
    lost.write_bytes(b"found")
    lab.register(next(iter(lab.world.sessions.values())), "alf", "new.times.npy", b"new")
    lab.alyx.accounts.invalidate()
    lab.alyx.throttle.refuse(10)
    lab.s3.gate.secrets.clear()
    lab.members.clear()
    lab.servers["s3"].stop()
    lab.reset()
    assert lab.world.datasets == first
    assert path.read_bytes() == true
    assert not lost.exists()
    assert requests.get(lab.urls["alyx"] + "/labs", headers=old, timeout=5).status_code == 200
    assert lab.members == {MEMBER: MEMBER_PASSWORD}
    assert list(lab.users) == ["alice", "intbrainlab"]
    assert requests.get(lab.urls["s3"], timeout=5).status_code == 403


def test_a_lab_goes_on_recording_and_processing(lab):
    session = next(iter(lab.world.sessions.values()))
    added = lab.register(session, "alf", "new.times.npy", b"new bytes")
    changed = lab.rewrite(lab.world.odd("sha1"), b"other bytes")
    for dataset, content in ((added, b"new bytes"), (changed, b"other bytes")):
        assert {path.read_bytes() for path in lab.paths(dataset, ("http", "s3"))} == {content}
        row = requests.get(f"{lab.urls['alyx']}/datasets/{dataset.id}", headers=token(lab), timeout=5).json()
        assert (row["file_size"], row["hash"]) == (len(content), digest(content))
        assert lab.manifest[dataset.id].fate is Fate.PUBLISHED
        newer = f"{lab.urls['alyx']}/datasets?django=auto_datetime__gte,{row['auto_datetime']}"
        found = requests.get(newer, headers=token(lab), timeout=5).json()["results"]
        assert dataset.id in {each["url"][-36:] for each in found}


def test_faults_get_in_around_each_server():
    seen = []

    def wrap(name, app):
        async def around(scope, receive, send):
            seen.append(name)
            await app(scope, receive, send)

        return around

    with Lab(wrap=wrap) as lab:
        requests.get(lab.urls["http"], timeout=5)
        requests.get(lab.urls["s3"], timeout=5)
        assert lab.requests.count() == 2
    assert seen == ["http", "s3"]


def test_addresses_in_alyx_follow_the_urls(lab):
    dataset = lab.world.odd("only-http")
    true = lab.urls["http"]
    try:
        lab.urls["http"] = "http://127.0.0.1:9/proxy"
        row = requests.get(f"{lab.urls['alyx']}/datasets/{dataset.id}", headers=token(lab), timeout=5).json()
    finally:
        lab.urls["http"] = true
    assert row["file_records"][0]["data_url"].startswith("http://127.0.0.1:9/proxy/cortexlab/Subjects/KS005/")


def test_the_environment_is_enough_for_one_and_for_us(lab):
    environment = lab.environment()
    home = Path(environment["HOME"])
    assert home.is_relative_to(lab.root)
    key = lab.urls["alyx"].removeprefix("http://").replace(":", "_")
    stored = json.loads((home / ".one" / f".{key}").read_text())
    assert stored["ALYX_URL"] == environment["ALYX_URL"] == lab.urls["alyx"]
    assert stored["HTTP_DATA_SERVER"] == lab.urls["members"]
    assert (stored["HTTP_DATA_SERVER_LOGIN"], stored["HTTP_DATA_SERVER_PWD"]) == (MEMBER, MEMBER_PASSWORD)
    assert environment["ALYX_PASSWORD"] == PASSWORD
    assert environment["AWS_ENDPOINT_URL_S3"] == lab.urls["s3"]
    caches = json.loads((home / ".one" / ".caches").read_text())
    assert caches["DEFAULT"] == key
    assert Path(caches["CLIENT_MAP"][key]).is_dir()


def test_it_needs_nothing_of_what_it_tests():
    code = (
        "import sys, deployments.sandbox; print({n.split('.')[0] for n in sys.modules} & {'prefect', 'tasks', 'flows'})"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert out.stdout.strip() == "set()"
