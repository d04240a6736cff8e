"""The admin of money, mostly read-only. Amounts in dollars; prices in dollars per million tokens.

Price versions can be added, but never changed (see billing/append_only.py).
"""

from typing import Any, ClassVar

from django import forms
from django.apps import apps
from django.contrib import admin

from accounts.admin import ApiKeyAdmin, KeepingAdmin, ReadOnlyAdmin
from accounts.models import ApiKey
from billing.key_caps import CAPS, set_caps, sheet_of
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry, PriceVersion
from billing.pricing import nano, usd

MAX_PRICE_NANO = 10**15  # a million dollars


def usd_column(field: str, label: str, *, sortable: bool = True) -> Any:
    """Return a column or read-only field that shows the nano-dollars in `field` as dollars."""

    @admin.display(description=f"{label}, USD", ordering=field if sortable else None)
    def column(row):
        amount_nano = getattr(row, field)
        return "-" if amount_nano is None else usd(amount_nano)

    column.__name__ = f"{field}_usd"
    return column


# --- Price versions ------------------------------------------------------------------------------


class UsdField(forms.CharField):
    """An amount typed as a decimal number of dollars and cleaned to nano-dollars."""

    def __init__(self, **kwargs):
        super().__init__(max_length=24, **kwargs)

    def clean(self, value):
        text = super().clean(value)
        if not text:
            return None
        try:
            amount_nano = nano(text)
        except ValueError as error:
            raise forms.ValidationError(
                "Give dollars as a decimal number with at most 9 decimals, like 0.10."
            ) from error
        if amount_nano > MAX_PRICE_NANO:
            raise forms.ValidationError("This is more than a million dollars.")
        return amount_nano


class PriceVersionForm(forms.ModelForm):
    input_usd = UsdField(label="Input, USD per million tokens")
    cached_input_usd = UsdField(
        label="Cached input, USD per million tokens",
        required=False,
        help_text="Left empty: a tenth of input, rounded up.",
    )
    output_usd = UsdField(label="Output, USD per million tokens")
    request_usd = UsdField(label="Each request, USD", initial="0")
    image_usd = UsdField(label="Each image, USD", initial="0")

    class Meta:
        model = PriceVersion
        fields = ("source", "source_date", "verified")

    def clean(self):
        super().clean()
        amounts = self.cleaned_data
        if amounts.get("cached_input_usd") is None and "input_usd" in amounts:
            amounts["cached_input_usd"] = -(-amounts["input_usd"] // 10)
        for name in ("input", "cached_input", "output", "request", "image"):
            if amounts.get(f"{name}_usd") is not None:
                setattr(self.instance, f"{name}_nano", amounts[f"{name}_usd"])
        return amounts


@admin.register(PriceVersion)
class PriceVersionAdmin(KeepingAdmin):
    """Price versions are added, never changed: a new price is a new version for a route."""

    form = PriceVersionForm
    amounts = (
        usd_column("input_nano", "input per million tokens"),
        usd_column("cached_input_nano", "cached input per million tokens"),
        usd_column("output_nano", "output per million tokens"),
        usd_column("request_nano", "each request"),
        usd_column("image_nano", "each image"),
    )
    list_display = ("short_id", *amounts, "verified", "source_date", "created_at")
    list_filter = ("verified",)
    search_fields = ("source",)
    ordering = ("-id",)

    def has_change_permission(self, request, obj=None):
        return False

    def get_fields(self, request, obj=None):
        if obj is None:
            return (*PriceVersionForm.base_fields,)
        return ("id", *self.amounts, "source", "source_date", "verified", "created_at")

    def get_readonly_fields(self, request, obj=None):
        return () if obj is None else self.get_fields(request, obj)

    @admin.display(description="version", ordering="id")
    def short_id(self, row: PriceVersion) -> str:
        return str(row)


# --- Accounts, entries, holds, spend -------------------------------------------------------------


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin):
    amounts = (
        usd_column("balance_nano", "balance"),
        usd_column("held_nano", "held"),
        usd_column("available_nano", "available", sortable=False),
        usd_column("owed_nano", "owed"),
        usd_column("purchased_nano", "purchased"),
    )
    list_display = ("id", "owner", *amounts[:3], "tier", "unlimited")
    list_select_related = ("user",)
    list_filter = ("tier", "unlimited")
    search_ids = ("id", "user_id")
    search_help_text = "The whole id of an account or a user, or an e-mail address"
    readonly_fields = ("id", "owner", *amounts, "tier", "unlimited", "no_gift", "created_at")
    fields = readonly_fields

    @admin.display(description="owner", ordering="user__email")
    def owner(self, row: CreditAccount) -> str:
        return row.user.email if row.user else "erased"

    def get_search_results(self, request, queryset, search_term):
        if "@" in search_term:
            return queryset.filter(user__email=search_term.strip().lower()), False
        return super().get_search_results(request, queryset, search_term)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    amount = usd_column("amount_nano", "amount")
    list_display = ("id", "account_id", "kind", amount, "request_id", "created_at")
    list_filter = ("kind",)
    search_ids = ("id", "account_id", "request_id")
    search_help_text = "The whole id of an entry, an account or a request"
    readonly_fields = (
        "id",
        "account",
        "kind",
        amount,
        "request_id",
        "idempotency_key",
        "created_at",
    )
    fields = readonly_fields


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    amount = usd_column("amount_nano", "amount")
    list_display = ("id", "account_id", amount, "created_at", "deadline")
    search_ids = ("id", "account_id", "key_id")
    search_help_text = "The whole id of a request, an account or a key"
    readonly_fields = (
        "id",
        "account",
        "key",
        "price_version",
        amount,
        "process_id",
        "created_at",
        "deadline",
    )
    fields = readonly_fields


@admin.register(KeySpend)
class KeySpendAdmin(ReadOnlyAdmin):
    held = usd_column("held_nano", "held")
    total = usd_column("total_nano", "total")
    periods: tuple[Any, ...] = tuple(
        column
        for period in ("day", "week", "month")
        for column in (period, usd_column(f"{period}_nano", f"spent in that {period}"))
    )
    caps: tuple[Any, ...] = tuple(
        usd_column(f"{period}_cap_nano", f"cap, {period}")
        for period in ("total", "day", "week", "month")
    )
    list_display = ("key_id", held, total, periods[1], periods[3], periods[5])
    ordering = ("-key_id",)
    search_ids = ("key_id",)
    search_help_text = "The whole id of a key"
    readonly_fields = ("key", held, total, *periods, *caps)
    fields = readonly_fields


# --- Caps of keys --------------------------------------------------------------------------------


class KeyCapsForm(forms.ModelForm):
    """A key with its caps, typed in dollars. An empty field means no cap."""

    total_cap_usd = UsdField(label="Cap in total, USD", required=False)
    day_cap_usd = UsdField(label="Cap a day, USD", required=False)
    week_cap_usd = UsdField(label="Cap a week, USD", required=False)
    month_cap_usd = UsdField(label="Cap a month, USD", required=False)

    class Meta:
        model = ApiKey
        fields = ("allowed_models", "allowed_networks", "requests_per_minute")

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        for period, cap_nano in sheet_of(self.instance).caps.items():
            self.initial[f"{period}_cap_usd"] = None if cap_nano is None else usd(cap_nano)

    @property
    def changed_caps(self) -> dict[str, int | None]:
        names = {f"{period}_cap_usd": period for period in CAPS}
        changed = names.keys() & set(self.changed_data)
        return {names[name]: self.cleaned_data[name] for name in changed}


def cap_display(period: str) -> Any:
    @admin.display(description=f"cap, {period}, USD")
    def display(_, row: ApiKey) -> str:
        cap_nano = sheet_of(row).caps[period]
        return "-" if cap_nano is None else usd(cap_nano)

    return display


admin.site.unregister(ApiKey)


@admin.register(ApiKey)
class CappedApiKeyAdmin(ApiKeyAdmin):
    """The page of a key, with its caps on spending."""

    form = KeyCapsForm
    fields: ClassVar[Any] = (*ApiKeyAdmin.fields, *(f"{period}_cap_usd" for period in CAPS))
    # A person with the right to view only gets no form, so the caps are read-only columns.
    total_cap_usd, day_cap_usd, week_cap_usd, month_cap_usd = map(cap_display, CAPS)

    def save_model(self, request, obj, form, change):
        super().save_model(request, obj, form, change)
        set_caps(obj, form.changed_caps)


# Remove dj-stripe's pages: they show the personal data and the keys that Stripe sent, and accept
# cards and bank accounts typed by hand (P4).
for _model in apps.get_app_config("djstripe").get_models():
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)
