"""Whether a server's refusal means this file, or the credentials.

A release may forbid some of its files (403) while the login is good; an expired login forbids all of them.
A wrong guess costs either a run that stops for nothing, or a request a file for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.clients.verdicts import DownloadError, error

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSALS = (401, 403)
#: So many refusals in a row, where nothing was had yet, mean the credentials. Fewer need not: a run may have nothing
#: but the forbidden files of a release left to ask for, and S3 says 403 of a missing file, too.
_MOST_REFUSALS = 8


class Access:
    """What one client knows of its credentials' worth; shared by its threads.

    Args:
        status: Asks for the first byte of an address and returns the HTTP status.
    """

    def __init__(self, status: Callable[[str], int]) -> None:
        self._status = status
        self._worked = ""
        self._refused = 0

    def granted(self, address: str) -> None:
        """Note that a file was had."""
        self._worked = address
        self._refused = 0

    def judge(self, failure: DownloadError) -> DownloadError:
        """The error that a 403 amounts to: itself, or `refused` when the credentials are worth nothing any more.

        The last file that was had is asked for one byte; where there is none, the number of refusals in a row decides.
        """
        self._refused += 1
        lost = self._status(self._worked) in _REFUSALS if self._worked else self._refused >= _MOST_REFUSALS
        return error("refused", failure.reason) if lost else failure
