from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


def _ensure_groups(using: str, **kwargs) -> None:
    from kyma import groups

    if using == "default":
        groups.ensure()


class KymaConfig(AppConfig):
    name = "kyma"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        # Checks register themselves. Jobs belong to Celery's app as soon as that is made: not in
        # __init__.py, where the local provider would load it, and Django with it.
        from kyma import celery, checks  # noqa: F401

        # The permissions of all our apps exist by then.
        post_migrate.connect(_ensure_groups, sender=apps.get_app_config("accounts"))
