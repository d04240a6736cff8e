from django.apps import AppConfig
from django.db.backends.signals import connection_created


class GatewayConfig(AppConfig):
    name = "gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gateway.commits.sql import teach_sqlite

        connection_created.connect(teach_sqlite)
