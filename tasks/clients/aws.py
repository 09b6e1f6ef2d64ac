"""Amazon S3 and servers like it: each repository's own bucket, region and keys, as Alyx's json names them.

boto3 finds endpoint and keys, once; libcurl signs, and moves the bytes on the same road as every other protocol's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import boto3
import botocore.exceptions
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.loaders import create_loader
from pydantic import SecretStr

from tasks.clients import profiles, store
from tasks.clients.addresses import encode, names_carry_uuid, server_path
from tasks.clients.authorities import trusted_authorities
from tasks.clients.profiles import Field
from tasks.clients.streaming import FATAL, StreamingClient
from tasks.clients.verdicts import error
from tasks.clients.wire import Request

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.loaders import Loader
    from mypy_boto3_s3 import S3Client

    from tasks.clients.options import WireOptions
    from tasks.clients.seams import Pace

_SCHEME = "s3://"
#: What Alyx may say of a bucket. Which of this machine's keys are used, and where they are sent, is not Alyx's to say.
_OF_ALYX = ("bucket_name", "region_name", "Access key ID", "Secret access key", "endpoint_url")
_FIELDS = (
    Field("profile_name", "Profile of ~/.aws/config to sign with", optional=True),
    Field("region_name", "Region", optional=True),
    Field("endpoint_url", "Address of a server that is not Amazon's", optional=True),
)


class AwsClient(StreamingClient):
    """Objects of a repository's bucket."""

    def __init__(
        self,
        repository: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        options: WireOptions | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(repository, params, options, pace)
        profile = _texts(store.profile("aws") if params is None else params)
        named = _texts(repository.get("json"))
        self._settings = {**profile, **{name: named[name] for name in _OF_ALYX if name in named}}
        self._is_stranger = named.get("endpoint_url", "") not in ("", profile.get("endpoint_url"))
        self._store = self._connect()

    def to_address(self, data_path: str, dataset_id: str | None = None) -> str:
        """Return `s3://bucket/key` of a registered path, the key percent-encoded.

        Raises:
            DownloadError: `bad-path`, or `not-addressable` for a repository without a bucket.
        """
        dataset_id = dataset_id if names_carry_uuid(self.repository.get("globus_is_personal")) else None
        return f"{self._base}/{encode(server_path(data_path, dataset_id))}"

    def reach(self) -> str:
        """Ask for the name of one object; see :meth:`DownloadClient.reach`. Keys need not be allowed to list."""
        request = self.request(f"{_SCHEME}{self._bucket()}/")
        one = replace(request, url=f"{request.url}?list-type=2&max-keys=1")
        return self.knock(one, (*FATAL, "not-found", "redirect"))

    def request(self, file_address: str) -> Request:
        """Return the object's URL, signed unless the bucket is public."""
        bucket, _, key = file_address.removeprefix(_SCHEME).partition("/")
        try:
            return self._store.request(bucket, quote(unquote(key), safe="/~"))
        except (botocore.exceptions.BotoCoreError, ValueError) as failure:
            raise error("not-addressable", f"{file_address}: {' '.join(str(failure).split())}.") from failure

    @property
    def has_credentials(self) -> bool:
        """Whether requests are signed."""
        return self._store.keys is not None

    def renew(self) -> bool:
        """Ask boto3's credential chain anew; keys that Alyx gives do not change within a run."""
        before = self._store.keys
        self._store = self._connect()
        return self._store.keys != before

    @staticmethod
    def setup(profile: str = "default", **fields: object) -> Mapping[str, Any]:
        """Write S3 settings into the params store, under `aws.<profile>`; Alyx's own go before them."""
        return profiles.setup("aws", profile, _FIELDS, fields)

    @cached_property
    def _base(self) -> str:
        prefix = (self.repository.get("globus_path") or "").strip("/")
        return f"{_SCHEME}{'/'.join(filter(None, (self._bucket(), encode(prefix))))}"

    def _bucket(self) -> str:
        bucket = self._settings.get("bucket_name")
        if not bucket:
            detail = f"Repository {self.repository.get('name')} names no bucket (json.bucket_name)."
            raise error("not-addressable", detail)
        return str(bucket)

    def _connect(self) -> _Store:
        """Find endpoint and keys: Alyx's keys; else none for a public bucket (ONE's rule); else as boto3 finds them.

        A server that Alyx alone names is shown no key of this machine.
        """
        try:
            return self._connected()
        except botocore.exceptions.ProfileNotFound as failure:
            raise error("bad-params", f"{failure} (profile_name in `aws.default`, or AWS_PROFILE).") from failure
        except botocore.exceptions.BotoCoreError as failure:
            raise error("not-addressable", f"Repository {self.repository.get('name')}: {failure}.") from failure
        except ValueError as failure:  # boto3's word for an endpoint that is no address
            detail = f"{failure} (endpoint_url in `aws.default`, or AWS_ENDPOINT_URL_S3)."
            raise error("bad-params", detail) from failure

    def _connected(self) -> _Store:
        settings = self._settings
        key, secret = settings.get("Access key ID") or None, settings.get("Secret access key") or None
        if bool(key) != bool(secret):
            raise error("not-addressable", f"Repository {self.repository.get('name')} has one of S3's two keys only.")
        core = botocore.session.Session()
        core.register_component("data_loader", _loader())
        core.set_config_variable("ca_bundle", trusted_authorities())
        session = boto3.Session(
            botocore_session=core,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name=settings.get("region_name") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            profile_name=settings.get("profile_name") or None,
        )
        public = "public" in settings.get("bucket_name", "") and not key
        found = None if public or (self._is_stranger and not key) else session.get_credentials()
        config = Config(signature_version=UNSIGNED)
        return _Store(session.client("s3", config=config, endpoint_url=settings.get("endpoint_url") or None), found)


@cache
def _loader() -> Loader:
    """What boto3 knows of Amazon's services: megabytes that all repositories read once."""
    return create_loader()


class _Store:
    """One S3 server as boto3 knows it: where its buckets are, and whose keys open them."""

    def __init__(self, s3: S3Client, credentials: Credentials | None) -> None:
        self._s3 = s3
        self._credentials = credentials
        self._buckets: dict[str, str] = {}
        self.keys = credentials and credentials.get_frozen_credentials()

    def request(self, bucket: str, key: str) -> Request:
        """An object's URL, to be signed where there are keys; they are asked for anew each time, since some expire."""
        url = f"{self._url(bucket)}/{key}"
        if not self._credentials:
            return Request(url)
        keys = self._credentials.get_frozen_credentials()
        token = (f"X-Amz-Security-Token: {keys.token}",) if keys.token else ()
        sign = f"aws:amz:{self._s3.meta.region_name}:s3"
        return Request(url, token, keys.access_key or "", SecretStr(keys.secret_key or ""), sign)

    def _url(self, bucket: str) -> str:
        """A bucket's address, in the style that boto3 chooses for its endpoint."""
        if bucket not in self._buckets:
            example = self._s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"})
            self._buckets[bucket] = example.partition("?")[0].removesuffix("/key")
        return self._buckets[bucket]


def _texts(value: object) -> dict[str, str]:
    """The fields of a profile or of Alyx's json, which may also be null or a string, and whose values may be null."""
    fields = value.items() if isinstance(value, Mapping) else ()
    return {str(name): str(field) for name, field in fields if field is not None}
