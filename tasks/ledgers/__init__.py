"""The ledger's tables, and the databases that hold them."""
