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
    to write on SQLite it has one for each column of a row.
    """
    header, body = _parts(name)
    if vendor == "postgresql":
        rows = f"jsonb_to_recordset(%s::jsonb) AS r({header})"
    elif reads(name):
        fields = (f"json_extract(value, '$[{i}]') AS {one}" for i, one in enumerate(columns(name)))
        rows = f"(SELECT {', '.join(fields)} FROM json_each(?)) AS r"
    else:
        rows = f"(SELECT {', '.join(f'? AS {one}' for one in columns(name))}) AS r"
    # Not FOR UPDATE: that would make other rows' foreign keys wait for the account.
    for_update = "FOR NO KEY UPDATE OF a" if vendor == "postgresql" else ""
    return body.replace("{rows}", rows).replace("{for_update}", for_update)


@functools.cache
def columns(name: str) -> tuple[str, ...]:
    """The columns of its rows, in their order."""
    return tuple(column.split()[0] for column in _parts(name)[0].split(", "))


@functools.cache
def reads(name: str) -> bool:
    """Whether the statement has rows to give."""
    lines = _parts(name)[1].splitlines()
    return next(line for line in lines if not line.startswith("--")).startswith("SELECT")


def _parts(name: str) -> tuple[str, str]:
    """The columns of its rows with their types, and the text."""
    header, body = (_FOLDER / f"{name}.sql").read_text().split("\n", 1)
    return header.removeprefix("-- rows: "), body


def as_json(rows: list) -> str:
    """The rows of a statement as its one parameter."""
    return orjson.dumps(rows).decode()


def as_django(name: str, rows: list[dict]) -> list[list]:
    """The values of the rows of a statement, in their order, as Django writes them in SQLite."""
    ordered = [map(row.__getitem__, columns(name)) for row in rows]
    return [
        [value if type(value) in _PLAIN else _as_django(value) for value in values]
        for values in ordered
    ]


def _as_django(value: Any) -> Any:
    """UTC datetimes are naive text there, lists JSON, choices their values."""
    if isinstance(value, dt.datetime):
        return str(value.replace(tzinfo=None))
    return orjson.dumps(value).decode() if isinstance(value, list) else str(value)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def teach_sqlite(connection, **_) -> None:
    """Give a new connection the function of Postgres' that it lacks.

    Once: a function that is defined again makes SQLite parse all its statements again.
    """
    if connection.vendor == "sqlite":
        connection.connection.create_function("decode", 2, _decode, deterministic=True)


def _decode(text: str | None, encoding: str) -> bytes | None:
    return None if text is None else base64.b64decode(text)
