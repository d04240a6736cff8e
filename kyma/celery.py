"""The Celery application. Jobs live in each app's `tasks.py`, their times in the settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kyma.settings")

app = Celery("kyma")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
