"""The signed receipt of one request: what was counted, at which price, and what was charged.

It stands on its own: with the published keys anybody can check it, and recompute each line and
the total. It holds whole numbers and short texts, names no person, key or account, and hashes of
the content for as long only as that is kept: afterwards they could confirm a guess.
"""

import base64
import binascii
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from billing.pricing import MILLION, Price, Usage, cost_lines
from gateway.dialects.anthropic.message import name_and_arguments, spoken, tool_calls, tool_input
from gateway.models import BILLED, ApiRequest
from gateway.providers.metering import index_of
from gateway.receipts import keys as receipt_keys
from gateway.receipts.canonical_json import canonical
from gateway.receipts.generation import usage_of
from gateway.receipts.keys import PublicKey

SCHEMA = "kyma.receipt/1"
ROUNDING = "each line rounded up to a nano-dollar"


# --- Making one ----------------------------------------------------------------------------------


def signed_receipt(row: ApiRequest, content: bytes | None) -> dict:
    """The receipt of `row`, whose content is given in clear where it is kept."""
    receipt = receipt_of(row, content)
    return {**receipt, "signature": receipt_keys.sign(canonical(receipt))}


def receipt_of(row: ApiRequest, content: bytes | None) -> dict:
    """What is signed."""
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
    """The classes of what is charged: `quantity` at `price_nano` for each `per`."""
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
    """SHA-256 of the request's JSON and of what was answered; null for what isn't there."""
    said = orjson.loads(content) if content is not None else {}
    request, answers = said.get("request"), said.get("answer")
    is_kept = isinstance(answers, list)
    return {
        "request_sha256": sha256(request) if isinstance(request, dict) else None,
        # Of embeddings no answer is kept, only its shape.
        "answer_sha256": sha256(answers_hashed(answers)) if answers and is_kept else None,
    }


def sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def answers_hashed(logged: list[dict]) -> list[dict]:
    """Text and tool calls of each answer: what every API shows alike, whole or streamed.

    `logged` holds choices of a whole answer, or messages gathered from a stream.
    """
    in_order = sorted(logged, key=index_of)
    return [_answer_hashed(one.get("message") or one) for one in in_order]


def _answer_hashed(message: dict) -> dict:
    _, text = spoken({"content": message.get("text"), **message})  # A completion's is its `text`.
    return {"text": text, "tool_calls": [_call_hashed(one) for one in tool_calls(message)]}


def _call_hashed(call: dict) -> dict:
    is_gathered = "function" not in call
    name, arguments = name_and_arguments({"function": call} if is_gathered else call)
    return {"name": name, "arguments": tool_input(arguments)}


# --- Checking one --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that a receipt says, and whether it is so."""

    is_right: bool
    sentence: str


def checks(receipt: dict, keys: Iterable[PublicKey]) -> Iterator[Check]:
    """Each thing that can be checked; after a signature that is wrong, nothing else counts."""
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
        return Check(True, f"{what}: {_told(expected)}")
    return Check(False, f"{what}: it is {_told(expected)}, but the receipt says {_told(found)}.")


def _told(value: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value} nano-dollars"
