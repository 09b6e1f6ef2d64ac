"""The params store as a file: many processes, crashes, full disks, modes, and names that ONE could not read."""

import json
import os
import resource
import signal
import stat
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from one.remote.base import load_client_params as one_load
from one.remote.base import save_client_params as one_save

from tasks.clients import shared_json, store
from tasks.clients.verdicts import DownloadError
from tests.forks import FORKS

SECRET = "Ag-refresh-token"
GLOBUS = {"globus": {"default": {"GLOBUS_CLIENT_ID": "c1", "refresh_token": SECRET}, "server": {"local_path": None}}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shared_json, "time", SimpleNamespace(sleep=lambda _: None))
    return tmp_path


@pytest.fixture
def remote(home):
    path = home / ".one" / ".remote"
    path.parent.mkdir()
    path.write_text(json.dumps(GLOBUS))
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def in_child(target, home):
    """Run `target` in a process of its own whose home is `home`; return its exit code."""
    child = FORKS.Process(target=_at_home, args=(target, str(home)))
    child.start()
    child.join()
    return child.exitcode


def _at_home(target, home, *args):
    os.environ["HOME"] = home
    target(*args)


# --- where, and what is read ----------------------------------------------------------------------------------------


def test_the_store_is_where_one_has_it_at_the_time_of_the_call(home, monkeypatch):
    assert store.path() == home / ".one" / ".remote"
    monkeypatch.setenv("HOME", str(home / "other"))
    assert store.path() == home / "other" / ".one" / ".remote"


def test_on_windows_the_store_is_under_appdata(home, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(home / "Roaming"))
    assert store.path() == home / "Roaming" / ".one" / ".remote"
    monkeypatch.delenv("APPDATA")
    with pytest.raises(FileNotFoundError, match="APPDATA"):
        store.path()


def test_no_file_is_no_profile_and_creates_nothing(home):
    assert store.profile("globus") is None
    assert store.read_section("globus") == {}
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read_over(remote, encoding):
    remote.write_text(json.dumps({"http": {"default": {"user": "ána"}}}, ensure_ascii=False), encoding=encoding)
    assert store.profile("http") == {"user": "ána"}


@pytest.mark.parametrize("text", ["", "\0" * 64, f'{{"globus": {{"a": "{SECRET}"', "[1]", "null"], ids=range(5))
def test_a_corrupt_file_is_named_and_kept_and_shows_no_secret(remote, text):
    remote.write_text(text)
    with pytest.raises(DownloadError) as raised:
        store.profile("globus")
    with pytest.raises(DownloadError) as refused:
        store.merge_profile("globus", "default", {"a": 1})
    assert raised.value.code == refused.value.code == "params-file"
    assert str(remote) in raised.value.reason
    assert "move it away" in raised.value.reason
    assert SECRET not in _everything_of(raised.value)
    assert remote.read_text() == text


def _everything_of(error):
    chain = []
    while error:
        chain += [repr(error), str(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(chain)


@pytest.mark.parametrize("content", [{"globus": 5}, {"globus": {"default": "x"}}])
def test_a_value_in_the_place_of_a_map_is_reported_and_kept(remote, content):
    remote.write_text(json.dumps(content))
    for call in (store.profile, lambda *at: store.merge_profile(*at, {"a": 1})):
        with pytest.raises(DownloadError, match="not a map") as raised:
            call("globus", "default")
        assert raised.value.code == "params-file"
    assert json.loads(remote.read_text()) == content


def test_null_sections_and_profiles_are_legal(remote):
    remote.write_text('{"globus": null, "http": {"default": null}}')
    assert store.profile("globus") is store.profile("http") is None
    store.merge_profile("globus", "default", {"a": 1})
    store.merge_profile("http", "default", {"b": None})
    assert json.loads(remote.read_text()) == {"globus": {"default": {"a": 1}}, "http": {"default": {"b": None}}}


# --- what is written ------------------------------------------------------------------------------------------------


def test_a_merge_keeps_everything_else_and_one_reads_it(remote):
    merged = store.merge_profile("globus", "default", {"access_token": "new", "expires_at_seconds": 1})
    assert merged == {**GLOBUS["globus"]["default"], "access_token": "new", "expires_at_seconds": 1}
    assert store.profile("globus", "server") == {"local_path": None}
    assert one_load("globus.default").as_dict() == merged


def test_the_format_is_ones_to_the_byte(remote):
    store.merge_profile("globus", "default", {"name": "ána"})
    ours = remote.read_bytes()
    one_save(one_load())
    assert remote.read_bytes() == ours


def test_modes_under_the_widest_umask(home):
    before = os.umask(0)
    try:
        store.merge_profile("globus", "default", {"refresh_token": SECRET})
    finally:
        os.umask(before)
    assert mode(home / ".one") == 0o700
    assert {mode(path) for path in (home / ".one").iterdir()} == {0o600}


def test_a_file_that_one_left_open_to_all_is_closed(remote):
    remote.chmod(0o644)
    store.merge_profile("globus", "default", {"a": 1})
    assert mode(remote) == 0o600


def test_a_symlinked_store_stays_a_symlink(remote, tmp_path):
    real = tmp_path / "dotfiles" / "remote.json"
    real.parent.mkdir()
    remote.rename(real)
    remote.symlink_to(real)
    store.merge_profile("globus", "default", {"a": 1})
    assert remote.is_symlink()
    assert json.loads(real.read_text())["globus"]["default"]["a"] == 1
    assert mode(real) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write in somebody else's name")
def test_root_leaves_the_file_to_the_owner_of_the_home(remote):
    os.chown(remote.parent, 12345, 12345)
    store.merge_profile("globus", "default", {"a": 1})
    assert {path.stat().st_uid for path in remote.parent.iterdir()} == {12345}


@pytest.mark.parametrize("name", ["my-lab", "1st", "_x", "class", "a.b", "", "a b", "set", "as_dict", "ﬁ", 1, None])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_names_that_one_could_not_read_back_are_refused_before_anything_is_written(home, name, level):
    protocol, profile, fields = [(name, "p", {}), ("globus", name, {}), ("globus", "p", {name: 1})][level]
    with pytest.raises(DownloadError, match="read back") as raised:
        store.merge_profile(protocol, profile, fields)
    assert raised.value.code == "bad-params"
    assert not (home / ".one" / ".remote").exists()


@pytest.mark.parametrize("name", ["count", "index", "match", "GLOBUS_CLIENT_ID", "é", "cls", "self"])
def test_every_name_that_is_accepted_one_reads_back(home, name):
    store.merge_profile(name, name, {name: {"any name": [1]}})
    assert getattr(one_load(f"{name}.{name}"), name) == {"any name": [1]}


def test_a_bad_name_elsewhere_does_not_lose_a_rotated_token(remote):
    remote.write_text(json.dumps({"my-lab": {}, **GLOBUS}))
    store.merge_profile("globus", "default", {"refresh_token": "rotated"})
    assert store.profile("globus")["refresh_token"] == "rotated"
    assert "my-lab" in json.loads(remote.read_text())


def test_a_value_that_is_not_json_leaves_the_old_content(remote):
    before = remote.read_bytes()
    with pytest.raises(DownloadError, match="not JSON serializable") as raised:
        store.merge_profile("globus", "default", {"local_path": object()})
    assert raised.value.code == "bad-params"
    assert remote.read_bytes() == before
    assert not list(remote.parent.glob("*.tmp"))


# --- two spellings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["kachary", "kachery"])
@pytest.mark.parametrize("there", ["kachary", "kachery"])
def test_kachery_and_kachary_are_one_section(remote, asked, there):
    remote.write_text(json.dumps({there: {"default": {"zone": "a"}}}))
    assert store.profile(asked) == {"zone": "a"}
    store.merge_profile(asked, "default", {"zone": "b"})
    store.merge_profile(asked, "lab", {"zone": "c"})
    assert json.loads(remote.read_text()) == {there: {"default": {"zone": "b"}, "lab": {"zone": "c"}}}
    assert set(store.read_section(asked)) == {"default", "lab"}


def test_a_new_kachery_section_has_ones_spelling(home):
    store.merge_profile("kachery", "default", {"zone": "a"})
    assert set(json.loads(store.path().read_text())) == {"kachary"}


def test_with_both_sections_a_profile_is_found_and_written_where_it_is(remote):
    both = {"kachary": {"default": {"zone": "a"}}, "kachery": {"default": {"zone": "x"}, "lab": {"zone": "b"}}}
    remote.write_text(json.dumps(both))
    assert store.profile("kachery", "lab") == {"zone": "b"}
    store.merge_profile("kachary", "lab", {"zone": "c"})
    assert json.loads(remote.read_text())["kachery"]["lab"] == {"zone": "c"}
    assert store.read_section("kachery") == {"default": {"zone": "a"}, "lab": {"zone": "c"}}


# --- the lock -------------------------------------------------------------------------------------------------------


def test_of_many_threads_with_an_expired_token_one_refreshes(remote):
    refreshed = []
    start = threading.Barrier(8)

    def use():
        start.wait()
        with store.held("globus") as mine:
            if "access_token" not in mine.fields():
                refreshed.append(1)
                mine.merge({"access_token": "new"})

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refreshed == [1]


def test_what_one_writes_while_the_lock_is_held_is_kept(remote):
    with store.held("globus") as mine:
        one_save({"default": {"user": "ana"}}, "http")
        mine.merge({"access_token": "new"})
    assert store.profile("http") == {"user": "ana"}


def test_what_is_merged_is_on_disk_at_once_and_survives_a_later_failure(remote):
    with pytest.raises(ConnectionError), store.held("globus") as mine:  # noqa: PT012  (the failure comes last)
        mine.merge({"refresh_token": "rotated"})
        raise ConnectionError
    assert store.profile("globus")["refresh_token"] == "rotated"


def test_a_lock_that_is_not_released_is_a_clear_error(remote, monkeypatch):
    held, done = FORKS.Event(), FORKS.Event()
    holder = FORKS.Process(target=_at_home, args=(_hold, str(remote.parents[1]), held, done))
    holder.start()
    held.wait()
    try:
        with pytest.raises(TimeoutError, match="locked by another process") as raised, shared_json.locked(remote, 0):
            pass
        assert str(remote) in str(raised.value)
    finally:
        done.set()
        holder.join()
    store.merge_profile("globus", "default", {"a": 1})


def _hold(held, done):
    with store.held("globus"):
        held.set()
        done.wait()


def test_the_time_out_is_a_verdict_for_clients(remote):
    with pytest.raises(DownloadError) as raised, shared_json.as_download_error():
        raise TimeoutError(f"{remote} is locked")
    assert raised.value.code == "params-busy"


# --- crashes, full disks, writers that know no lock -----------------------------------------------------------------


def _die_before_the_rename():
    os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    store.merge_profile("globus", "default", {"refresh_token": "half"})


def test_a_crash_in_mid_write_leaves_the_old_content_and_blocks_nobody(remote):
    before = remote.read_bytes()
    assert in_child(_die_before_the_rename, remote.parents[1]) == -signal.SIGKILL
    assert remote.read_bytes() == before
    assert [mode(left) for left in remote.parent.glob("*.tmp")] == [0o600]
    store.merge_profile("globus", "default", {"a": 1})
    assert not list(remote.parent.glob("*.tmp"))


def _save_for_ever(saved):
    n = 0
    while True:
        n += 1
        saved.send_bytes(b"%d" % n)
        store.merge_profile("globus", "default", {"n": n, "padding": "x" * (n % 7) * 4096})


def test_kill_9_at_any_time_leaves_a_whole_file(remote):
    for round_ in range(12):
        receiving, sending = FORKS.Pipe(duplex=False)
        child = FORKS.Process(target=_at_home, args=(_save_for_ever, str(remote.parents[1]), sending))
        child.start()
        for _ in range(round_ + 2):
            last = int(receiving.recv_bytes())
        child.kill()
        child.join()
        content = json.loads(remote.read_text())
        assert content["globus"]["default"]["refresh_token"] == SECRET
        assert content["globus"]["default"]["n"] >= last - 1
    store.merge_profile("globus", "default", {"a": 1})
    assert not list(remote.parent.glob("*.tmp"))


def _fill_the_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with pytest.raises(DownloadError) as raised:
        store.merge_profile("globus", "default", {"padding": "x" * 10_000})
    assert raised.value.code == "params-file"
    assert str(store.path()) in raised.value.reason


def test_a_full_disk_leaves_the_old_content(remote):
    before = remote.read_bytes()
    assert in_child(_fill_the_disk, remote.parents[1]) == 0
    assert remote.read_bytes() == before
    assert not list(remote.parent.glob("*.tmp"))


def test_a_reader_bears_with_one_that_is_just_writing_in_place(remote, monkeypatch):
    remote.write_text("")
    pauses = []

    def one_finishes_meanwhile(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            one_save(GLOBUS)

    monkeypatch.setattr(shared_json, "time", SimpleNamespace(sleep=one_finishes_meanwhile))
    assert store.profile("globus")["refresh_token"] == SECRET


def test_a_store_on_a_directory_that_cannot_be_made_is_a_clear_error(home):
    Path(home, ".one").write_text("not a directory")
    assert store.profile("globus") is None
    with pytest.raises(DownloadError) as raised:
        store.merge_profile("globus", "default", {"a": 1})
    assert raised.value.code == "params-file"
    assert ".one" in raised.value.reason
