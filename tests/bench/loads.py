"""The loads: what is fetched, and where from."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20


class Item(NamedTuple):
    """One file: its path on the server, its size and its md5."""

    path: str
    size: int
    md5: str


@dataclass(frozen=True)
class Job:
    """What one contender has to do: fetch items from a server into an empty folder.

    Attributes:
        server: Address of the server's root.
        www: Folder that is served.
        place: Where the files go.
        ca: The CA to trust, for TLS.
        connections: Files at once.
        keys: Sign S3 requests.
    """

    server: str
    www: str
    place: str
    items: tuple[Item, ...]
    ca: str = ""
    connections: int = 16
    keys: bool = False

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.items)

    def first(self, files: int) -> Job:
        return replace(self, items=self.items[:files])

    def url(self, item: Item) -> str:
        return f"{self.server}/{item.path}"

    def save(self, path: Path) -> None:
        with path.open("w") as file:
            print(json.dumps(asdict(replace(self, items=()))), file=file)
            file.writelines(f"{item.path}\t{item.size}\t{item.md5}\n" for item in self.items)

    @classmethod
    def load(cls, path: Path) -> Job:
        with path.open() as file:
            return cls(**{**json.loads(file.readline()), "items": Listed(path)})


@dataclass(frozen=True)
class Listed:
    """The items of a saved job, read when they are gone through: a list of them would count as a contender's memory."""

    path: Path

    def __iter__(self):
        with self.path.open() as file:
            next(file)
            for line in file:
                path, size, md5 = line.rstrip("\n").split("\t")
                yield Item(path, int(size), md5)

    def __len__(self):
        with self.path.open() as file:
            return sum(1 for _ in file) - 1


def small(www: Path, files: int, *, size: int = 16 * KIB) -> tuple[Item, ...]:
    """Small files, 200 a folder."""
    return _make(www, "public-small", [size] * files, seed=1)


def mix(www: Path, files: int) -> tuple[Item, ...]:
    """What ALF folders hold: a median of 200 kB, a long tail to 50 MB, about 1 MB a file."""
    dice = random.Random(2)
    sizes = [min(50_000_000, int(dice.lognormvariate(12.2, 1.8))) for _ in range(files)]
    return _make(www, "public-mix", sizes, seed=3)


def large(www: Path, size: int) -> tuple[Item, ...]:
    """One large file."""
    return _make(www, f"public-large-{size // MIB}", [size], seed=4)


def zeros(www: Path, size: int) -> tuple[Item, ...]:
    """One file of zeros: a hole, which takes no room where it is served."""
    path = f"public-zeros-{size // MIB}/zeros.npy"
    (www / path).parent.mkdir()
    with (www / path).open("wb") as file:
        file.truncate(size)
    with (www / path).open("rb") as file:
        return (Item(path, size, hashlib.file_digest(file, "md5").hexdigest()),)


def _make(www, name, sizes, *, seed):
    dice = random.Random(seed)
    items = []
    for number, size in enumerate(sizes):
        path = (
            f"{name}/lab/Subjects/S{number // 2000:03d}/2024-01-01/{number // 200 % 10 + 1:03d}/{number % 200:03d}.npy"
        )
        items.append(_write(www, path, size, dice))
    return tuple(items)


def _write(www, path, size, dice):
    target = www / path
    target.parent.mkdir(parents=True, exist_ok=True)
    md5, left = hashlib.md5(), size
    with target.open("wb") as file:
        while left:
            block = dice.randbytes(min(left, 4 * MIB))
            file.write(block)
            md5.update(block)
            left -= len(block)
    return Item(path, size, md5.hexdigest())
