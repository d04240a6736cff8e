"""The admin of people and keys, and the two base classes for the other apps' admin pages.

No page of the admin deletes anything. Money or a promise may depend on a row, and a person's data
goes through the erasure, which knows all the places.
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
    """Label the two boxes: Django writes "Date:" and "Time:" beside them, but binds no label."""

    def get_context(self, name, value, attrs):
        context = super().get_context(name, value, attrs)
        labels = (context["date_label"], context["time_label"])
        for box, label in zip(context["widget"]["subwidgets"], labels, strict=True):
            box["attrs"]["aria-label"] = label
        return context


class KeepingAdmin(admin.ModelAdmin):
    """An admin whose rows can be changed, but never deleted."""

    list_per_page = 50
    show_full_result_count = False
    formfield_overrides = {
        DateTimeField: {"form_class": forms.SplitDateTimeField, "widget": LabelledDateTime}
    }

    def has_delete_permission(self, request, obj=None):
        return False


class ReadOnlyAdmin(KeepingAdmin):
    """An admin whose rows can only be viewed.

    The search box looks for one whole id in the columns of `search_ids`. A search for a part of an
    id, or for any text, would make the database read the whole table.
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
    # Only the person decides about the providers: privacy/provider_policy.py
    readonly_fields = ("id", "created_at", "last_login", "provider_choice")
    fieldsets = (
        (None, {"fields": ("email", "password", "id")}),
        ("Account", {"fields": ("state", "provider_choice")}),
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
        if db_field.name == "state":  # Only the erasure sets this state.
            kwargs["choices"] = [
                choice for choice in User.State.choices if choice[0] != User.State.ERASING
            ]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def has_change_permission(self, request, obj=None):
        """Only a superuser may change a superuser, including the password."""
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
            data_keys.create(obj.id)  # First, because a key without a user is harmless.
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:  # The new one isn't verified.
            EmailAddress.objects.filter(user=obj).delete()


# --- API keys ------------------------------------------------------------------------------------


@admin.register(ApiKey)
class ApiKeyAdmin(KeepingAdmin):
    """Keys are issued by their owners. Superusers limit them; support disables or revokes them."""

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
    actions = ("disable", "revoke")

    def has_add_permission(self, request, obj=None):
        return False

    @admin.display(description="key")
    def key(self, row: ApiKey) -> str:
        return f"{row.start}…{row.end}"

    @admin.display(description="owner", ordering="user__email")
    def owner(self, row: ApiKey) -> str:
        return row.user.email

    def has_disable_permission(self, request) -> bool:
        return request.user.has_perm("accounts.disable_apikey")

    @admin.action(description="Disable", permissions=["disable"])
    def disable(self, request, queryset):
        self._end(request, queryset.filter(disabled_at=None), keys.disable, "disabled")

    @admin.action(description="Revoke, for good", permissions=["disable"])
    def revoke(self, request, queryset):
        self._end(request, queryset, keys.revoke, "revoked")

    def _end(self, request, queryset, end, done: str) -> None:
        rows = list(queryset.filter(revoked_at=None))
        for row in rows:
            end(row)
            self.log_change(request, row, f"{done.capitalize()}.")
        self.message_user(request, f"{len(rows)} {done}.", messages.SUCCESS)


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
    """A row of the list. The box has its own label, because screen readers miss the heading."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        box = self.fields["is_refused"].widget
        box.attrs["aria-label"] = f"{self.instance.domain} is refused"


@admin.register(DisposableDomain)
class DisposableDomainAdmin(KeepingAdmin):
    """Domains whose addresses are refused at sign-up and when an address is changed."""

    form = DisposableDomainForm
    list_display = ("domain", "is_refused")
    list_editable = ("is_refused",)
    list_filter = ("is_refused",)
    search_fields = ("domain",)
    ordering = ("domain",)

    def get_changelist_form(self, request, **options):
        return super().get_changelist_form(request, form=RefusalForm, **options)


# Remove the pages that allauth registers: people change their own addresses, and a page of second
# factors would show sealed secrets and accept new ones.
for _model in (EmailAddress, Authenticator, UserSession):
    admin.site.unregister(_model)
