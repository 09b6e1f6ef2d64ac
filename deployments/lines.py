"""YAML whose every key knows its line, so that a mistake can be shown where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from tasks.clients.verdicts import DownloadError, error
from tasks.clients.verdicts.words import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import ValidationError

    Place = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Lined:
    """A YAML file that was read.

    Attributes:
        path: The file.
        data: What is in it.
        lines: The line of each key and each item, by the way to it.
    """

    path: Path
    data: Any
    lines: dict[Place, int] = field(repr=False)

    @classmethod
    def read(cls, path: Path, words: Mapping[str, str] | None = None) -> Lined:
        """Read a file; a key that is given twice is refused.

        Args:
            path: The file.
            words: What stands for each `${name}` in it.

        Raises:
            DownloadError: `deploy-file`.
        """
        try:
            text = path.read_text("utf-8")
            text = text if words is None else Template(text).substitute(words)
            node = yaml.compose(text, yaml.SafeLoader)
            data = yaml.safe_load(text)
        except OSError as failure:
            detail = f"{path}: {failure.strerror}. Name the file, or run this in the clone."
            raise error("deploy-file", detail) from failure
        except (ValueError, KeyError, yaml.YAMLError) as failure:
            raise error("deploy-file", f"{path} cannot be read: {failure}.") from failure
        found = cls(path, data, {(): 1})
        faults = list(found._mark(node, ())) if node else []
        found.refuse(faults)
        return found

    def where(self, place: Sequence[int | str]) -> str:
        """Return file, line and key of a place; the nearest one above it where it is not in the file."""
        way = tuple(place)
        while way not in self.lines:
            way = way[:-1]
        return f"{self.path}:{self.lines[way]}: {'.'.join(map(str, place)) or 'the file'}"

    def refuse(self, faults: Sequence[str]) -> None:
        """Raise what is wrong, all of it, in the order of the lines.

        Raises:
            DownloadError: `deploy-file`, where there is anything.
        """
        if faults:
            # An alias brings one line into several places; it is told once.
            once = {(line, words): fault for fault in reversed(faults) for line, _, words in [fault.split(": ", 2)]}
            rule = error("deploy-file")
            lines = [rule.reason, *map(printable, reversed(once.values()))]  # an error is one line, and this is a list
            raise DownloadError(rule.verdict, "\n  ".join(lines) + "\n", rule.next_step, code=rule.code)

    def faults_of(self, failure: ValidationError, above: Place = ()) -> list[str]:
        """Say what pydantic objects to, with line and key."""
        return [
            f"{self.where((*above, *fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in failure.errors(include_url=False)
        ]

    def _mark(self, node: yaml.Node, way: Place) -> list[str]:
        """Note the lines of a node's members; return what is given twice."""
        faults: list[str] = []
        for key, mark, below in _members(node):
            here = (*way, key)
            if here in self.lines and self.lines[here] != mark:
                faults.append(f"{self.path}:{mark}: {'.'.join(map(str, here))}: it is given twice")
            self.lines[here] = mark
            faults += self._mark(below, here)
        return faults


def _members(node: yaml.Node) -> list[tuple[int | str, int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        return [(key.value, key.start_mark.line + 1, value) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(index, value.start_mark.line + 1, value) for index, value in enumerate(node.value)]
    return []
