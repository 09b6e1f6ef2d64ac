"""Whom TLS trusts: the authorities of a lab's own file where the environment names one, else certifi's.

Every library that talks to a server here is given the same answer: requests (Alyx, kachery), libcurl (all bytes),
boto3 (S3's credentials) and the Globus SDK. Nothing switches the check of certificates off.
"""

from __future__ import annotations

import os

import certifi

#: In the order that requests and curl look; the first is the one that the documentation names.
_NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def trusted_authorities() -> str:
    """Return the path of the file, or of a directory made by `openssl rehash`."""
    return next((os.environ[name] for name in _NAMES if os.environ.get(name)), certifi.where())
