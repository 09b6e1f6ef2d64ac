"""Every row of the verdict table is reached, by the error that it is for."""

from __future__ import annotations

import errno

import pytest

from tasks.clients.verdicts import RULES, Scope, Verdict, curl_error, error, http_status, os_error, retry_after

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


def test_every_row_says_what_it_means_and_what_comes_next():
    for code, rule in RULES.items():
        assert rule.meaning.endswith("."), code
        assert rule.next_step.endswith("."), code
        assert error(code, "detail.").verdict is rule.verdict
        if rule.verdict is Verdict.SKIP_FILE:
            assert rule.scope is Scope.FILE, code
        if rule.verdict is Verdict.STOP_RUN:
            assert rule.scope is Scope.RUN, code
