"""Pages about models and providers, keys, usage and requests."""

from django.contrib.auth.decorators import login_not_required
from django.urls import path
from django.views.generic import TemplateView

from gateway.pages import keys

_soon = TemplateView.as_view(template_name="soon.html")
_public = login_not_required(TemplateView.as_view(template_name="soon.html"))

urlpatterns = [
    path("models", _public, name="models"),
    path("providers", _public, name="providers"),
    path("status", _public, name="status"),
    path("keys", keys.keys, name="keys"),
    path("keys/new", keys.new_key, name="new_key"),
    path("keys/<uuid:key_id>", keys.key, name="key"),
    path("keys/<uuid:key_id>/rotate", keys.rotate_key, name="rotate_key"),
    path("keys/<uuid:key_id>/disable", keys.disable_key, name="disable_key"),
    path("keys/<uuid:key_id>/enable", keys.enable_key, name="enable_key"),
    path("keys/<uuid:key_id>/revoke", keys.revoke_key, name="revoke_key"),
    path("usage", _soon, name="usage"),
    path("requests", _soon, name="requests"),
]
