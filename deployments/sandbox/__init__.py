"""A whole lab on loopback: Alyx, file servers and S3, to try everything on and to test against."""

from deployments.sandbox.lab import Lab

__all__ = ["Lab"]
