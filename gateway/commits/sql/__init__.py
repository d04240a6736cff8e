"""The SQL statements of group commit, one file each, for both engines.

The first line of a file names the columns of its input rows and their types. The engines differ
only in how rows are passed in, how an account is locked and how the date is asked for. Rows are
passed as one JSON array. Writes on SQLite are the exception: they run once per row, since SQLite
searches the JSON again for every single value, which is slower.
"""

import base64
import datetime as dt
import functools
import pathlib
from typing import Any

import orjson

_FOLDER = pathlib.Path(__file__).parent
NAMES = sorted(path.stem for path in _FOLDER.glob("*.sql"))


@functools.cache
def statement(name: str, vendor: str) -> str:
    """Return the SQL of `name` for "postgresql" or "sqlite".

    It has one placeholder, for all rows as JSON. A write on SQLite has one for each column of
    one row.
    """
    header, body = _parts(name)
    if vendor == "postgresql":
        rows = f"jsonb_to_recordset(%s::jsonb) AS r({header})"
    elif reads(name):
        fields = (f"json_extract(value, '$[{i}]') AS {one}" for i, one in enumerate(columns(name)))
        rows = f"(SELECT {', '.join(fields)} FROM json_each(?)) AS r"
    else:
        rows = f"(SELECT {', '.join(f'? AS {one}' for one in columns(name))}) AS r"
    # FOR UPDATE would also block inserts whose foreign key points to the account.
    for_update = "FOR NO KEY UPDATE OF a" if vendor == "postgresql" else ""
    today = "CAST(now() AT TIME ZONE 'UTC' AS date)" if vendor == "postgresql" else "date('now')"
    body = body.replace("{for_update}", for_update).replace("{today}", today)
    return body.replace("{rows}", rows)


@functools.cache
def columns(name: str) -> tuple[str, ...]:
    """Return the column names of the statement's input rows, in order."""
    return tuple(column.split()[0] for column in _parts(name)[0].split(", "))


@functools.cache
def reads(name: str) -> bool:
    """True when the statement returns rows."""
    lines = _parts(name)[1].splitlines()
    return next(line for line in lines if not line.startswith("--")).startswith("SELECT")


def _parts(name: str) -> tuple[str, str]:
    """Return the header (columns and types of the input rows) and the SQL text of a file."""
    header, body = (_FOLDER / f"{name}.sql").read_text().split("\n", 1)
    return header.removeprefix("-- rows: "), body


def as_json(rows: list) -> str:
    """Return the rows of a statement as its one parameter."""
    return orjson.dumps(rows).decode()


def as_django(name: str, rows: list[dict]) -> list[list]:
    """Return the values of each row in column order, as Django stores them in SQLite."""
    ordered = [map(row.__getitem__, columns(name)) for row in rows]
    return [
        [value if type(value) in _PLAIN else _as_django(value) for value in values]
        for values in ordered
    ]


def _as_django(value: Any) -> Any:
    """Return what Django stores: UTC times as naive text, lists as JSON, choices as their value."""
    if isinstance(value, dt.datetime):
        return str(value.replace(tzinfo=None))
    return orjson.dumps(value).decode() if isinstance(value, list) else str(value)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def teach_sqlite(connection, **_) -> None:
    """Give a new SQLite connection `decode`, a function of Postgres that it lacks.

    This is done once per connection, as SQLite parses all its statements again after it.
    """
    if connection.vendor == "sqlite":
        connection.connection.create_function("decode", 2, _decode, deterministic=True)


def _decode(text: str | None, encoding: str) -> bytes | None:
    return None if text is None else base64.b64decode(text)
