"""The S3 server, as unmodified boto3 and plain HTTP see it."""

import hashlib
import re
import time
from html import unescape
from urllib.parse import quote

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from deployments.sandbox import Lab
from deployments.sandbox.data import PRIVATE_BUCKET, PUBLIC_BUCKET
from deployments.sandbox.lab import ACCESS_KEY, SECRET_KEY


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture(autouse=True)
def _fresh(lab, monkeypatch):
    lab.reset()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


def md5(content):
    return hashlib.md5(content, usedforsecurity=False)


def client(lab, key=ACCESS_KEY, secret=SECRET_KEY, **config):
    return boto3.client(
        "s3",
        endpoint_url=lab.urls["s3"],
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture(scope="module")
def signed(lab):
    return client(lab)


@pytest.fixture(scope="module")
def anonymous(lab):
    return client(lab, signature_version=UNSIGNED)


def where(lab, dataset):
    (path,) = lab.paths(dataset, ["s3"])
    bucket, _, key = path.relative_to(lab.stores.root / "s3").as_posix().partition("/")
    return {"Bucket": bucket, "Key": key}


def refused(call, **options):
    with pytest.raises(ClientError) as caught:
        call(**options)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("kind", ["only-s3", "unicode", "zero-byte", "sha1", "multipart"])
def test_boto3_gets_every_kind_of_object(lab, signed, kind):
    dataset = lab.world.odd(kind)
    answer = signed.get_object(**where(lab, dataset))
    assert answer["Body"].read() == dataset.content
    assert answer["ContentLength"] == len(dataset.content)
    assert answer["ContentType"] == "binary/octet-stream"
    assert answer["AcceptRanges"] == "bytes"


def test_the_public_bucket_is_open_and_the_private_one_is_not(lab, anonymous):
    public, private = where(lab, lab.world.odd("only-s3")), where(lab, lab.world.odd("unicode"))
    assert (public["Bucket"], private["Bucket"]) == (PUBLIC_BUCKET, PRIVATE_BUCKET)
    assert anonymous.get_object(**public)["Body"].read() == lab.world.odd("only-s3").content
    assert refused(anonymous.get_object, **private) == (403, "AccessDenied")
    assert refused(anonymous.list_objects_v2, Bucket=PRIVATE_BUCKET) == (403, "AccessDenied")
    assert refused(anonymous.list_buckets) == (403, "AccessDenied")


def test_etags_are_md5_or_the_parts_md5(lab, signed):
    small, big = lab.world.odd("only-s3"), lab.world.odd("multipart")
    assert signed.head_object(**where(lab, small))["ETag"] == f'"{md5(small.content).hexdigest()}"'
    parts = (big.content[: 5 << 20], big.content[5 << 20 :])
    both = md5(b"".join(md5(part).digest() for part in parts)).hexdigest()
    assert signed.head_object(**where(lab, big))["ETag"] == f'"{both}-2"'


def test_ranges_and_conditions(lab, signed):
    dataset = lab.world.odd("only-s3")
    place, size = where(lab, dataset), len(dataset.content)
    part = signed.get_object(**place, Range="bytes=100-199")
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert part["ContentRange"] == f"bytes 100-199/{size}"
    assert part["Body"].read() == dataset.content[100:200]
    assert refused(signed.get_object, **place, Range=f"bytes={size}-") == (416, "InvalidRange")
    assert signed.get_object(**place, IfMatch=part["ETag"])["ContentLength"] == size
    assert refused(signed.get_object, **place, IfMatch='"x"') == (412, "PreconditionFailed")
    assert refused(signed.get_object, **place, IfNoneMatch=part["ETag"]) == (304, "304")


def test_a_changed_object_no_longer_matches(lab, signed):
    place = where(lab, lab.world.odd("only-s3"))
    before = signed.head_object(**place)["ETag"]
    (path,) = lab.paths(lab.world.odd("only-s3"), ["s3"])
    path.write_bytes(path.read_bytes()[::-1])
    assert refused(signed.get_object, **place, IfMatch=before) == (412, "PreconditionFailed")


def test_what_is_missing(lab, signed, anonymous):
    lost = where(lab, lab.world.odd("s3-lost"))
    assert refused(anonymous.get_object, **lost) == (404, "NoSuchKey")
    assert refused(anonymous.head_object, **lost) == (404, "404")
    assert refused(signed.get_object, Bucket="nowhere", Key="x") == (404, "NoSuchBucket")
    assert refused(signed.get_object, Bucket=PUBLIC_BUCKET, Key="../" + PRIVATE_BUCKET) == (404, "NoSuchKey")
    lab.s3.buckets[PUBLIC_BUCKET].lists = False
    assert refused(anonymous.get_object, **lost) == (403, "AccessDenied")
    assert refused(anonymous.list_objects_v2, Bucket=PUBLIC_BUCKET) == (403, "AccessDenied")


def test_a_stale_object_is_there_and_wrong(lab, signed):
    dataset = lab.world.odd("s3-stale")
    found = signed.get_object(**where(lab, dataset))["Body"].read()
    assert len(found) == dataset.size
    assert found != dataset.content


def test_nothing_can_be_written(signed):
    assert refused(signed.put_object, Bucket=PUBLIC_BUCKET, Key="x", Body=b"x") == (405, "MethodNotAllowed")


def test_the_location_and_the_names_of_buckets(signed):
    assert signed.get_bucket_location(Bucket=PUBLIC_BUCKET)["LocationConstraint"] is None
    assert signed.head_bucket(Bucket=PUBLIC_BUCKET)["BucketRegion"] == "us-east-1"
    assert [each["Name"] for each in signed.list_buckets()["Buckets"]] == [PUBLIC_BUCKET, PRIVATE_BUCKET]


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_lists_come_in_pages_that_hold_every_key_once(lab, signed, operation):
    pages = signed.get_paginator(operation).paginate(
        Bucket=PRIVATE_BUCKET, Prefix="data/churchlandlab/", PaginationConfig={"PageSize": 5}
    )
    rows = [row for page in pages for row in page["Contents"]]
    keys = [row["Key"] for row in rows]
    root = lab.stores.root / "s3" / PRIVATE_BUCKET
    assert keys == sorted((path.relative_to(root).as_posix() for path in root.rglob("*.*")), key=str.encode)
    assert any("Größe 日本 1" in key for key in keys)
    row = next(row for row in rows if row["Key"].endswith(".mp4"))
    assert row["Size"] == 300_000
    assert row["ETag"] == f'"{md5((root / row["Key"]).read_bytes()).hexdigest()}"'


def test_a_delimiter_makes_folders(signed):
    root = "data/cortexlab/Subjects/"
    pages = signed.get_paginator("list_objects_v2").paginate(
        Bucket=PUBLIC_BUCKET, Prefix=root, Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    folders = [each["Prefix"] for page in pages for each in page["CommonPrefixes"]]
    assert folders == [f"{root}KS005/", f"{root}KS014/"]
    page = signed.list_objects_v2(Bucket=PUBLIC_BUCKET, StartAfter=f"{root}KS014", MaxKeys=1)
    assert page["Contents"][0]["Key"].startswith(f"{root}KS014/")
    assert signed.list_objects_v2(Bucket=PUBLIC_BUCKET, Prefix="nothing")["KeyCount"] == 0


def test_a_resource_lists_as_one_does(lab):
    session = boto3.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)
    bucket = session.resource("s3", endpoint_url=lab.urls["s3"]).Bucket(PRIVATE_BUCKET)
    assert len(list(bucket.objects.filter(Prefix="data/churchlandlab/Subjects/CSHL_003/2019-05-07"))) == 13


def test_wrong_keys_are_told_apart(lab):
    place = where(lab, lab.world.odd("unicode"))
    assert refused(client(lab, key="NOBODY").get_object, **place) == (403, "InvalidAccessKeyId")
    assert refused(client(lab, secret="wrong").get_object, **place) == (403, "SignatureDoesNotMatch")
    lab.s3.gate.expired.add(ACCESS_KEY)
    assert refused(client(lab).get_object, **place) == (400, "ExpiredToken")


def test_a_wrong_clock_is_told(lab):
    lab.s3.gate.clock = lambda: time.time() + 3600
    assert refused(client(lab).list_buckets) == (403, "RequestTimeTooSkewed")


def presigned(lab, seconds=60, **config):
    signer = client(lab, **{"signature_version": "s3v4", **config})
    place = where(lab, lab.world.odd("unicode"))
    return signer.generate_presigned_url("get_object", Params=place, ExpiresIn=seconds)


def test_a_presigned_address_needs_no_key(lab):
    true = lab.world.odd("unicode").content
    answer = requests.get(presigned(lab), headers={"Range": "bytes=10-19"}, timeout=5)
    assert (answer.status_code, answer.content) == (206, true[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(true)}"


def element(answer, name):
    return unescape(re.search(f"<{name}>(.*?)</{name}>", answer.text).group(1))


def code(answer):
    return answer.status_code, element(answer, "Code")


def test_a_presigned_address_ends_and_cannot_be_changed(lab):
    url = presigned(lab)
    assert code(requests.get(url.replace("2019-05-07", "2019-05-08"), timeout=5)) == (403, "SignatureDoesNotMatch")
    assert code(requests.get(url.replace("Expires=60", "Expires=90"), timeout=5)) == (403, "SignatureDoesNotMatch")
    assert code(requests.get(url.replace("X-Amz-Date", "X-Any-Date"), timeout=5))[0] == 400
    lab.s3.gate.clock = lambda: time.time() + 61
    answer = requests.get(url, timeout=5)
    assert code(answer) == (403, "AccessDenied")
    assert element(answer, "Message") == "Request has expired"


def test_version_2_signatures_are_refused_as_new_buckets_do(lab):
    url = presigned(lab, signature_version="s3")
    assert "X-Amz-Signature" not in url
    assert code(requests.get(url, timeout=5)) == (400, "InvalidRequest")


@pytest.mark.parametrize("header", ["AWS4-HMAC-SHA256 nonsense", "Basic x"])
def test_other_authorizations_are_refused(lab, header):
    url = f"{lab.urls['s3']}/{PUBLIC_BUCKET}"
    assert code(requests.get(url, headers={"Authorization": header}, timeout=5)) == (400, "InvalidRequest")


def test_errors_are_xml_as_amazon_writes_it(lab):
    url = f"{lab.urls['s3']}/{PUBLIC_BUCKET}/data/{quote('<no> such')}"
    answer = requests.get(url, timeout=5)
    assert answer.headers["Content-Type"] == "application/xml"
    assert answer.text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The')
    assert element(answer, "Key") == "data/<no> such"
    assert requests.head(url, timeout=5).content == b""


def test_boto3_downloads_to_a_file(lab, anonymous, tmp_path):
    place = where(lab, lab.world.odd("multipart"))
    anonymous.download_file(place["Bucket"], place["Key"], str(tmp_path / "big"))
    assert (tmp_path / "big").read_bytes() == lab.world.odd("multipart").content
