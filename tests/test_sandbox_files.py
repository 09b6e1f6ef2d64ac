"""The file servers, compared with what nginx answered in the recorded exchanges."""

from urllib.parse import quote

import pytest
import requests

from deployments.sandbox import Lab
from deployments.sandbox.lab import MEMBER, MEMBER_PASSWORD


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def ask(lab):
    """Ask a server for the file of a dataset."""
    lab.reset()
    session = requests.Session()
    session.trust_env = False

    def get(kind, server="http", method="GET", **options):
        return session.request(method, address(lab, lab.world.odd(kind), server), **options)

    return get


def address(lab, dataset, server):
    (path,) = lab.paths(dataset, [server])
    return f"{lab.urls[server]}/{quote(path.relative_to(lab.stores.root / server).as_posix())}"


def page(title):
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
    )


def headers(answer):
    return {key: answer.headers[key] for key in answer.headers if key.lower() not in ("date", "last-modified", "etag")}


@pytest.mark.parametrize("kind", ["only-http", "unicode", "zero-byte", "aggregate", "multipart"])
def test_a_file_arrives_whole(lab, ask, kind):
    answer = ask(kind)
    assert answer.status_code == 200
    assert answer.content == lab.world.odd(kind).content
    assert {key.lower(): value for key, value in headers(answer).items()} == {
        "server": "nginx/1.22.1",
        "content-type": "application/octet-stream",
        "content-length": str(len(answer.content)),
        "accept-ranges": "bytes",
    }


def test_names_carry_the_uuid(lab):
    dataset = lab.world.odd("only-http")
    assert address(lab, dataset, "http").endswith(f"_ibl_wheel.timestamps.{dataset.id}.npy")


def test_a_revision_is_found_under_its_escaped_name(lab):
    dataset = next(each for each in lab.world.datasets.values() if each.revision == "2024-01-01")
    url = address(lab, dataset, "http")
    assert "/%232024-01-01%23/" in url
    assert requests.get(url, timeout=5).content == dataset.content


def test_validators_are_nginx_s_own(lab, ask):
    answer = ask("only-http")
    assert answer.headers["ETag"] == f'"66829a40-{len(answer.content):x}"'
    assert answer.headers["Last-Modified"] == "Mon, 01 Jul 2024 12:00:00 GMT"


def test_head_has_the_headers_and_no_body(ask):
    head, get = ask("only-http", method="HEAD"), ask("only-http")
    assert head.content == b""
    assert headers(head) == headers(get)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=100-199", 100, 199), ("bytes=100-", 100, -1), ("bytes=-10", -10, -1), ("bytes=100-99999999", 100, -1)],
)
def test_a_range_is_206(lab, ask, asked, first, last):
    true = lab.world.odd("only-http").content
    first, last = first % len(true), last % len(true)
    answer = ask("only-http", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == true[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(true)}"
    assert "Accept-Ranges" not in answer.headers  # nginx leaves it out here


def test_a_range_behind_the_end_is_416(lab, ask):
    size = len(lab.world.odd("only-http").content)
    answer = ask("only-http", headers={"Range": f"bytes={size}-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert answer.text == page("416 Requested Range Not Satisfiable")
    assert answer.headers["Content-Length"] == "197"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=0-1", "bytes=x", "bytes=-"])
def test_other_ranges_are_ignored(lab, ask, asked):
    answer = ask("only-http", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, lab.world.odd("only-http").content)


def test_an_empty_file_has_no_range(ask):
    assert ask("zero-byte", headers={"Range": "bytes=0-"}).status_code == 200


def test_if_range_decides_between_the_part_and_the_whole(ask):
    fresh = ask("only-http", method="HEAD").headers
    for validator in (fresh["ETag"], fresh["Last-Modified"]):
        assert ask("only-http", headers={"Range": "bytes=100-", "If-Range": validator}).status_code == 206
    assert ask("only-http", headers={"Range": "bytes=100-", "If-Range": '"0-0"'}).status_code == 200


def test_a_changed_file_has_another_etag(lab, ask):
    before = ask("only-http").headers["ETag"]
    (path,) = lab.paths(lab.world.odd("only-http"), ["http"])
    path.write_bytes(path.read_bytes()[::-1])
    assert ask("only-http").headers["ETag"] != before


def test_what_is_not_there_is_nginx_s_404(lab, ask):
    for kind in ("http-lost", "http-absent"):
        answer = ask(kind)
        assert (answer.status_code, answer.text) == (404, page("404 Not Found"))
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    outside = requests.Request("GET", lab.urls["http"]).prepare()
    outside.url = f"{lab.urls['http']}/../s3/sandbox-brain-private"
    with requests.Session() as session:
        assert session.send(outside).status_code == 404
        outside.url = f"{lab.urls['http']}/%2e%2e/home/.one/.caches"
        assert session.send(outside).status_code == 404


def test_nothing_can_be_written(ask):
    assert ask("only-http", method="PUT", data=b"x").status_code == 405


def test_the_members_server_asks_for_a_login(lab, ask):
    for login in (None, (MEMBER, "wrong"), ("nobody", MEMBER_PASSWORD)):
        answer = ask("members", "members", auth=login)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
        assert answer.text == page("401 Authorization Required")
    answer = ask("members", "members", auth=(MEMBER, MEMBER_PASSWORD))
    assert (answer.status_code, answer.content) == (200, lab.world.odd("members").content)
    assert answer.headers["Content-Type"] == "video/mp4"
    lab.members[MEMBER] = "changed"
    assert ask("members", "members", auth=(MEMBER, MEMBER_PASSWORD)).status_code == 401


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Bearer x", "Basic //8="])
def test_a_broken_login_is_401(ask, header):
    assert ask("members", "members", headers={"Authorization": header}).status_code == 401
