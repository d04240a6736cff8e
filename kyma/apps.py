from django.apps import AppConfig


class KymaConfig(AppConfig):
    name = "kyma"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from kyma import checks  # noqa: F401 - registers them
