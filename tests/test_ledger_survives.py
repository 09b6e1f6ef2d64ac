"""What the ledger lives through, on SQLite and PostgreSQL: kills, a full disk, a restart, rivals, another version."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from deployments.sandbox import Lab
from tasks.clients.verdicts import DownloadError, Verdict
from tasks.ledger import Ledger
from tasks.ledgers import tables
from tasks.ledgers.engines import ledger_file, name_of, schema_of
from tasks.ledgers.opening import open_ledger, read_ledger
from tasks.model import Outcome, Proof, State
from tasks.settings import AlyxSettings
from tests.ledgers import first_release
from tests.mounts import tmpfs
from tests.site import until

MORNING = datetime(2026, 11, 22, 6, tzinfo=UTC)
MINUTES = timedelta(minutes=3)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return tmp_path
    return schema_of(tmp_path, request.getfixturevalue("postgresql").url())


@pytest.fixture
def on_postgresql(tmp_path, postgresql):
    return schema_of(tmp_path, postgresql.url())


def published(path="lab/a.npy", number=7):
    return Outcome("id", path, State.PUBLISHED, size=number, digest="", mtime_ns=number)


# --- many processes, and killed ones --------------------------------------------------------------

OPENED = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from tasks.ledger import Ledger
from tasks.model import Outcome, State
place = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
ledger = Ledger.open(place, patience=60)
"""

WRITER = f"""{OPENED}
for batch in range(5):
    ledger.record(
        Outcome("id", f"{{where}}/{{batch}}/{{i}}.npy", State.PUBLISHED, size=i, digest="", mtime_ns=i)
        for where in (sys.argv[2], "shared") for i in range(50)
    )
"""

KILLED = f"""{OPENED}
sa.event.listen(ledger._database.engine, "commit", lambda connection: os.kill(os.getpid(), signal.SIGKILL))
ledger.record(Outcome("id", f"late/{{i}}.npy", State.PUBLISHED, size=i, digest="", mtime_ns=i) for i in range(30000))
"""


def start(script, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], env=environment)


def test_many_processes_record_at_once_from_the_first_moment(place):
    writers = [start(WRITER, place, f"writer-{number}") for number in range(3)]
    assert [writer.wait(120) for writer in writers] == [0] * 3
    known = Ledger.read_only(place).known()
    assert len(known) == 4 * 5 * 50
    assert known["writer-2/4/49.npy"] == Proof(49, "", 49)


def test_a_writer_that_is_killed_in_a_bulk_write_leaves_what_was_before(place):
    ledger = Ledger.open(place)
    ledger.record(published(f"lab/{i}.npy", i) for i in range(1000))
    before = Ledger.read_only(place).known()
    assert start(KILLED, place).wait(120) == -signal.SIGKILL
    if not isinstance(place, str):
        assert ledger_file(place).with_name("ledger.db-journal").stat().st_size > 0  # half of it was in the file
    assert Ledger.read_only(place).known() == before
    assert ledger.counts() == {State.PUBLISHED: 1000}
    ledger.record([published("lab/after.npy")])
    assert len(ledger.known()) == 1001


def test_a_killed_writer_leaves_a_sound_file(tmp_path):
    Ledger.open(tmp_path).record(published(f"lab/{i}.npy", i) for i in range(1000))
    assert start(KILLED, tmp_path).wait(120) == -signal.SIGKILL
    Ledger.open(tmp_path).record([published("lab/after.npy")])
    with sqlite3.connect(ledger_file(tmp_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- leases ---------------------------------------------------------------------------------------


def test_a_lease_is_one_workers_until_it_gives_it_back(place):
    ledger = Ledger.open(place)
    assert ledger.lease("plan", "one", MINUTES)
    assert not ledger.lease("plan", "two", MINUTES)
    assert ledger.lease("other", "two", MINUTES)
    assert ledger.leases() == {"plan": "one", "other": "two"}
    ledger.let_go("plan", "two")  # not its own
    assert not ledger.lease("plan", "two", MINUTES)
    ledger.let_go("plan", "one")
    assert ledger.lease("plan", "two", MINUTES)


def test_a_worker_that_died_loses_its_lease_and_one_that_renews_keeps_it(place):
    moment = MORNING
    ledger = Ledger.open(place, now=lambda: moment)
    assert ledger.lease("dead", "one", MINUTES)
    assert ledger.lease("alive", "one", MINUTES)
    moment += timedelta(minutes=2)
    assert ledger.lease("alive", "one", MINUTES)
    moment += timedelta(minutes=1)
    assert ledger.leases() == {"alive": "one"}
    assert ledger.leases_left() == {"alive": timedelta(minutes=2)}
    assert ledger.lease("dead", "two", MINUTES)
    assert not ledger.lease("dead", "one", MINUTES)  # it comes back, and hears that it is not the owner any more
    assert not ledger.lease("alive", "two", MINUTES)


LEASER = f"""{OPENED}
from datetime import timedelta
taken = [n for n in range(200) if ledger.lease(f"batch {{n}}", sys.argv[2], timedelta(minutes=3))]
print(*taken)
"""


def test_workers_that_ask_at_once_never_have_the_same_lease(place):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", LEASER, str(place)]
    rivals = [
        subprocess.Popen([*command, f"worker {n}"], env=environment, stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    taken = [rival.communicate(timeout=120)[0].split() for rival in rivals]
    assert sorted(int(number) for numbers in taken for number in numbers) == list(range(200))


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk():
    """A disk that `mount` enlarges, where also PostgreSQL's own user may go."""
    with tempfile.TemporaryDirectory(prefix="alyx-disk-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with tmpfs(Path(folder) / "disk", "size=40m") as place:
            yield place


def too_much():
    """Outcomes of 60 MB, which no database can compress."""
    return (published(f"lab/{i}.npy")._replace(reason=os.urandom(10_000).hex()) for i in range(3000))


def small_sqlite(disk, _server):
    return disk


def small_postgresql(disk, server):
    """A database that lies on the small disk; the server's own files lie elsewhere."""
    shutil.chown(disk, "postgres")
    with sa.create_engine(server.url("postgresql+psycopg"), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
        connection.exec_driver_sql("CREATE DATABASE small TABLESPACE small")
    return server.url(name="small")


@pytest.mark.parametrize("make", [small_sqlite, small_postgresql])
def test_a_full_disk_stops_the_run_and_records_all_or_nothing(make, small_disk, request):
    server = request.getfixturevalue("postgresql") if make is small_postgresql else None
    place = make(small_disk, server)
    ledger = Ledger.open(place)
    ledger.record([published("lab/before.npy")])
    with pytest.raises(DownloadError) as refusal:
        ledger.record(too_much())
    assert (refusal.value.code, refusal.value.verdict) == ("disk-full", Verdict.STOP_RUN)
    assert ledger.known().keys() == {"lab/before.npy"}
    assert ledger.counts() == {State.PUBLISHED: 1}
    subprocess.run(["mount", "-o", "remount,size=160m", small_disk], check=True)
    ledger.record([published("lab/after.npy")])
    assert len(ledger.known()) == 2
    ledger.close()
    if server:
        with sa.create_engine(server.url("postgresql+psycopg"), isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("DROP DATABASE small WITH (FORCE)")
            connection.exec_driver_sql("DROP TABLESPACE small")


def test_a_full_disk_says_how_much_is_free(small_disk):
    ledger = Ledger.open(small_disk)
    with pytest.raises(DownloadError, match="bytes are free there"):
        ledger.record(too_much())


# --- a server that restarts -----------------------------------------------------------------------


def test_a_server_that_restarts_between_two_records_is_waited_for(on_postgresql, postgresql):
    ledger = Ledger.open(on_postgresql)
    ledger.record([published("lab/before.npy")])
    postgresql.stop()
    back = threading.Thread(target=postgresql.start)
    back.start()
    ledger.record([published("lab/after.npy")])
    back.join()
    assert ledger.known().keys() == {"lab/before.npy", "lab/after.npy"}


def test_a_server_that_restarts_in_a_record_is_another_try_and_nothing_is_half_done(on_postgresql, postgresql):
    ledger = Ledger.open(on_postgresql)

    @sa.event.listens_for(ledger._database.engine, "commit", once=True)
    def restart(_connection):
        postgresql.stop()
        postgresql.start()

    with pytest.raises(DownloadError) as refusal:
        ledger.record(published(f"lab/{i}.npy") for i in range(100))
    assert (refusal.value.code, refusal.value.verdict) == ("ledger-away", Verdict.RETRY)
    assert ledger.known() == {}
    ledger.record(published(f"lab/{i}.npy") for i in range(100))
    assert len(ledger.known()) == 100


FLOW = """
import sys
from pathlib import Path
from tasks.ledgers.opening import read_ledger
from tests.simulation import world
from tests.simulation.moving import simulated
root = Path(sys.argv[1])
plan = world.plan(root, 20_000, read_ledger(root)).save()
print(simulated(plan, return_state=True).message)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_run_lives_through_a_restart_of_its_server(tmp_path, on_postgresql, postgresql, prefect_api):
    with Lab() as lab:
        named = {"PREFECT_API_URL": prefect_api, "PREFECT_INTEGRATIONS_ALYX_LEDGER": postgresql.url()}
        environment = os.environ | lab.environment() | named | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", FLOW, str(tmp_path)]
        run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        until(lambda: Ledger.read_only(on_postgresql).counts().get(State.PUBLISHED, 0) > 5000, 120, "a quarter")
        assert run.poll() is None
        postgresql.stop()
        postgresql.start()
        message, _ = run.communicate(timeout=300)
    assert "files=20000 " in message
    assert " published=20000 present=0 skipped=0 failed=0 " in message
    assert Ledger.read_only(on_postgresql).counts() == {State.PUBLISHED: 20_000}


def test_a_server_that_never_answered_is_told_at_once_and_without_its_password():
    with pytest.raises(DownloadError) as refusal:
        Ledger.open("postgresql://prefect:hush@127.0.0.1:1/ledger?sslpassword=quiet&schema=lab")
    assert refusal.value.code == "ledger-away"
    assert "hush" not in str(refusal.value)
    assert "quiet" not in str(refusal.value)
    assert "127.0.0.1:1/ledger?schema=lab" in refusal.value.reason


# --- whose it is ----------------------------------------------------------------------------------


def test_each_root_has_a_ledger_of_its_own_in_one_database(tmp_path, postgresql):
    one, two = (Ledger.open(schema_of(tmp_path / name, postgresql.url())) for name in ("one", "two"))
    one.record([published()])
    assert (len(one.known()), two.known()) == (1, {})


def test_the_settings_say_where_the_ledger_of_a_root_lies(tmp_path, postgresql, monkeypatch):
    open_ledger(tmp_path).record([published("lab/file.npy")])
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_LEDGER", postgresql.url())
    open_ledger(tmp_path).record([published("lab/server.npy")])
    assert Ledger.read_only(tmp_path).known().keys() == {"lab/file.npy"}
    assert read_ledger(tmp_path).known().keys() == {"lab/server.npy"}


def test_the_ledgers_url_is_a_secret_of_the_settings(monkeypatch):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_LEDGER", "postgresql://lab:hush@db.example.org/ledger")
    settings = AlyxSettings.read()
    assert "hush" not in f"{settings!r} {settings.model_dump_json()}"


def test_every_flow_opens_the_ledger_that_the_settings_name():
    direct = {
        path.name
        for folder in ("flows", "tasks")
        for path in Path(folder).rglob("*.py")
        if {"Ledger.open(", "Ledger.read_only("} & set(re.findall(r"Ledger\.\w+\(", path.read_text()))
    }
    assert direct == {"opening.py"}


def test_a_schema_in_the_url_is_kept(tmp_path):
    url = "postgresql://lab@db.example.org/ledger?schema=ours"
    assert schema_of(tmp_path, url) == url
    assert name_of(url) == "postgresql://lab@db.example.org/ledger?schema=ours"


def test_paths_order_by_their_bytes_on_both(place):
    ledger = Ledger.open(place)
    paths = ["B", "a", "lab-2", "lab/1", "lab_3", "ä"]
    ledger.record((published(path) for path in reversed(paths)), run="one")
    assert [outcome.path for outcome in ledger.outcomes("one")] == paths


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def test_what_a_run_did_with_some_paths_is_found_as_fast_as_their_proofs(place):
    """PostgreSQL takes a run that is under way for a small one, and would compare each of its rows with each path."""
    ledger = Ledger.open(place)
    ledger.record((published(f"old/{number:05}.npy") for number in range(20_000)), run="old")
    with connected(ledger) as connection:
        connection.exec_driver_sql("ANALYZE transfers")
        connection.commit()
    paths = [f"lab/{number:05}.npy" for number in range(20_000)]
    ledger.record((published(path) for path in paths), run="new")
    assert [outcome.path for outcome in ledger.outcomes("new", paths[:1500])] == paths[:1500]
    assert ledger.outcomes("other", paths[:1500]) == []
    proofs = min(seconds(lambda: ledger.known(paths[:1500])) for _ in range(3))
    assert min(seconds(lambda: ledger.outcomes("new", paths[:1500])) for _ in range(3)) < 20 * proofs


# --- versions -------------------------------------------------------------------------------------


def test_a_ledger_of_the_first_release_is_brought_up_to_date_with_all_that_it_holds(place):
    first_release(place)
    with connected(Ledger.read_only(place)) as before:
        assert not sa.inspect(before).has_table("leases")
    ledger = Ledger.open(place)
    assert ledger.known() == {"lab/a.npy": Proof(3, "a" * 32, 7)}
    (failure,) = ledger.failed()
    assert (failure.path, failure.failures, failure.first) == ("lab/b.npy", 4, MORNING)
    assert [run.id for run in ledger.last_runs()] == ["one"]
    assert ledger.lease("plan", "me", MINUTES)
    assert ledger._database.version() == tables.VERSIONS[-1]
    Ledger.open(place).record([published("lab/b.npy")])
    assert ledger.failed() == []


def test_an_upgraded_ledger_is_as_a_new_one(place):
    first_release(place)
    with connected(Ledger.open(place)) as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _but_alembics})
        assert compare_metadata(context, tables.metadata) == []
        assert connection.scalar(sa.select(tables.first_version)) == len(tables.VERSIONS)


def _but_alembics(_object, name, _kind, _reflected, _other):
    return name != tables.version.name


def test_the_steps_lead_to_the_version_that_the_tables_have():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "tasks.ledgers:migrations")
    steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(steps)) == tables.VERSIONS


@pytest.mark.parametrize("opening", [Ledger.open, Ledger.read_only])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = '0099'",
        "DROP TABLE alembic_version; UPDATE ledger_version SET version = 99",
    ],
)
def test_the_ledger_of_a_later_version_is_refused_and_left_alone(place, opening, change):
    with connected(Ledger.open(place)) as connection:
        for statement in change.split(";"):
            connection.exec_driver_sql(statement)
        connection.commit()
    with pytest.raises(DownloadError, match="version 0099") as refusal:
        opening(place)
    assert refusal.value.code == "ledger-newer"


def connected(ledger):
    return ledger._database.engine.connect()
