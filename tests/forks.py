"""Child processes of the tests.

They are forked from a process that has imported what they need and has one thread: a fork of this one, with a lab's
threads in it, may deadlock, and a new interpreter takes seconds. There is one such process, so one list of imports.
"""

from __future__ import annotations

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "rich.pretty", "one.remote.base", "tests.engine", "tasks.clients.globus"])
