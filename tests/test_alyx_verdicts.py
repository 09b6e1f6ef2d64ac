"""What an answer of Alyx means: the table, row by row, and the four causes of trouble told apart."""

from __future__ import annotations

import json
import socket
import ssl

import pytest
import requests

from tasks.clients.verdicts import RULES, Verdict, alyx_answer, alyx_unreachable

HTML = "<html><head><title>{}</title></head></html>"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, {"non_field_errors": ["Unable to log in with provided credentials."], "status_code": 400}, "alyx-login"),
        (400, {"password": ["This field is required."], "status_code": 400}, "alyx-login"),
        (400, {"session": ["Select a valid choice."], "status_code": 400}, "alyx-bad-request"),
        (400, {"password": ["x"], "session": ["y"]}, "alyx-bad-request"),
        (400, ["not a map"], "alyx-bad-request"),
        (401, {"detail": "Invalid token."}, "alyx-token"),
        (401, {"detail": "Who are you?"}, "alyx-gateway"),
        (403, {"detail": "Invalid token.", "status_code": 403}, "alyx-token"),
        (403, {"detail": "Invalid token header. No credentials provided."}, "alyx-token"),
        (403, {"detail": "Authentication credentials were not provided."}, "alyx-no-credentials"),
        (403, {"detail": "User inactive or deleted."}, "alyx-login"),
        (403, {"detail": "You do not have permission to perform this action."}, "alyx-forbidden"),
        (403, {"detail": {"Invalid token.": 1}}, "alyx-forbidden"),
        (404, {"detail": "No Dataset matches the given query."}, "alyx-not-found"),
        (405, {"detail": 'Method "GET" not allowed.'}, "alyx-bad-request"),
        (414, {}, "alyx-bad-request"),
        (429, {"detail": "Request was throttled."}, "alyx-throttled"),
        (500, {"status_code": 500, "detail": "list index out of range"}, "alyx-error"),
        (500, {"message": "a gateway's own JSON"}, "alyx-failed"),
        (502, {"status_code": 502}, "alyx-failed"),
        (503, {"detail": "maintenance", "status_code": 503}, "alyx-failed"),
        (200, "{broken", "alyx-failed"),
        (302, {}, "alyx-redirect"),
    ],
)
def test_json(status: int, said: object, code: str) -> None:
    body = said if isinstance(said, str) else json.dumps(said)
    failure = alyx_answer(status, "application/json", body, request="GET https://alyx/datasets")
    assert failure.code == code
    assert failure.verdict is RULES[code].verdict
    assert "GET https://alyx/datasets" in failure.reason


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, "alyx-url"),
        (302, "alyx-redirect"),
        (400, "alyx-url"),
        (401, "alyx-gateway"),
        (403, "alyx-gateway"),
        (404, "alyx-not-found"),
        (407, "alyx-gateway"),
        (414, "alyx-bad-request"),
        (429, "alyx-throttled"),
        (500, "alyx-failed"),
        (502, "alyx-failed"),
        (503, "alyx-failed"),
        (504, "alyx-failed"),
        (599, "alyx-failed"),
    ],
)
def test_web_pages(status: int, code: str) -> None:
    failure = alyx_answer(status, "text/html; charset=utf-8", HTML.format("Bad\n Gateway"), request="GET x")
    assert failure.code == code
    assert 'a web page titled "Bad Gateway"' in failure.reason
    assert "<" not in failure.reason


def test_a_long_answer_is_cut() -> None:
    said = json.dumps({"detail": "x" * 5000, "status_code": 500})
    assert len(str(alyx_answer(500, "application/json", said, request="GET x"))) < 700


def test_the_wait_is_kept() -> None:
    assert alyx_answer(429, "application/json", "{}", retry_after=40.0).retry_after == 40.0


def test_credentials_are_named_where_they_matter() -> None:
    said = json.dumps({"detail": "Invalid token."})
    assert "from ONE" in alyx_answer(403, "application/json", said, login="user 'a', from ONE").reason
    assert "from ONE" not in alyx_answer(404, "application/json", "{}", login="user 'a', from ONE").reason


def wrapped(cause: Exception, by: type[requests.RequestException]) -> requests.RequestException:
    failure = by("HTTPSConnectionPool(host='alyx', port=443): Max retries exceeded")
    failure.__context__ = cause
    return failure


def certificate_error() -> ssl.SSLCertVerificationError:
    failure = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    failure.verify_message = "certificate has expired"
    return failure


def plain_answer():
    """What OpenSSL says where a server answers in plain text."""
    listener, context = socket.create_server(("127.0.0.1", 0)), ssl.create_default_context()
    with listener, socket.create_connection(listener.getsockname()) as ours, listener.accept()[0] as theirs:
        theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ssl.SSLError) as refused:
            context.wrap_socket(ours, server_hostname="localhost")
    return refused.value


@pytest.mark.parametrize(
    ("failure", "code", "word"),
    [
        (wrapped(ConnectionRefusedError(111, "refused"), requests.ConnectionError), "alyx-unreachable", "refused"),
        (requests.ConnectTimeout("x"), "alyx-unreachable", "in time"),
        (requests.ReadTimeout("x"), "alyx-unreachable", "in time"),
        (TimeoutError(), "alyx-unreachable", "in time"),
        (requests.exceptions.ChunkedEncodingError("x"), "alyx-unreachable", "broke off"),
        (wrapped(certificate_error(), requests.exceptions.SSLError), "alyx-certificate", "expired"),
        (wrapped(plain_answer(), requests.exceptions.SSLError), "alyx-url", "no TLS is spoken there"),
        (wrapped(ssl.SSLError(1, "handshake failure"), requests.exceptions.SSLError), "alyx-unreachable", "handshake"),
        (OSError("Could not find a suitable TLS CA certificate bundle: /x"), "alyx-certificate", "/x"),
        (requests.exceptions.ProxyError("http://me:secret@proxy"), "alyx-gateway", "proxy"),
        (requests.exceptions.InvalidURL("x"), "alyx-url", "no web address"),
    ],
)  # fmt: skip
def test_no_answer(failure: Exception, code: str, word: str) -> None:
    made = alyx_unreachable(failure, request="GET https://alyx/datasets")
    assert made.code == code
    assert word in made.reason
    assert "secret" not in str(made)


def test_the_four_causes_have_four_messages() -> None:
    causes = ["alyx-unreachable", "alyx-certificate", "alyx-login", "unauthorised"]
    assert len({RULES[code].meaning for code in causes}) == len({RULES[code].next_step for code in causes}) == 4


def test_only_what_may_pass_is_tried_again() -> None:
    again = {code for code in RULES if code.startswith("alyx-") and RULES[code].verdict is Verdict.RETRY}
    assert again == {"alyx-unreachable", "alyx-throttled", "alyx-failed", "alyx-incomplete"}
