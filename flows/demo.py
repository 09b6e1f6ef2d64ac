"""The main job on the embedded lab: what `make demo` runs. It fails when anything but the planted failure fails."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.sandbox.model import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployments.sandbox.full import FullLab
    from deployments.sandbox.lab import Lab
    from flows.fetched import Fetched

    Say = Callable[[str], None]

#: The servers whose bytes are counted.
_FILE_SERVERS = ("http", "members", "s3")


def demo(lab: FullLab | Lab, root: Path | None, *, serve: bool, say: Say, show: Say) -> int:
    """Download all of a lab twice, and compare every file with the truth.

    Args:
        lab: It runs.
        root: Where the files go, and stay; without it, a directory that is removed at the end.
        serve: Keep sandbox and Prefect's UI up until Ctrl-C.
        say: Talks to the person.
        show: Prints the result.

    Returns:
        0 when all is as planted, 1 otherwise.
    """
    with environment(lab.environment()), _place(root) as place:
        return _Demo(lab, place, say, show).run(serve=serve)


class _Demo:
    """One demonstration."""

    def __init__(self, lab: FullLab | Lab, root: Path, say: Say, show: Say) -> None:
        self.lab = lab
        self.root = root
        self.say = say
        self.show = show

    def run(self, *, serve: bool) -> int:
        from flows.local_server import prefect_api

        with prefect_api(self.say) as api:
            first = self._fetch("The first run")
            wrong = self._differences() + self._unplanned(first)
            before = self._file_requests()
            second = self._fetch("The second run")
            asked = self._file_requests() - before
            self.show(f"The second run made {asked} file requests.")
            wrong += [f"the second run made {asked} file requests"] if asked else []
            wrong += [f"the second run published {second.summary.published} files"] if second.summary.published else []
            for difference in wrong:
                self.show(f"NOT AS PLANTED: {difference}")
            self.show(
                f"Look at both runs: {api.removesuffix('/api')}/runs   (`prefect-alyx demo --stop` ends that server)"
            )
            if serve:
                self._serve()
        return 1 if wrong else 0

    def _fetch(self, title: str) -> Fetched:
        from flows.fetching import fetch
        from tasks.reporting import by_source
        from tasks.selection import Selection
        from tasks.wording import files, human_bytes

        self.say(f"{title} ...")
        done = fetch(Selection.read({"everything": True, "revision_rule": "all"}), self.root, self.say)
        self.show(f"\n{title}: {done.headline}")
        for (protocol, source), (count, size) in by_source(done.outcomes).items():
            self.show(f"  {protocol:8} {source:24} {files(count):>10} {human_bytes(size):>10}")
        for line in done.trouble():
            self.show(line)
        self.show(f"  {done.summary.line()}")
        return done

    def _differences(self) -> list[str]:
        """Where the tree is not what the lab's own truth says; the truth was made without our code."""
        found = []
        for truth in self.lab.manifest.values():
            path = self.root / truth.path
            if truth.fate is not Fate.PUBLISHED:
                found += [f"{truth.path} is there and should not be"] if path.exists() else []
            elif not path.exists():
                found.append(f"{truth.path} is missing")
            elif hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != truth.md5:
                found.append(f"{truth.path} differs from the lab's data")
        return found

    def _unplanned(self, done: Fetched) -> list[str]:
        """What became of the datasets, where it is not what was planted."""
        states = {outcome.dataset: str(outcome.state) for outcome in done.outcomes}
        return [
            f"{truth.path} is {states.get(dataset, 'not reported')}, {truth.fate.value} was planted"
            for dataset, truth in self.lab.manifest.items()
            if states.get(dataset) != truth.fate.value
        ]

    def _file_requests(self) -> int:
        return sum(self.lab.requests.count(server=server) for server in _FILE_SERVERS)

    def _serve(self) -> None:
        self.say("The sandbox stays up; use it from another shell with:")
        for name, value in {**self.lab.environment(), "PREFECT_HOME": os.environ["PREFECT_HOME"]}.items():
            self.show(f"export {name}={value}")
        self.say("Ctrl-C ends it.")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Use the lab and nothing else; Prefect keeps its own home, where its server's database is."""
    before = dict(os.environ)
    own = {"PREFECT_HOME": os.environ.get("PREFECT_HOME", str(Path.home() / ".prefect"))}
    quiet = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}
    os.environ.update({**quiet, **own, **variables})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _place(root: Path | None) -> Iterator[Path]:
    if root:
        yield root
        return
    made = Path(tempfile.mkdtemp(prefix="prefect-alyx-demo-"))
    try:
        yield made / "root"
    finally:
        shutil.rmtree(made)
