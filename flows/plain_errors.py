"""An expected error is one line in a run's log: a traceback through three libraries helps nobody at night."""

from __future__ import annotations

import logging

from tasks.clients.verdicts import DownloadError
from tasks.wording import coded


class _Plain(logging.Filter):
    """Takes the traceback off what Prefect logs of a :class:`DownloadError`; it changes the record for all handlers."""

    def filter(self, record: logging.LogRecord) -> bool:
        failure = record.exc_info[1] if record.exc_info else None
        if isinstance(failure, DownloadError):
            record.msg = f"{coded(failure.reason, failure.code)} {failure.next_step}"
            record.args, record.exc_info, record.exc_text = (), None, None
        return True


def log_plainly() -> None:
    """Let Prefect's engines log expected errors in one line, in this process; all others keep their traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Plain) for one in logger.filters):
            logger.addFilter(_Plain())
