"""How much of an answer is kept for those who ask again: none of it, rather than too much."""

import datetime as dt
from typing import Any

import pytest

from accounts.encryption import Cipher, new_key
from gateway.commits.operations import Claim
from gateway.serving import delivery, idempotency
from gateway.serving.delivery import Delivery
from gateway.serving.idempotency import Kept
from tests.support.factories import make_caller
from tests.support.gateway.relaying import IDENTITY

CLAIM = Claim("k" * 64, "b" * 64, dt.datetime.now(dt.UTC))
UNUSED: Any = None


@pytest.fixture(autouse=True)
def _ten_bytes_are_kept(monkeypatch):
    for module in (delivery, idempotency):
        monkeypatch.setattr(module, "MAX_KEPT_BYTES", 10)


def kept(body: bytes) -> str | None:
    caller = make_caller(cipher=Cipher(new_key()), retention_days=90)
    return Kept({}, "application/json", body).sealed(CLAIM, caller)


def streamed(*pieces: bytes) -> bytes:
    stream = Delivery(UNUSED, UNUSED, IDENTITY, include_usage=False, keeps_bytes=True)
    for piece in pieces:
        assert stream.note(piece) == piece
    return stream.written


def test_an_answer_is_kept_up_to_its_limit():
    assert kept(b"x" * 10)
    assert kept(b"x" * 11) is None


def test_of_a_stream_beyond_the_limit_no_more_is_remembered_than_shows_it():
    assert streamed(b"12345", b"67890") == b"1234567890"
    written = streamed(*[b"123456"] * 100)
    assert len(written) == 12
    assert kept(written) is None
