"""ONE's files per Alyx host: `~/.one/.<client key>` with its login and tokens, and `~/.one/.caches`, the map of hosts.

What is written here is what ONE's own set-up and login leave, so that ONE goes on with it.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from tasks.clients import shared_json, store
from tasks.clients.shared_json import Json, as_download_error

if TYPE_CHECKING:
    from collections.abc import Callable

#: What ONE 3.6 writes for a host that it does not know yet, beside ALYX_URL (one.params.default).
_DEFAULTS: Json = {
    "ALYX_LOGIN": "",
    "HTTP_DATA_SERVER": "https://ibl.flatironinstitute.org/public",
    "HTTP_DATA_SERVER_LOGIN": None,
    "HTTP_DATA_SERVER_PWD": None,
}
#: Keys whose files are something else: ONE's directory and its parents, the params store, the map of hosts.
_NO_HOSTS = frozenset({"", ".", "..", "remote", "caches"})
_PORTS = {"http": 80, "https": 443}


def client_key(url: str) -> str:
    """Return ONE's name for an Alyx host, letter by letter as `one.params` makes it.

    Example:
        >>> client_key("http://127.0.0.1:8099/")
        '127.0.0.1_8099'
    """
    key = re.sub("^https?://", "", unicodedata.normalize("NFKC", url)).strip("/")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^.\w\s-]", "_", key.lower()))


@as_download_error()
def host_params(alyx_url: str) -> Json | None:
    """Return what ONE knows of an Alyx host, or None.

    Raises:
        DownloadError: `params-file`: the file is corrupt or cannot be read. So do all functions below.
    """
    return shared_json.read(_host_file(alyx_url))


@as_download_error()
def default_host() -> str | None:
    """Return the URL of the Alyx that ONE connects to by default, or None."""
    key = (shared_json.read(_caches_file()) or {}).get("DEFAULT")
    return (host_params(key) or {}).get("ALYX_URL") if key else None


@as_download_error()
def cache_dir(alyx_url: str) -> Path | None:
    """Return the directory that ONE downloads a host's data to, or None; it need not exist."""
    found = _client_map(shared_json.read(_caches_file()) or {}).get(client_key(alyx_url))
    return Path(found) if found else None


@as_download_error()
def token(alyx_url: str, user: str | None = None) -> str | None:
    """Return the token that ONE stores for a user, or for the host's own login; None where there is none."""
    params = host_params(alyx_url) or {}
    tokens = shared_json.submap(params, "TOKEN", _host_file(alyx_url))
    stored = shared_json.submap(tokens, user or params.get("ALYX_LOGIN") or "", _host_file(alyx_url))
    return stored.get("token")


@as_download_error()
def save_token(alyx_url: str, user: str, token: str) -> None:
    """Store a token where ONE looks for it; other users' tokens and all else stay.

    A host that ONE does not know yet is set up as ONE does it, or ONE would drop the token at its first connection.

    Raises:
        DownloadError: `params-busy`, `params-file`: the file at fault is what it was.
    """

    def with_token(params: Json) -> Json:
        params = params or {"ALYX_URL": alyx_url.rstrip("/"), **_DEFAULTS}
        tokens = shared_json.submap(params, "TOKEN", _host_file(alyx_url))
        tokens = {**tokens, user: {"token": token}}
        return {**params, "ALYX_LOGIN": params.get("ALYX_LOGIN") or user, "TOKEN": tokens}

    _change(_host_file(alyx_url), with_token)
    _change(_caches_file(), lambda caches: _with_host(caches, client_key(alyx_url)))


@as_download_error()
def set_host_up(alyx_url: str, user: str, token: str) -> Path:
    """Make a login the one that ONE uses at a host, and return the file; all else in it stays.

    A stored password goes only where it was another user's. The host is ONE's default where there was none.

    Raises:
        DownloadError: `params-busy`, `params-file`: the file at fault is what it was.
    """

    def with_login(params: Json) -> Json:
        if params.get("ALYX_LOGIN") != user:
            params = {name: value for name, value in params.items() if name != "ALYX_PWD"}
        return {**_DEFAULTS, **params, "ALYX_URL": alyx_url, "ALYX_LOGIN": user}

    _change(_host_file(alyx_url), with_login)
    save_token(alyx_url, user, token)
    return _host_file(alyx_url)


def data_login(alyx_url: str, data_url: str) -> tuple[str, str] | None:
    """Return user and password of the HTTP data server, if `data_url` is on that very server; None otherwise.

    ONE compares the beginnings of the two texts, so `https://data.org.evil.net` passes for `https://data.org`; here
    scheme, host and port have to be equal.
    """
    params = host_params(alyx_url) or {}
    user, password = params.get("HTTP_DATA_SERVER_LOGIN"), params.get("HTTP_DATA_SERVER_PWD")
    origin = _origin(data_url)
    if not user or password is None or origin is None or origin != _origin(params.get("HTTP_DATA_SERVER") or ""):
        return None
    return user, password


@as_download_error()
def hosts() -> list[str]:
    """The Alyx hosts that ONE knows here, as client keys."""
    return list(_client_map(shared_json.read(_caches_file()) or {}))


def same_server(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common."""
    origin = _origin(one)
    return origin is not None and origin == _origin(other)


def _host_file(alyx_url: str) -> Path:
    key = client_key(alyx_url)
    if key in _NO_HOSTS:
        raise ValueError(f"{alyx_url!r} is no URL of an Alyx host.")
    return store.directory() / (key if key.startswith(".") else f".{key}")


def _caches_file() -> Path:
    return store.directory() / ".caches"


def _client_map(caches: Json) -> dict[str, str]:
    return shared_json.submap(caches, "CLIENT_MAP", _caches_file())


def _with_host(caches: Json, key: str) -> Json:
    default_dir = str(Path.home() / "Downloads" / "ONE" / key)
    return {"DEFAULT": key, **caches, "CLIENT_MAP": {key: default_dir, **_client_map(caches)}}


def _change(path: Path, change: Callable[[Json], Json]) -> None:
    with shared_json.locked(path):
        before = shared_json.read(path) or {}
        after = change(before)
        if after != before:
            shared_json.replace(path, after)


def _origin(url: str) -> tuple[Any, ...] | None:
    """Scheme, host and port; None for a URL that two parsers may read as two hosts."""
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if "@" in parts.netloc or "\\" in url or not parts.hostname or port is None:
        return None
    return parts.scheme, parts.hostname.rstrip("."), port
