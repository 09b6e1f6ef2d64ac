"""A fleet at scale, without the bytes: real planner, real ledger on PostgreSQL, real Prefect server and workers."""
