"""Client and catalogue against the sandbox's Alyx, which was written without knowledge of either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from one.webclient import AlyxClient as OneAlyxClient

from deployments.sandbox.alyx.database import USER
from deployments.sandbox.lab import PASSWORD, Lab
from tasks.alyx import AlyxClient
from tasks.catalogue import datasets, repositories
from tasks.clients.base import DownloadClient
from tasks.clients.verdicts import DownloadError
from tasks.rest.credentials import credentials_from
from tasks.selection import Selection
from tests.loopback import client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployments.sandbox.model import Dataset


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(files=1200, file_bytes=10) as lab:
        yield lab


@pytest.fixture
def alyx(lab: Lab) -> AlyxClient:
    return client_of(lab.urls["alyx"], user=USER, password=PASSWORD)


@pytest.fixture
def configured(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of somebody who uses ONE; no login in the environment."""
    for name, value in lab.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("ALYX_URL", "ALYX_LOGIN", "ALYX_PASSWORD"):
        monkeypatch.delenv(name)
    return Path(lab.environment()["HOME"])


def test_every_dataset_is_found_where_it_belongs(lab: Lab, alyx: AlyxClient) -> None:
    found = list(datasets(Selection(everything=True, revision_rule="all"), alyx))
    assert len(found) == len(lab.world.datasets)
    assert {one.id: one.path for one in found} == {one.id: one.path for one in lab.world.datasets.values()}
    for one in found:
        assert_same(one, lab.world.datasets[one.id])


def assert_same(found: Any, truth: Dataset) -> None:
    assert found.digest == truth.hash.replace("-", "").lower()
    assert found.revision == truth.revision
    registered = [(record.repository, record.relative_path, record.exists) for record in truth.records]
    assert [(record.repository, record.relative_path, record.exists) for record in found.records] == registered


def test_offset_pages_do_lose_rows_here(lab: Lab, alyx: AlyxClient) -> None:
    count = len(lab.world.datasets)
    pages = [alyx.page("datasets", limit=100, offset=first) for first in range(0, count, 100)]
    assert len({row["url"] for page in pages for row in page.rows}) < count
    assert len({row["url"] for row in alyx.rest("datasets", "list", limit=100)}) == count


def test_ones_own_client_will_do_as_well(lab: Lab, alyx: AlyxClient, configured: Path) -> None:
    assert configured.is_dir()
    theirs = OneAlyxClient(base_url=lab.urls["alyx"], username=USER, password=PASSWORD, silent=True, cache_rest=None)
    for name, record in repositories(alyx).items():
        assert DownloadClient.repo_from_alyx(name, alyx) == DownloadClient.repo_from_alyx(name, theirs) == record


def test_ones_own_files_are_enough(lab: Lab, configured: Path) -> None:
    assert credentials_from().user == USER
    assert AlyxClient().rest("labs", "read", id="cortexlab")["name"] == "cortexlab"
    file = next((configured / ".one").glob(".127*"))
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "TOKEN": {USER: {"token": "0" * 40}}}))
    assert AlyxClient().rest("labs", "read", id="cortexlab")["name"] == "cortexlab"
    assert json.loads(file.read_text())["TOKEN"][USER]["token"] == lab.alyx.accounts.token(USER)


@pytest.mark.parametrize(
    "fields",
    [
        {"session_ids": ["00000000-0000-4000-8000-000000000000"]},
        {"dataset_ids": ["00000000-0000-4000-8000-000000000000"]},
    ],
)
def test_an_unknown_id_is_one_clear_message(alyx: AlyxClient, fields: dict[str, Any]) -> None:
    with pytest.raises(DownloadError, match="00000000-0000-4000-8000-000000000000") as caught:
        list(datasets(Selection(**fields), alyx))
    assert caught.value.code == "alyx-not-found"


def test_a_wrong_password_is_one_clear_message(lab: Lab) -> None:
    with pytest.raises(DownloadError, match="user name or the password") as caught:
        list(datasets(Selection(everything=True), client_of(lab.urls["alyx"], user=USER, password="wrong")))
    assert "wrong" not in str(caught.value)
