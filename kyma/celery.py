"""The Celery application. Jobs live in each app's `tasks.py`, their times in the settings."""

import os

from celery import Celery, signals
from django.conf import settings

from kyma import limited_connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kyma.settings")

app = Celery("kyma")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_process_init.connect
def _limit_queries(**_) -> None:
    limited_connection.limit(settings.DATABASE_JOB_TIMEOUT_S)
