"""The statements of group commit: one text each, fed one JSON array of rows.

Each file starts with the columns of its rows and their types. The engines differ only in how
that JSON is expanded to rows, and in how an account is locked.
"""

import base64
import functools
import pathlib

_FOLDER = pathlib.Path(__file__).parent


@functools.cache
def statement(name: str, vendor: str) -> str:
    """The SQL of `name` for "postgresql" or "sqlite", with one placeholder for the rows as JSON."""
    text = (_FOLDER / f"{name}.sql").read_text()
    header, body = text.split("\n", 1)
    columns = header.removeprefix("-- rows: ")
    rows = _postgres_rows if vendor == "postgresql" else _sqlite_rows
    # Not FOR UPDATE: that would make other rows' foreign keys wait for the account.
    for_update = "FOR NO KEY UPDATE OF a" if vendor == "postgresql" else ""
    return body.replace("{rows}", rows(columns)).replace("{for_update}", for_update)


def _postgres_rows(columns: str) -> str:
    return f"jsonb_to_recordset(%s::jsonb) AS r({columns})"


def _sqlite_rows(columns: str) -> str:
    names = [column.split()[0] for column in columns.split(", ")]
    fields = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
    return f"(SELECT {fields} FROM json_each(?)) AS r"


def teach_sqlite(connection, **_) -> None:
    """Give a new connection the function of Postgres' that it lacks.

    Once: a function that is defined again makes SQLite parse all its statements again.
    """
    if connection.vendor == "sqlite":
        connection.connection.create_function("decode", 2, _decode, deterministic=True)


def _decode(text: str | None, encoding: str) -> bytes | None:
    return None if text is None else base64.b64decode(text)
