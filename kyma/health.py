"""Reports if this process is alive (/health) and if it should get requests (/ready).

/health/detail says what an operator should see to; it wants METRICS_TOKEN, as /metrics does.
`live_application` answers /health on the event loop: Django's threads may all be busy or waiting.
"""

import functools
import json
import math

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.keyring.models import DataKey
from gateway.commits import leases
from gateway.commits import queue as commit_queue
from gateway.models.evidence import due
from kyma import limited_connection, metrics, schema

REDIS_TIMEOUT_S = 0.5
PATH = "/health"
DATABASE_TIMEOUT_S = 1.0  # /ready itself waits for no more than about two seconds.
OK = "ok"

_draining = False
_migrated = False  # It stays true, because this process's code never needs further migrations.


def start_draining() -> None:
    """Turn readiness red for the rest of this process's life."""
    global _draining
    _draining = True


@login_not_required
@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": OK})


async def live_application(scope, receive, send) -> None:
    """Answer a GET as `live` does."""
    body = json.dumps({"status": OK}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers["cache-control"] = "no-store"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


@login_not_required
@never_cache
@require_safe
def detail(request: HttpRequest) -> JsonResponse:
    """Answer 200 with what an operator should see to, or 401 without METRICS_TOKEN."""
    if not metrics.may_read(request.headers.get("Authorization", "").encode()):
        problem = {"problem": "Send 'Authorization: Bearer <METRICS_TOKEN>'."}
        return JsonResponse(problem, status=401, headers={"WWW-Authenticate": "Bearer"})
    evidence = _check_evidence()
    return JsonResponse({"status": OK if evidence == OK else "warning", "evidence": evidence})


@login_not_required
@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 or 503, with every check by name.

    Without Redis or a sweeper, Kyma is degraded but ready: no other process would be better off.
    After one check of the databases has failed, the next ones aren't made: each might wait.
    """
    needed = {"not draining": "this process is ending" if _draining else OK}
    has_failed = False
    with limited_connection.at_most(DATABASE_TIMEOUT_S):
        for name, check in _DATABASE_CHECKS.items():
            needed[name] = "not checked" if has_failed else check()
            has_failed = has_failed or needed[name] != OK
    wanted = {"redis": _check_redis(), "sweeper": _check_sweeper()}
    if any(state != OK for state in needed.values()):
        status = "not ready"
    else:
        status = "ready" if all(state == OK for state in wanted.values()) else "degraded"
    body = {"status": status, "checks": {**needed, **wanted}}
    return JsonResponse(body, status=503 if status == "not ready" else 200)


def _says_what_fails(check):
    """Name a failed check by its error's class: the message may hold a host or a password."""

    @functools.wraps(check)
    def answer():
        try:
            return check()
        except (DatabaseError, redis.RedisError) as error:
            return f"failed: {type(error).__name__}"

    return answer


def _check_commits() -> str:
    """Look at the operations that wait, which takes no time, before any query is made."""
    silent_s = commit_queue.silent_s()
    if silent_s < settings.COMMIT_STALLED_AFTER_S:
        return OK
    return f"stalled: nothing was committed for {math.floor(silent_s)} s"


@_says_what_fails
def _check_database() -> str:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    return OK


@_says_what_fails
def _check_migrations() -> str:
    global _migrated
    if not _migrated:
        missing = schema.unapplied("default") + schema.unapplied("keyring")
        if missing:
            return f"unapplied: {', '.join(missing[:5])}"
        _migrated = True
    return OK


@_says_what_fails
def _check_evidence() -> str | dict[str, str]:
    """Return the providers whose evidence must be read again (P7), by slug."""
    return {one.provider.slug: str(one) for one in due(timezone.now().date())} or OK


@_says_what_fails
def _check_keyring() -> str:
    DataKey.objects.exists()
    return OK


_DATABASE_CHECKS = {
    "commits": _check_commits,
    "database": _check_database,
    "keyring": _check_keyring,
    "migrations": _check_migrations,
}


@_says_what_fails
def _check_redis() -> str:
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    with client:
        client.ping()
    return OK


def _check_sweeper() -> str:
    """Say so if the jobs have stopped: then holds of dead processes stay open."""
    lease = leases.current()
    silent_s = 0 if lease is None else lease.sweeper_silent_s
    if silent_s <= settings.SWEEPER_SILENT_S:
        return OK
    return f"no sweeper has run for {silent_s:.0f} s: see if a Celery worker and beat are running"
