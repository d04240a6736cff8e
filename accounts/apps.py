from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
    default = True


class StaffAdminConfig(admin_apps.AdminConfig):
    """Django's admin, entered as accounts/admin_site.py says."""

    default_site = "accounts.admin_site.StaffSite"
    default = False
