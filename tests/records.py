"""What runs cost a Prefect server: what it has recorded, how its database has grown, and what it was asked."""

from __future__ import annotations

import re

#: Makes a server write a line for each request.
ASKED = {"PREFECT_SERVER_LOGGING_LEVEL": "INFO"}
_REQUEST = re.compile(r'([\d.]+):\d+ - "[A-Z]+ \S+ HTTP/')
_TABLES = ("flow_run", "task_run", "log", "events")


class Records:
    """Of one server of a site, counted from now on.

    Args:
        site: Its Prefect server writes a line for each request, and keeps its database `prefect` in this one.
        database: The server of the database.
        own: The address of whoever looks on; what comes from there is not counted.
    """

    def __init__(self, site, database, own=""):
        self.site, self.database, self.own = site, database, own
        self.before = self._now()

    def taken(self):
        """Rows, requests and bytes since then, by name."""
        return {name: number - self.before[name] for name, number in self._now().items()}

    def line(self):
        """The same for people."""
        taken = self.taken()
        size = taken.pop("bytes") / 1e6
        return f"Prefect: {', '.join(f'{name} {number:,}' for name, number in taken.items())}; {size:.1f} MB"

    def _now(self):
        rows = {name: self.database.query(f"SELECT count(*) FROM {name}", "prefect") for name in _TABLES}  # noqa: S608
        size = self.database.query("SELECT pg_database_size('prefect')")
        clients = _REQUEST.findall((self.site.folder / "server.log").read_text())
        return {**rows, "requests": sum(client != self.own for client in clients), "bytes": size}
