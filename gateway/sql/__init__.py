"""The statements of group commit: one text each, fed rows.

Each file starts with the columns of its rows and their types. The engines differ only in how they
are fed, and in how an account is locked. Rows come as one JSON array, but for what SQLite is to
write: it searches the JSON for every single value, and is faster with one row after the other.
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
    """The SQL of `name` for "postgresql" or "sqlite". Its placeholder is that of the rows as JSON;
    to write on SQLite it has a named one for each column of a row.
    """
    columns, body = _parts(name)
    names = [column.split()[0] for column in columns.split(", ")]
    if vendor == "postgresql":
        rows = f"jsonb_to_recordset(%s::jsonb) AS r({columns})"
    elif reads(name):
        fields = ", ".join(f"json_extract(value, '$.{one}') AS {one}" for one in names)
        rows = f"(SELECT {fields} FROM json_each(?)) AS r"
    else:
        rows = f"(SELECT {', '.join(f':{one} AS {one}' for one in names)}) AS r"
    # Not FOR UPDATE: that would make other rows' foreign keys wait for the account.
    for_update = "FOR NO KEY UPDATE OF a" if vendor == "postgresql" else ""
    return body.replace("{rows}", rows).replace("{for_update}", for_update)


@functools.cache
def reads(name: str) -> bool:
    """Whether the statement has rows to give."""
    lines = _parts(name)[1].splitlines()
    return next(line for line in lines if not line.startswith("--")).startswith("SELECT")


def _parts(name: str) -> tuple[str, str]:
    """The columns of its rows, and the text."""
    header, body = (_FOLDER / f"{name}.sql").read_text().split("\n", 1)
    return header.removeprefix("-- rows: "), body


def as_json(rows: list[dict]) -> str:
    """The rows of a statement as its one parameter."""
    return orjson.dumps(rows).decode()


def as_django(row: dict) -> dict:
    """The values of a row as Django writes them in SQLite."""
    return {name: _as_django(value) for name, value in row.items()}


def _as_django(value: Any) -> Any:
    """UTC datetimes are naive text there, lists JSON, choices their values."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if issubclass(kind, dt.date):
        return str(value).removesuffix("+00:00")
    return orjson.dumps(value).decode() if kind is list else str(value)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def teach_sqlite(connection, **_) -> None:
    """Give a new connection the function of Postgres' that it lacks.

    Once: a function that is defined again makes SQLite parse all its statements again.
    """
    if connection.vendor == "sqlite":
        connection.connection.create_function("decode", 2, _decode, deterministic=True)


def _decode(text: str | None, encoding: str) -> bytes | None:
    return None if text is None else base64.b64decode(text)
