"""What people, Prefect's pages and Alyx are told of a run."""
