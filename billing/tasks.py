import logging

from celery import shared_task

from billing import gift_places

logger = logging.getLogger(__name__)


@shared_task
def purge_gift_places() -> None:
    logger.info("purged %d places of gifts", gift_places.purge())
