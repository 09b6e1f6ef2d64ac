"""Runs the steps of deployments/Dockerfile without a container engine: image.py CHECKOUT FOLDER UID GID < commands.

The steps see this machine's own file system through an overlay, so that RUN, COPY, USER and WORKDIR are the real thing,
and everything they write goes to the folder. Two things differ from an image: what FROM names is not fetched (a fresh
environment of this machine's Python stands for it), and the kernel's limits of a container are not there. After the
steps, each line of standard input is run as the image's user, in a network of its own, and with nothing to write but
the volumes. Needs root.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

#: Where the environment lies that stands for the base image.
_BASE = "/opt/base"


def steps(text: str) -> list[tuple[str, str]]:
    """Read a Dockerfile: instructions with their arguments, lines joined, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


@dataclass
class Image:
    """An image in the making.

    Attributes:
        root: Where its file system is mounted.
        checkout: What COPY copies from.
        arguments: What the builder was given.
    """

    root: Path
    checkout: Path
    arguments: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"

    def build(self, text: str) -> None:
        """Run all steps."""
        base = Path(sys.base_prefix)
        reach = " ".join(
            map(str, [base, *base.parents])
        )  # an interpreter in somebody's home is opened in the overlay only
        self._run(f"chmod o+x {reach}; {base}/bin/python3 -m venv {_BASE}")
        self.environment["PATH"] = f"{_BASE}/bin:{os.environ['PATH']}"
        for name, rest in steps(text):
            print(f"{name} {rest}", flush=True)
            getattr(self, f"_{name.lower()}")(rest)

    def run(self, command: str) -> None:
        """Run a command as the image's user, cut off from every network."""
        self._run(f"ip link set lo up; exec setpriv --reuid={self.user} --regid={self.user} --init-groups "
                  f"sh -ec {shlex.quote(command)}", "--net")  # fmt: skip

    def seal(self) -> None:
        """Make all but the volumes read-only, as compose.yaml starts the containers."""
        subprocess.run(["mount", "-o", "remount,bind,ro", self.root], check=True)

    def _from(self, _: str) -> None:
        """The environment stands for it."""

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.environment[name] = self.arguments.get(name, default)

    def _env(self, rest: str) -> None:
        self.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))

    def _run(self, rest: str, *isolated: str) -> None:
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # of this machine
        home = {"HOME": "/root" if self.user == "root" else f"/home/{self.user}"}
        inside = ["chroot", str(self.root), "sh", "-ec", f"cd {self.folder}; {rest}"]
        command = ["unshare", *isolated, *inside] if isolated else inside
        subprocess.run(command, env={"PATH": os.environ["PATH"], **home, **pip, **self.environment}, check=True)

    def _workdir(self, rest: str) -> None:
        self._run(f"mkdir -p {rest}")
        self.folder = rest

    def _copy(self, rest: str) -> None:
        *sources, target = shlex.split(rest)
        named = " ".join(shlex.quote(str(self.checkout / source)) for source in sources)
        self._run(f"cp -r {named} {target}")

    def _user(self, rest: str) -> None:
        self.user = rest

    def _volume(self, rest: str) -> None:
        """A place that stays writable when the rest of a container is read-only."""
        for path in json.loads(rest):
            place = f"{self.root}{path}"
            subprocess.run(["mount", "--bind", place, place], check=True)

    def _cmd(self, rest: str) -> None:
        """What a container runs, unless it is told otherwise."""


def main() -> None:
    """Mount, build, run; the mounts go with this process."""
    checkout, folder, uid, gid = sys.argv[1:]
    if "IMAGE_INSIDE" not in os.environ:
        again = ["unshare", "--mount", sys.executable, *sys.argv]
        os.execvpe(again[0], again, {**os.environ, "IMAGE_INSIDE": "1"})  # noqa: S606  (no shell is wanted)
    upper, work, root = (Path(folder, name) for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    for name in ("proc", "dev", "sys"):
        subprocess.run(["mount", "--rbind", f"/{name}", root / name], check=True)
    image = Image(root, Path(checkout), {"LAB_UID": uid, "LAB_GID": gid})
    image.build((Path(checkout) / "deployments" / "Dockerfile").read_text())
    image.seal()
    for line in sys.stdin:
        print(f"$ {line}", end="", flush=True)
        image.run(line)


if __name__ == "__main__":
    main()
