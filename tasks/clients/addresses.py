"""How a registered path becomes an address: the UUID in server file names, and percent-encoding, once."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote
from uuid import UUID

from tasks.clients.verdicts import error

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)

_DOTS = frozenset({".", ".."})
_HOSTILE = re.compile(r"[\x00-\x1f\\]")


@lru_cache(maxsize=64)  # a dataset's sources are addressed one after another
def _uuid(dataset_id: str) -> str:
    return str(UUID(dataset_id))


def with_uuid(name: str, dataset_id: str | None) -> str:
    """Put the UUID before the last suffix, as ONE's `add_uuid_string` does; one that is there is replaced.

    `a.b.npy` becomes `a.b.<uuid>.npy`, `noext` becomes `noext.<uuid>` (reference: alyx-and-one 4).
    """
    if dataset_id is None:
        return name
    uuid = _uuid(str(dataset_id))
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
    parts = [part for part in data_path.split("/") if part]
    if not parts or data_path[0] == "/" or _DOTS & set(parts) or _HOSTILE.search(data_path):
        raise error("bad-path", f"It says {data_path!r}.")
    return "/".join((*parts[:-1], with_uuid(parts[-1], dataset_id)))


def encode(path: str) -> str:
    """Percent-encode each segment of a raw path once; `#2024-01-01#` is a directory and `%23` a name."""
    return quote(path, safe="/~")


def names_carry_uuid(repository_is_personal: object) -> bool:
    """Server repositories put the UUID into file names, personal ones do not (alyx.data.transfers)."""
    return repository_is_personal is not True
