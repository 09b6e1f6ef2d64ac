"""Alyx's lists as the real one answers them: without order, in pages that lose rows, unknown filters ignored."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, UUID, uuid5

from tests.loopback import Asked, Reply

Json = dict[str, Any]


def uuid(*words: object) -> str:
    """The UUID that these words always get."""
    return str(uuid5(NAMESPACE_URL, repr(words)))


def session(lab: str = "labA", subject: str = "S1", day: str = "2024-01-01", number: int = 1, **more: Any) -> Json:
    """A row of `/sessions`."""
    return {
        "id": uuid(lab, subject, day, number),
        "subject": subject,
        "start_time": f"{day}T10:00:00",
        "number": number,
        "lab": lab,
        "projects": ["main"],
        "task_protocol": "_iblrig_tasks_ephysChoiceWorld6.4.2",
        **more,
    }


def dataset(of: Json | None, name: str, collection: str = "alf", revision: str = "", **more: Any) -> Json:
    """A row of `/datasets`; `of` is its session."""
    identifier = uuid(of and of["id"], name, collection, revision)
    place = "/".join(filter(None, (collection, revision and f"#{revision}#", name)))
    start = f"{of['subject']}/{of['start_time'][:10]}/{of['number']:03d}" if of else "Subjects/labA"
    return {
        "url": f"http://alyx/datasets/{identifier}",
        "name": name,
        "dataset_type": ".".join(name.split(".")[:2]),
        "collection": collection,
        "session": of and f"http://alyx/sessions/{of['id']}",
        "file_size": 100,
        "hash": "0" * 32,
        "file_records": [
            {
                "data_repository": "flatiron",
                "data_repository_path": "/labA/Subjects/" if of else "/public/aggregates/",
                "relative_path": f"{start}/{place}",
                "exists": True,
            }
        ],
        "revision": revision,
        "default_dataset": True,
        "public": 0,
        "tags": [],
        "qc": "NOT_SET",
        "json": None,
        **more,
    }


@dataclass
class FakeAlyx:
    """Some records, and how the server misbehaves.

    Attributes:
        most_rows: Rows that a page holds at most; Alyx has 1000.
        repeats: Whether even a page that holds everything has a row twice in place of another.
        ignores: Parameters that are taken no notice of.
    """

    sessions: list[Json] = field(default_factory=list)
    datasets: list[Json] = field(default_factory=list)
    repositories: list[str] = field(default_factory=lambda: ["flatiron"])
    most_rows: int = 1000
    repeats: bool = False
    ignores: tuple[str, ...] = ()
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        rows = self._lists().get(asked.path.strip("/"))
        if rows is None:
            return Reply.page(404, "Not Found")
        query = {name: value for name, value in asked.query.items() if name not in self.ignores}
        try:
            return Reply.of(self._page(self._filtered(rows, query), asked))
        except (ValueError, KeyError) as failure:
            return Reply.of({"status_code": 500, "detail": str(failure)}, 500)

    def _lists(self) -> dict[str, list[Json]]:
        return {
            "sessions": self.sessions,
            "datasets": self.datasets,
            "labs": [{"name": name} for name in {row["lab"] for row in self.sessions}],
            "projects": [{"name": name} for name in {name for row in self.sessions for name in row["projects"]}],
            "subjects": _with_ids("nickname", {row["subject"] for row in self.sessions}),
            "tags": _with_ids("name", {name for row in self.datasets for name in row["tags"]}),
            "dataset-types": _with_ids("name", {row["dataset_type"] for row in self.datasets}),
            "data-repository": [{"name": name} for name in self.repositories],
        }

    def _page(self, rows: list[Json], asked: Asked) -> Json:
        """A page of a list in an order that is another one each time, as offsets into an unordered table are."""
        rows = self.dice.sample(rows, len(rows))
        first = int(asked.query.get("offset", 0))
        size = min(int(asked.query.get("limit", 250)), self.most_rows)
        page = rows[first : first + size]
        if self.repeats and len(page) > 1:
            page[0] = page[1]
        more = f"http://alyx{asked.path}?{urlencode({'offset': first + size})}" if first + size < len(rows) else None
        return {"count": len(rows), "next": more, "previous": None, "results": page}

    def _filtered(self, rows: list[Json], query: dict[str, str]) -> list[Json]:
        for name, value in query.items():
            if test := _TYPED.get(name):
                rows = [row for row in rows if test(self, row, value)]
        pairs = _pairs(query.get("django", ""))
        for lookup, value in pairs:
            rows = [row for row in rows if _DJANGO[lookup](row, value)]
        return rows

    def tags_of(self, row: Json) -> list[str]:
        """The tags of a session's datasets."""
        return [tag for one in self.datasets if _session(one) == row["id"] for tag in one["tags"]]


def _with_ids(column: str, values: set[str]) -> list[Json]:
    return [{"id": uuid(value), column: value} for value in values]


def _session(row: Json) -> str | None:
    return row["session"] and row["session"][-36:]


@cache
def _number(identifier: str) -> int:
    return UUID(identifier).int


def _id(row: Json) -> int:
    return _number((row.get("id") or row.get("url") or row["name"])[-36:])


def _is_session(row: Json) -> bool:
    return "start_time" in row


#: Typed filters: exact for datasets, in any case or by part for sessions, as Alyx has them.
_TYPED = {
    "lab": lambda _, row, value: row.get("lab", value).lower() == value.lower(),
    "subject": lambda _, row, value: row.get("subject", value).lower() == value.lower(),
    "number": lambda _, row, value: row["number"] == int(value),
    "projects": lambda _, row, value: any(value.lower() in name.lower() for name in row["projects"]),
    "task_protocol": lambda _, row, value: value.lower() in row["task_protocol"].lower(),
    "date_range": lambda _, row, value: value.split(",")[0] <= row["start_time"][:10] <= value.split(",")[1],
    "tag": lambda alyx, row, value: (
        any(value.lower() in tag.lower() for tag in alyx.tags_of(row)) if _is_session(row) else value in row["tags"]
    ),
    "session": lambda _, row, value: _session(row) == value,
    "name": lambda _, row, value: row["name"] == value,
    "collection": lambda _, row, value: row["collection"] == value,
    "dataset_type": lambda _, row, value: row["dataset_type"] == value,
    "public": lambda _, row, value: bool(row["public"]) == (value == "True"),
}
_DJANGO = {
    "id__gte": lambda row, value: _id(row) >= _number(value),
    "id__lt": lambda row, value: _id(row) < _number(value),
    "id__in": lambda row, value: _id(row) in _listed(value),
    "session__in": lambda row, value: row["session"] and _number(_session(row)) in _listed(value),
    "session__isnull": lambda row, value: (row["session"] is None) == (value == "True"),
}


@cache
def _listed(value: str) -> set[int]:
    return {_number(one.strip("' ")) for one in value.strip("[]").split(",")}


def _pairs(text: str) -> list[tuple[str, str]]:
    """`field,value,field,[value,value]` as pairs."""
    words, depth, word = [], 0, ""
    for letter in f"{text}," if text else "":
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth:
            words.append(word)
            word = ""
        else:
            word += letter
    return list(zip(words[::2], words[1::2], strict=True))


def lab_year() -> FakeAlyx:
    """Three labs, 42 sessions, one of them large; revisions, tags and aggregates."""
    dice = random.Random(7)
    alyx = FakeAlyx()
    for number in range(42):
        lab, day = f"lab{'ABC'[number % 3]}", f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
        projects = ["main", "main_pilot"][: number % 3] or ["other"]
        protocol = "training" if number % 5 == 0 else "_iblrig_tasks_ephysChoiceWorld"
        one = session(lab, f"{lab}_S{number % 7}", day, number % 3, projects=projects, task_protocol=protocol)
        alyx.sessions.append(one)
        alyx.datasets += [
            dataset(one, f"object{part}.times.npy", dice.choice(["alf", "alf/probe00", "raw_video_data"]))
            for part in range(150 if number == 30 else dice.randrange(8))
        ]
        alyx.datasets += [
            dataset(one, "spikes.times.npy", "alf/probe00", "", default_dataset=False, tags=["release"], public=1),
            dataset(one, "spikes.times.npy", "alf/probe00", "2024-01-01", qc="FAIL", tags=["internal"]),
        ]
    alyx.datasets += [dataset(None, f"trials{part}.table.pqt", "labA", tags=["release"], public=1) for part in range(5)]
    return alyx


YEAR = lab_year()
