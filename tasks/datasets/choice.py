"""Which of the datasets that a catalogue lists are meant: exact filters, and the rule about revisions.

Every catalogue fetches at least what is meant, in groups that hold all datasets of a session, and leaves the rest to
this module. First come the fields that say what a dataset is (names, collections, types, tags, public), then the rule
among the revisions that are left, then the fields that trim (quality, size).
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tasks.clients.verdicts import printable
from tasks.model import Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tasks.model import Dataset
    from tasks.selection import Selection

_log = logging.getLogger(__name__)

#: ONE's order of quality, best first (one.alf.spec.QC).
QUALITIES = ("NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dataset with what a selection looks at.

    Attributes:
        default: Whether Alyx marks it as the revision to load when none is asked for.
        public: Whether one of its tags is public.
    """

    dataset: Dataset
    name: str
    collection: str = ""
    dataset_type: str = ""
    qc: str = "NOT_SET"
    default: bool = True
    public: bool = False
    tags: tuple[str, ...] = ()


def ignore(_: Skip) -> None:
    """Do nothing with a dataset that is left out."""


def chosen(
    groups: Iterable[Iterable[Candidate]], selection: Selection, left_out: Callable[[Skip], None] = ignore
) -> Iterator[Dataset]:
    """Yield the datasets that a selection means.

    Args:
        groups: Each with all datasets of the sessions that are in it, or datasets that were asked for by id.
        selection: What is meant.
        left_out: Told of each dataset none of whose revisions satisfies the rule, with the reason. That a filter does
            not match is not told.
    """
    mixed, first = 0, ""
    for candidates in groups:
        picked = _picked(candidates, selection, left_out)
        for mixture in _mixtures(picked, selection):
            mixed, first = mixed + 1, first or mixture
        yield from (one.dataset for one in picked if _is_within_bounds(one, selection))
    if mixed:
        _log.warning("Objects whose parts have different revisions: %d, the first is %s", mixed, first)


def _picked(candidates: Iterable[Candidate], selection: Selection, left_out: Callable[[Skip], None]) -> list[Candidate]:
    revisions: dict[tuple[str | None, str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if _is_meant(candidate, selection):
            revisions[candidate.dataset.session, candidate.collection, candidate.name].append(candidate)
    return [candidate for group in revisions.values() for candidate in _pick(group, selection, left_out)]


def _is_meant(candidate: Candidate, selection: Selection) -> bool:
    return (
        _matches(candidate.name, selection.names, selection)
        and _matches(candidate.collection, selection.collections, selection)
        and _is_among(candidate.dataset_type, selection.dataset_types)
        and (not selection.tags or not set(selection.tags).isdisjoint(candidate.tags))
        and (candidate.public or not selection.public_only)
    )


def _is_among(value: str, wanted: list[str]) -> bool:
    return not wanted or value in wanted


def _matches(text: str, patterns: list[str], selection: Selection) -> bool:
    """Whether one of the patterns fits the whole text; `*` and `?` do not tell slashes from letters, as in ONE."""
    return not patterns or any(_compiled(pattern, selection.regex).fullmatch(text) for pattern in patterns)


@lru_cache(maxsize=256)
def _compiled(pattern: str, is_regex: bool) -> re.Pattern[str]:
    return re.compile(pattern if is_regex else fnmatch.translate(pattern))


def _is_within_bounds(candidate: Candidate, selection: Selection) -> bool:
    size = candidate.dataset.size
    return (selection.max_size is None or size is None or size <= selection.max_size) and (
        selection.qc_at_most is None or _rank(candidate.qc) <= _rank(selection.qc_at_most)
    )


def _rank(qc: str) -> int:
    return QUALITIES.index(qc) if qc in QUALITIES else len(QUALITIES)


def _pick(group: list[Candidate], selection: Selection, left_out: Callable[[Skip], None]) -> list[Candidate]:
    """One revision of a dataset, or all where all are asked for, or none, which is told."""
    if selection.dataset_ids or selection.revision_rule == "all":
        return group
    ordered = sorted(group, key=lambda candidate: candidate.dataset.revision)
    fitting, reason = _RULES[selection.revision_rule](ordered, selection.revision)
    if not fitting:
        newest = ordered[-1].dataset
        left_out(Skip(newest.id, newest.path, reason))
    return fitting


def _default(ordered: list[Candidate], _: str) -> tuple[list[Candidate], str]:
    marked = [candidate for candidate in ordered if candidate.default]
    if len(marked) > 1:
        return [], f"Alyx marks several revisions as the default one: {_names(marked)}"
    if not marked and len(ordered) > 1:
        _log.warning("%s: no revision is the default one; the newest is taken", printable(ordered[-1].dataset.path))
    return marked or ordered[-1:], ""


def _exact(ordered: list[Candidate], revision: str) -> tuple[list[Candidate], str]:
    same = [candidate for candidate in ordered if candidate.dataset.revision == revision]
    return same, f"there is no revision {revision!r}, only {_names(ordered)}"


def _last_before(ordered: list[Candidate], revision: str) -> tuple[list[Candidate], str]:
    """As ONE compares: letter by letter; a dataset without a revision comes before all others."""
    earlier = [candidate for candidate in ordered if candidate.dataset.revision <= revision]
    return earlier[-1:], f"all revisions are newer than {revision!r}: {_names(ordered)}"


_RULES = {"default": _default, "exact": _exact, "last_before": _last_before}


def _names(candidates: list[Candidate]) -> str:
    return ", ".join(candidate.dataset.revision or "none" for candidate in candidates)


def _mixtures(picked: list[Candidate], selection: Selection) -> Iterator[str]:
    """Name the objects whose parts come from several revisions: right by the rule, but worth knowing."""
    if selection.dataset_ids or selection.revision_rule in ("all", "exact"):
        return
    objects: dict[tuple[str | None, str, str], set[str]] = defaultdict(set)
    for candidate in picked:
        part_of = candidate.name.partition(".")[0]
        objects[candidate.dataset.session, candidate.collection, part_of].add(candidate.dataset.revision)
    for (session, collection, part_of), revisions in objects.items():
        if len(revisions) > 1:
            together = ", ".join(name or "none" for name in sorted(revisions))
            yield f"{collection}/{part_of} of session {session}: {together}"
