"""Finds the migrations that the databases still lack."""

from django.db import connections
from django.db.migrations.executor import MigrationExecutor


def unapplied(alias: str) -> list[str]:
    """Return the migrations that the database `alias` lacks, in order. Raises DatabaseError."""
    executor = MigrationExecutor(connections[alias])
    leaves = executor.loader.graph.leaf_nodes("keyring" if alias == "keyring" else None)
    return [f"{one.app_label}.{one.name}" for one, _ in executor.migration_plan(leaves)]
