"""The admin of people and keys, and the two classes on which the other apps' pages stand.

No page of the admin deletes anything: rows that money or a promise depends on must stay, and a
person's data goes through the erasure, which knows all the places.
"""

import uuid

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.db.models import DateTimeField, Q

from accounts import keys
from accounts.keyring import data_keys
from accounts.models import ApiKey, DisposableDomain, User

admin.site.site_header = admin.site.site_title = "Kyma"
admin.site.index_title = "Administration"
admin.site.disable_action("delete_selected")


class LabelledDateTime(AdminSplitDateTime):
    """Django writes "Date:" and "Time:" beside the two boxes, but binds neither to its box."""

    def get_context(self, name, value, attrs):
        context = super().get_context(name, value, attrs)
        labels = (context["date_label"], context["time_label"])
        for box, label in zip(context["widget"]["subwidgets"], labels, strict=True):
            box["attrs"]["aria-label"] = label
        return context


class KeepingAdmin(admin.ModelAdmin):
    """Rows can be changed, never deleted."""

    list_per_page = 50
    show_full_result_count = False
    formfield_overrides = {
        DateTimeField: {"form_class": forms.SplitDateTimeField, "widget": LabelledDateTime}
    }

    def has_delete_permission(self, request, obj=None):
        return False


class ReadOnlyAdmin(KeepingAdmin):
    """Rows can be looked at. The box searches the columns in `search_ids` for one whole id.

    A part of an id, or any text, would have the database read the whole table.
    """

    search_ids: tuple[str, ...] = ("id",)
    search_fields = ("id",)
    search_help_text = "A whole id"
    ordering = ("-id",)

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def get_search_results(self, request, queryset, search_term):
        if not search_term.strip():
            return queryset, False
        try:
            wanted = uuid.UUID(search_term.strip())
        except ValueError:
            return queryset.none(), False
        conditions = Q()
        for column in self.search_ids:
            conditions |= Q(**{column: wanted})
        return queryset.filter(conditions), False


# --- People --------------------------------------------------------------------------------------


class LowerCaseEmail(forms.EmailField):
    def clean(self, value):
        return super().clean(value).lower()


class UserCreationForm(AdminUserCreationForm):
    email = LowerCaseEmail()

    class Meta:
        model = User
        fields = ("email",)


class UserForm(UserChangeForm):
    email = LowerCaseEmail()

    class Meta:
        model = User
        fields = "__all__"  # noqa: DJ007 - the fieldsets below are the list


@admin.register(User)
class UserAdmin(KeepingAdmin, BaseUserAdmin):
    form = UserForm
    add_form = UserCreationForm
    list_display = ("email", "state", "is_active", "is_staff", "is_superuser", "created_at")
    list_filter = ("state", "is_active", "is_staff", "is_superuser")
    search_fields = ("email",)
    search_help_text = "E-mail address"
    ordering = ("-id",)
    readonly_fields = ("id", "created_at", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "password", "id")}),
        ("Account", {"fields": ("state", "allows_unstated_retention")}),
        (
            "Access to this admin",
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        ("Dates", {"fields": ("created_at", "last_login")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )

    def formfield_for_choice_field(self, db_field, request, **kwargs):
        if db_field.name == "state":  # Erasing is begun by the erasure, not by hand.
            kwargs["choices"] = [
                choice for choice in User.State.choices if choice[0] != User.State.ERASING
            ]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def has_change_permission(self, request, obj=None):
        """Only a superuser changes a superuser, the password included."""
        is_above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not is_above and super().has_change_permission(request, obj)

    def get_readonly_fields(self, request, obj=None):
        fields = super().get_readonly_fields(request, obj)
        if obj is not None and obj.state == User.State.ERASING:
            fields = (*fields, "state", "is_active")
        if not request.user.is_superuser:
            fields = (*fields, "is_staff", "is_superuser", "groups", "user_permissions")
        return fields

    def save_model(self, request, obj, form, change):
        if not change:
            data_keys.create(obj.id)  # First: a key without a user is harmless.
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:  # It isn't verified, and no other counts.
            EmailAddress.objects.filter(user=obj).delete()


# --- API keys ------------------------------------------------------------------------------------


@admin.register(ApiKey)
class ApiKeyAdmin(KeepingAdmin):
    """Keys are issued by their owners; here one is disabled, limited in time, or revoked."""

    list_display = (
        "key",
        "owner",
        "name",
        "retention_days",
        "created_at",
        "expires_at",
        "disabled_at",
        "revoked_at",
    )
    list_select_related = ("user",)
    search_fields = ("user__email", "name", "start", "end")
    search_help_text = "E-mail address, name, or how the key starts or ends"
    ordering = ("-id",)
    fields = (
        "key",
        "owner",
        "name",
        "retention_days",
        "allowed_models",
        "allowed_networks",
        "requests_per_minute",
        "is_management",
        "scopes",
        "created_at",
        "expires_at",
        "disabled_at",
        "revoked_at",
    )
    readonly_fields = (
        "key",
        "owner",
        "name",
        "retention_days",
        "is_management",
        "scopes",
        "created_at",
        "revoked_at",
    )
    actions = ("revoke",)

    def has_add_permission(self, request, obj=None):
        return False

    @admin.display(description="key")
    def key(self, row: ApiKey) -> str:
        return f"{row.start}…{row.end}"

    @admin.display(description="owner", ordering="user__email")
    def owner(self, row: ApiKey) -> str:
        return row.user.email

    @admin.action(description="Revoke, for good", permissions=["change"])
    def revoke(self, request, queryset):
        rows = list(queryset.filter(revoked_at=None))
        for row in rows:
            keys.revoke(row)
            self.log_change(request, row, "Revoked.")
        self.message_user(request, f"{len(rows)} revoked.", messages.SUCCESS)


# --- Disposable mail -----------------------------------------------------------------------------


class DisposableDomainForm(forms.ModelForm):
    class Meta:
        model = DisposableDomain
        fields = ("domain", "is_refused")

    def clean_domain(self) -> str:
        domain = self.cleaned_data["domain"].strip().lower().strip(".@")
        if "." not in domain or "/" in domain or "@" in domain:
            raise forms.ValidationError("Give a domain alone, like example.com.")
        return domain


class RefusalForm(forms.ModelForm):
    """A line of the list: the column's heading alone names its box to nobody who can't see it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        box = self.fields["is_refused"].widget
        box.attrs["aria-label"] = f"{self.instance.domain} is refused"


@admin.register(DisposableDomain)
class DisposableDomainAdmin(KeepingAdmin):
    """Domains whose addresses are refused at sign-up and at a change of address."""

    form = DisposableDomainForm
    list_display = ("domain", "is_refused")
    list_editable = ("is_refused",)
    list_filter = ("is_refused",)
    search_fields = ("domain",)
    ordering = ("domain",)

    def get_changelist_form(self, request, **options):
        return super().get_changelist_form(request, form=RefusalForm, **options)


# What allauth registers of its own: addresses are changed by their owners, and a page of second
# factors would show sealed secrets and take new ones.
for _model in (EmailAddress, Authenticator, UserSession):
    admin.site.unregister(_model)
