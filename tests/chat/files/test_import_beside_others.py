"""An import keeps nobody waiting who writes meanwhile, and leaves all of itself or nothing."""

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet

from chat import conversations, messages
from chat.errors import ImportRefused
from chat.files import transfer
from chat.models import Conversation, Message
from tests.support.chat.writing import talk

HI = {"role": "user", "content": "Hi"}


def import_json(user, document) -> list[Conversation]:
    return transfer.import_file(user, content=orjson.dumps(document), model="scripted")


def shown(conversation: Conversation) -> list[messages.Shown]:
    conversation.refresh_from_db()
    return messages.page_of(conversation).shown


@pytest.fixture
def stored_at_once(committed_books, monkeypatch) -> list[int]:
    """How many messages each transaction of an import stores; what others do meanwhile succeeds."""
    counts = []
    bulk_create = QuerySet.bulk_create

    def store(rows, objs, **options):
        if rows.model is Message:
            assert not connection.in_atomic_block
            with ThreadPoolExecutor(1) as somebody_else:
                somebody_else.submit(write_something).result()
            counts.append(len(objs))
        return bulk_create(rows, objs, **options)

    monkeypatch.setattr(QuerySet, "bulk_create", store)
    return counts


def write_something() -> None:
    try:
        Conversation.objects.update(pinned_at=None)
    finally:
        connection.close()


def test_an_import_is_stored_in_short_transactions(stored_at_once, alice, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_ROWS", 10)
    one, other = import_json(
        alice, {"conversations": [{"messages": [HI] * 25}, {"messages": [HI] * 4}]}
    )
    assert stored_at_once == [10, 10, 9]
    assert [len(shown(copy)) for copy in (one, other)] == [25, 4]


def test_an_import_of_long_texts_is_stored_in_short_transactions(
    stored_at_once, alice, monkeypatch
):
    monkeypatch.setattr(transfer, "MOST_BYTES", 3_000)
    import_json(alice, [HI | {"content": "x" * 1_000}] * 3 + [HI | {"content": "x" * 9_000}])
    assert stored_at_once == [2, 1, 1]


def test_what_cannot_be_stored_wholly_leaves_nothing(stored_at_once, alice, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_ROWS", 10)
    kept = talk(alice, "Hi")
    store = QuerySet.bulk_create

    def fail_at_last(rows, objs, **options):
        if rows.model is Message and sum(stored_at_once) == 20:
            raise OperationalError("the disk is full")
        return store(rows, objs, **options)

    monkeypatch.setattr(QuerySet, "bulk_create", fail_at_last)
    with pytest.raises(ImportRefused, match="nothing of this file"):
        import_json(alice, {"messages": [HI] * 25})
    assert Conversation.objects.get() == kept
    assert Message.objects.count() == 1


def test_what_is_deleted_while_it_is_imported_leaves_nothing(stored_at_once, alice, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_ROWS", 10)
    store = QuerySet.bulk_create

    def delete_before(rows, objs, **options):
        if stored_at_once == [10]:
            conversations.delete(alice, ids=[objs[0].conversation_id])
        return store(rows, objs, **options)

    monkeypatch.setattr(QuerySet, "bulk_create", delete_before)
    with pytest.raises(ImportRefused, match="nothing of this file"):
        import_json(alice, {"messages": [HI] * 25})
    assert not Conversation.objects.exists()
