"""The filter form of the usage page. Its days are days in the person's time zone."""

import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from accounts.models import ApiKey, User
from gateway.analytics import usage
from gateway.analytics.periods import FIRST_DAY, LAST_DAY, midnight
from gateway.analytics.usage import Filter
from gateway.pages.usage_figures import key_label
from gateway.serving import sessions

DEFAULT_DAYS = 30
MOST_DAYS = 366
ANY = (("", "All"),)
NO_SUCH_KEY = "This account has no such key: choose one of the list."
NO_SUCH_STATUS = "There is no such status: choose one of the list."
STATUSES = (*ANY, ("ok", "Answered"), ("error", "Failed"))


class KeyField(forms.ModelChoiceField):
    def label_from_instance(self, key: ApiKey) -> str:
        return key_label(key)

    def to_python(self, value: Any) -> ApiKey | None:
        try:
            return super().to_python(value)
        except forms.ValidationError as error:
            raise forms.ValidationError(NO_SUCH_KEY) from error


class DayField(forms.DateField):
    """A day that can be converted to any time zone without leaving the calendar."""

    def __init__(self, label: str):
        widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
        bounds = [MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)]
        super().__init__(label=label, required=False, widget=widget, validators=bounds)


class UsageForm(forms.Form):
    """The filter form. Empty fields don't filter, and the default is the last thirty days.

    A session is given by the caller's own name for it.
    """

    since = DayField("From")
    until = DayField("To")
    key = KeyField(ApiKey.objects.none())
    model = forms.CharField(max_length=96, widget=forms.Select(choices=ANY))
    provider = forms.CharField(max_length=32, widget=forms.Select(choices=ANY))
    status = forms.ChoiceField(choices=STATUSES, error_messages={"invalid_choice": NO_SUCH_STATUS})
    session = forms.CharField(label="Session id", max_length=256)

    def __init__(self, data: Mapping[str, str], *, user: User):
        today = timezone.localdate()
        first = today - dt.timedelta(days=DEFAULT_DAYS - 1)
        days = {"since": first.isoformat(), "until": today.isoformat()}
        given = {name: value for name, value in data.items() if value}
        super().__init__({**days, **given}, label_suffix="")
        keys = ApiKey.objects.filter(user=user).order_by("-created_at")
        self.fields["key"] = KeyField(keys, label="API key", empty_label="All")
        for field in self.fields.values():
            field.required = False

    def clean(self):
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since > until:
            self.add_error("until", "This day lies before the first one.")
        elif since and until and until - since >= dt.timedelta(days=MOST_DAYS):
            self.add_error("since", f"Choose at most {MOST_DAYS} days.")
        return cleaned

    def offer_what_was_used(self, account_id: uuid.UUID) -> None:
        """Offer the models and providers that were used in these days, and the chosen ones."""
        models, providers = usage.models_and_providers(self.days(account_id))
        for name, used in (("model", models), ("provider", providers)):
            slugs = sorted({*used, self.cleaned_data[name]} - {""})
            self.fields[name].widget.choices = [*ANY, *((slug, slug) for slug in slugs)]

    def filter(self, account_id: uuid.UUID) -> Filter:
        """Return the filter that a valid form asks for."""
        wanted = self.cleaned_data
        return dataclasses.replace(
            self.days(account_id),
            key_id=wanted["key"].id if wanted["key"] else None,
            model=wanted["model"],
            provider=wanted["provider"],
            status=wanted["status"],
            session=sessions.hash_of(wanted["session"], account_id.hex),
        )

    def days(self, account_id: uuid.UUID) -> Filter:
        """Return a filter for the form's days and nothing else."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        after = until + dt.timedelta(days=1)
        return Filter(account_id=account_id, since=midnight(since), until=midnight(after))
