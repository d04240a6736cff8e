from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import pre_save


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
    default = True

    def ready(self):
        from allauth.usersessions.models import UserSession

        from accounts import security_changes, session_list

        pre_save.connect(session_list.seal, sender=UserSession)
        security_changes.connect()


class StaffAdminConfig(admin_apps.AdminConfig):
    """Django's admin with the site from accounts/admin_site.py."""

    default_site = "accounts.admin_site.StaffSite"
    default = False
