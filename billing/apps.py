from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


def _install_triggers(using: str, **kwargs) -> None:
    from billing import append_only

    append_only.install(connections[using])


class BillingConfig(AppConfig):
    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from allauth.account.signals import email_confirmed

        from billing import signup

        post_migrate.connect(_install_triggers, sender=self)
        email_confirmed.connect(signup.on_email_confirmed)
