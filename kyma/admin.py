"""The page of a person in the admin, with money, keys and requests from the other apps."""

from typing import ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html, format_html_join

from accounts import suspension
from accounts.admin import UserAdmin
from accounts.models import User
from billing.models import CreditAccount
from billing.pricing import usd
from gateway.models import ApiRequest

SHOWN_REQUESTS = 20
MOVES = {User.State.ACTIVE: "suspend", User.State.SUSPENDED: "restore"}

admin.site.unregister(User)


@admin.register(User)
class WholeUserAdmin(UserAdmin):
    """State, balance, keys and last requests: counts and times, but never their content (P2)."""

    actions = ("suspend", "restore")
    fieldsets: ClassVar = (
        *UserAdmin.fieldsets,
        ("Use", {"fields": ("balance", "keys", "last_requests")}),
    )
    readonly_fields: ClassVar = (*UserAdmin.readonly_fields, "balance", "keys", "last_requests")

    @admin.display(description="balance, USD")
    def balance(self, row: User) -> str:
        account = CreditAccount.objects.filter(user_id=row.pk).first()
        if account is None:
            return "-"
        return f"{usd(account.balance_nano)} ({usd(account.held_nano)} held)"

    @admin.display(description="API keys")
    def keys(self, row: User) -> str:
        lines = ((f"{key.start}…{key.end}", key.state) for key in row.api_keys.order_by("-id"))
        return format_html_join("", "<div><code>{}</code> {}</div>", lines) or "-"

    @admin.display(description=f"last {SHOWN_REQUESTS} requests")
    def last_requests(self, row: User) -> str:
        requests = ApiRequest.objects.filter(account__user_id=row.pk).order_by("-id")
        lines = (
            (
                f"{one.created_at:%Y-%m-%d %H:%M:%S}",
                one.model,
                one.outcome,
                one.status,
                f"{one.prompt_tokens} + {one.completion_tokens} tokens",
                usd(one.cost_nano),
            )
            for one in requests[:SHOWN_REQUESTS]
        )
        cells = "<td>{}</td>" * 6
        rows = format_html_join("", f"<tr>{cells}</tr>", lines)
        return format_html("<table>{}</table>", rows) if rows else "-"

    def get_urls(self):
        moves = [
            path(
                f"<uuid:pk>/{name}/",
                self.admin_site.admin_view(self.move_one),
                {"name": name},
                name=f"accounts_user_{name}",
            )
            for name in MOVES.values()
        ]
        return moves + super().get_urls()

    def change_view(self, request, object_id, form_url="", extra_context=None):
        move = {"move": self._move_on_page(request, self.get_object(request, object_id))}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **move})

    def _move_on_page(self, request, user: User | None) -> str | None:
        """Return the action of the button on the page of `user`, or None for no button."""
        if user is None or user == request.user or not self.has_suspend_permission(request):
            return None
        is_above = user.is_superuser and not request.user.is_superuser
        return None if is_above else MOVES.get(User.State(user.state))

    def move_one(self, request, pk, name: str):
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_suspend_permission(request):
            raise PermissionDenied
        getattr(self, name)(request, User.objects.filter(pk=pk))
        return redirect("admin:accounts_user_change", pk)

    def has_suspend_permission(self, request) -> bool:
        return request.user.has_perm("accounts.suspend_user")

    @admin.action(description="Suspend", permissions=["suspend"])
    def suspend(self, request, queryset):
        self._move(request, queryset, suspension.suspend, "suspended")

    @admin.action(description="Restore", permissions=["suspend"])
    def restore(self, request, queryset):
        self._move(request, queryset, suspension.restore, "restored")

    def _move(self, request, queryset, move, done: str) -> None:
        if not request.user.is_superuser:
            queryset = queryset.filter(is_superuser=False)
        moved = [user for user in queryset.exclude(pk=request.user.pk) if move(user)]
        for user in moved:
            self.log_change(request, user, f"{done.capitalize()}.")
        self.message_user(request, f"{len(moved)} {done}.", messages.SUCCESS)
