import logging

from celery import shared_task
from django.db import connection

from gateway import partitions, retention, sweeper

logger = logging.getLogger(__name__)


@shared_task
def sweep_holds() -> None:
    logger.info("swept %d expired holds", sweeper.sweep())


@shared_task
def make_partitions() -> None:
    logger.info("made %d content partitions", partitions.ensure(connection))


@shared_task
def purge_content() -> None:
    logger.info("purged the content of %d requests", retention.purge())
