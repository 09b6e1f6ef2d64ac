"""Every row of the verdict table is reached, by the error that it is for."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl

import pytest
import requests
from urllib3.exceptions import DecodeError, IncompleteRead

from tasks.clients.verdicts import (
    RULES,
    Scope,
    Verdict,
    curl_error,
    error,
    http_status,
    kachery_answer,
    os_error,
    retry_after,
    unreachable,
)

S3_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>m</Message></Error>"


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (400, "bad-request", Verdict.NEXT_SOURCE),
        (401, "unauthorised", Verdict.STOP_RUN),
        (403, "forbidden", Verdict.NEXT_SOURCE),
        (404, "not-found", Verdict.NEXT_SOURCE),
        (405, "bad-request", Verdict.NEXT_SOURCE),
        (408, "connection-lost", Verdict.RETRY),
        (410, "not-found", Verdict.NEXT_SOURCE),
        (412, "changed", Verdict.RETRY),
        (416, "range-refused", Verdict.RETRY),
        (429, "throttled", Verdict.RETRY),
        (0, "protocol", Verdict.RETRY),
        (302, "redirect", Verdict.NEXT_SOURCE),
        (500, "server-error", Verdict.RETRY),
        (501, "bad-request", Verdict.NEXT_SOURCE),
        (502, "server-error", Verdict.RETRY),
        (503, "server-error", Verdict.RETRY),
        (504, "server-error", Verdict.RETRY),
    ],
)
def test_an_http_status_has_one_verdict(status, code, verdict):
    found = http_status(status, "a.npy at host")
    assert (found.code, found.verdict) == (code, verdict)
    assert f"a.npy at host: HTTP {status}" in found.reason
    assert found.next_step == RULES[code].next_step


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (503, "SlowDown", "throttled"),
        (500, "InternalError", "server-error"),
        (400, "RequestTimeout", "connection-lost"),
        (400, "ExpiredToken", "unauthorised"),
        (403, "InvalidAccessKeyId", "unauthorised"),
        (403, "SignatureDoesNotMatch", "unauthorised"),
        (403, "RequestTimeTooSkewed", "unauthorised"),
        (403, "AccessDenied", "forbidden"),
        (404, "NoSuchKey", "not-found"),
        (404, "NoSuchBucket", "not-found"),
        (412, "PreconditionFailed", "changed"),
        (301, "PermanentRedirect", "redirect"),
        (403, "SomethingNew", "forbidden"),
    ],
)
def test_an_s3_error_document_says_more_than_the_status(status, word, code):
    found = http_status(status, "k at bucket", {}, S3_ERROR.format(word).encode())
    assert found.code == code
    assert word in found.reason


@pytest.mark.parametrize(
    ("number", "code"),
    [(1, "redirect"), (3, "bad-request"), (6, "dns"), (7, "connect"), (8, "protocol"), (18, "connection-lost"),
     (35, "connection-lost"), (47, "redirect"), (52, "connection-lost"), (56, "connection-lost"), (60, "tls"),
     (92, "protocol"), (9999, "protocol")],
)  # fmt: skip
def test_a_libcurl_number_has_one_verdict(number, code):
    assert curl_error(number, "what libcurl says", "a.npy at host").code == code


@pytest.mark.parametrize(
    ("number", "code", "verdict"),
    [
        (errno.ENOSPC, "disk-full", Verdict.STOP_RUN),
        (errno.EDQUOT, "disk-full", Verdict.STOP_RUN),
        (errno.EROFS, "read-only", Verdict.STOP_RUN),
        (errno.EACCES, "read-only", Verdict.STOP_RUN),
        (errno.EISDIR, "target", Verdict.SKIP_FILE),
        (errno.ENAMETOOLONG, "name-too-long", Verdict.SKIP_FILE),
        (errno.ELOOP, "bad-path", Verdict.SKIP_FILE),
        (errno.EIO, "local-io", Verdict.RETRY),
    ],
)
def test_a_local_failure_has_one_verdict_and_names_the_path(tmp_path, number, code, verdict):
    found = os_error(OSError(number, "as the system says"), tmp_path / "x.npy")
    assert (found.code, found.verdict) == (code, verdict)
    assert str(tmp_path) in found.reason


def test_a_full_disk_says_what_is_free(tmp_path):
    assert "bytes are free there" in os_error(OSError(errno.ENOSPC, "full"), tmp_path).reason


NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2016 08:01:00 GMT", 0.0),
        ("1000000000", 7 * 24 * 3600.0),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("99999999999999999999999999999999999", None),
    ],
)
def test_retry_after_is_read_and_bounded(value, seconds):
    assert retry_after(value, NOW) == seconds


def test_a_503_that_asks_for_patience_is_a_throttle():
    found = http_status(503, "f", {"retry-after": "7"})
    assert (found.code, found.retry_after) == ("throttled", 7.0)


@pytest.mark.parametrize(
    ("status", "words", "keyed", "code", "verdict"),
    [
        (400, "Invalid hash", False, "not-addressable", Verdict.NEXT_SOURCE),
        (400, "Zone not found: lab", False, "not-addressable", Verdict.NEXT_SOURCE),
        (400, "Invalid request", False, "bad-request", Verdict.NEXT_SOURCE),
        (401, "Unauthorized - no user for token", True, "unauthorised", Verdict.STOP_RUN),
        (401, "in words of tomorrow", True, "unauthorised", Verdict.STOP_RUN),
        (401, "in words of tomorrow", False, "not-configured", Verdict.NEXT_SOURCE),
        (
            401,
            "User API token must be provided when zone does not allow public download",
            False,
            "not-configured",
            Verdict.NEXT_SOURCE,
        ),
        (401, "This user is not allowed to download files from this zone", True, "forbidden", Verdict.NEXT_SOURCE),
        (405, "Method not allowed", False, "bad-request", Verdict.NEXT_SOURCE),
        (429, "slowly", False, "throttled", Verdict.RETRY),
        (500, "Object does not exist: sha1/00/00/00/00", False, "not-found", Verdict.NEXT_SOURCE),
        (500, "Bucket URI not set for zone: lab", False, "bad-request", Verdict.NEXT_SOURCE),
        (500, "Unexpected error checking if object exists.", False, "server-error", Verdict.RETRY),
        (503, "", False, "server-error", Verdict.RETRY),
        (200, "", False, "kachery-gateway", Verdict.NEXT_SOURCE),
    ],
)
def test_what_a_kachery_gateway_says_has_one_verdict(status, words, keyed, code, verdict):
    body = json.dumps({"error": words} if words else {}).encode()
    headers = {"content-type": "application/json; charset=utf-8"}
    found = kachery_answer(status, "a.npy at host", headers, body, keyed=keyed, now=NOW)
    assert (found.code, found.verdict) == (code, verdict)
    assert f"a.npy at host: HTTP {status}" in found.reason


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (500, "Error: No verified client ID or user ID", "not-configured"),
        (500, "Error: Invalid signature", "unauthorised"),
        (500, "Error: Client not registered. Use kachery-cloud-init to register ...", "unauthorised"),
        (500, "Error: User alice is not authorized.", "forbidden"),
        (500, "Error: User alice not authorized to download files.", "forbidden"),
        (500, "Error: Error getting metadata for object: The specified key does not exist.", "not-addressable"),
        (500, "A server error has occurred\n\nFUNCTION_INVOCATION_FAILED", "server-error"),
        (404, "The page could not be found\n\nNOT_FOUND", "kachery-gateway"),
        (402, "Payment required\n\nDEPLOYMENT_DISABLED", "kachery-gateway"),
        (200, "<html>Log in; you are not authorized</html>", "kachery-gateway"),
        (308, "Redirecting...", "kachery-gateway"),
    ],
)
def test_so_has_what_the_old_one_says_as_text_and_what_comes_from_elsewhere(status, text, code):
    headers = {"content-type": "text/html; charset=utf-8"}
    assert kachery_answer(status, "a.npy at host", headers, text.encode(), keyed=True, now=NOW).code == code


def test_a_kachery_gateway_that_asks_for_patience_gets_it():
    assert kachery_answer(503, "f", {"retry-after": "7"}, b"", keyed=False, now=NOW).retry_after == 7.0


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (requests.exceptions.SSLError(ssl.SSLCertVerificationError("expired")), "tls"),
        (OSError("Could not find a suitable TLS CA certificate bundle"), "tls"),
        (requests.exceptions.InvalidURL("u"), "bad-params"),
        (requests.exceptions.MissingSchema("u"), "bad-params"),
        (requests.exceptions.ProxyError("http://user:password@proxy"), "connect"),
        (requests.exceptions.ConnectTimeout("t"), "connect-timeout"),
        (requests.exceptions.ReadTimeout("t"), "stalled"),
        (TimeoutError(), "stalled"),
        (requests.exceptions.ConnectionError(socket.gaierror(-2, "unknown")), "dns"),
        (requests.exceptions.ConnectionError(ConnectionRefusedError(111, "refused")), "connect"),
        (requests.exceptions.ConnectionError(ConnectionResetError(104, "reset")), "connection-lost"),
        (requests.exceptions.SSLError(ssl.SSLEOFError(8, "cut in the handshake")), "connection-lost"),
        (IncompleteRead(5, 10), "connection-lost"),
        (DecodeError("gzip"), "protocol"),
    ],
)
def test_a_request_without_an_answer_has_one_verdict_and_shows_no_password(failure, code):
    found = unreachable(failure, "a.npy at host")
    assert found.code == code
    assert "a.npy at host" in found.reason
    assert "password" not in str(found)


def test_every_row_says_what_it_means_and_what_comes_next():
    for code, rule in RULES.items():
        assert rule.meaning.endswith("."), code
        assert rule.next_step.endswith("."), code
        assert error(code, "detail.").verdict is rule.verdict
        if rule.verdict is Verdict.SKIP_FILE:
            assert rule.scope is Scope.FILE, code
        if rule.verdict is Verdict.STOP_RUN:
            assert rule.scope is Scope.RUN, code


def test_a_disk_may_be_full_with_bytes_to_spare(tmp_path, monkeypatch):
    fields = [4096, 4096, 100, 50, 50, 1000, 0, 0, 0, 255]
    monkeypatch.setattr("os.statvfs", lambda _: os.statvfs_result(fields))
    told = os_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path).reason
    assert told.endswith("204,800 bytes, but no inode for another file, are free there.")
