"""A process that dies while it imports leaves nothing that anybody sees, and nothing for long."""

import datetime as dt
import itertools

import orjson
import pytest
from django.db.models import QuerySet
from django.utils import timezone

from chat import conversations, messages, quota, search, tasks
from chat.errors import ImportRefused
from chat.files import imports, transfer
from chat.models import Conversation, Import, Message
from tests.support.api_client import by_key, signed_in
from tests.support.chat.writing import talk

pytestmark = pytest.mark.usefixtures("books")

TALK = {"title": "Tides", "messages": [{"role": "user", "content": "Hi"}] * 15}
FILE = orjson.dumps({"conversations": [TALK, TALK]})
WRITES = 6  # The conversations, their messages thrice, what they show, and that they are shown.
LATER = imports.LONGEST + dt.timedelta(seconds=1)


class Killed(BaseException):
    """Nothing that is done on an error is done: what was committed by then stays."""


@pytest.fixture
def kill_before(alice, monkeypatch):
    """Import FILE, and die before this one of its writes."""
    monkeypatch.setattr(transfer, "MOST_ROWS", 10)

    def die(number: int) -> None:
        numbers = itertools.count()

        def counted(write):
            def run(*arguments, **options):
                if next(numbers) == number:
                    raise Killed
                return write(*arguments, **options)

            return run

        writes = (QuerySet, "bulk_create"), (QuerySet, "bulk_update"), (imports, "finish")
        with monkeypatch.context() as patched:
            for owner, name in writes:
                patched.setattr(owner, name, counted(getattr(owner, name)))
            with pytest.raises(Killed):
                take_in(alice)

    return die


def take_in(user) -> list[Conversation]:
    return transfer.import_file(user, content=FILE, model="scripted")


def texts(user) -> list[list[str]]:
    """Of each conversation that is listed, what its page shows."""
    rows = Conversation.objects.filter(pk__in=[one.id for one in conversations.listed(user)])
    return [[one.text for one in messages.page_of(row).shown] for row in rows]


@pytest.mark.parametrize("number", range(WRITES))
def test_whatever_it_had_stored_a_second_try_brings_all_of_it_once(alice, kill_before, number):
    kill_before(number)
    assert texts(alice) == []
    assert len(take_in(alice)) == 2
    assert texts(alice) == [["Hi"] * 15] * 2
    assert imports.take_back_abandoned(now=timezone.now() + LATER) == 1
    assert texts(alice) == [["Hi"] * 15] * 2
    assert (Conversation.objects.count(), Message.objects.count()) == (2, 30)


def test_what_a_dead_process_left_is_shown_nowhere(alice, kill_before):
    kill_before(WRITES - 1)
    part = Message.objects.select_related("conversation").first()
    client, api = signed_in(alice), by_key(alice)
    assert Conversation.objects.count() == 2, "the control"
    assert search.search(alice, text="Tides").hits == search.search(alice, text="Hi").hits == []
    assert orjson.loads(b"".join(transfer.json_parts(alice)))["conversations"] == []
    assert "Tides" not in client.get("/chat/all").text
    assert api.get("/api/conversations").json()["data"] == []
    for path in (
        f"/chat/{part.conversation_id}",
        f"/chat/messages/{part.id}",
        f"/api/conversations/{part.conversation_id}",
        f"/api/conversations/{part.conversation_id}/messages",
    ):
        assert (client if "/api/" not in path else api).get(path).status_code == 404


def test_the_job_takes_back_what_is_left_and_nothing_else(alice, bob, kill_before):
    kept = talk(alice, "Hi", "Hello!")
    kill_before(3)
    (running,) = Import.objects.all()
    tasks.take_back_imports()
    assert Import.objects.get() == running, "it may be a process that is still at it"
    Import.objects.update(created_at=timezone.now() - LATER)
    tasks.take_back_imports()
    assert not Import.objects.exists()
    assert Conversation.objects.get() == kept
    assert Message.objects.count() == 2


def test_the_schedule_calls_the_job(settings):
    names = {one["task"] for one in settings.CELERY_BEAT_SCHEDULE.values()}
    assert tasks.take_back_imports.name in names


def test_an_import_that_was_taken_for_dead_leaves_nothing(alice, monkeypatch):
    finish = imports.finish

    def finish_late(one: Import) -> None:
        imports.take_back_abandoned(now=timezone.now() + LATER)
        finish(one)

    monkeypatch.setattr(imports, "finish", finish_late)
    with pytest.raises(ImportRefused, match="took too long"):
        take_in(alice)
    assert (Conversation.objects.count(), Message.objects.count()) == (0, 0)


def test_an_import_that_is_whole_is_not_taken_back(alice):
    one = imports.begin(alice, rows=1, size=10)
    found = talk(alice, "Hi")
    Conversation.objects.update(part_of=one)
    imports.finish(one)
    imports.take_back(one)
    assert texts(alice) == [["Hi"]]
    assert Conversation.objects.get() == found


def test_an_import_counts_as_a_whole_from_its_beginning(alice, kill_before):
    kill_before(0)
    counted = quota.used(alice.id)
    assert counted == 32 * quota.ROW_BYTES + len(FILE)
    Import.objects.update(created_at=timezone.now() - LATER)
    tasks.take_back_imports()
    kill_before(4)
    assert quota.used(alice.id) == counted
