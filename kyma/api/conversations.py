"""Conversations of the chat and their messages."""

import uuid

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.encryption import Cipher
from accounts.keyring import data_keys
from accounts.models import ApiKey
from chat import conversations, messages, replies
from chat.models import Conversation, Message
from gateway import key_rules
from kyma.api.description import PROBLEM_REF, example
from kyma.api.fields import MoneyField, StrictSerializer, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.problems import CONTENT_TYPE
from kyma.api.resource import Resource

# --- What is answered ----------------------------------------------------------------------------


class ConversationSerializer(serializers.Serializer):
    """Opened with the cipher of its owner, in the context."""

    id = serializers.UUIDField()
    title = serializers.SerializerMethodField(help_text="Empty until the first message.")
    model = serializers.CharField(help_text="Which the next reply is asked of.")
    pinned_at = TimeField(allow_null=True)
    archived_at = TimeField(allow_null=True)
    created_at = TimeField()
    updated_at = TimeField()

    def get_title(self, conversation: Conversation) -> str:
        return conversation.opened(self.context["cipher"], "title")


class ParametersSerializer(StrictSerializer):
    temperature = serializers.FloatField(required=False, allow_null=True)
    top_p = serializers.FloatField(required=False, allow_null=True)
    max_tokens = serializers.IntegerField(required=False, allow_null=True)


class OneConversationSerializer(ConversationSerializer):
    system_prompt = serializers.SerializerMethodField()
    parameters = serializers.SerializerMethodField()
    leaf_id = serializers.UUIDField(
        allow_null=True, help_text="The last message of the branch that is shown."
    )

    def get_system_prompt(self, conversation: Conversation) -> str:
        return conversation.opened(self.context["cipher"], "system_prompt")

    @extend_schema_field(ParametersSerializer)
    def get_parameters(self, conversation: Conversation) -> dict:
        return conversation.parameters


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


ConversationPage, MessagePage = page_of(ConversationSerializer), page_of(MessageSerializer)


# --- What is taken -------------------------------------------------------------------------------


class ConversationsQuery(PageQuery):
    archived = serializers.BooleanField(default=False)


class ChangesSerializer(StrictSerializer):
    title = serializers.CharField(required=False, max_length=conversations.MAX_TITLE)
    pinned = serializers.BooleanField(required=False)
    archived = serializers.BooleanField(required=False)
    model = serializers.CharField(required=False, max_length=96)
    system_prompt = serializers.CharField(
        required=False, allow_blank=True, max_length=conversations.MAX_SYSTEM_PROMPT
    )
    parameters = ParametersSerializer(required=False)


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


class BeginningSerializer(ChangesSerializer):
    model = serializers.CharField(max_length=96)
    pinned = archived = None


# --- Views ---------------------------------------------------------------------------------------


class ChatResource(Resource):
    scope = ApiKey.Scope.CHAT

    @property
    def rows(self) -> QuerySet[Conversation]:
        return Conversation.objects.filter(user=self.request.user)

    @property
    def cipher(self) -> Cipher:
        return data_keys.cipher_of(self.request.user.pk)

    def find(self, conversation_id: uuid.UUID) -> Conversation:
        """Raises Http404 for what isn't this person's."""
        return get_object_or_404(self.rows, pk=conversation_id)

    def find_message(self, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Message:
        """Raises Http404."""
        return get_object_or_404(self.find(conversation_id).messages, pk=message_id)

    def shown_message(self, message: Message, status: int = 200) -> Response:
        shown = MessageSerializer(messages.opened(message, self.cipher))
        return Response(shown.data, status=status)

    def shown(self, conversation: Conversation, status: int = 200) -> Response:
        shown = OneConversationSerializer(conversation, context={"cipher": self.cipher})
        return Response(shown.data, status=status)


class Conversations(ChatResource):
    @extend_schema(
        summary="Conversations", parameters=[ConversationsQuery], responses=ConversationPage
    )
    def get(self, request: Request) -> Response:
        query = self.query(ConversationsQuery)
        rows = self.rows.filter(archived_at__isnull=not query.pop("archived"))
        found = page(rows, **query)
        return Response(ConversationPage(found, context={"cipher": self.cipher}).data)

    @extend_schema(
        summary="Begin a conversation",
        request=BeginningSerializer,
        examples=[example({"model": "fast", "system_prompt": "Be brief."})],
        responses={201: OneConversationSerializer},
    )
    def post(self, request: Request) -> Response:
        given = self.body(BeginningSerializer)
        title = given.pop("title", None)
        conversation = conversations.start(request.user, **given)
        if title is not None:
            conversations.rename(conversation, title=title)
        return self.shown(conversation, status=201)


class OneConversation(ChatResource):
    @extend_schema(summary="One conversation", responses=OneConversationSerializer)
    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        return self.shown(self.find(conversation_id))

    @extend_schema(
        summary="Rename, pin, archive or set up a conversation",
        request=ChangesSerializer,
        examples=[example({"title": "Tides", "pinned": True})],
        responses=OneConversationSerializer,
    )
    def patch(self, request: Request, conversation_id: uuid.UUID) -> Response:
        conversation = self.find(conversation_id)
        with transaction.atomic():
            for name, value in self.body(ChangesSerializer).items():
                _CHANGES[name](conversation, value)
        return self.shown(conversation)

    @extend_schema(summary="Delete a conversation and all that is in it", responses={204: None})
    def delete(self, request: Request, conversation_id: uuid.UUID) -> Response:
        conversations.delete(request.user, ids=[self.find(conversation_id).pk])
        return Response(status=204)


_CHANGES = {
    "title": lambda one, value: conversations.rename(one, title=value),
    "pinned": lambda one, value: conversations.pin(one, pinned=value),
    "archived": lambda one, value: conversations.archive(one, archived=value),
    "model": lambda one, value: conversations.choose_model(one, model=value),
    "system_prompt": lambda one, value: conversations.set_system_prompt(one, text=value),
    "parameters": lambda one, value: conversations.set_parameters(one, parameters=value),
}


class Messages(ChatResource):
    @extend_schema(
        summary="Messages of a conversation, of all its branches",
        parameters=[PageQuery],
        responses=MessagePage,
    )
    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        rows = self.find(conversation_id).messages.all()
        found = page(rows, **self.query(PageQuery))
        cipher = self.cipher
        found["data"] = [messages.opened(one, cipher) for one in found["data"]]
        return Response(MessagePage(found).data)

    @extend_schema(
        summary="Say something: a reply begins",
        request=SayingSerializer,
        examples=[example({"text": "How do tides work?"})],
        responses={202: MessageSerializer, (409, CONTENT_TYPE): PROBLEM_REF},
    )
    def post(self, request: Request, conversation_id: uuid.UUID) -> Response:
        """Answers at once with the reply, which is still `streaming`: read it until it isn't."""
        conversation = self.find(conversation_id)
        if request.auth is not None:
            key_rules.check_may_chat(request.auth)
        reply = async_to_sync(replies.send)(conversation, **self.body(SayingSerializer))
        return self.shown_message(reply, status=202)


class OneMessage(ChatResource):
    @extend_schema(summary="One message", responses=MessageSerializer)
    def get(self, request: Request, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Response:
        """A reply that is being written is stored each second."""
        return self.shown_message(self.find_message(conversation_id, message_id))


class MessageStop(ChatResource):
    @extend_schema(summary="Stop a reply", request=None, responses={204: None})
    def post(self, request: Request, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Response:
        """What has come of it stays, and is charged. Safe to repeat."""
        message = self.find_message(conversation_id, message_id)
        if message.is_streaming:
            async_to_sync(replies.stop)(request.user, reply_id=message.pk)
        return Response(status=204)
