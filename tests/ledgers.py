"""Ledgers as earlier releases made them."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from tasks.ledgers.database import _make_private
from tasks.ledgers.engines import writer

#: The tables of the first release, word for word; `moment` and the ending are what its two databases called them.
FIRST = """
CREATE TABLE ledger_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE proofs (
  path TEXT NOT NULL, size BIGINT NOT NULL, digest TEXT NOT NULL, mtime_ns BIGINT NOT NULL, verified TEXT NOT NULL,
  dataset TEXT NOT NULL, source TEXT NOT NULL, protocol TEXT NOT NULL, run TEXT NOT NULL, proven_at {moment} NOT NULL,
  PRIMARY KEY (path)){ending};
CREATE INDEX ix_proofs_proven_at ON proofs (proven_at);
CREATE TABLE transfers (
  path TEXT NOT NULL, dataset TEXT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL, protocol TEXT NOT NULL,
  bytes BIGINT NOT NULL, attempts INTEGER NOT NULL, verdict TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
  next_step TEXT NOT NULL, size BIGINT, digest TEXT NOT NULL, run TEXT NOT NULL, failures INTEGER NOT NULL,
  first_failed_at {moment}, updated_at {moment} NOT NULL, PRIMARY KEY (path)){ending};
CREATE INDEX ix_transfers_state ON transfers (state);
CREATE INDEX ix_transfers_run ON transfers (run);
CREATE TABLE runs (
  id TEXT NOT NULL, started_at {moment} NOT NULL, ended_at {moment}, selection JSON NOT NULL, summary JSON,
  PRIMARY KEY (id));
CREATE INDEX ix_runs_started_at ON runs (started_at);
INSERT INTO ledger_version VALUES (1);
INSERT INTO proofs VALUES (
  'lab/a.npy', 3, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 7, 'md5', 'id', 'server', 'http', 'one',
  '2026-11-22 06:00:00.000000{zone}');
INSERT INTO transfers VALUES (
  'lab/b.npy', 'id', 'failed', 'server', 'http', 0, 2, 'SKIP_FILE', 'not-found', 'Not there.', 'Look.', 3, '', 'one', 4,
  '2026-11-22 06:00:00.000000{zone}', '2026-11-22 06:00:00.000000{zone}');
INSERT INTO runs VALUES (
  'one', '2026-11-22 06:00:00.000000{zone}', NULL, '{{"lab": "cortexlab"}}', NULL);
"""
WORDS = {
    "sqlite": {"moment": "DATETIME", "ending": " WITHOUT ROWID", "zone": ""},
    "postgresql": {"moment": "TIMESTAMP WITH TIME ZONE", "ending": "", "zone": "+00"},
}


def first_release(place):
    """Make a ledger as the first release did, with a proof, a failure and a run in it."""
    if isinstance(place, Path):
        _make_private(place)
    engine = writer(place, 8)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("CREATE SCHEMA " + connection.scalar(sa.text("SHOW search_path")))
        for statement in FIRST.format(**WORDS[engine.dialect.name]).split(";")[:-1]:
            connection.exec_driver_sql(statement)
    engine.dispose()
