"""How the database would go about a query, and what it would sort on its way.

Postgres plans by what it has last counted in a table, by how large the files of the table and its
indexes are, and few rows it reads and sorts whole. So it is asked for the plan that it makes of new
tables that it has never counted if it avoids that: what can't follow an index is sorted there too.
"""

import enum
import re

from django.db import connection, transaction

from tests.support import append_only

AVOIDED = ("enable_seqscan", "enable_bitmapscan", "enable_sort")
FORGET = """
    UPDATE pg_class SET relpages = 0, reltuples = -1
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace;
    DELETE FROM pg_statistic USING pg_class
    WHERE starelid = pg_class.oid AND relnamespace = 'public'::regnamespace;
"""
TABLES = r'(?:FROM|JOIN) ("\w+")'
SORTS_TIES = r"FOR LAST TERM OF ORDER BY|Incremental Sort"  # in SQLite's words or Postgres'
SORTS_ALL = r"TEMP B-TREE|(?m:^[ >-]*Sort +\()"


class Sorting(enum.Enum):
    NONE = enum.auto()
    TIES = enum.auto()  # An index gives the order; what is equal in it is sorted.
    ALL = enum.auto()


def plan_of(sql: str, params: tuple | None = None) -> str:
    """The steps of the plan, one a line."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        else:
            _make_new(re.findall(TABLES, sql), cursor)
            cursor.execute(FORGET)
            for setting in AVOIDED:
                cursor.execute(f"SET LOCAL {setting} = off")
            cursor.execute(f"EXPLAIN {sql}", params)
        steps = [row[-1] for row in cursor.fetchall()]
        transaction.set_rollback(True)  # And with it what was set.
    return "\n".join(steps)


def _make_new(tables: list[str], cursor) -> None:
    """Give each table files of its own, empty ones. The caller rolls that back."""
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with append_only.lifted(connection):
        cursor.execute(f"TRUNCATE {', '.join(set(tables))} CASCADE")


def sorting(plan: str) -> Sorting:
    if re.search(SORTS_ALL, re.sub(rf".*(?:{SORTS_TIES}).*", "", plan)):
        return Sorting.ALL
    return Sorting.TIES if re.search(SORTS_TIES, plan) else Sorting.NONE
