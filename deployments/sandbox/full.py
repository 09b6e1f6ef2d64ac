"""A lab with all four protocols: the servers of `Lab`, a Globus that really copies files, a kachery gateway."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deployments.sandbox.globus import TRANSFER_SCOPE, GlobusEmulator
from deployments.sandbox.kachery import Gateway
from deployments.sandbox.lab import Lab
from deployments.sandbox.model import Fate

if TYPE_CHECKING:
    from deployments.sandbox.journal import Journal
    from deployments.sandbox.model import Truth

#: The servers that the manifest is asked for.
SERVERS = ("http", "members", "s3", "globus")
#: This machine's own endpoint; a collection of a server, since two personal endpoints cannot reach each other.
LOCAL_ENDPOINT = "1b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"
REFRESH_TOKEN = "sandbox-refresh-token"
CLIENT_ID = "cccccccc-0000-4000-8000-000000000003"


class FullLab:
    """A lab whose files are to be had over every protocol.

    Attributes:
        lab: Alyx, the file servers and S3.
        globus: The Globus emulator; its endpoints show the lab's directories.
        kachery: The gateway, and the bucket behind it.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.lab = Lab()
        self.globus = GlobusEmulator(self.lab.root / "globus-service")
        self.kachery = Gateway()

    def __enter__(self) -> Self:
        """Start everything."""
        self._stack.enter_context(self.lab)
        self._stack.enter_context(self.globus)
        self._stack.enter_context(self.kachery)
        for endpoint, directory in self.lab.endpoints.items():
            self.globus.endpoint(endpoint, root=str(directory), display_name=directory.name)
        self.globus.endpoint(LOCAL_ENDPOINT, root="/", display_name="this machine")
        self._only_in_kachery()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self._stack.close()

    @property
    def requests(self) -> Journal:
        """What the lab's own servers were asked."""
        return self.lab.requests

    def _only_in_kachery(self) -> None:
        """Take the dataset that Alyx knows by its SHA-1 off all other servers."""
        world, dataset = self.lab.world, self.lab.world.odd("sha1")
        self.kachery.put("default", dataset.content)
        world.datasets[dataset.id] = replace(dataset, records=())

    @property
    def manifest(self) -> dict[str, Truth]:
        """The truth about every dataset, for a download over all protocols."""
        truths = self.lab.world.manifest(SERVERS)
        in_kachery = self.lab.world.odd("sha1").id
        return {**truths, in_kachery: replace(truths[in_kachery], fate=Fate.PUBLISHED)}

    def environment(self) -> dict[str, str]:
        """The lab's variables and Globus'; the login lies where ONE keeps it."""
        variables = {**self.lab.environment(), **self.globus.environment}
        login = {"client": CLIENT_ID, "token": REFRESH_TOKEN, "scope": TRANSFER_SCOPE}
        self.globus.tokens(refresh=[login])
        profile = {
            "GLOBUS_CLIENT_ID": CLIENT_ID,
            "local_endpoint": LOCAL_ENDPOINT,
            "local_path": "/",
            "refresh_token": REFRESH_TOKEN,
        }
        store = Path(variables["HOME"]) / ".one" / ".remote"
        kachery = {"base_url": self.kachery.url, "zone": "default"}
        params = {"globus": {"default": profile}, "kachary": {"default": kachery}}
        store.write_text(json.dumps(params, indent=4))
        store.chmod(0o600)
        store.chmod(0o600)
        return {**variables, "NO_PROXY": "127.0.0.1,localhost"}
