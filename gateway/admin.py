"""The admin of providers, models and routes, and of the request log without its content.

At every start `manage.py load_catalog` restores the values of gateway/catalogue/*.toml, but never
changes `enabled`. The content of requests has no page here.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from accounts.admin import KeepingAdmin, ReadOnlyAdmin
from billing.admin import usd_column
from billing.pricing import usd
from gateway.catalogue.files import MODEL_FIELDS, PROVIDER_FIELDS, ROUTE_FIELDS
from gateway.models import ApiRequest, Model, Provider, Route
from gateway.models.evidence import due_of
from gateway.providers import probes

SET_BY_FILE = (
    "At every start the catalogue files restore these values, so change them there too. "
    "The catalogue files never change “enabled”, nor any row that they don't name. A retention "
    "with newer evidence than theirs stays."
)
PROBES_CHANGE_NOTHING = (
    "Providers are probed every few minutes, and by the action in the list. A probe switches "
    "nothing off: the gateway learns from its own requests which routes fail."
)


# --- Providers -----------------------------------------------------------------------------------


class ProviderForm(forms.ModelForm):
    new_api_key = forms.CharField(
        label="New API key",
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Replaces the stored key, which is encrypted and never shown. Empty: no change.",
    )


@method_decorator(sensitive_post_parameters("new_api_key"), name="changeform_view")
@admin.register(Provider)
class ProviderAdmin(KeepingAdmin):
    form = ProviderForm
    list_display = (
        "slug",
        "name",
        "enabled",
        "retention",
        "evidence",
        "key_is_set",
        "probe_ok",
        "probe_note",
        "probed_at",
        "self_hosted",
    )
    list_filter = ("enabled", "probe_ok", "retention")
    search_fields = ("slug", "name")
    ordering = ("slug",)
    readonly_fields = ("key_is_set", "probed_at", "probe_ok", "probe_note")
    actions = ("probe",)
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    fieldsets = (
        (None, {"fields": ("slug", "enabled", "key_is_set", "new_api_key")}),
        (
            "Last probe",
            {
                "description": PROBES_CHANGE_NOTHING,
                "fields": ("probed_at", "probe_ok", "probe_note"),
            },
        ),
        (
            "Set by gateway/catalogue/providers.toml",
            {
                "description": SET_BY_FILE,
                "fields": ("base_url", "self_hosted", *PROVIDER_FIELDS),
            },
        ),
    )

    @admin.display(description="key is set", boolean=True)
    def key_is_set(self, row: Provider) -> bool:
        return row.api_key_sealed is not None

    @admin.display(description="evidence of", ordering="retention_evidence_date")
    def evidence(self, row: Provider) -> str:
        due = due_of(row, timezone.now().date())
        date = row.retention_evidence_date
        return " – ".join(str(one) for one in (date, due) if one) or "-"

    @admin.action(description="Test the key and the address", permissions=["change"])
    def probe(self, request, queryset):
        for row, probe in probes.refresh(queryset):
            self.log_change(request, row, f"Probed: {probe}.")
            level = messages.SUCCESS if probe.ok else messages.ERROR
            self.message_user(request, f"{row.slug} {probe}", level)

    def save_model(self, request, obj, form, change):
        if form.cleaned_data["new_api_key"]:
            obj.set_api_key(form.cleaned_data["new_api_key"])
        super().save_model(request, obj, form, change)


# --- Models and routes ---------------------------------------------------------------------------


def price_column(field: str, label: str):
    """Return a column with one number of a route's price, in dollars per million tokens."""

    @admin.display(description=f"{label}, USD/M", ordering=f"price_version__{field}")
    def column(route: Route) -> str:
        # A route has no price yet while it is being added.
        return usd(getattr(route.price_version, field)) if route.price_version_id else "-"

    column.__name__ = f"price_{field}"
    return column


@admin.display(description="price verified", boolean=True, ordering="price_version__verified")
def price_is_verified(route: Route) -> bool | None:
    return route.price_version.verified if route.price_version_id else None


PRICES: tuple[Any, ...] = (
    price_column("input_nano", "input"),
    price_column("cached_input_nano", "cached input"),
    price_column("output_nano", "output"),
    price_is_verified,
)


class RouteInline(admin.TabularInline):
    """The routes of a model, read-only. Each links to its own page."""

    model = Route
    readonly_fields = ("provider", "upstream_model", *PRICES, "enabled")
    fields = readonly_fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request, obj=None):
        return False

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("provider", "price_version")


@admin.register(Model)
class ModelAdmin(KeepingAdmin):
    list_display = ("slug", "name", "maker", "context_length", "enabled")
    list_filter = ("enabled",)
    search_fields = ("slug", "name", "maker")
    ordering = ("slug",)
    inlines = (RouteInline,)
    fieldsets = (
        (None, {"fields": ("slug", "enabled")}),
        (
            "Set by gateway/catalogue/catalog.toml",
            {
                "description": SET_BY_FILE,
                "fields": MODEL_FIELDS,
            },
        ),
    )


@admin.register(Route)
class RouteAdmin(KeepingAdmin):
    """The admin of routes. To change a price, point the route at another price version."""

    list_display = ("model", "provider", "upstream_model", *PRICES, "enabled")
    list_select_related = ("model", "provider", "price_version")
    list_filter = ("enabled", "price_version__verified", "provider")
    search_fields = ("model__slug", "provider__slug", "upstream_model")
    ordering = ("model__slug", "provider__slug")
    raw_id_fields = ("price_version", "cost_version")
    actions = ("ask_for_a_token",)
    readonly_fields = (*PRICES, "price_source")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "model",
                    "provider",
                    "enabled",
                    "passthrough",
                    "image_tokens",
                    "template_tokens",
                )
            },
        ),
        (
            "Set by gateway/catalogue/catalog.toml",
            {
                "description": SET_BY_FILE,
                "fields": (*ROUTE_FIELDS, PRICES, "price_source", "price_version"),
            },
        ),
        ("What the provider charges", {"fields": ("cost_version",)}),
    )

    @admin.action(
        description="Ask for one token (costs a fraction of a cent)", permissions=["change"]
    )
    def ask_for_a_token(self, request, queryset):
        for route, outcome in probes.test_routes(queryset):
            self.log_change(request, route, f"Tested: {outcome}.")
            answered = messages.SUCCESS if outcome.reports_usage else messages.WARNING
            self.message_user(
                request,
                f"{route.model.slug} via {route.provider.slug}: {outcome}",
                answered if outcome.ok else messages.ERROR,
            )

    @admin.display(description="source of the price")
    def price_source(self, route: Route) -> str:
        if not route.price_version_id:
            return "-"
        return f"{route.price_version.source} ({route.price_version.source_date or 'undated'})"


# --- The request log -----------------------------------------------------------------------------


@admin.register(ApiRequest)
class ApiRequestAdmin(ReadOnlyAdmin):
    """The counts, timing and cost of each request (P9), without its content (P2)."""

    cost = usd_column("cost_nano", "cost")
    list_display = (
        "id",
        "created_at",
        "account_id",
        "model",
        "provider",
        "outcome",
        "status",
        "prompt_tokens",
        "completion_tokens",
        cost,
    )
    list_filter = ("outcome", "streamed", "estimated", "flagged")
    search_ids = ("id", "account_id", "key_id")
    search_help_text = "The full id of a request, an account or a key"
    readonly_fields = (
        "id",
        "created_at",
        "account",
        "key",
        "api",
        "streamed",
        "outcome",
        "status",
        "error_type",
        "finish_reason",
        "model",
        "alias",
        "provider",
        "route",
        "price_version",
        "attempts",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "images",
        "estimated",
        "flagged",
        usd_column("hold_nano", "held"),
        cost,
        usd_column("loss_nano", "our loss"),
        usd_column("upstream_cost_nano", "cost to us"),
        "overhead_ms",
        "first_token_ms",
        "latency_ms",
        "session_hash",
        "user_hash",
    )
    fields = readonly_fields
