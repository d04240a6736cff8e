"""The forms of a key. Their data goes through the checks of /v1/keys, so the rules are the same."""

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from accounts.models import RETENTION_CHOICES_DAYS, ApiKey, validate_networks
from billing.key_caps import CAPS, caps_of
from billing.pricing import usd
from gateway.errors import GatewayError, InvalidRequest
from gateway.keys import fields as key_fields
from gateway.keys.fields import KeyFields
from gateway.models import Model

GRACES = {
    "0": dt.timedelta(),
    "1": dt.timedelta(hours=1),
    "24": dt.timedelta(hours=24),
}
_RETENTION = [
    (days, f"{days} days" if days else "0 days: keep nothing") for days in RETENTION_CHOICES_DAYS
]
_MOST_LINES = 100


def _cap(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_value=1_000_000,
        decimal_places=9,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


class KeyForm(forms.Form):
    """The form of a new key, or with `key` of that key's rules.

    A valid form has `key_fields`, the argument for `gateway.keys.management`.
    """

    key_fields: KeyFields

    name = forms.CharField(max_length=64, help_text="Its purpose, such as “backup script”.")
    expires_at = forms.DateTimeField(
        label="Works until",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In your time zone. Empty: it never expires.",
    )
    total_cap = _cap("In total, in US dollars")
    day_cap = _cap("Per day")
    week_cap = _cap("Per week")
    month_cap = _cap("Per month")
    allowed_models = forms.MultipleChoiceField(
        label="Models",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Tick none to allow all models, including future ones.",
    )
    requests_per_minute = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000_000,
        help_text="Within the limit of your account. Empty: only that limit.",
    )
    allowed_networks = forms.CharField(
        label="IP addresses",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One address or network per line: 192.0.2.7 or 2001:db8::/32. Empty: anywhere.",
    )
    retention_days = forms.TypedChoiceField(
        label="Keep messages and answers for",
        choices=_RETENTION,
        coerce=int,
        initial=90,
        help_text="They are kept encrypted, for you to read in the request log.",
    )
    scopes = forms.MultipleChoiceField(
        label="At /api/ it may",
        required=False,
        choices=[(scope.value, f"{scope.value}: {scope.label}") for scope in ApiKey.Scope],
        widget=forms.CheckboxSelectMultiple,
        help_text="Models at /v1 need none of these. Before a key gets one, we ask you to confirm "
        "that it is you.",
    )

    is_management = forms.BooleanField(
        label="A management key",
        required=False,
        help_text=(
            "It makes, changes and revokes your other keys at /v1/keys, and can't ask a model. "
            "It can't give a key a later end, more addresses or longer retention than its own. If "
            "it has caps, models or a rate limit, it can only list and revoke keys. "
            "Before you get it, we ask you to confirm that it is you."
        ),
    )

    def __init__(self, *arguments, key: ApiKey | None = None, **options):
        self.key = key
        options["initial"] = {**(_rules_of(key) if key else {}), **options.get("initial", {})}
        options.setdefault("label_suffix", "")
        super().__init__(*arguments, **options)
        models = self.fields["allowed_models"]
        assert isinstance(models, forms.MultipleChoiceField)
        models.choices = _models(key)
        if key:  # A key can't become a management key, or stop being one.
            del self.fields["is_management"]

    def clean_expires_at(self) -> dt.datetime | None:
        """Refuse a new end in the past. An unchanged end may have passed."""
        end = self.cleaned_data["expires_at"]
        if end and "expires_at" in self.changed_data and end <= timezone.now():
            raise ValidationError("This time has passed.")
        return end

    def clean_allowed_networks(self) -> list[str] | None:
        """Return the lines that aren't empty. The error names each wrong line."""
        lines = [line.strip() for line in self.cleaned_data["allowed_networks"].splitlines()]
        if len(lines) > _MOST_LINES:
            raise ValidationError(f"At most {_MOST_LINES} lines.")
        problems = [
            f"Line {number}, “{line}”: {problem}"
            for number, line in enumerate(lines, start=1)
            if line and (problem := _network_problem(line))
        ]
        if problems:
            raise ValidationError(problems)
        return [line for line in lines if line] or None

    def clean(self) -> dict:
        if not self.errors:
            try:
                fields = key_fields.parse(self._body(), new=self.key is None)
            except InvalidRequest as refusal:
                self.refuse(refusal)
            else:
                fields.columns["scopes"] = self.cleaned_data["scopes"]
                if self.key is None:
                    fields.columns["is_management"] = self.cleaned_data["is_management"]
                self.key_fields = fields
        return self.cleaned_data

    def refuse(self, refusal: GatewayError) -> None:
        """Show a refusal beside the field that it is about."""
        field = _field_of(refusal.param or "")
        self.add_error(field if field in self.fields else None, refusal.message)

    def _body(self) -> dict[str, Any]:
        """Return the body that a client would send to /v1/keys."""
        said = self.cleaned_data
        body = {
            "name": said["name"],
            "retention_days": said["retention_days"],
            "allowed_models": said["allowed_models"] or None,
            "allowed_networks": said["allowed_networks"],
            "requests_per_minute": said["requests_per_minute"],
            "caps": {period: said[f"{period}_cap"] for period in CAPS},
        }
        if "expires_at" in self.changed_data:
            end = said["expires_at"]
            body["expires_at"] = end and end.isoformat()
        return body


class RotateForm(forms.Form):
    grace = forms.ChoiceField(
        label="The old key",
        choices=[
            ("0", "ends now"),
            ("1", "works on for an hour"),
            ("24", "works on for a day"),
        ],
        initial="1",
        widget=forms.RadioSelect,
    )

    @property
    def grace_time(self) -> dt.timedelta:
        return GRACES[self.cleaned_data["grace"]]


def _rules_of(key: ApiKey) -> dict[str, Any]:
    end = key.expires_at
    return {
        "name": key.name,
        "expires_at": end and end.replace(second=0, microsecond=0),
        "allowed_models": key.allowed_models,
        "requests_per_minute": key.requests_per_minute,
        "allowed_networks": "\n".join(key.allowed_networks),
        "retention_days": key.retention_days,
        "scopes": key.scopes,
        **{f"{period}_cap": _dollars(cap) for period, cap in caps_of(key).items()},
    }


def _dollars(amount_nano: int | None) -> Decimal | None:
    return None if amount_nano is None else Decimal(usd(amount_nano).removesuffix(".0"))


def _models(key: ApiKey | None) -> list[tuple[str, str]]:
    """Return the enabled models, and the models that the key is already limited to."""
    named = Q(slug__in=key.allowed_models if key else [])
    rows = Model.objects.filter(Q(enabled=True) | named).order_by("slug")
    return [(slug, slug) for slug in rows.values_list("slug", flat=True)]


def _network_problem(line: str) -> str:
    try:
        validate_networks([line])
    except ValidationError as error:
        return error.messages[0]
    return ""


def _field_of(param: str) -> str:
    """Return the form's field for a rule's name, such as `caps.day` or `allowed_models[3]`."""
    name, _, rest = param.partition(".")
    return f"{rest}_cap" if name == "caps" else name.partition("[")[0]
