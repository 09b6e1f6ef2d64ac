"""A directory of ours that many threads work in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tasks.clients.folder import Folder

FILES, THREADS, LISTINGS = 1000, 4, 100


def test_threads_that_list_at_once_each_see_every_name(tmp_path):
    place = tmp_path / "ours"
    place.mkdir()
    for number in range(FILES):
        (place / f"{number}.part").touch()
    folder = Folder(place)
    with ThreadPoolExecutor(THREADS) as pool:
        seen = set(pool.map(lambda _: len(folder.names()), range(LISTINGS)))
    assert seen == {FILES}
