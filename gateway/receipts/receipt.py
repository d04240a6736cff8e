"""The signed receipt of one request: the quantities counted, their prices, and the charge.

Anybody can check it with the published keys alone, and recompute each line and the total. It
holds whole numbers and short texts, and names no person, key or account. It holds hashes of the
content only while the content is kept: after that they could confirm a guess.
"""

import base64
import binascii
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from billing.pricing import MILLION, Price, Usage, cost_lines
from gateway.dialects.anthropic.message import tool_input
from gateway.dialects.chat.answer import logged_answers
from gateway.models import BILLED, ApiRequest
from gateway.receipts import keys as receipt_keys
from gateway.receipts.canonical_json import canonical
from gateway.receipts.generation import usage_of
from gateway.receipts.keys import PublicKey

SCHEMA = "kyma.receipt/1"
ROUNDING = "each line rounded up to a nano-dollar"


# --- Making one ----------------------------------------------------------------------------------


def signed_receipt(row: ApiRequest, content: bytes | None) -> dict:
    """Return the signed receipt of `row`; `content` is unsealed, or None if it isn't kept."""
    receipt = receipt_of(row, content)
    return {**receipt, "signature": receipt_keys.sign(canonical(receipt))}


def receipt_of(row: ApiRequest, content: bytes | None) -> dict:
    """Return the receipt of `row` without its signature: the part that is signed."""
    lines = _lines(row.price_version.price, usage_of(row)) if row.price_version else []
    lines_nano = sum(line["cost_nano"] for line in lines)
    return {
        "schema": SCHEMA,
        "request_id": str(row.id),
        "created_at": row.created_at.isoformat(),
        "api": row.api,
        "model": row.model,
        "provider": row.provider,
        "outcome": row.outcome,
        "price_version": row.price_version_id and str(row.price_version_id),
        "rounding": ROUNDING,
        "lines": lines,
        "lines_nano": lines_nano,
        "hold_nano": row.hold_nano,
        "capped": row.outcome in BILLED and lines_nano > row.hold_nano,
        "total_nano": row.cost_nano,
        "estimated": row.estimated,
        "attempts": [_attempt(one) for one in row.attempts],
        **content_hashes(content),
    }


def _lines(price: Price, usage: Usage) -> list[dict]:
    """Return one line per class of cost: `quantity` at `price_nano` for each `per`."""
    pieces = 0 if usage.is_zero else 1
    classes = (
        ("input", usage.prompt - usage.cached, price.input, MILLION),
        ("cached_input", usage.cached, price.cached_input, MILLION),
        ("output", usage.completion, price.output, MILLION),
        ("request", pieces, price.request, 1),
        ("image", pieces * usage.images, price.image, 1),
    )
    costs = cost_lines(price, usage)
    return [
        {
            "class": name,
            "quantity": quantity,
            "price_nano": price_nano,
            "per": per,
            "cost_nano": costs[name],
        }
        for name, quantity, price_nano, per in classes
    ]


def _attempt(attempt: dict) -> dict:
    ms = attempt.get("ms")
    return {
        "provider": attempt["provider"],
        "status": attempt["status"],
        "ms": None if ms is None else round(ms),
        "error": attempt.get("error"),
    }


# --- Hashes of the content -----------------------------------------------------------------------


def content_hashes(content: bytes | None) -> dict[str, str | None]:
    """Return SHA-256 hashes of the request's JSON and of the answers; null for what isn't kept."""
    said = orjson.loads(content) if content is not None else {}
    request, answers = said.get("request"), said.get("answer")
    is_kept = isinstance(answers, list)
    return {
        "request_sha256": sha256(request) if isinstance(request, dict) else None,
        # The answer to an embeddings request isn't kept, only its shape.
        "answer_sha256": sha256(answers_hashed(answers)) if answers and is_kept else None,
    }


def sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def answers_hashed(logged: list[dict]) -> list[dict]:
    """Return the text and tool calls of each answer, the parts to hash.

    These look the same in every API, whole or streamed. `logged` holds the choices of a whole
    answer, or messages gathered from a stream.
    """
    return [
        {
            "text": answer.text,
            "tool_calls": [
                {"name": name, "arguments": tool_input(arguments)}
                for name, arguments in answer.calls
            ],
        }
        for answer in logged_answers(logged)
    ]


# --- Checking one --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One statement of a receipt, and whether it is right."""

    is_right: bool
    sentence: str


def checks(receipt: dict, keys: Iterable[PublicKey]) -> Iterator[Check]:
    """Yield each check of a receipt; if the signature is wrong, nothing else is checked."""
    signature = _check_signature(receipt, keys)
    yield signature
    if not signature.is_right:
        return
    for line in receipt["lines"]:
        yield _check_line(line)
    yield from _check_total(receipt)


def _check_signature(receipt: dict, keys: Iterable[PublicKey]) -> Check:
    if receipt.get("schema") != SCHEMA:
        return Check(False, f"It is not a receipt of the schema {SCHEMA}.")
    signature = receipt.get("signature")
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "key_id", "value"}:
        return Check(False, "It is not signed.")
    if signature["algorithm"] != receipt_keys.ALGORITHM:
        return Check(False, f"It is not signed with {receipt_keys.ALGORITHM}.")
    key = next((one for one in keys if one.id == signature["key_id"]), None)
    if key is None:
        return Check(False, f"Its key {signature['key_id']} is not among the published ones.")
    try:
        text = canonical({name: value for name, value in receipt.items() if name != "signature"})
    except (ValueError, RecursionError):
        return Check(False, "It holds values that no receipt has.")
    if not key.has_signed(text, _bytes_of(signature["value"])):
        return Check(False, "The signature doesn't fit: the receipt was changed, or isn't Kyma's.")
    return Check(True, f"signature: by the key {key.id}")


def _bytes_of(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except binascii.Error:
        return b""


def _check_line(line: dict) -> Check:
    quantity, price, per = line["quantity"], line["price_nano"], line["per"]
    expected = -(-quantity * price // per)
    work = f"{line['class']}: {quantity} × {price} / {per} = {expected} nano-dollars"
    if expected == line["cost_nano"]:
        return Check(True, work)
    return Check(False, f"{work}, but the receipt says {line['cost_nano']}.")


def _check_total(receipt: dict) -> Iterator[Check]:
    lines_nano = sum(line["cost_nano"] for line in receipt["lines"])
    yield _compare("sum of the lines", lines_nano, receipt["lines_nano"])
    is_billed = receipt["outcome"] in BILLED
    capped = is_billed and lines_nano > receipt["hold_nano"]
    yield _compare("capped by the hold", capped, receipt["capped"])
    why = f"the outcome is {receipt['outcome']}" + (", capped by the hold" if capped else "")
    total = min(lines_nano, receipt["hold_nano"]) if is_billed else 0
    yield _compare(f"total ({why})", total, receipt["total_nano"])


def _compare(what: str, expected: int, found: int) -> Check:
    if expected == found:
        return Check(True, f"{what}: {_shown(expected)}")
    return Check(False, f"{what}: it is {_shown(expected)}, but the receipt says {_shown(found)}.")


def _shown(value: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value} nano-dollars"
