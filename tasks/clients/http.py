"""HTTP file servers: any number of them, each with its own root and, where it asks for one, its own login."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from requests.utils import requote_uri

from tasks.clients import one_files, profiles, store
from tasks.clients.addresses import encode, names_carry_uuid, server_path
from tasks.clients.profiles import Field
from tasks.clients.streaming import StreamingClient
from tasks.clients.verdicts import DownloadError, error
from tasks.clients.wire import Request, host_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.clients.options import WireOptions
    from tasks.clients.seams import Pace

#: The names are ONE's own (`~/.one/.<host>`), so that one word means one thing.
SERVER, LOGIN, PASSWORD = "HTTP_DATA_SERVER", "HTTP_DATA_SERVER_LOGIN", "HTTP_DATA_SERVER_PWD"
_FIELDS = (
    Field(SERVER, "Address of the file server, https://host/path"),
    Field(LOGIN, "User name there", optional=True),
    Field(PASSWORD, "Password there", secret=True, optional=True),
)


class HttpClient(StreamingClient):
    """Files below a repository's `data_url`."""

    def __init__(
        self,
        repository: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        options: WireOptions | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(repository, params, options, pace)
        self._login = self._find_login()

    def without_credentials(self, failure: DownloadError, file_address: str) -> DownloadError:
        """Say whose password is not shown to this server: one that Alyx names gets none that it was not given for."""
        logins = [fields for fields in self._profiles() if fields.get(LOGIN)]
        servers = sorted({host_of(Request(str(fields[SERVER]))) for fields in logins if fields.get(SERVER)})
        if not servers:
            return failure
        here = host_of(Request(file_address))
        detail = f"{failure.reason} No login is known for {here}, only for {', '.join(servers)}."
        return DownloadError(failure.verdict, detail, failure.next_step, code=failure.code)

    def to_address(self, data_path: str, dataset_id: str | None = None) -> str:
        """Return the URL of a registered path.

        Raises:
            DownloadError: `bad-path`, or `not-addressable` for a repository without `data_url`.
        """
        dataset_id = dataset_id if names_carry_uuid(self.repository.get("globus_is_personal")) else None
        return f"{self._base}/{encode(server_path(data_path, dataset_id))}"

    def reach(self) -> str:
        """Ask for the repository's root; see :meth:`DownloadClient.reach`."""
        return self.knock(self.request(f"{self._root().rstrip('/')}/"))

    def request(self, file_address: str) -> Request:
        """Return the address, with the login of the repository's server where one is known."""
        if not self._login or not one_files.same_server(file_address, self.repository.get("data_url") or ""):
            return Request(file_address)
        user, password = self._login
        return Request(file_address, user=user, password=password)

    @property
    def has_credentials(self) -> bool:
        """Whether a login is known for the repository's server."""
        return self._login is not None

    def renew(self) -> bool:
        """Look the login up anew; somebody may have corrected it meanwhile."""
        before, self._login = self._login, self._find_login()
        return self._login not in (None, before)

    @staticmethod
    def setup(profile: str = "default", **fields: object) -> Mapping[str, Any]:
        """Write a file server's login into the params store, under `http.<profile>`."""
        return profiles.setup("http", profile, _FIELDS, fields)

    @cached_property
    def _base(self) -> str:
        root = self._root().rstrip("/")
        try:
            return requote_uri(root)
        except UnicodeEncodeError:
            raise error("not-addressable", f"{root!a} holds half a character.") from None

    def _root(self) -> str:
        root = self.repository.get("data_url")
        if not root:
            raise error("not-addressable", f"Repository {self.repository.get('name')} has no data_url.")
        if not str(root).lower().startswith(("http://", "https://")):  # Alyx takes ftp:// there, too
            raise error(
                "not-addressable", f"The data_url of repository {self.repository.get('name')} is no web address."
            )
        return str(root)

    def _find_login(self) -> tuple[str, SecretStr] | None:
        """The login of exactly this server: given, in the params store, or in ONE's own files."""
        url = self.repository.get("data_url") or ""
        for profile in self._profiles():
            user, password = profile.get(LOGIN), profile.get(PASSWORD)
            if user and one_files.same_server(url, profile.get(SERVER) or ""):
                return str(user), SecretStr(str(password or ""))
        logins = (one_files.data_login(host, url) for host in one_files.hosts())
        found = next((login for login in logins if login), None)
        return found and (found[0], SecretStr(found[1]))

    def _profiles(self) -> Iterator[Mapping[str, Any]]:
        """A given profile speaks for this repository where it names no server; a stored one has to name it."""
        if self.params is not None:
            yield {SERVER: self.repository.get("data_url"), **self.params}
            return
        yield from (fields for fields in store.read_section("http").values() if isinstance(fields, dict))
