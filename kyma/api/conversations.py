"""Conversations of the chat."""

import uuid

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.encryption import Cipher
from accounts.keyring import data_keys
from accounts.models import ApiKey
from chat import conversations, search
from chat.models import Conversation
from kyma.api.description import PROBLEM_REF, example
from kyma.api.fields import StrictSerializer, TimeField
from kyma.api.pagination import PageQuery, page, page_of
from kyma.api.problems import CONTENT_TYPE
from kyma.api.resource import Resource

# --- What is answered ----------------------------------------------------------------------------


class ConversationSerializer(serializers.Serializer):
    """A conversation without its messages."""

    id = serializers.UUIDField()
    title = serializers.SerializerMethodField(help_text="Empty until the first message.")
    model = serializers.CharField(help_text="The model for the next reply.")
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


class HitSerializer(serializers.Serializer):
    """A place where the text was found; `message_id` is null for a title."""

    conversation_id = serializers.UUIDField()
    message_id = serializers.UUIDField(allow_null=True)
    title = serializers.CharField(allow_blank=True)
    before = serializers.CharField(allow_blank=True)
    match = serializers.CharField()
    after = serializers.CharField(allow_blank=True)


ConversationPage, HitPage = page_of(ConversationSerializer), page_of(HitSerializer)
FULL = {(409, CONTENT_TYPE): PROBLEM_REF}


# --- What is taken -------------------------------------------------------------------------------


class SearchQuery(StrictSerializer):
    text = serializers.CharField(
        max_length=search.MAX_QUERY,
        help_text=f"At most {search.MAX_WORDS} words, searched without regard to case.",
    )
    cursor = serializers.UUIDField(
        required=False, help_text="`next_cursor` of the search before: goes on with older messages."
    )


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


class BeginningSerializer(ChangesSerializer):
    model = serializers.CharField(max_length=96)
    pinned = archived = None


# --- Views ---------------------------------------------------------------------------------------


class ChatResource(Resource):
    scope = ApiKey.Scope.CHAT

    @property
    def rows(self) -> QuerySet[Conversation]:
        return Conversation.objects.of(self.request.user)

    @property
    def cipher(self) -> Cipher:
        return data_keys.cipher_of(self.request.user.pk)

    def find(self, conversation_id: uuid.UUID) -> Conversation:
        """Return the conversation. Raises Http404 unless it is this person's."""
        return get_object_or_404(self.rows, pk=conversation_id)

    def shown(self, conversation: Conversation, status: int = 200) -> Response:
        shown = OneConversationSerializer(conversation, context={"cipher": self.cipher})
        return Response(shown.data, status=status)


class Conversations(ChatResource):
    @extend_schema(
        "listConversations",
        summary="Conversations",
        parameters=[ConversationsQuery],
        responses=ConversationPage,
    )
    def get(self, request: Request) -> Response:
        query = self.query(ConversationsQuery)
        rows = self.rows.filter(archived_at__isnull=not query.pop("archived"))
        found = page(rows, **query)
        return Response(ConversationPage(found, context={"cipher": self.cipher}).data)

    @extend_schema(
        "createConversation",
        summary="Begin a conversation",
        request=BeginningSerializer,
        examples=[example({"model": "fast", "system_prompt": "Be brief."})],
        responses={201: OneConversationSerializer, **FULL},
    )
    def post(self, request: Request) -> Response:
        conversation = conversations.start(request.user, **self.body(BeginningSerializer))
        return self.shown(conversation, status=201)


class OneConversation(ChatResource):
    @extend_schema(
        "getConversation", summary="One conversation", responses=OneConversationSerializer
    )
    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        return self.shown(self.find(conversation_id))

    @extend_schema(
        "updateConversation",
        summary="Rename, pin, archive or configure a conversation",
        request=ChangesSerializer,
        examples=[example({"title": "Tides", "pinned": True})],
        responses={200: OneConversationSerializer, **FULL},
    )
    def patch(self, request: Request, conversation_id: uuid.UUID) -> Response:
        conversation = self.find(conversation_id)
        conversations.change(conversation, **self.body(ChangesSerializer))
        return self.shown(conversation)

    @extend_schema(
        "deleteConversation",
        summary="Delete a conversation and everything in it",
        responses={204: None},
    )
    def delete(self, request: Request, conversation_id: uuid.UUID) -> Response:
        conversations.delete(request.user, ids=[self.find(conversation_id).pk])
        return Response(status=204)


class ConversationSearch(ChatResource):
    @extend_schema(
        "searchConversations",
        summary="Search in titles and messages",
        parameters=[SearchQuery],
        responses=HitPage,
    )
    def get(self, request: Request) -> Response:
        """Returns at most 50 places, the newest first. Searches have a limit of their own (429).

        `next_cursor` says where to go on if there are older messages, for which there was no time
        or no place.
        """
        search.count(request.user)
        query = self.query(SearchQuery)
        found = search.search(request.user, text=query["text"], before=query.get("cursor"))
        return Response(HitPage({"data": found.hits, "next_cursor": found.cursor}).data)
