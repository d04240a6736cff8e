"""Messages of a conversation: reading, sending and editing them, and other replies.

A task of the web process writes the reply. The caller that began it reads it until it is over.
"""

import uuid
from collections.abc import Awaitable, Callable
from itertools import accumulate

from asgiref.sync import async_to_sync
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from chat import length, messages, replies
from chat.models import Message
from gateway.access import rules as key_rules
from kyma.api.conversations import ChatResource
from kyma.api.description import PROBLEM_REF, example
from kyma.api.fields import MoneyField, StrictSerializer, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.problems import CONTENT_TYPE


class MessageSerializer(serializers.Serializer):
    """Messages form a tree: siblings have the same parent, and each path is a branch."""

    id = serializers.UUIDField(source="message.id")
    parent_id = serializers.UUIDField(source="message.parent_id", allow_null=True)
    role = serializers.ChoiceField(Message.Role, source="message.role")
    state = serializers.ChoiceField(Message.State, source="message.state")
    text = serializers.CharField(allow_blank=True)
    reasoning = serializers.CharField(allow_blank=True)
    images = serializers.ListField(child=serializers.CharField(), help_text="Data URLs.")
    model = serializers.CharField(source="message.model", allow_blank=True)
    provider = serializers.CharField(source="message.provider", allow_blank=True)
    prompt_tokens = serializers.IntegerField(source="message.prompt_tokens")
    completion_tokens = serializers.IntegerField(source="message.completion_tokens")
    estimated = serializers.BooleanField(source="message.estimated")
    cost = MoneyField(
        source="message.cost_nano", allow_null=True, help_text="Null until it is settled."
    )
    request_id = serializers.UUIDField(source="message.request_id", allow_null=True)
    error = serializers.CharField(source="message.error", allow_blank=True)
    error_text = serializers.CharField(allow_blank=True)
    created_at = TimeField(source="message.created_at")


class SayingSerializer(StrictSerializer):
    text = serializers.CharField(
        allow_blank=True, trim_whitespace=False, max_length=messages.MAX_TEXT
    )
    images = serializers.ListField(
        child=serializers.CharField(),
        max_length=messages.MAX_IMAGES,
        required=False,
        help_text="Data URLs of PNG, JPEG, GIF or WebP.",
    )


MOST_BYTES = 10_000_000  # of the messages of a page
MessagePage = page_of(MessageSerializer)
BEGUN = {
    202: MessageSerializer,
    (400, CONTENT_TYPE): PROBLEM_REF,
    (409, CONTENT_TYPE): PROBLEM_REF,
}


class MessageResource(ChatResource):
    def find_message(self, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Message:
        """Return the message. Raises Http404."""
        return get_object_or_404(self.find(conversation_id).messages, pk=message_id)

    def shown_message(self, message: Message, status: int = 200) -> Response:
        shown = MessageSerializer(messages.opened(message, self.cipher))
        return Response(shown.data, status=status)

    def begin(self, turn: Callable[..., Awaitable[Message]], *about, **said) -> Response:
        """Return the reply that `turn` begins. Raises Forbidden, ChatError."""
        if self.request.auth is not None:
            key_rules.check_may_chat(self.request.auth)
        return self.shown_message(async_to_sync(turn)(*about, **said), status=202)


class Messages(MessageResource):
    @extend_schema(
        "listMessages",
        summary="Messages of a conversation, in all its branches",
        parameters=[PageQuery],
        responses=MessagePage,
    )
    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        """A page holds fewer than `limit` messages if they have long texts or images."""
        rows, query = self.find(conversation_id).messages.all(), self.query(PageQuery)
        found = page(rows, **{**query, "limit": _fitting(rows, **query)})
        cipher = self.cipher
        found["data"] = [messages.opened(one, cipher) for one in found["data"]]
        return Response(MessagePage(found).data)

    @extend_schema(
        "sendMessage",
        summary="Send a message and begin a reply",
        request=SayingSerializer,
        examples=[example({"text": "How do tides work?"})],
        responses=BEGUN,
    )
    def post(self, request: Request, conversation_id: uuid.UUID) -> Response:
        """Returns the reply at once, still `streaming`: read it again until its state changes."""
        conversation = self.find(conversation_id)
        return self.begin(replies.send, conversation, **self.body(SayingSerializer))


def _fitting(rows: QuerySet, *, limit: int, cursor: uuid.UUID | None = None) -> int:
    """Return how many rows of a page fit into MOST_BYTES together, at least one."""
    sized = rows.annotate(bytes=length.BYTES).values_list("pk", "bytes", named=True)
    sizes = accumulate(row.bytes for row in page(sized, limit=limit, cursor=cursor)["data"])
    return max(1, sum(size <= MOST_BYTES for size in sizes))


class OneMessage(MessageResource):
    @extend_schema("getMessage", summary="One message", responses=MessageSerializer)
    def get(self, request: Request, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Response:
        """While a reply is being written, it is stored each second."""
        return self.shown_message(self.find_message(conversation_id, message_id))


class MessageEdit(MessageResource):
    @extend_schema(
        "editMessage",
        summary="Edit a message: begin another branch and its reply",
        request=SayingSerializer,
        examples=[example({"text": "How do tides work on the Moon?"})],
        responses=BEGUN,
    )
    def post(self, request: Request, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Response:
        message = self.find_message(conversation_id, message_id)
        return self.begin(replies.edit, message, **self.body(SayingSerializer))


class MessageRegeneration(MessageResource):
    @extend_schema("regenerateMessage", summary="Regenerate a reply", request=None, responses=BEGUN)
    def post(self, request: Request, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Response:
        return self.begin(replies.regenerate, self.find_message(conversation_id, message_id))


class MessageStop(MessageResource):
    @extend_schema("stopMessage", summary="Stop a reply", request=None, responses={204: None})
    def post(self, request: Request, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Response:
        """The text so far stays and is charged. Safe to repeat."""
        message = self.find_message(conversation_id, message_id)
        if message.is_streaming:
            async_to_sync(replies.stop)(request.user, reply_id=message.pk)
        return Response(status=204)
