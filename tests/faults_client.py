"""A client that sees every byte: what the tests of the fault server look through."""

import random
import socket
import ssl
from types import SimpleNamespace
from urllib.parse import urlsplit

import requests

DATA = random.Random(7).randbytes(1 << 20)
SIZE = len(DATA)
HALF = SIZE // 2
REST = {"Range": f"bytes={HALF}-"}


def get(url, method="GET", **headers):
    """One request; redirects are not followed, nothing is decoded."""
    answer = requests.request(
        method, url, headers={"Accept-Encoding": "identity", **headers}, allow_redirects=False, stream=True, timeout=30
    )
    answer.body = answer.raw.read(decode_content=False)
    return answer


def talk(url, context=None, **headers):
    """Ask by hand, and read all that comes: head, body, and how it ended."""
    address = urlsplit(url)
    lines = [f"GET {address.path} HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        if context:
            # Set by Python before 3.11.4 (gh-95494): a cut would look like a farewell.
            context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
            connection = context.wrap_socket(  # noqa: PLW2901  (the same connection, from here on with TLS)
                connection, server_hostname=address.hostname, suppress_ragged_eofs=False
            )
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return SimpleNamespace(**read_all(connection))


def read_all(connection):
    received = bytearray()
    try:
        while piece := connection.recv(1 << 16):
            received += piece
        end = "closed"
    except ConnectionResetError:
        end = "reset"
    except ssl.SSLError as failure:  # from Python 3.11.4 on an SSLEOFError
        if "eof" not in str(failure).lower():
            raise
        end = "cut"
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    return {"head": head, "body": body, "end": end}
