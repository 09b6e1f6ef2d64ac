"""How a registered path becomes an address: the UUID in server file names, and percent-encoding, once."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import quote
from uuid import UUID

from tasks.clients.verdicts import error

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def with_uuid(name: str, dataset_id: str | None) -> str:
    """Put the UUID before the last suffix, as ONE's `add_uuid_string` does; one that is there is replaced.

    `a.b.npy` becomes `a.b.<uuid>.npy`, `noext` becomes `noext.<uuid>` (reference: alyx-and-one 4).
    """
    if dataset_id is None:
        return name
    uuid = str(UUID(str(dataset_id)))
    stem, dot, last = name.rpartition(".") if "." in name.lstrip(".") else (name, "", "")
    if _UUID.fullmatch(last):
        return f"{stem}.{uuid}"
    bare, inner_dot, inner = stem.rpartition(".")
    if inner_dot and _UUID.fullmatch(inner):
        stem = bare
    return f"{stem}.{uuid}{dot}{last}"


def server_path(data_path: str, dataset_id: str | None) -> str:
    """The path on a server: checked, with the UUID in the name where one is given; raw, relative.

    Raises:
        DownloadError: `bad-path` for an absolute path, `..`, a backslash or a control character.
    """
    path = PurePosixPath(data_path)
    hostile = path.is_absolute() or not path.name or {"..", "."} & set(data_path.split("/"))
    if hostile or "\\" in data_path or any(ord(character) < 32 for character in data_path):  # noqa: PLR2004
        raise error("bad-path", f"It says {data_path!r}.")
    return str(path.with_name(with_uuid(path.name, dataset_id)))


def encode(path: str) -> str:
    """Percent-encode each segment of a raw path once; `#2024-01-01#` is a directory and `%23` a name."""
    return quote(path, safe="/~")


def names_carry_uuid(repository_is_personal: object) -> bool:
    """Server repositories put the UUID into file names, personal ones do not (alyx.data.transfers)."""
    return repository_is_personal is not True
