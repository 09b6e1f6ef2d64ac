"""Blocks: secrets that a Prefect server keeps for workers that share no home directory.

Prefect finds them by the entry point `prefect.collections`, in its server, its workers and its UI; so this file imports
nothing that is slow, and does nothing when it is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, cast

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field, SecretStr

from tasks.clients import store
from tasks.rest.credentials import Credentials, base_url

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tasks.alyx import AlyxClient
    from tasks.settings import AlyxSettings

_LOGO = "https://raw.githubusercontent.com/int-brain-lab/iblenv/main/logo.png"
_DOCUMENTATION = "https://docs.internationalbrainlab.org"


class AlyxCredentials(Block):
    """A login to an Alyx database.

    Example:
        Load a stored login and list the labs that Alyx knows:
        ```python
        from tasks.blocks import AlyxCredentials

        alyx = AlyxCredentials.load("BLOCK_NAME").client()
        labs = alyx.rest("labs", "list")
        ```
    """

    _block_type_name = "Alyx Credentials"
    _block_type_slug = "alyx-credentials"
    _logo_url = cast("Any", _LOGO)
    _documentation_url = cast("Any", _DOCUMENTATION)
    _description = "A login to an Alyx database."

    url: str = Field(default=..., description="Address of Alyx, such as https://openalyx.internationalbrainlab.org.")
    user: str = Field(default="", description="User name.")
    password: SecretStr = Field(default=SecretStr(""), description="Password; a token is had with it.")
    token: SecretStr = Field(default=SecretStr(""), description="Token, instead of a password or besides it.")

    def credentials(self) -> Credentials:
        """Return the login as the Alyx client takes it.

        Raises:
            DownloadError: `alyx-url` or `alyx-token`, where a field cannot be used.
        """
        origin = "a block on the Prefect server"
        return Credentials(base_url(self.url), self.user, self.password, self.token, origin)

    def client(self) -> AlyxClient:
        """Return a client that logs in with it; nothing is sent before its first request."""
        from tasks.alyx import AlyxClient  # noqa: PLC0415  (a server that only shows the block does not need it)

        return AlyxClient(credentials=self.credentials())

    def enter(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Make it the login of this process, unless the environment has one already."""
        if environment.get("ALYX_PASSWORD") or environment.get("ALYX_TOKEN"):
            return
        login = self.credentials()
        secrets = {"ALYX_PASSWORD": login.password, "ALYX_TOKEN": login.token}
        environment.update({name: value.get_secret_value() for name, value in secrets.items() if value})
        if login.user:
            environment["ALYX_LOGIN"] = login.user
        environment.setdefault("ALYX_URL", login.url)


class RemoteParams(Block):
    """ONE's shared store of remote parameters, for machines that share no home directory.

    Example:
        Keep what this machine's store holds, and lay it down on another machine:
        ```python
        from tasks.blocks import RemoteParams

        RemoteParams.of_this_machine("globus", "aws").save("BLOCK_NAME")
        RemoteParams.load("BLOCK_NAME").install()
        ```
    """

    _block_type_name = "Alyx Remote Params"
    _block_type_slug = "alyx-remote-params"
    _logo_url = cast("Any", _LOGO)
    _documentation_url = cast("Any", _DOCUMENTATION)
    _description = "ONE's shared store of remote parameters, by protocol and profile."

    params: SecretDict = Field(
        default_factory=lambda: SecretDict({}), description="Fields by protocol and profile, as ONE's .remote has them."
    )

    @classmethod
    def of_this_machine(cls, *protocols: str) -> Self:
        """Read these protocols' profiles from ONE's store on this machine.

        Raises:
            DownloadError: `params-file`.
        """
        return cls(params=SecretDict({protocol: store.read_section(protocol) for protocol in protocols}))

    def install(self) -> None:
        """Set the fields in ONE's store on this machine; fields that are only there stay.

        Raises:
            DownloadError: `bad-params`, `params-busy` or `params-file`.
        """
        for protocol, profiles in self.params.get_secret_value().items():
            for profile, fields in profiles.items():
                store.merge_profile(protocol, profile, fields)


def use_blocks(settings: AlyxSettings) -> None:
    """Use the blocks that the settings name, in this process; none by default.

    Raises:
        ValueError: there is no block of that name.
        DownloadError: what a block holds cannot be used.
    """
    if settings.credentials_block:
        cast("AlyxCredentials", AlyxCredentials.load(settings.credentials_block)).enter()
    if settings.params_block:
        cast("RemoteParams", RemoteParams.load(settings.params_block)).install()
