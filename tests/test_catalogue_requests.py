"""How the catalogue asks Alyx: few requests, short addresses, nothing hostile in them, and nothing held for long."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import pytest

from tasks.catalogue import datasets
from tasks.rest.pages import Page, id_in
from tasks.selection import Selection
from tests.fake_alyx import YEAR, FakeAlyx, dataset, session
from tests.loopback import client_of, serve

SOME_DATASETS = [row["url"][-36:] for row in YEAR.datasets[::3]]


def of_sessions(count: int) -> FakeAlyx:
    alyx = FakeAlyx([session(number=number) for number in range(count)])
    alyx.datasets = [dataset(one, f"a{part}.b.npy") for one in alyx.sessions for part in range(20)]
    return alyx


def test_many_sessions_take_few_requests() -> None:
    alyx = of_sessions(120)
    with serve(alyx) as server:
        assert len(list(datasets(Selection(labs=["labA"]), client_of(server.url)))) == 2400
    assert len(server.asked) < 10


def test_a_named_dataset_of_many_sessions_takes_fewer() -> None:
    alyx = of_sessions(120)
    with serve(alyx) as server:
        found = datasets(Selection(labs=["labA"], names=["a7.b.npy"]), client_of(server.url))
        assert len(list(found)) == 120
    assert len(server.asked) < 8


def test_it_streams() -> None:
    with serve(FakeAlyx(YEAR.sessions, YEAR.datasets, most_rows=45)) as server:
        stream = datasets(Selection(everything=True), client_of(server.url))
        next(stream)
        asked = len(server.asked)
        list(stream)
    assert asked < len(server.asked) / 3


def test_nothing_but_ids_reaches_a_filter_that_alyx_evaluates() -> None:
    hostile = "__import__('os').system('ls')"
    one = session(lab=hostile, subject=hostile, projects=[hostile])
    alyx = FakeAlyx(
        [one, *YEAR.sessions], [dataset(one, hostile, hostile, tags=[hostile]), *YEAR.datasets], most_rows=45
    )
    fields = {field: [hostile] for field in ("labs", "subjects", "projects", "tags", "names", "collections")}
    with serve(alyx) as server:
        client = client_of(server.url)
        assert len(list(datasets(Selection(**fields), client))) == 1
        list(datasets(Selection(dataset_ids=SOME_DATASETS), client))
        list(datasets(Selection(everything=True), client))
    sent = [one.query["django"] for one in server.asked if "django" in one.query]
    identifier = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    pair = rf"(id__(gte|lt),{identifier}|(id|session)__in,\['{identifier}'(,'{identifier}')*\]|session__isnull,True)"
    assert sent
    assert all(re.fullmatch(rf"{pair}(,{pair})*", value) for value in sent)


def test_only_ids_are_made_into_a_filter() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        id_in("id", ["'] or 1"])


def test_addresses_stay_short_enough_for_gunicorn() -> None:
    with serve(FakeAlyx(YEAR.sessions, YEAR.datasets)) as server:
        client = client_of(server.url)
        sizes: list[int] = []
        send = client._session.send
        client._session.send = lambda request, **more: sizes.append(len(request.url)) or send(request, **more)  # type: ignore[method-assign, func-returns-value, arg-type]
        list(datasets(Selection(dataset_ids=SOME_DATASETS, names=["*"]), client))
    assert 3000 < max(sizes) < 4094


class Endless:
    """An Alyx in memory, whose every session has 50 datasets; it makes rows when they are asked for."""

    def __init__(self, count: int) -> None:
        self.sessions = [session(subject=f"S{number}") for number in range(count)]

    def page(self, endpoint: str, **filters: Any) -> Page:
        if endpoint != "datasets":
            return Page(len(self.sessions), self.sessions)
        wanted = set(re.findall(r"[0-9a-f-]{36}", f"{filters.get('session')} {filters.get('django')}"))
        rows = [dataset(one, f"a{part}.b.npy") for one in self.sessions if one["id"] in wanted for part in range(50)]
        return Page(len(rows), rows)


def peak_of(count: int) -> int:
    alyx = Endless(count)
    tracemalloc.start()
    try:
        assert (
            sum(
                1
                for _ in datasets(
                    Selection(subjects=["S0"], everything=True, names=["*"]).model_copy(update={"subjects": []}), alyx
                )
            )
            == 50 * count
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_selection() -> None:
    assert peak_of(200) < 1.3 * peak_of(60)
