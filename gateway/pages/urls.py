"""The URLs of the pages about models and providers, keys, usage and requests."""

from django.urls import path

from gateway.pages import keys, public, requests, usage

urlpatterns = [
    path("models", public.models, name="models"),
    path("models.json", public.models_json, name="models_json"),
    path("models/<path:slug>", public.model, name="model"),
    path("providers", public.providers, name="providers"),
    path("status", public.status, name="status"),
    path("status.json", public.status_json, name="status_json"),
    path("keys", keys.keys, name="keys"),
    path("keys/new", keys.new_key, name="new_key"),
    path("keys/<uuid:key_id>", keys.key, name="key"),
    path("keys/<uuid:key_id>/rotate", keys.rotate_key, name="rotate_key"),
    path("keys/<uuid:key_id>/disable", keys.disable_key, name="disable_key"),
    path("keys/<uuid:key_id>/enable", keys.enable_key, name="enable_key"),
    path("keys/<uuid:key_id>/revoke", keys.revoke_key, name="revoke_key"),
    path("usage", usage.usage_page, name="usage"),
    path("usage.csv", usage.usage_csv, name="usage_csv"),
    path("requests", requests.requests, name="requests"),
    path("requests/content/delete", requests.delete_all_content, name="delete_all_content"),
    path("requests/<uuid:request_id>", requests.one_request, name="request"),
    path("requests/<uuid:request_id>/receipt.json", requests.receipt, name="receipt"),
    path("requests/<uuid:request_id>/delete", requests.delete_content, name="delete_content"),
]
