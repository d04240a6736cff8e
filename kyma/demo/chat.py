"""The demo's conversations: a few turns each, paid through the ledger like those of the chat."""

import datetime as dt

from accounts.ids import id_at
from accounts.models import User
from billing.pricing import Usage
from chat.conversations import title_from
from chat.models import Conversation, Message
from gateway.models import Route
from kyma.demo.texts import ASKED, FOLLOWED_UP
from kyma.demo.usage import Past, booked, commit, new_record

EACH_DAYS = 2  # A conversation on every second day.
PAUSE = dt.timedelta(minutes=2)


def talk(past: Past, user: User, routes: list[Route], day: dt.date) -> None:
    """Make the conversation of that day, if it has one."""
    begun = dt.datetime.combine(day, dt.time(past.chance.randint(8, 20)), dt.UTC)
    ended = begun + len(FOLLOWED_UP) * PAUSE
    if day.toordinal() % EACH_DAYS or begun < user.created_at or ended > past.now:
        return
    route = past.chance.choice(routes)
    conversation = Conversation(
        id=id_at(begun), user=user, model=route.model.slug, created_at=begun, updated_at=begun
    )
    first = past.chance.choice(ASKED)
    conversation.seal(past.cipher, title=title_from(first[0]))
    conversation.save(force_insert=True)
    follow_ups = past.chance.sample(FOLLOWED_UP, past.chance.randint(0, 2))
    for number, (question, answer) in enumerate([first, *follow_ups]):
        _turn(past, conversation, route, begun + number * PAUSE, question, answer)
    conversation.save(update_fields=["leaf", "updated_at"])


def _turn(
    past: Past,
    conversation: Conversation,
    route: Route,
    at: dt.datetime,
    question: str,
    answer: str,
) -> None:
    """Store a message and the reply to it, with its cost."""
    price = route.price_version.price
    record = new_record(past.account, route, at, None)
    record.streamed, record.outcome = True, "finished"
    usage = Usage(prompt=len(question) // 4 + 30, completion=len(answer) // 4 + 1)
    past.time(record, route, usage)
    commit(booked(record, usage, price))
    said = Message(
        id=id_at(at), conversation=conversation, parent_id=conversation.leaf_id, role="user"
    )
    said.seal(past.cipher, text=question)
    reply = Message(
        id=id_at(at + dt.timedelta(seconds=1)),
        conversation=conversation,
        parent=said,
        role="assistant",
        model=route.model.slug,
        provider=route.provider.slug,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        cost_nano=record.cost_nano,
        request_id=record.id,
    )
    reply.seal(past.cipher, text=answer)
    for message in (said, reply):
        message.created_at = message.updated_at = at
        message.save(force_insert=True)
    conversation.leaf, conversation.updated_at = reply, at
