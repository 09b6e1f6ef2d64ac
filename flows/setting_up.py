"""Sets up one protocol, or the login to Alyx, for the verb `setup`; asks only at a terminal."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from typing import TYPE_CHECKING

import click

from tasks.alyx import AlyxClient
from tasks.clients import client_class, one_files, protocol_name, store
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.rest.credentials import Credentials, base_url, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The one thing to set up beside the protocols.
ALYX = "alyx"
_ALYX_FIELDS = ("ALYX_URL", "ALYX_LOGIN", "ALYX_PASSWORD")
#: Value that stands for a line of standard input.
_FROM_STDIN = "-"
#: Parts of the names of fields that nobody else should read, in lower case.
_SECRET = ("pwd", "password", "secret", "token", "key")

Fields = dict[str, str]


def fields_from(settings: Iterable[str], say: Callable[[str], None]) -> Fields:
    """Read `name=value` pairs; `name=-` takes the value from standard input, a line each, unseen at a terminal.

    Args:
        settings: What the command was given.
        say: Told of secrets that the command line shows.

    Raises:
        click.UsageError: a pair without `=`.
    """
    fields: Fields = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes NAME=VALUE, not {name!r}.")
        if value != _FROM_STDIN and any(part in name.lower() for part in _SECRET):
            say(f"{name} was on the command line, where `ps` and the shell's history show it: --set {name}=- hides it.")
        fields[name] = _typed(name) if value == _FROM_STDIN else value
    return fields


def set_protocol_up(protocol: str, profile: str, fields: Fields) -> str:
    """Write a protocol's profile into ONE's params store, and say what is in it now, without the values.

    Raises:
        DownloadError: as the client's `setup`; where fields are missing and nobody can be asked, the verdict is
            STOP_RUN. Then nothing is written.
    """
    name = protocol_name(protocol)
    try:
        written = client_class(name).setup(profile, **fields)
    except DownloadError as failure:
        if failure.code == "bad-params":  # what was given here, not what is stored
            raise click.UsageError(failure.reason) from failure
        if failure.code != "not-configured":
            raise
        step = f"Without a terminal: `prefect-alyx setup {protocol} --set NAME=VALUE`, --set NAME=- for a secret."
        raise DownloadError(Verdict.STOP_RUN, failure.reason, step, code=failure.code) from failure
    filled = ", ".join(field for field, value in written.items() if value not in (None, ""))
    return f"{name}.{profile} in {store.path()} has: {filled or 'only defaults'}."


def set_alyx_up(fields: Fields) -> str:
    """Log in to Alyx once, and store address, login and token where ONE does; the password is stored nowhere.

    Raises:
        DownloadError: `not-configured`, with the verdict STOP_RUN, where something is missing and nobody can be
            asked; an `alyx-...` row where Alyx does not take the login; `params-file` or `params-busy`.
    """
    login = _alyx_login(fields)
    tokens: list[str] = []
    client = AlyxClient(credentials=Credentials(login.url, login.user, login.password, keep=tokens.append))
    client.login()
    file = one_files.set_host_up(client.url, login.user, tokens[-1])
    default = one_files.default_host() or ""
    other = "" if base_url(default) == client.url else f" ONE's default is still {default}: set ALYX_URL to use this."
    return f"{login.user} is logged in to {client.url}; the token is in {file}.{other}"


def _alyx_login(fields: Fields) -> Credentials:
    if strangers := sorted(set(fields) - set(_ALYX_FIELDS)):
        raise error("bad-params", f"{ALYX} has no field {', '.join(strangers)}; it has {', '.join(_ALYX_FIELDS)}.")
    proposed = {"ALYX_URL": one_files.default_host() or "", **_environment(), **fields}
    url = _asked(proposed, "ALYX_URL", "Address of Alyx")
    if url:
        proposed.setdefault("ALYX_LOGIN", (one_files.host_params(base_url(url)) or {}).get("ALYX_LOGIN") or "")
    user = _asked(proposed, "ALYX_LOGIN", "User name there")
    password = proposed.get("ALYX_PASSWORD") or (getpass("Password there: ") if _at_terminal() else "")
    values = zip(_ALYX_FIELDS, (url, user, password), strict=True)
    if missing := [name for name, value in values if not value]:
        step = "Run `prefect-alyx setup alyx` at a terminal, or give --set NAME=VALUE; the password as ALYX_PASSWORD."
        reason = f"The login to Alyx misses {', '.join(missing)}."
        raise DownloadError(Verdict.STOP_RUN, reason, step, code="not-configured")
    return Credentials(base_url(url), user, secret(password))


def _environment() -> Fields:
    return {name: os.environ[name] for name in _ALYX_FIELDS if os.environ.get(name)}


def _asked(proposed: Fields, name: str, question: str) -> str:
    """What is known of a field; at a terminal the human may say otherwise."""
    known = proposed.get(name) or ""
    if not _at_terminal():
        return known
    answer: str = click.prompt(question, default=known or None, err=True)
    return answer.strip()


def _typed(name: str) -> str:
    return getpass(f"{name}: ") if _at_terminal() else sys.stdin.readline().rstrip("\r\n")


def _at_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
