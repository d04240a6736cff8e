"""The groups of staff and their rights in the admin, made after every migrate.

Rights that an operator adds to a group stay, and the rights listed here come back. Only a superuser
may change people: anybody who could set a password could take over that person's account.
"""

from django.contrib.auth.models import Group, Permission

PERMISSIONS = {
    "support": {
        "accounts": ("view_user", "suspend_user", "view_apikey", "disable_apikey"),
        "billing": ("view_creditaccount", "view_ledgerentry", "view_hold", "view_keyspend"),
        "gateway": ("view_apirequest", "view_provider", "view_model", "view_route"),
    },
    "finance": {
        "accounts": ("view_user",),
        "billing": (
            *("view_creditaccount", "view_ledgerentry", "view_hold", "view_keyspend"),
            *("view_priceversion", "add_priceversion"),
        ),
        "gateway": ("view_apirequest", "view_route"),
    },
    "privacy_officer": {
        "accounts": ("view_user", "suspend_user", "view_apikey"),
        "gateway": ("view_apirequest",),
    },
}
# The privacy officer handles all requests of people (exports, erasures).
WHOLE_APPS = {"privacy_officer": ("privacy",)}


def ensure() -> None:
    """Make the groups and give each its permissions. Safe to repeat."""
    for name, by_app in PERMISSIONS.items():
        group, _ = Group.objects.get_or_create(name=name)
        permissions = Permission.objects.none()
        for app, codenames in by_app.items():
            permissions |= Permission.objects.filter(
                content_type__app_label=app, codename__in=codenames
            )
        permissions |= Permission.objects.filter(
            content_type__app_label__in=WHOLE_APPS.get(name, ())
        )
        group.permissions.add(*permissions)
