"""Schema versions of the ledger, applied by alembic when the daemon opens it."""
