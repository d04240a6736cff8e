from django.apps import AppConfig


class KymaConfig(AppConfig):
    name = "kyma"
    default_auto_field = "django.db.models.BigAutoField"
