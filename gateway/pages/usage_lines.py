"""Lines of the request log as CSV, made part by part so that memory doesn't grow with them.

Spreadsheets run a cell that begins like a formula. So such text gets an apostrophe in front, and
the name of a key or model can't run in anybody's spreadsheet.
"""

import csv
import io
from collections.abc import Iterator, Sequence

from django.db.models import QuerySet

from billing.pricing import usd
from gateway.models import ApiRequest
from gateway.models.log import older

PART = 1000  # In lines. Server-side cursors are off, so each part is a query of its own.
BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

_FIELDS = (
    "id",
    "created_at",
    "key_id",
    "key__name",
    "session_hash",
    "model",
    "alias",
    "provider",
    "api",
    "streamed",
    "outcome",
    "status",
    "error_type",
    "finish_reason",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "estimated",
    "first_token_ms",
    "latency_ms",
    "cost_nano",
)
HEADER = (*(name.replace("key__name", "key_name") for name in _FIELDS), "cost_usd")


def csv_parts(lines: QuerySet[ApiRequest]) -> Iterator[str]:
    """Yield the header, then the lines, which are sorted newest first."""
    yield _text([HEADER])
    rest = lines
    while rows := list(rest.values_list(*_FIELDS)[:PART]):
        yield _text([_cells(row) for row in rows])
        id, created_at = rows[-1][:2]
        rest = older(lines, created_at, id)


def safe(cell: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(BEGINS_A_FORMULA) else cell


def _cells(row: Sequence) -> list[str]:
    texts = ["" if value is None else _shown(value) for value in row]
    return [*texts, usd(row[-1])]


def _shown(value) -> str:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return safe(value) if isinstance(value, str) else str(value)


def _text(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
