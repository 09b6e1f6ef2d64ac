"""A whole lab on loopback, as one context manager."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deployments.sandbox.alyx import Accounts, Alyx, Throttle
from deployments.sandbox.alyx.database import READER, USER
from deployments.sandbox.control import control
from deployments.sandbox.data import PRIVATE_BUCKET, PUBLIC_BUCKET, build
from deployments.sandbox.files import file_server
from deployments.sandbox.journal import Journal, Journalled
from deployments.sandbox.s3 import S3, Bucket, Gate
from deployments.sandbox.serving import Served
from deployments.sandbox.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from starlette.types import ASGIApp

    from deployments.sandbox.model import Dataset, Session, Truth

    Wrap = Callable[[str, ASGIApp], ASGIApp]

PASSWORD, READER_PASSWORD = "sandbox-alice", "sandbox-reader"
MEMBER, MEMBER_PASSWORD = "iblmember", "sandbox-member"
ACCESS_KEY, SECRET_KEY = "SANDBOXACCESSKEY0001", "sandbox/secret/access/key/of/no/value/01"


class Lab:
    """Alyx, two file servers and S3 with the data of two labs, each on a free port.

    Everything lies in one directory and is gone at the end, unless the directory was given.

    Args:
        root: Where the files go; a temporary directory without it.
        seed: Of the bytes, and of the order of Alyx's pages.
        files: How many small datasets to add, in sessions of at most 500.
        file_bytes: Size of each of those.
        wrap: Puts something around each server's application, given its name; so faults get in.
        host: This machine's address that the servers listen at.

    Attributes:
        urls: Address of each server by name: alyx, http, members (with a login), s3, control, and what else
            was given to :meth:`serve`. It is read at each request, so an address may be changed to that of a proxy.
        servers: The servers by name, each of which can be stopped and started again.
        world: What Alyx knows and what is true.
        stores: Where the files of all servers lie.
        requests: What the servers were asked.
        alyx: The REST API: its `accounts` and its `throttle`.
        s3: The S3 server: its `buckets` and its `gate`.
        members: Passwords by user name of the file server with a login.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        seed: int = 0,
        files: int = 0,
        file_bytes: int = 2_000,
        wrap: Wrap | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._temporary = None if root else tempfile.TemporaryDirectory(prefix="sandbox-")
        self.root = root or Path(self._temporary.name if self._temporary else "")
        self._wrap: Wrap = wrap or (lambda _name, app: app)
        self._host = host
        self._first = build(seed, files, file_bytes)
        self.world = self._first.copy()
        self.stores = Stores(self.root / "servers")
        self.urls: dict[str, str] = {}
        self.servers: dict[str, Served] = {}
        self.requests = Journal()
        self.members: dict[str, str] = {}
        self.alyx = Alyx(self.world, self.urls, {PRIVATE_BUCKET: (ACCESS_KEY, SECRET_KEY)}, Accounts({}), seed)
        self.s3 = S3(self.stores.root / "s3", [], Gate({}))
        self.reset()

    # --- starting and stopping ------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start every server; they answer from now on."""
        self.serve("alyx", self.alyx.app)
        self.serve("http", file_server(self.stores.root / "http"))
        self.serve("members", file_server(self.stores.root / "members", logins=self.members))
        self.serve("s3", self.s3.app)
        self.serve("control", control(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop every server, and remove a directory that is our own."""
        for served in self.servers.values():
            served.ask_to_stop()
        for served in self.servers.values():
            served.stop()
        if self._temporary:
            self._temporary.cleanup()

    def serve(self, name: str, app: ASGIApp) -> Served:
        """Serve one more application; its requests are kept under its name, and it stops with the lab."""
        served = Served(Journalled(self._wrap(name, app), name, self.requests), self._host)
        self.servers[name], self.urls[name] = served, served.url
        served.start()
        return served

    def reset(self) -> None:
        """Make everything as it was at the start: data, files, users, keys, servers; and forget all requests."""
        self.world = self.alyx.world = self._first.copy()
        self.stores.fill(self.world)
        self.alyx.accounts = Accounts({USER: PASSWORD, READER: READER_PASSWORD}, frozenset({READER}))
        self.alyx.throttle = Throttle()
        self.alyx.downloads.clear()
        self.s3.gate = Gate({ACCESS_KEY: SECRET_KEY})
        self.s3.buckets = {each.name: each for each in (Bucket(PUBLIC_BUCKET, public=True), Bucket(PRIVATE_BUCKET))}
        self.s3.buckets[PUBLIC_BUCKET].parts[self._key_in_parts()] = 5 * 1024 * 1024
        self.members.clear()
        self.members[MEMBER] = MEMBER_PASSWORD
        for served in self.servers.values():
            served.start()
        self.requests.clear()

    def _key_in_parts(self) -> str:
        dataset = self.world.odd("multipart")
        record = next(each for each in dataset.records if each.repository.startswith("aws"))
        place = self.world.repositories[record.repository].place(dataset, record.relative_path)
        return place.removeprefix(f"s3/{PUBLIC_BUCKET}/")

    # --- what a client needs --------------------------------------------------------------------

    def environment(self, data_server: str = "members") -> dict[str, str]:
        """Return the variables with which our tools, ONE and boto3 use this lab and nothing else.

        ONE's own files are written into the home directory that it names.

        Args:
            data_server: Name of the file server that ONE uses; it knows only one.
        """
        home = self.root / "home"
        self._write_one_files(home, data_server)
        return {
            "HOME": str(home),
            "ALYX_URL": self.urls["alyx"],
            "ALYX_LOGIN": USER,
            "ALYX_PASSWORD": PASSWORD,
            "AWS_ENDPOINT_URL_S3": self.urls["s3"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": ",".join(dict.fromkeys(("127.0.0.1", "localhost", self._host))),
        }

    def _write_one_files(self, home: Path, data_server: str) -> None:
        address = self.urls["alyx"]
        key = address.removeprefix("http://").replace(":", "_")
        cache = home / "Downloads" / "ONE" / key
        directory = home / ".one"
        for each in (cache, directory):
            each.mkdir(parents=True, exist_ok=True)
        server = {
            "ALYX_URL": address,
            "ALYX_LOGIN": USER,
            "ALYX_PWD": PASSWORD,
            "HTTP_DATA_SERVER": self.urls[data_server],
            "HTTP_DATA_SERVER_LOGIN": MEMBER,
            "HTTP_DATA_SERVER_PWD": self.members[MEMBER],
        }
        caches = {"CLIENT_MAP": {key: str(cache)}, "DEFAULT": key}
        for name, fields in ((f".{key}", server), (".caches", caches)):
            (directory / name).write_text(json.dumps(fields, indent=4))
            (directory / name).chmod(0o600)

    @property
    def users(self) -> dict[str, str]:
        """Return the passwords of Alyx by user name; the first may write, the second only reads."""
        return self.alyx.accounts.passwords

    @property
    def manifest(self) -> dict[str, Truth]:
        """Return the truth about every dataset by its id, for a download over HTTP and S3."""
        return self.world.manifest()

    @property
    def endpoints(self) -> dict[str, Path]:
        """Return the directory that each Globus endpoint shows, by its UUID."""
        found = self.world.repositories.values()
        return {each.endpoint: self.stores.root / "globus" / each.name for each in found if each.endpoint}

    def register(self, session: Session, collection: str, name: str, content: bytes) -> Dataset:
        """Register a new dataset whose file lies at HTTP and S3, as a lab does that goes on recording."""
        dataset = self.world.add(session, collection, name, content)
        self.stores.put(self.world, dataset)
        return dataset

    def rewrite(self, dataset: Dataset, content: bytes) -> Dataset:
        """Give a dataset other bytes, in Alyx and wherever it lies, as a lab does that processes its data again."""
        changed = self.world.rewrite(dataset, content)
        self.stores.put(self.world, changed)
        return changed

    def paths(self, dataset: Dataset, servers: Collection[str] = ("http", "members", "s3", "globus")) -> list[Path]:
        """Return where the files of a dataset lie on these servers, whether they are there or not."""
        repositories = self.world.repositories
        records = (each for each in dataset.records if repositories[each.repository].server in servers)
        return [self.stores.path(self.world, dataset, each) for each in records]
