"""An S3-compatible server for real boto3."""

from deployments.sandbox.s3.server import S3, Bucket
from deployments.sandbox.s3.signatures import Gate

__all__ = ["S3", "Bucket", "Gate"]
