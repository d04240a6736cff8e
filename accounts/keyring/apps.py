from django.apps import AppConfig


class KeyringConfig(AppConfig):
    name = "accounts.keyring"
    label = "keyring"
    default_auto_field = "django.db.models.BigAutoField"
