"""A server that misbehaves on demand, and the catalogue of what it can do wrong.

Examples:
    >>> with FaultServer() as server:
    ...     address = server.put("/a.npy", b"0123456789", [Drop(0.5), Good()])
"""

from deployments.sandbox.faults.answers import (
    Answer,
    Flip,
    Good,
    Html,
    IgnoreConditions,
    IgnoreRange,
    Login,
    Moved,
    NoHead,
    Other,
    Redirect,
    Sized,
    Status,
    Validators,
    WrongBody,
    WrongRange,
)
from deployments.sandbox.faults.breaks import (
    Chunked,
    Cut,
    Drip,
    Drop,
    Garbage,
    Gzip,
    HangUp,
    Header,
    NoLength,
    Silent,
    Stall,
    TooLong,
)
from deployments.sandbox.faults.catalogue import CATALOGUE, MATRIX, Expect, Fault
from deployments.sandbox.faults.gates import AtMost, Expire, Gate, Hit
from deployments.sandbox.faults.listener import Door
from deployments.sandbox.faults.server import BUCKET, FaultServer
from deployments.sandbox.faults.split import SLOW, SPLIT
from deployments.sandbox.faults.tls import Tls

__all__ = [
    "BUCKET",
    "CATALOGUE",
    "MATRIX",
    "SLOW",
    "SPLIT",
    "Answer",
    "AtMost",
    "Chunked",
    "Cut",
    "Door",
    "Drip",
    "Drop",
    "Expect",
    "Expire",
    "Fault",
    "FaultServer",
    "Flip",
    "Garbage",
    "Gate",
    "Good",
    "Gzip",
    "HangUp",
    "Header",
    "Hit",
    "Html",
    "IgnoreConditions",
    "IgnoreRange",
    "Login",
    "Moved",
    "NoHead",
    "NoLength",
    "Other",
    "Redirect",
    "Silent",
    "Sized",
    "Stall",
    "Status",
    "Tls",
    "TooLong",
    "Validators",
    "WrongBody",
    "WrongRange",
]
