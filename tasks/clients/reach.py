"""Where requests may go: no record, redirect or name server leads this machine to itself or to its cloud's metadata.

Labs keep their servers in private networks, so those are no reason to refuse. What is looked at is the address that a
connection is opened to, so it does not matter how its name was spelt or what it resolved to a moment before.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import pycurl

from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Collection

    from tasks.clients.wire import Request

    IP = IPv4Address | IPv6Address

#: Cloud machines ask these for their own credentials; most are link-local, these are not.
_METADATA = {ip_address(text) for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")}
_METADATA_NAMES = re.compile(
    r"(metadata(\.google\.internal|\.goog|\.azure\.com)?|instance-data(\..*)?)\.?", re.IGNORECASE
)
_AUTHORITY = re.compile(r"[^/?#]*//[^/?#]*")
_LOCAL_NAME = re.compile(r"(.*\.)?localhost\.?", re.IGNORECASE)


class Guard:
    """Opens the connections of one request, or refuses to.

    Args:
        url: What is asked for. One that names this machine outright may reach it; nothing else may.
        allowed: Names, addresses and networks (`10.0.0.0/8`) that may be reached all the same.

    Attributes:
        refused: Why a connection was refused last, "" where none was.
    """

    def __init__(self, url: str, allowed: Collection[str] = ()) -> None:
        self.host = host_name(url)
        self.allowed = allowed
        self.refused = ""

    def check_name(self) -> None:
        """Look at the name itself: behind a proxy nothing else is seen.

        Raises:
            DownloadError: `address-refused`.
        """
        if why := _name_objection(self.host, tuple(self.allowed)):
            raise error("address-refused", f"{why}.")

    def open(self, _purpose: int, address: Any) -> socket.socket | int:
        """Open the socket that libcurl asks for, or refuse."""
        found = ip_address(str(address.addr[0]).partition("%")[0])
        if why := _objection(self.host, found, self.allowed):
            self.refused = why
            return int(pycurl.SOCKET_BAD)
        return socket.socket(address.family, address.socktype, address.protocol)


@lru_cache(maxsize=256)  # the files of a server come one after another
def _name_objection(host: str, allowed: tuple[str, ...]) -> str:
    literal = as_address(host)
    if _METADATA_NAMES.fullmatch(host) and host not in allowed:
        return f"{host} is a cloud's metadata service"
    return _objection(host, literal, allowed) if literal else ""


def _objection(host: str, found: IP, allowed: Collection[str]) -> str:
    """Why an address is not to be asked, to which a host leads; "" where it may be."""
    plain = getattr(found, "ipv4_mapped", None) or found
    kind = "this machine" if plain.is_loopback else _forbidden(plain)
    if not kind or (plain.is_loopback and names_this_machine(host)):
        return ""
    is_allowed = host in allowed or any(map(partial(_holds, plain), allowed)) or plain in _proxies()
    return "" if is_allowed else f"{host} leads to {plain}, {kind}"


def guarded(request: Request, allowed: Collection[str]) -> Guard:
    """What opens a request's connections.

    Raises:
        DownloadError: `bad-request` for what no request may hold; `address-refused`.
    """
    guard = Guard(request.url, allowed)
    if not request.is_plain():
        raise error("bad-request", f"{guard.host!a}: address, a header or the login holds a character that none may.")
    guard.check_name()
    return guard


def is_plain(*lines: str) -> bool:
    """Whether texts may stand in a request: nothing in them ends a header line and begins another."""
    return all(line.isascii() and line.isprintable() for line in lines)


def host_name(url: str) -> str:
    """The host of a URL in lower case; "" where there is none."""
    found = _AUTHORITY.match(url)
    return _host(found[0]) if found else ""


@lru_cache(maxsize=256)
def _host(authority: str) -> str:
    try:
        return urlsplit(authority).hostname or ""
    except ValueError:  # half an IPv6 address
        return ""


def names_this_machine(host: str) -> bool:
    """Whether a host name or address means this machine, in whichever of the spellings that resolvers take."""
    literal = as_address(host)
    return bool(literal.is_loopback or literal.is_unspecified) if literal else bool(_LOCAL_NAME.fullmatch(host))


@lru_cache(maxsize=256)
def as_address(host: str) -> IP | None:
    """The address that a host is written as (`127.0.0.1`, `127.1`, `2130706433`, `::1`); None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except (OSError, ValueError):  # ValueError: a NUL, or digits that are not ASCII's
        return None


def _forbidden(found: IP) -> str:
    if found in _METADATA:
        return "a cloud's metadata service"
    if found.is_link_local:
        return "an address of the local link, where clouds keep their metadata"
    return "no server's address" if found.is_multicast or found.is_unspecified else ""


def _holds(found: IP, network: str) -> bool:
    try:
        return found in ip_network(network, strict=False)
    except ValueError:
        return False  # a name


def _proxies() -> set[IP]:
    """Where the environment's proxies listen, often on this machine; asked only for what would be refused."""
    hosts = set(map(host_name, getproxies_environment().values()))
    return {ip_address(str(row[4][0]).partition("%")[0]) for host in hosts for row in _resolved(host)}


def _resolved(host: str) -> list[Any]:
    try:
        return socket.getaddrinfo(host, None) if host else []
    except OSError:
        return []
