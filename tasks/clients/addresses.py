"""How a registered path becomes an address: the UUID in server file names, and percent-encoding, once."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from urllib.parse import quote
from uuid import UUID

from tasks.clients.verdicts import error

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
#: What percent-encoding leaves as it is.
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
#: Control characters, a separator of Windows, and halves of characters, which no server has in a name.
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def _uuid(dataset_id: str) -> str:
    return dataset_id.lower() if _UUID.fullmatch(dataset_id) else str(UUID(dataset_id))


def with_uuid(name: str, dataset_id: str | None) -> str:
    """Put the UUID before the last suffix, as ONE's `add_uuid_string` does; one that is there is replaced.

    `a.b.npy` becomes `a.b.<uuid>.npy`, `noext` becomes `noext.<uuid>` (reference: alyx-and-one 4).

    Raises:
        DownloadError: `not-addressable`: that is no UUID.
    """
    if dataset_id is None:
        return name
    try:
        uuid = _uuid(str(dataset_id))
    except ValueError:
        raise error("not-addressable", f"{dataset_id!r} is no dataset's id.") from None
    stem, dot, last = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
    if _UUID.fullmatch(last):
        return f"{stem}.{uuid}"
    bare, inner_dot, inner = stem.rpartition(".")
    if inner_dot and _UUID.fullmatch(inner):
        stem = bare
    return f"{stem}.{uuid}{dot}{last}"


@lru_cache(maxsize=64)  # a dataset's sources are addressed one after another
def server_path(data_path: str, dataset_id: str | None) -> str:
    """The path on a server: checked, with the UUID in the name where one is given; raw, relative.

    Raises:
        DownloadError: `bad-path` for an absolute path, an empty part, `..`, a backslash or a control character;
            `not-addressable` for an id that is none.
    """
    path = os.fspath(data_path)
    if {"", ".", ".."} & set(path.split("/")) or _UNSPEAKABLE.search(path):
        raise error("bad-path", f"It says {path!a}.")
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{with_uuid(name, dataset_id)}"


@lru_cache(maxsize=64)
def encode(path: str) -> str:
    """Percent-encode each segment of a raw path once; `#2024-01-01#` is a directory and `%23` a name.

    Raises:
        DownloadError: `not-addressable`: it holds half a character, which JSON can and no server does.
    """
    if _PLAIN.fullmatch(path):  # most are, and there are many
        return path
    try:
        return quote(path, safe="/~")
    except UnicodeEncodeError:
        raise error("not-addressable", f"{path!a} holds half a character.") from None


def names_carry_uuid(repository_is_personal: object) -> bool:
    """Server repositories put the UUID into file names, personal ones do not (alyx.data.transfers)."""
    return repository_is_personal is not True
