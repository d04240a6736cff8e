import logging

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from gateway.analytics import rollups
from gateway.catalogue import reminders
from gateway.commits import sweeper
from gateway.log import content, partitions
from gateway.models import Provider
from gateway.providers import probes

logger = logging.getLogger(__name__)

SWEEP_WITHIN_S = 60  # Then a database that says nothing has the worker's process no longer.


@shared_task(soft_time_limit=SWEEP_WITHIN_S, time_limit=SWEEP_WITHIN_S + 10)
def sweep_holds() -> None:
    logger.info("swept %d abandoned holds", sweeper.run())


@shared_task
def make_partitions() -> None:
    logger.info("made %d content partitions", partitions.ensure(connection))


@shared_task
def purge_content() -> None:
    logger.info("purged the content of %d requests", content.purge())


@shared_task
def fold_usage() -> None:
    logger.info("folded %d hours of the request log", rollups.fold())


@shared_task
def fold_late_usage() -> None:
    logger.info("refolded %d hours with late requests", rollups.fold_late())


@shared_task
def remind_of_evidence() -> None:
    """Run often: it mails once a day, so a restart of beat neither skips nor repeats a mail."""
    logger.info("mailed the operator about evidence: %s", reminders.remind(timezone.now().date()))


@shared_task
def probe_providers() -> None:
    """Start a task for each provider, so that a slow one doesn't hold up the others."""
    ids = list(Provider.objects.filter(enabled=True).values_list("id", flat=True))
    for provider_id in ids:
        probe_provider.apply_async([provider_id.hex], expires=settings.PROBE_INTERVAL_S)
    logger.info("probing %d providers", len(ids))


@shared_task
def probe_provider(provider_id: str) -> None:
    for provider, probe in probes.refresh(Provider.objects.filter(pk=provider_id, enabled=True)):
        level = logging.INFO if probe.ok else logging.WARNING
        logger.log(level, "provider %s %s", provider.slug, probe)
