import logging

from celery import shared_task

from chat import stored_replies
from chat.files import imports

logger = logging.getLogger(__name__)


@shared_task
def end_silent_replies() -> None:
    logger.info("ended %d replies of dead processes", stored_replies.end_silent())


@shared_task
def take_back_imports() -> None:
    if count := imports.take_back_abandoned():
        logger.info("took back %d imports of dead processes", count)
