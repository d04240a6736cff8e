import logging

from celery import shared_task

from chat import stored_replies

logger = logging.getLogger(__name__)


@shared_task
def end_silent_replies() -> None:
    logger.info("ended %d replies of dead processes", stored_replies.end_silent())
