"""ONE's params store, `~/.one/.remote`: protocol -> profile -> fields, as the clients read and write it.

What is written here ONE can read back. What ONE cannot read because of some other entry (a bad name elsewhere) does
not stop a client: a rotated token must never be lost for somebody else's mistake.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.clients import shared_json
from tasks.clients.shared_json import Json, as_download_error

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One protocol, two spellings: ONE's, which is written, and the right one.
_KACHERY = ("kachary", "kachery")
#: Protocol, profile, field: the levels that ONE turns into attributes. What lies below is a value.
_NAMED_LEVELS = 3
#: Methods of what ONE returns; a profile or field of that name could never be read.
_TAKEN = frozenset({"as_dict", "set"})


def directory() -> Path:
    r"""Return ONE's directory, `~/.one`, or `%APPDATA%\.one` on Windows, as the environment is now.

    Raises:
        FileNotFoundError: This account has no home directory.
    """
    if sys.platform in ("win32", "cygwin"):
        home = os.environ.get("APPDATA", "")
    else:
        home = os.path.expanduser("~")
    if home in ("", "~"):
        raise FileNotFoundError("ONE's directory .one cannot be found: set HOME (on Windows APPDATA) for this account.")
    return Path(home, ".one")


def path() -> Path:
    """Return where the store is; nothing is created."""
    return directory() / ".remote"


@as_download_error()
def read_section(protocol: str) -> Json:
    """Return all profiles of a protocol by name; empty where there are none.

    Raises:
        DownloadError: `params-file`: the store is corrupt or cannot be read.
    """
    content = shared_json.read(path()) or {}
    # ONE's spelling comes last, and so wins.
    sections = [_map(content, section) for section in reversed(_spellings(protocol))]
    return {name: fields for section in sections for name, fields in section.items()}


@as_download_error()
def profile(protocol: str, profile: str = "default") -> Json | None:
    """Return a profile's fields, or None where it is not in the store.

    Raises:
        DownloadError: `params-file`: the store is corrupt or cannot be read.
    """
    return _fields(shared_json.read(path()) or {}, protocol, profile)


def merge_profile(protocol: str, profile: str, fields: Mapping[str, Any]) -> Json:
    """Set some fields of a profile, keep all others, and return the whole profile.

    Raises:
        DownloadError: `bad-params`: ONE could not read a name back, or a value is not JSON; `params-busy`;
            `params-file`. The store is what it was before.
    """
    with held(protocol, profile) as mine:
        return mine.merge(fields)


@dataclass(frozen=True, slots=True)
class HeldProfile:
    """A profile whose store this process has locked; :func:`held` makes it."""

    protocol: str
    profile: str

    @as_download_error()
    def fields(self) -> Json:
        """Return the fields as they are on disk now; empty where the profile is not there."""
        return _fields(shared_json.read(path()) or {}, self.protocol, self.profile) or {}

    @as_download_error()
    def merge(self, fields: Mapping[str, Any]) -> Json:
        """Set these fields on disk, before this returns, and return the whole profile.

        The store is read again right before it is replaced: ONE may have written it without a lock.
        """
        check_names(fields, self.protocol, self.profile)
        content = shared_json.read(path()) or {}
        section = section_of(content, self.protocol, self.profile)
        profiles = _map(content, section)
        merged = {**_map(profiles, self.profile), **fields}
        shared_json.replace(path(), {**content, section: {**profiles, self.profile: merged}})
        return merged


@contextmanager
def held(protocol: str, profile: str = "default") -> Iterator[HeldProfile]:
    """Lock the store, so that one process at a time looks, decides and writes.

    Example:
        >>> with held("globus") as mine:
        ...     if expired(mine.fields()):  # another process may have refreshed it meanwhile
        ...         mine.merge(refresh(mine.fields()))

    Raises:
        DownloadError: `params-busy`: the lock is not to be had; `params-file`: the directory cannot be written.
    """
    with ExitStack() as stack:
        with as_download_error():
            check_names({}, protocol, profile)
            stack.enter_context(shared_json.locked(path()))
        yield HeldProfile(protocol, profile)


def section_of(content: Json, protocol: str, profile: str = "") -> str:
    """Return the section that holds a profile, else one the protocol has, else the one to make.

    `kachary` and `kachery` are one protocol; every other protocol has the section of its name.
    """
    names = _spellings(protocol)
    if len(names) == 1:
        return protocol
    holding = (name for name in names if profile in _map(content, name))
    asked = (name for name in (protocol, *names) if name in content)
    return next(chain(holding, asked, names))


def check_names(tree: Mapping[Any, Any], *at: str) -> None:
    """Refuse names that ONE could not read back: it makes attributes of protocols, profiles and fields.

    Args:
        tree: What is to be saved.
        at: The names that lead to where it goes.

    Raises:
        ValueError: naming the entry and what is wrong with it.
    """
    for depth, name in enumerate(at):
        _check_name(name, at[:depth])
    _check_tree(tree, at, max(1, _NAMED_LEVELS - len(at)))


def _check_tree(tree: object, at: tuple[str, ...], levels: int) -> None:
    if levels and isinstance(tree, Mapping):
        for name, below in tree.items():
            _check_name(name, at)
            _check_tree(below, (*at, name), levels - 1)


def _check_name(name: object, at: tuple[str, ...]) -> None:
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name) or name.startswith("_"):
        fault = "a name is a letter, then letters, digits and underscores, and no Python keyword"
    elif name in _TAKEN:
        fault = "ONE has a method of that name"
    elif name != unicodedata.normalize("NFKC", name):
        fault = "it holds a character that Python reads as another one"
    else:
        return
    raise ValueError(f"{name!r} in {'.'.join(at) or 'the top level'} is no name that ONE could read back: {fault}.")


def _fields(content: Json, protocol: str, profile: str) -> Json | None:
    profiles = _map(content, section_of(content, protocol, profile))
    return _map(profiles, profile) if profiles.get(profile) is not None else None


def _map(tree: Json, name: str) -> Json:
    return shared_json.submap(tree, name, path())


def _spellings(protocol: str) -> tuple[str, ...]:
    return _KACHERY if protocol in _KACHERY else (protocol,)
