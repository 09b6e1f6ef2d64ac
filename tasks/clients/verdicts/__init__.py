"""Every error, its verdict, and the next step for a human.

`rules` has the one table that says what each error means; the other modules only find the row, each for one origin.
Nothing else in the project matches the text of an error.
"""

from tasks.clients.verdicts.alyx import alyx_answer, alyx_unreachable
from tasks.clients.verdicts.globus import globus_api, globus_event_path, globus_skipped, globus_task
from tasks.clients.verdicts.kachery import kachery_answer
from tasks.clients.verdicts.local import ledger_error, os_error, params_error
from tasks.clients.verdicts.network import curl_error, http_status, retry_after, unreachable
from tasks.clients.verdicts.rules import RULES, DownloadError, Rule, Scope, Verdict, error
from tasks.clients.verdicts.words import printable

__all__ = [
    "RULES",
    "DownloadError",
    "Rule",
    "Scope",
    "Verdict",
    "alyx_answer",
    "alyx_unreachable",
    "curl_error",
    "error",
    "globus_api",
    "globus_event_path",
    "globus_skipped",
    "globus_task",
    "http_status",
    "kachery_answer",
    "ledger_error",
    "os_error",
    "params_error",
    "printable",
    "retry_after",
    "unreachable",
]
