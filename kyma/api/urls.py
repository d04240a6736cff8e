"""The addresses of the developers' API, below /api/."""

from django.urls import path

from kyma.api import account, catalog, conversations, docs, keys, ledger, messages, requests, usage

_MESSAGE = "conversations/<uuid:conversation_id>/messages/<uuid:message_id>"

urlpatterns = [
    path("schema", docs.Schema.as_view(), name="api_schema"),
    path("docs", docs.page, name="api_docs"),
    path("models", catalog.Models.as_view()),
    path("models/<path:slug>", catalog.OneModel.as_view()),
    path("prices", catalog.Prices.as_view()),
    path("account", account.Account.as_view()),
    path("ledger", ledger.Ledger.as_view()),
    path("keys", keys.Keys.as_view()),
    path("keys/<uuid:key_id>", keys.OneKey.as_view()),
    path("keys/<uuid:key_id>/rotate", keys.KeyRotation.as_view()),
    path("usage", usage.UsageTotal.as_view()),
    path("usage/over-time", usage.UsageOverTime.as_view()),
    path("usage/breakdown", usage.UsageBreakdown.as_view()),
    path("usage/lines", usage.UsageLines.as_view()),
    path("requests", requests.Requests.as_view()),
    path("requests/content", requests.ContentOfAll.as_view()),
    path("requests/<uuid:request_id>", requests.OneRequest.as_view()),
    path("requests/<uuid:request_id>/content", requests.ContentOfRequest.as_view()),
    path("conversations", conversations.Conversations.as_view()),
    path("conversations/search", conversations.ConversationSearch.as_view()),
    path("conversations/<uuid:conversation_id>", conversations.OneConversation.as_view()),
    path("conversations/<uuid:conversation_id>/messages", messages.Messages.as_view()),
    path(_MESSAGE, messages.OneMessage.as_view()),
    path(f"{_MESSAGE}/edit", messages.MessageEdit.as_view()),
    path(f"{_MESSAGE}/regenerate", messages.MessageRegeneration.as_view()),
    path(f"{_MESSAGE}/stop", messages.MessageStop.as_view()),
]
