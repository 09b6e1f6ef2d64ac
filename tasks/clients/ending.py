"""How a request ended: libcurl's error, the phase it was in, and what our own callbacks found, as one verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from tasks.clients.verdicts import DownloadError, curl_error, error

if TYPE_CHECKING:
    from tasks.clients.answer import Answer
    from tasks.clients.patience import Budget
    from tasks.clients.reach import Guard


def conclude(
    handle: pycurl.Curl, failure: pycurl.error | None, answer: Answer, budget: Budget, *, silent: bool, refused: str
) -> None:
    """Say how a request ended, when libcurl is done with it.

    Args:
        handle: Knows in which phase it was.
        failure: What libcurl says, None where all went well.
        answer: What came.
        budget: What the file may still cost.
        silent: It was ended because nothing came for too long.
        refused: Why no connection was opened, "" where none was refused.

    Raises:
        DownloadError: unless the answer was accepted to its end.
    """
    if failure is None:
        answer.finish()
        return
    answer.raise_failure()
    if refused:
        raise error("address-refused", f"{answer.where}: {refused}.") from None
    raise _classify(handle, failure, answer, budget, silent=silent) from None


def _classify(
    handle: pycurl.Curl, failure: pycurl.error, answer: Answer, budget: Budget, *, silent: bool
) -> DownloadError:
    """Find the verdict on libcurl's error; where it is ambiguous, the phase and our own callbacks tell."""
    number, message = int(failure.args[0]), str(failure.args[-1])
    if number == pycurl.E_ABORTED_BY_CALLBACK and not silent:
        return error("stopped", f"{answer.where}.")
    if number == pycurl.E_WRITE_ERROR and answer.is_error:
        return answer.refusal()
    if number in (pycurl.E_OPERATION_TIMEDOUT, pycurl.E_ABORTED_BY_CALLBACK):
        return error(_which_timeout(handle, budget), f"{answer.where}: {answer.received:,} bytes came.")
    if number == pycurl.E_UNSUPPORTED_PROTOCOL and not answer.status:
        return error("protocol", f"{answer.where}: it does not speak HTTP.")
    return curl_error(number, message, answer.where)


def no_answer(handle: pycurl.Curl, failure: pycurl.error, where: str, guard: Guard) -> DownloadError:
    """The verdict on a request that nothing answered."""
    number, message = int(failure.args[0]), str(failure.args[-1])
    if guard.refused:
        return error("address-refused", f"{guard.refused}.")
    if number == pycurl.E_OPERATION_TIMEDOUT:
        return error(_phase(handle), f"{where}.")
    return curl_error(number, message, where)


def _which_timeout(handle: pycurl.Curl, budget: Budget) -> str:
    if budget.seconds_left() <= 1:
        return "deadline"
    return _phase(handle)


def _phase(handle: pycurl.Curl) -> str:
    return "stalled" if float(handle.getinfo(pycurl.PRETRANSFER_TIME)) > 0 else "connect-timeout"
