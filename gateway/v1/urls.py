"""The URLs of /v1. `gateway.v1.handler` resolves them, without Kyma's middleware.

OpenRouter's clients find the same at /api/v1. The rest of /api/ is the developers' API.
"""

from django.urls import path

from gateway.dialects import apis as dialects
from gateway.v1 import account_views, guards, key_views, views

urlpatterns = [
    path("v1/chat/completions", views.answer, {"dialect": dialects.CHAT}),
    path("v1/completions", views.answer, {"dialect": dialects.COMPLETIONS}),
    path("v1/embeddings", views.answer, {"dialect": dialects.EMBEDDINGS}),
    path("v1/messages", guards.with_anthropic_limits(views.answer), {"dialect": dialects.MESSAGES}),
    path("v1/messages/count_tokens", guards.with_anthropic_limits(views.count_tokens)),
    path("v1/responses", views.answer, {"dialect": dialects.RESPONSES}),
    path("v1/models", views.models),
    path("v1/models/<path:slug>", views.model),
    path("v1/credits/balance", views.balance),
    path("v1/generation", views.generation),
    path("v1/receipts/keys", views.receipt_keys),
    path("v1/key", key_views.key),
    path("v1/keys", key_views.keys),
    path("v1/keys/<str:key_hash>", key_views.one_key),
    path("v1/auth/limits", account_views.limits),
    path("v1/credits", account_views.credits),
    path("v1/credits/pricing", account_views.pricing),
    path("v1/limits/tiers", account_views.tiers),
    path("v1/providers", account_views.providers),
    path("v1/openapi.json", account_views.openapi_document),
]

OPENROUTER_ROOT = "/api"

# The paths that clients use when their base URL lacks /v1.
WITHOUT_VERSION = frozenset(
    ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")
)


def is_below_v1(path: str) -> bool:
    return f"{path.removeprefix(OPENROUTER_ROOT)}/".startswith("/v1/")
