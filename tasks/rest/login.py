"""One login to Alyx for all threads of a process: its token, had once and renewed once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from tasks.clients.verdicts import DownloadError, error
from tasks.rest.exchange import PasswordAuth

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rest.credentials import Credentials

_log = logging.getLogger(__name__)


class Login:
    """Holds the token, and gets one where there is a password.

    Args:
        credentials: What is known at first.
        ask: Sends a login to Alyx's `/auth-token` and returns its answer.
    """

    def __init__(self, credentials: Credentials, ask: Callable[[PasswordAuth], Any]) -> None:
        self._credentials = credentials
        self._ask = ask
        self._token = credentials.token
        self._lock = threading.Lock()

    def token(self) -> SecretStr:
        """Return the token; an empty one where nothing is known to get one with: Alyx says itself whether it wants one.

        Raises:
            DownloadError: `alyx-login`, `alyx-url`, or another `alyx-...` row.
        """
        with self._lock:
            if not self._token and self._credentials.password:
                self._renew()
            return self._token

    def renewed(self, stale: SecretStr) -> bool:
        """Have another token than `stale`, unless there is no password to get one with.

        Raises:
            DownloadError: As :meth:`token`.
        """
        with self._lock:
            if self._token != stale:
                return True  # another thread was faster
            if self._credentials.password:
                self._renew()
            return bool(self._credentials.password)

    def renew(self) -> None:
        """Log in, and store the token for ONE where it stored the old one.

        Raises:
            DownloadError: As :meth:`token`.
        """
        with self._lock:
            self._renew()

    def _renew(self) -> None:
        try:
            token = _token_in(self._ask(PasswordAuth(self._credentials.user, self._credentials.password)))
        except DownloadError as failure:
            if failure.code == "alyx-not-found":
                raise error("alyx-url", f"{self._credentials.url} has no /auth-token.") from failure
            raise
        if not token:
            raise error("alyx-url", f"{self._credentials.url}/auth-token answers without a token.")
        self._token = token
        self._keep()

    def _keep(self) -> None:
        if not self._credentials.keep:
            return
        try:
            self._credentials.keep(self._token.get_secret_value())
        except (OSError, DownloadError) as failure:
            _log.warning("The new token is not stored for ONE: %s", failure)


def _token_in(answer: object) -> SecretStr:
    found = answer.get("token") if isinstance(answer, dict) else None
    return SecretStr(found if isinstance(found, str) else "")
