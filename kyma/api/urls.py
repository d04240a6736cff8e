"""The developers' API at /api/: what a person can do on the pages, for programs."""

from django.urls import path, re_path

from kyma.api import account, catalog, docs, keys, ledger, requests, resource, usage

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
    path("keys/<uuid:key_id>/rotate", keys.Rotation.as_view()),
    path("usage", usage.Total.as_view()),
    path("usage/over-time", usage.OverTime.as_view()),
    path("usage/breakdown", usage.Breakdown.as_view()),
    path("usage/lines", usage.Lines.as_view()),
    path("requests", requests.Requests.as_view()),
    path("requests/content", requests.AllContent.as_view()),
    path("requests/<uuid:request_id>", requests.OneRequest.as_view()),
    path("requests/<uuid:request_id>/content", requests.Content.as_view()),
    re_path("", resource.Nowhere.as_view()),
]
