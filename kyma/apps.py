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
        from kyma import checks  # noqa: F401 - registers them

        # The permissions of all our apps exist by then.
        post_migrate.connect(_ensure_groups, sender=apps.get_app_config("accounts"))
