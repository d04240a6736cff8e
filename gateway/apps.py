from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class GatewayConfig(AppConfig):
    name = "gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gateway.commits.sql import teach_sqlite
        from gateway.log import partitions

        connection_created.connect(teach_sqlite)
        post_migrate.connect(partitions.ensure_after_migrate, sender=self)
