"""One of each thing that /api/ names, and a call of each operation that works."""

import datetime as dt
import re
from functools import cached_property

import orjson

from accounts.keyring import data_keys
from accounts.models import ApiKey, User
from billing.accounts import open_account
from chat import conversations, messages
from chat.models import Conversation, Message
from gateway.models import ApiRequest, RequestContent, content_place
from kyma.api.description import document
from tests.support.factories import make_key, make_price, make_request, make_route

MODEL = "open/small"
SAID = {"request": {"messages": []}, "answer": [{"content": "Hi"}], "ip": "192.0.2.1"}


class Things:
    """What `owner` has, each made when it is first asked for."""

    def __init__(self, owner: User):
        self.owner = owner

    @cached_property
    def key(self) -> ApiKey:
        return make_key(self.owner, name="theirs")[0]

    @cached_property
    def request(self) -> ApiRequest:
        """A request of a moment ago, with its content."""
        row = make_request(
            open_account(self.owner),
            key=self.key,
            model=MODEL,
            provider="somebody",
            price_version=make_price(),
            prompt_tokens=10,
            completion_tokens=5,
            cost_nano=3000,
            attempts=[{"provider": "somebody", "route": "r", "status": 200, "ms": 12.5}],
        )
        cipher = data_keys.cipher_of(self.owner.pk)
        plain = orjson.dumps({**SAID, "user_agent": "curl"})
        RequestContent.objects.create(
            id=row.id,
            account_id=row.account_id,
            sealed=cipher.seal(plain, content_place(row.id.hex)),
            purge_at=dt.datetime.now(dt.UTC) + dt.timedelta(days=7),
        )
        return row

    @cached_property
    def conversation(self) -> Conversation:
        """With a question and its reply."""
        conversation = conversations.start(self.owner, model=MODEL)
        reply = messages.say(conversation, text="How do tides work?")
        reply.seal(data_keys.cipher_of(self.owner.pk), text="By the moon.")
        reply.state, reply.cost_nano = "finished", 21
        reply.save()
        return conversation

    @property
    def message(self) -> Message:
        """The question."""
        return self.conversation.messages.get(role="user")

    @property
    def reply(self) -> Message:
        return self.conversation.messages.get(role="assistant")

    def path(self, template: str) -> str:
        """The path of an operation, with what is theirs in it."""
        path = template.replace("{slug}", MODEL)
        if template.endswith("/regenerate"):
            path = path.replace("{message_id}", str(self.reply.id))
        for place in ("key", "request", "conversation", "message"):
            if f"{{{place}_id}}" in path:
                path = path.replace(f"{{{place}_id}}", str(getattr(self, place).id))
        return path


PATHS = document()["paths"]
# What stands at each place of a route that is somebody's.
PLACES = {
    path.removeprefix("/").replace("{", "<").replace("}", ">")[: match.end() - 1]: match[1]
    for path in PATHS
    for match in re.finditer(r"{(\w+)_id}", path)
}

# Method and path of each operation → what to ask it with, so that it works.
QUERIES = {("get", "/api/conversations/search"): {"text": "tides"}}
BODIES = {
    ("post", "/api/keys"): {"name": "CI", "caps": {"day": "0.50"}},
    ("patch", "/api/keys/{key_id}"): {"name": "batch"},
    ("post", "/api/keys/{key_id}/rotate"): {"grace_hours": 1},
    ("post", "/api/conversations"): {"model": MODEL},
    ("patch", "/api/conversations/{conversation_id}"): {"title": "Tides", "pinned": True},
    ("post", "/api/conversations/{conversation_id}/messages"): {"text": "And neap tides?"},
    ("post", "/api/conversations/{conversation_id}/messages/{message_id}/edit"): {"text": "Why?"},
}
OPERATIONS = [(method, path) for path, methods in PATHS.items() for method in methods]
PRIVATE = [one for one in OPERATIONS if "x-scope" in PATHS[one[1]][one[0]]]
OWNED = [one for one in PRIVATE if "{" in one[1]]


def scope_of(method: str, path: str) -> str:
    return PATHS[path][method]["x-scope"]


def publish_model() -> None:
    make_route(MODEL)
