"""When each job runs. Celery's beat reads it from the settings.

A job that is late may be skipped where the next one does the same: it expires.
"""

from celery.schedules import crontab

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


def jobs(*, sweep_s: float, probe_s: int, rollup_s: int, notice_s: int) -> dict[str, dict]:
    """Return the schedule, whose intervals are seconds."""
    return {
        "sweep abandoned holds": {
            "task": "gateway.tasks.sweep_holds",
            "schedule": sweep_s,
            "options": {"expires": sweep_s},
        },
        "make content partitions": {
            "task": "gateway.tasks.make_partitions",
            # By the clock: a beat that is started afresh each hour never waits out an interval.
            "schedule": crontab(minute=20),
        },
        "probe providers": {
            "task": "gateway.tasks.probe_providers",
            "schedule": probe_s,
            "options": {"expires": probe_s},
        },
        "end silent replies": {
            "task": "chat.tasks.end_silent_replies",
            "schedule": sweep_s,
        },
        "take back imports": {"task": "chat.tasks.take_back_imports", "schedule": 10 * MINUTE_S},
        "purge content": {"task": "gateway.tasks.purge_content", "schedule": crontab(minute=40)},
        "fold usage": {
            "task": "gateway.tasks.fold_usage",
            "schedule": rollup_s,
            "options": {"expires": rollup_s},
        },
        "remind of evidence": {"task": "gateway.tasks.remind_of_evidence", "schedule": HOUR_S},
        "fold late usage": {"task": "gateway.tasks.fold_late_usage", "schedule": HOUR_S},
        "send notices": {
            "task": "accounts.tasks.send_notices",
            "schedule": notice_s,
            "options": {"expires": notice_s},
        },
        "purge sessions": {"task": "accounts.tasks.purge_sessions", "schedule": DAY_S},
        "purge gift places": {"task": "billing.tasks.purge_gift_places", "schedule": DAY_S},
        "purge mailbox": {"task": "accounts.tasks.purge_mailbox", "schedule": 10 * MINUTE_S},
    }
