"""ONE's own files, as far as a login to Alyx needs them: `~/.one/.caches` and `~/.one/.<host>`."""

from __future__ import annotations

import json
import os
import re
import tempfile
import unicodedata
from pathlib import Path
from typing import Any


def default_host() -> str | None:
    """Return the URL of the Alyx that ONE uses by default, or None."""
    key = (_read(".caches") or {}).get("DEFAULT")
    return ((_read(f".{key}") or {}).get("ALYX_URL") or None) if key else None


def host_params(alyx_url: str) -> dict[str, Any] | None:
    """Return what ONE knows of an Alyx host, or None."""
    return _read(f".{_client_key(alyx_url)}")


def token(alyx_url: str, user: str | None = None) -> str | None:
    """Return the token that ONE stores for a user of a host, or None."""
    params = host_params(alyx_url) or {}
    found = (params.get("TOKEN") or {}).get(user or params.get("ALYX_LOGIN")) or {}
    return found.get("token")


def save_token(alyx_url: str, user: str, token: str) -> None:
    """Store a token where ONE looks for it; everything else in the file stays."""
    params = host_params(alyx_url) or {"ALYX_URL": alyx_url}
    params["TOKEN"] = {**(params.get("TOKEN") or {}), user: {"token": token}}
    path = _directory() / f".{_client_key(alyx_url)}"
    descriptor, beside = tempfile.mkstemp(dir=path.parent)  # 0600 from its first byte on
    with os.fdopen(descriptor, "w") as file:
        json.dump(params, file, indent=4)
    Path(beside).replace(path)


def _directory() -> Path:
    return Path.home() / ".one"


def _read(name: str) -> dict[str, Any] | None:
    try:
        found = json.loads((_directory() / name).read_text("utf-8-sig"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _client_key(url: str) -> str:
    key = re.sub("^https?://", "", unicodedata.normalize("NFKC", url)).strip("/")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^.\w\s-]", "_", key.lower()))
