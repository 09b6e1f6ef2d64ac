"""A lab's own authority, named once, is trusted by every library that talks to a server; without it none is."""

from __future__ import annotations

import ssl

import globus_sdk
import pytest
import trustme

from tasks.clients import DownloadError, WireOptions, client_for
from tasks.clients.aws import AwsClient
from tasks.clients.globus.asking import no_retries, transport
from tasks.clients.globus.service import GlobusService
from tasks.clients.kachery.address import KacheryAddress
from tasks.clients.kachery.gateway import Gateways, NewGateway
from tests.loopback import Reply, answering, client_of, serve
from tests.pace import FakePace

STS = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>AKIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
CONFIG = """[profile lab]
role_arn = arn:aws:iam::123456789012:role/reader
source_profile = base
[profile base]
aws_access_key_id = AKIABASE
aws_secret_access_key = secret
"""
OPTIONS = WireOptions(attempts=1, connect_seconds=5, stall_seconds=5)
NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def alyx(server, _folder, _monkeypatch):
    return client_of(server.url).rest("labs", "read", id="a")["name"]


def http(server, folder, _monkeypatch):
    client = client_for("http", {"name": "lab", "data_url": server.url}, None, OPTIONS, pace=FakePace())
    return client.download_file(client.to_address("a.txt"), folder / "a.txt").read_bytes()


def kachery(server, _folder, _monkeypatch):
    client = client_for("http", {"name": "lab", "data_url": server.url}, None, OPTIONS, pace=FakePace())
    return Gateways([NewGateway(server.url, None)], client.wire).find(KacheryAddress("0" * 40, "default"))


def globus(server, _folder, _monkeypatch):
    client = globus_sdk.TransferClient(
        base_url=server.url,
        authorizer=globus_sdk.NullAuthorizer(),
        transport=transport(),
        retry_config=no_retries(),
    )
    return GlobusService(client, FakePace(), attempts=1).endpoint("0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368")


def aws(server, folder, monkeypatch):
    """boto3 itself asks for credentials where a profile assumes a role; libcurl moves the bytes."""
    (folder / "config").write_text(CONFIG)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    record = {"name": "s3", "json": {"bucket_name": "private"}, "globus_path": ""}
    client = AwsClient(record, {"profile_name": "lab", "endpoint_url": server.url}, OPTIONS, FakePace())
    return client.request("s3://private/a").user


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server(authority, tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    answer = {"name": "a", "found": True, "url": "https://host/a"}

    def app(asked):
        if "Action=AssumeRole" in asked.body:
            return Reply(200, STS, {"Content-Type": "text/xml"})
        return Reply.of(answer)

    with serve(app, context) as listening:
        yield listening


@pytest.mark.parametrize("ask", [alyx, http, kachery, globus, aws], ids=lambda ask: ask.__name__)
def test_one_variable_is_enough_for_every_library(ask, server, tmp_path, monkeypatch):
    with pytest.raises(DownloadError) as refused:
        ask(server, tmp_path, monkeypatch)
    assert refused.value.code in ("tls", "alyx-certificate", "not-addressable")
    asked = len(server.asked)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert ask(server, tmp_path, monkeypatch)
    assert asked == 0
    assert len(server.asked) >= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ask", [alyx, http, globus], ids=lambda ask: ask.__name__)
def test_other_variables_mean_the_same_everywhere(ask, name, server, tmp_path, monkeypatch):
    monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    assert ask(server, tmp_path, monkeypatch)


def test_another_host_s_certificate_is_refused(authority, server, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example.org").configure_cert(context)
    with serve(answering(Reply(200, b"data")), context) as other, pytest.raises(DownloadError) as refused:
        http(other, tmp_path, monkeypatch)
    assert refused.value.code == "tls"
    assert other.asked == []
