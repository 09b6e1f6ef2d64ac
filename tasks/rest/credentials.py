"""Who we are to Alyx: arguments, the environment and ONE's own files, the first that knows wins whole."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from tasks.clients import one_files
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_NOTHING = SecretStr("")


def secret(text: str | SecretStr) -> SecretStr:
    """Wrap a text that is not to be shown; one that is wrapped already stays as it is."""
    return text if isinstance(text, SecretStr) else SecretStr(text)


def _is_one_word(text: SecretStr) -> bool:
    return all(char.isprintable() and char.isascii() and char != " " for char in text.get_secret_value())


@dataclass(frozen=True, slots=True)
class Credentials:
    """An Alyx server and a login to it; a token, a password, both or neither.

    Attributes:
        url: Scheme and host of Alyx, no slash at the end.
        password: A secret, so that it shows in no message, log or report of a crash; a plain text is wrapped at once.
        token: As the password.
        origin: Where the login was found, or where it was looked for; for messages.
        keep: Stores a newer token; where ONE stores the old one.
    """

    url: str
    user: str = ""
    password: SecretStr = _NOTHING
    token: SecretStr = _NOTHING
    origin: str = "the arguments"
    keep: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("password", "token"):
            object.__setattr__(self, name, secret(getattr(self, name)))
        # A header with such a character is refused by requests in words that quote the token.
        if not _is_one_word(self.token):
            raise error("alyx-token", f"It holds a space or another character that no token has ({self.origin}).")


def credentials_from(
    environment: Mapping[str, str] = os.environ,
    *,
    url: str = "",
    user: str = "",
    password: str = "",
    token: str = "",
) -> Credentials:
    """Find the Alyx server and a login to it, without asking anybody.

    Server: `url`, ALYX_URL, ONE's default. Login: the arguments, the environment (ALYX_LOGIN, ALYX_PASSWORD,
    ALYX_TOKEN), ONE's files for this server; the first of them that has a token or a password wins. Where a `user`
    is named, another user's login is passed over; where the environment names another server, so is its login.

    Raises:
        DownloadError: `alyx-no-url` or `alyx-url`.
    """
    found = base_url(url or environment.get("ALYX_URL") or one_files.default_host() or "")
    named = user or _own(environment, found).get("ALYX_LOGIN", "")
    candidates = (
        Credentials(found, named, secret(password), secret(token)),
        *_from_environment(environment, found, user),
        *_from_one(found, named),
    )
    usable = (login for login in candidates if login.token or login.password)
    nowhere = f"looked in the environment (ALYX_LOGIN, ALYX_PASSWORD, ALYX_TOKEN) and in ONE's files for {found}"
    return next(usable, Credentials(found, named, origin=nowhere))


def base_url(url: str) -> str:
    """Return an Alyx address as scheme, host and path without a slash at the end; https where no scheme is given.

    Raises:
        DownloadError: `alyx-no-url`, or `alyx-url` for what is no web address or holds a password.
    """
    stripped = url.strip().strip("\"'")
    if not stripped:
        raise error("alyx-no-url")
    if "@" in stripped:  # not quoted: it would be in every message
        raise error("alyx-url", "The address holds a user name or a password: give them as ALYX_LOGIN, ALYX_PASSWORD.")
    try:
        parts = urlsplit(stripped if "://" in stripped else f"https://{stripped}")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise error("alyx-url", f"{url!r} is no web address.")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _own(environment: Mapping[str, str], url: str) -> Mapping[str, str]:
    """The environment's login, empty where it is meant for another server."""
    meant = environment.get("ALYX_URL")
    return environment if not meant or base_url(meant) == url else {}


def _from_environment(environment: Mapping[str, str], url: str, user: str) -> Iterator[Credentials]:
    own = _own(environment, url)
    name = own.get("ALYX_LOGIN", "")
    if not user or user == name:
        token = secret(own.get("ALYX_TOKEN", "").strip())
        yield Credentials(url, name, secret(own.get("ALYX_PASSWORD", "")), token, origin="the environment")


def _from_one(url: str, user: str) -> Iterator[Credentials]:
    params = one_files.host_params(url) or {}
    login = params.get("ALYX_LOGIN") or ""
    name = user or login
    password = (params.get("ALYX_PWD") or "") if name == login else ""
    token = one_files.token(url, name) or ""
    keep = partial(one_files.save_token, url, name) if token else None
    yield Credentials(url, name, secret(password), secret(token), f"ONE's files for {url}", keep)
