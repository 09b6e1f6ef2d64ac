"""The S3 client against a server that checks signatures."""

from __future__ import annotations

import hashlib

import pytest

from deployments.sandbox import Lab
from deployments.sandbox.data import PRIVATE_BUCKET
from deployments.sandbox.lab import ACCESS_KEY, SECRET_KEY
from tasks.clients import DownloadError, Verdict, client_for
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.seams import Pace
from tasks.clients.tree import Tree

KEYS = {"Access key ID": ACCESS_KEY, "Secret access key": SECRET_KEY}


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(autouse=True)
def _nobody_at_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


def client_and_key(lab, dataset, **keys):
    (path,) = lab.paths(dataset, ["s3"])
    bucket, _, key = path.relative_to(lab.stores.root / "s3").as_posix().partition("/")
    json = {"bucket_name": bucket, "region_name": "us-east-1", **keys}
    record = {"name": "aws_lab", "globus_path": "", "globus_is_personal": True, "json": json}
    return client_for("aws", record, {"endpoint_url": lab.urls["s3"]}), key


@pytest.mark.parametrize("kind", ["only-s3", "unicode", "zero-byte", "multipart"])
def test_the_server_accepts_the_signature_of_every_name(lab, kind, tmp_path):
    dataset = lab.world.odd(kind)
    client, key = client_and_key(lab, dataset, **KEYS)
    digest = hashlib.md5(dataset.content).hexdigest()
    target = client.download_file(client.to_address(key), tmp_path / "a", size=len(dataset.content), digest=digest)
    assert target.read_bytes() == dataset.content


def test_a_range_is_signed_too(lab, tmp_path):
    """What an earlier run left is continued, which adds header lines to the request."""
    dataset = lab.world.odd("multipart")
    client, key = client_and_key(lab, dataset, **KEYS)
    digest, half = hashlib.md5(dataset.content).hexdigest(), len(dataset.content) // 2
    tree = Tree(tmp_path)
    tree.prepare()
    partial = Partials(tree.partials, tree.disk, Pace()).claim(Expected.of(len(dataset.content), digest), "")
    partial.write(dataset.content[:half])
    receipt = client.fetch(client.to_address(key), partial)
    assert (receipt.bytes, receipt.attempts) == (len(dataset.content) - half, 1)
    assert partial.path.read_bytes() == dataset.content


def test_a_wrong_secret_stops_the_run(lab, tmp_path):
    dataset = lab.world.odd("only-s3")
    client, key = client_and_key(lab, dataset, **{**KEYS, "Secret access key": "wrong"})
    with pytest.raises(DownloadError) as caught:
        client.download_file(client.to_address(key), tmp_path / "a")
    assert caught.value.verdict is Verdict.STOP_RUN
    assert "wrong" not in str(caught.value)


def test_a_session_token_is_sent_and_no_secret_is_in_the_url(lab, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "temporary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    client, key = client_and_key(lab, lab.world.odd("only-s3"), bucket_name=PRIVATE_BUCKET)
    request = client.request(client.to_address(key))
    assert request.headers == ("X-Amz-Security-Token: token",)
    assert request.user == "temporary"
    assert "hidden" not in repr(request) + request.url
