"""What every client promises, whatever its protocol: one suite, run over every route into a lab.

A test module subclasses `Contract` and gives it a fixture `route`; a protocol whose server is not the lab's brings a
`Route` of its own.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from one.alf.path import add_uuid_string

from deployments.sandbox.model import State
from tasks.clients import Capabilities, DownloadClient, DownloadError, Verdict, WireOptions, client_for
from tasks.clients.tree import Tree
from tests.pace import FakePace

ID = "0b305d2f-04dc-4ef1-be1c-db18931391a1"
DATA = b"seven bytes, and some more"
MD5, SHA1 = hashlib.md5(DATA).hexdigest(), hashlib.sha1(DATA).hexdigest()

#: Paths whose address is wrong as soon as somebody encodes twice, or not at all.
ODD_PATHS = [
    "alf/#2024-01-01#/a.npy",
    "alf/two words/a b.npy",
    "alf/Größe 日本/é.npy",
    "alf/%23.npy",
    "alf/%2F..%2F/a.npy",
    "alf/100%/a.npy",
    "alf/a+b.npy",
    "alf/what?.npy",
    "alf/a&b=c;d,e.npy",
    "alf/~a'(b)!*@$.npy",
    'alf/[a]{b}|^`".npy',
    "alf/<a>.npy",
    "alf/a:b.npy",
]
#: Names, and what Alyx's servers call the file of the dataset `ID`.
SERVER_NAMES = [
    ("spikes.times.npy", f"spikes.times.{ID}.npy"),
    ("noext", f"noext.{ID}"),
    ("a.tar.gz", f"a.tar.{ID}.gz"),
    (".hidden", f".hidden.{ID}"),
    ("two words.a b.csv", f"two words.a b.{ID}.csv"),
    ("#a#.npy", f"#a#.{ID}.npy"),
]
HOSTILE_PATHS = [
    "../a.npy",
    "alf/../../a.npy",
    "alf/..",
    "..",
    ".",
    "",
    "/",
    "/etc/passwd",
    "//host/a.npy",
    "alf//a.npy",
    "alf/",
    "./alf/a.npy",
    "alf/./a.npy",
    "alf\\..\\a.npy",
    "C:\\a.npy",
    "alf/a\x00.npy",
    "alf/a\n.npy",
    "alf/\ud800.npy",
]


@dataclass(frozen=True)
class Route:
    """One protocol's way to one repository of a lab.

    Attributes:
        record: What Alyx answers for the repository.
    """

    lab: object
    protocol: str
    record: dict

    @cached_property
    def client(self):
        """The client, as everybody makes it."""
        return self.client_with()

    def client_with(self, params=None, **changed):
        """A client for the repository's record with these fields changed."""
        options = WireOptions(connect_seconds=5, stall_seconds=5)
        return client_for(self.protocol, {**self.record, **changed}, params, options, pace=FakePace())

    @property
    def repository(self):
        return self.lab.world.repositories[self.record["name"]]

    def held(self):
        """Datasets whose good bytes lie there, each with the path that its file record has."""
        for dataset in list(self.lab.world.datasets.values()):
            for record in dataset.records:
                if record.repository == self.repository.name and record.state is State.GOOD:
                    yield dataset, record.relative_path

    def lay(self, relative_path, content=DATA):
        """Put a file of the dataset `ID` on the server."""
        path = self.lab.stores.root / self.repository.place(SimpleNamespace(id=ID), relative_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def requests(self):
        """Requests for files that the server had so far."""
        return self.lab.requests.count(server=self.repository.server)


def refused(call, *args, **kwargs):
    """What a call says that must not succeed: always with a next step."""
    with pytest.raises(DownloadError) as caught:
        call(*args, **kwargs)
    assert caught.value.reason
    assert caught.value.next_step
    return caught.value


class Contract:
    """The suite. `route` is a fixture of the subclass; the lab behind it is as new for each test."""

    # --- addresses ------------------------------------------------------------------------------

    @pytest.mark.parametrize("path", ODD_PATHS)
    def test_an_address_is_percent_encoded_once(self, route, path, tmp_path):
        route.lay(path)
        client = route.client
        address = client.to_address(path, ID)
        assert address.isascii()
        assert not set(address) & set('#?& "<>\\^`{|}')
        assert client.download_file(address, tmp_path / "a.npy", digest=MD5).read_bytes() == DATA

    def test_an_address_tells_apart_what_differs(self, route):
        client = route.client
        assert len({client.to_address(path, ID) for path in ODD_PATHS}) == len(ODD_PATHS)

    @pytest.mark.parametrize(("name", "expected"), SERVER_NAMES)
    def test_server_names_carry_the_uuid_before_the_last_suffix(self, route, name, expected):
        address = unquote(route.client.to_address(f"alf/{name}", ID))
        assert address.endswith(f"/alf/{expected}")
        assert add_uuid_string(name, ID).name == expected

    @pytest.mark.parametrize(("name", "expected"), SERVER_NAMES)
    def test_a_uuid_that_is_there_is_not_doubled(self, route, name, expected):
        client = route.client
        assert client.to_address(f"alf/{expected}", ID) == client.to_address(f"alf/{name}", ID)

    @pytest.mark.parametrize(("name", "_"), SERVER_NAMES)
    def test_personal_repositories_have_no_uuid_in_names(self, route, name, _):
        address = unquote(route.client_with(globus_is_personal=True).to_address(f"alf/{name}", ID))
        assert address.endswith(f"/alf/{name}")

    def test_without_a_dataset_the_path_is_taken_as_it_is(self, route):
        assert unquote(route.client.to_address("alf/a.npy")).endswith("/alf/a.npy")

    @pytest.mark.parametrize("dataset", ["", "abc", f"{ID}0"])
    def test_an_id_that_is_none_is_refused(self, route, dataset):
        assert refused(route.client.to_address, "alf/a.npy", dataset).code == "not-addressable"

    @pytest.mark.parametrize("path", HOSTILE_PATHS, ids=ascii)
    def test_a_hostile_path_has_no_address(self, route, path):
        failure = refused(route.client.to_address, path, ID)
        assert (failure.code, failure.verdict) == ("bad-path", Verdict.SKIP_FILE)

    # --- downloads ------------------------------------------------------------------------------

    def test_every_kind_of_file_comes_by_address(self, route, tmp_path):
        client, known = route.client, 0
        for dataset, path in route.held():
            if dataset.kind == "wrong-digest":
                continue
            target = tmp_path / dataset.path
            address = client.to_address(path, dataset.id)
            assert client.download_file(address, target, size=dataset.size, digest=dataset.hash) == target
            assert target.read_bytes() == dataset.content, dataset.kind
            known += 1
        assert known

    def test_every_kind_of_file_comes_without_size_and_digest(self, route, tmp_path):
        client = route.client
        for dataset, path in route.held():
            target = client.download_file(client.to_address(path, dataset.id), tmp_path / dataset.path)
            assert target.read_bytes() == dataset.content, dataset.kind

    @pytest.mark.parametrize(
        "digest", [MD5, SHA1, MD5.upper(), f"{MD5[:8]}-{MD5[8:12]}-{MD5[12:16]}-{MD5[16:20]}-{MD5[20:]}", "", None]
    )
    def test_a_digest_in_any_form(self, route, digest, tmp_path):
        route.lay("alf/a.tsv")
        target = self.fetch(route, tmp_path / "a.tsv", size=len(DATA), digest=digest)
        assert target.read_bytes() == DATA

    @pytest.mark.parametrize(
        ("registered", "code"),
        [
            ({"digest": hashlib.md5(b"other").hexdigest()}, "digest-mismatch"),
            ({"digest": hashlib.sha1(b"other").hexdigest()}, "digest-mismatch"),
            ({"size": len(DATA) + 1}, "size-mismatch"),
            ({"size": len(DATA) - 1}, "size-mismatch"),
            ({"size": 0}, "size-mismatch"),
            ({"size": len(DATA) + 1, "digest": MD5}, "size-mismatch"),
        ],
    )
    def test_what_differs_from_the_register_never_gets_its_name(self, route, registered, code, tmp_path):
        route.lay("alf/a.tsv")
        failure = refused(self.fetch, route, tmp_path / "new" / "a.tsv", **registered)
        assert (failure.code, failure.verdict) == (code, Verdict.NEXT_SOURCE)
        assert not (tmp_path / "new" / "a.tsv").exists()

    def test_a_good_file_stays_until_the_new_one_is_proven(self, route, tmp_path):
        route.lay("alf/a.tsv")
        target = tmp_path / "a.tsv"
        target.write_bytes(b"old and good")
        before = target.stat()
        refused(self.fetch, route, target, digest=hashlib.md5(b"other").hexdigest())
        assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert target.read_bytes() == b"old and good"
        self.fetch(route, target, digest=MD5)
        assert target.read_bytes() == DATA

    def test_a_good_file_stays_when_the_source_has_none(self, route, tmp_path):
        target = tmp_path / "a.tsv"
        target.write_bytes(b"old and good")
        before = route.requests()
        failure = refused(self.fetch, route, target, digest=MD5)
        assert (failure.code, failure.verdict) == ("not-found", Verdict.NEXT_SOURCE)
        assert "a." in failure.reason
        assert target.read_bytes() == b"old and good"
        assert route.requests() - before == 1

    @pytest.mark.parametrize("digest", ["abc", "g" * 32, "0" * 64])
    def test_a_digest_of_no_kind_is_refused_before_a_byte_is_moved(self, route, digest, tmp_path):
        before = route.requests()
        assert refused(self.fetch, route, tmp_path / "a.tsv", digest=digest).code == "bad-digest"
        assert route.requests() == before

    def test_the_file_alone_is_left_behind(self, route, tmp_path):
        route.lay("alf/a.tsv")
        self.fetch(route, tmp_path / "deep" / "er" / "a.tsv", digest=MD5)
        left = {
            os.path.relpath(os.path.join(at, name), tmp_path) for at, _, names in os.walk(tmp_path) for name in names
        }
        assert left == {"deep/er/a.tsv"}

    def test_the_target_may_be_a_text(self, route, tmp_path):
        route.lay("alf/a.tsv")
        found = self.fetch(route, str(tmp_path / "a.tsv"), digest=MD5)
        assert found == tmp_path / "a.tsv"
        assert found.read_bytes() == DATA

    def test_many_at_once_into_one_directory(self, route, tmp_path):
        targets = [tmp_path / f"{number}.tsv" for number in range(64)]
        for target in targets:
            route.lay(f"alf/{target.name}")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda target: self.fetch(route, target, digest=MD5), targets))
        assert sorted(tmp_path.iterdir()) == sorted(targets)
        assert {target.read_bytes() for target in targets} == {DATA}

    def test_another_download_may_tidy_up_before_this_one_begins(self, route, tmp_path, monkeypatch):
        prepare, ends = Tree.prepare, [True, True]

        def prepare_while_another_ends(tree):
            prepare(tree)
            if ends:
                ends.pop()
                tree.tidy()

        monkeypatch.setattr(Tree, "prepare", prepare_while_another_ends)
        route.lay("alf/a.tsv")
        self.fetch(route, tmp_path / "a.tsv", digest=MD5)
        assert [path.name for path in tmp_path.iterdir()] == ["a.tsv"]

    def test_what_is_no_file_is_not_replaced(self, route, tmp_path):
        route.lay("alf/a.tsv")
        route.lay("alf/b.tsv")
        (tmp_path / "a.tsv").mkdir()
        assert refused(self.fetch, route, tmp_path / "a.tsv", digest=MD5).code == "target"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(b"mine")
        (tmp_path / "b.tsv").symlink_to(elsewhere)
        assert refused(self.fetch, route, tmp_path / "b.tsv", digest=MD5).code == "target"
        assert elsewhere.read_bytes() == b"mine"

    # --- the rest -------------------------------------------------------------------------------

    def test_it_is_a_client_and_says_what_it_can_do(self, route):
        client = route.client
        assert isinstance(client, DownloadClient)
        assert isinstance(client.capabilities, Capabilities)

    def test_a_profile_field_that_nobody_knows_is_refused(self, route, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert refused(type(route.client).setup, nonsense="x").code == "bad-params"
        assert not (tmp_path / ".one").exists()

    def fetch(self, route, target, **registered):
        client = route.client
        return client.download_file(client.to_address(f"alf/{os.path.basename(target)}", ID), target, **registered)
