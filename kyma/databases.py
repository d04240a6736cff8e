"""Django's options for a database, on Postgres and on SQLite."""

from pathlib import Path
from typing import Any

SQLITE_OPTIONS = {
    # IMMEDIATE: otherwise concurrent writers get "database is locked". FULL survives a power loss.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": ("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON"),
}


CONNECT_TIMEOUT_S = 2  # whole seconds, and no fewer
DEAF_TIMEOUT_S = 10  # A server that acknowledges no byte for so long counts as gone.


def postgres_options(connection: type, pool_size: int, pool_timeout_s: float) -> dict[str, Any]:
    return {
        # Otherwise a failed INSERT writes the user's text into the server's log.
        "server_side_binding": True,
        "prepare_threshold": None,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": 1000 * DEAF_TIMEOUT_S,
        "keepalives_idle": DEAF_TIMEOUT_S,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "pool": {
            "min_size": 0,
            "max_size": pool_size,
            "timeout": pool_timeout_s,
            # After a failure the next query connects, and not a clock that goes slower each time.
            "reconnect_timeout": 0,
            "connection_class": connection,
        },
    }


def configured(config: dict[str, Any], postgres: dict[str, Any], *, test_file: Path) -> dict:
    """Return the database of a URL, as django-environ reads it, with Kyma's options.

    Options in the URL come first.
    """
    is_sqlite = config["ENGINE"].endswith("sqlite3")
    options = SQLITE_OPTIONS if is_sqlite else postgres
    config["OPTIONS"] = {**options, **config.get("OPTIONS", {})}
    config["CONN_MAX_AGE"] = 0  # More than zero leaks connections under ASGI.
    config["DISABLE_SERVER_SIDE_CURSORS"] = True  # A transaction pooler may be in use.
    # A file, because threads and other processes use the test database too.
    config["TEST"] = {"NAME": str(test_file)} if is_sqlite else {}
    return config
