"""Conversations as they stand in the database, without a provider that wrote them."""

from accounts.keyring import data_keys
from accounts.models import User
from chat import conversations
from chat.models import Conversation, Message


def talk(user: User, *texts: str, title: str = "", **fields) -> Conversation:
    """A conversation in which the person and the model said `texts` in turn."""
    model = fields.pop("model", "scripted")
    conversation = conversations.start(user, model=model, title=title, **fields)
    for text in texts:
        say(conversation, text)
    return conversation


def say(conversation: Conversation, text: str, *, after: Message | None = None, **fields):
    """The next message, after the leaf or another; who speaks depends on that."""
    parent = after or conversation.leaf
    is_reply = parent is not None and not parent.is_reply
    fields.setdefault("role", Message.Role.ASSISTANT if is_reply else Message.Role.USER)
    message = Message(conversation=conversation, parent=parent, **fields)
    message.seal(data_keys.cipher_of(conversation.user_id), text=text)
    message.save(force_insert=True)
    conversation.leaf = message
    conversation.save(update_fields=["leaf"])
    return message
