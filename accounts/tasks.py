import logging

from celery import shared_task

from accounts import mailbox, notices, session_list

logger = logging.getLogger(__name__)


@shared_task
def send_notices() -> None:
    """Start a task for each notice, so that a slow server doesn't hold up the others."""
    ids = notices.waiting()
    for notice_id in ids:
        send_notice.delay(notice_id.hex)
    if ids:
        logger.info("sending %d notices", len(ids))


@shared_task
def send_notice(notice_id: str) -> None:
    if notices.send(notice_id):
        logger.info("sent notice %s", notice_id)


@shared_task
def purge_sessions() -> None:
    logger.info("purged %d ended sessions", session_list.purge())


@shared_task
def purge_mailbox() -> None:
    logger.info("purged %d mails", mailbox.purge())
