"""What /v1 serves. Resolved by `gateway.asgi`, without Kyma's middleware."""

from django.urls import path

from gateway import views

urlpatterns = [
    path("v1/chat/completions", views.chat_completions),
    path("v1/completions", views.text_completions),
    path("v1/embeddings", views.embeddings),
    path("v1/messages", views.messages),
    path("v1/messages/count_tokens", views.count_tokens),
    path("v1/responses", views.responses),
    path("v1/models", views.models),
    path("v1/models/<path:slug>", views.model),
    path("v1/credits/balance", views.balance),
    path("v1/generation", views.generation),
    path("v1/receipts/keys", views.receipt_keys),
]
