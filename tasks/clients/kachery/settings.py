"""What this machine knows of kachery: parameters that are given, the environment, the params store, in this order.

The names in the environment are those of the official clients, so that what works with them works here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from tasks.clients import store
from tasks.clients.profiles import Field
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The gateway that everybody uses who has none of their own.
PUBLIC_GATEWAY = "https://kachery.vercel.app"
PROTOCOL = "kachary"
FIELDS = (
    Field("zone", "Zone, where Alyx names none", default="default"),
    Field("api_key", "API key, for zones that are not public", secret=True, optional=True),
    Field("base_url", f"Gateway, where it is not {PUBLIC_GATEWAY}", optional=True),
    Field("gateway_url", "Gateway of the old kind (kachery-cloud)", optional=True),
    Field("client_key", "Private key there, 64 hex digits, for zones that are not public", secret=True, optional=True),
    Field("cache_dir", "Directory where kachery keeps its files", optional=True),
    Field("fill_cache", "Keep what is downloaded there, too (yes or no)", optional=True),
)
_ENVIRONMENT = {
    "KACHERY_ZONE": "zone",
    "KACHERY_API_KEY": "api_key",
    "KACHERY_BASE_URL": "base_url",
    "KACHERY_GATEWAY_URL": "gateway_url",
    "KACHERY_CLOUD_PRIVATE_KEY": "client_key",
    "KACHERY_DIR": "cache_dir",
}


def is_configured() -> bool:
    """Whether anybody set kachery up here, well or badly; to say where its files are is not enough.

    Raises:
        DownloadError: `params-file`: the params store cannot be read.
    """
    asked = (os.environ.get(name) for name in _ENVIRONMENT if name != "KACHERY_DIR")
    return any(asked) or store.profile(PROTOCOL) is not None


class KacherySettings(BaseModel):
    """Where to look, and as whom.

    Attributes:
        configured: Whether anybody set kachery up; without that no bare digest is shown to a gateway.
        zone: Where an address names none.
        api_key: For the new gateway.
        base_url: A gateway of kachery 2; by default the public one, unless there is only an old one.
        gateway_url: A gateway of kachery-cloud; asked last.
        client_key: For the old gateway: an Ed25519 key, which signs what is asked.
        cache_dir: Directory of the official clients' files.
        fill_cache: Whether downloaded files are kept there, too.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    configured: bool = False
    zone: str = "default"
    api_key: SecretStr | None = None
    base_url: AnyHttpUrl | None = None
    gateway_url: AnyHttpUrl | None = None
    client_key: SecretStr | None = None
    cache_dir: Path | None = None
    fill_cache: bool = False

    @classmethod
    def gather(cls, params: Mapping[str, Any] | None = None) -> Self:
        """Collect the settings; an empty text or null counts as not given.

        Args:
            params: Go before everything else; with None the params store is read.

        Raises:
            DownloadError: `bad-params`, or `params-file` where the store cannot be read.
        """
        environment = {field: os.environ.get(name) for name, field in _ENVIRONMENT.items()}
        layers = (store.profile(PROTOCOL) or {}, environment) if params is None else (environment, params)
        given = {name: value for layer in layers for name, value in layer.items() if value not in (None, "")}
        try:
            return cls.model_validate({**given, "configured": params is not None or is_configured()})
        except ValidationError as invalid:
            faults = "; ".join(f"{PROTOCOL}.{fault['loc'][0]}: {fault['msg']}" for fault in invalid.errors())
            raise error("bad-params", f"{faults}.") from None

    @field_validator("api_key", "client_key")
    @classmethod
    def _one_word(cls, key: SecretStr | None) -> SecretStr | None:
        """A key goes into a header: a newline that came along with it is not part of it."""
        if key is None:
            return None
        word = key.get_secret_value().strip()
        if not (word.isascii() and word.isprintable()):
            raise ValueError("it holds characters that no key has")
        return SecretStr(word)

    @property
    def places(self) -> tuple[Path, ...]:
        """Directories of the official clients' files: the one that may be filled, then the old clients' own."""
        named = (self.cache_dir or "~/.kachery", os.environ.get("KACHERY_CLOUD_DIR") or "~/.kachery-cloud")
        return tuple(Path(os.path.expanduser(place)) for place in named)
