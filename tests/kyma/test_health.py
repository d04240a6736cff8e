import pytest
from django.db import OperationalError, connections
from django.db.migrations.recorder import MigrationRecorder

from gateway.commits import queue as commit_queue
from gateway.commits.queue import CommitQueue
from kyma import health
from tests.support.ports import free_port


@pytest.fixture(autouse=True)
def a_process_that_has_just_started(monkeypatch):
    monkeypatch.setattr(health, "_draining", False)
    monkeypatch.setattr(health, "_migrated", False)


@pytest.fixture(autouse=True)
def no_redis(settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"


def out_of_reach(alias):
    """While this is entered, every query to `alias` fails as if its server were gone."""

    def fail(*arguments):
        raise OperationalError("connection to db.internal failed: password is 'hunter2'")

    return connections[alias].execute_wrapper(fail)


def test_health_says_that_the_process_lives(client):
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


def test_health_needs_no_database(client, books):
    with out_of_reach("default"), out_of_reach("keyring"):
        assert client.get("/health").status_code == 200


def test_ready_names_every_check_and_is_only_degraded_without_redis(client, books):
    response = client.get("/ready")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "degraded"
    assert body["checks"].pop("redis") == "failed: ConnectionError"
    assert body["checks"] == {
        "not draining": "ok",
        "commits": "ok",
        "database": "ok",
        "migrations": "ok",
        "keyring": "ok",
        "sweeper": "ok",
    }


def test_ready_turns_red_when_draining_starts(client, books):
    assert client.get("/ready").status_code == 200
    health.start_draining()
    response = client.get("/ready")
    assert response.status_code == 503
    assert response.json()["checks"]["not draining"] == "this process is ending"
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("alias", ["default", "keyring"])
def test_ready_is_red_while_a_migration_is_missing(client, books, alias):
    recorder = MigrationRecorder(connections[alias])
    recorder.record_unapplied("keyring", "0001_initial")
    response = client.get("/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "not ready"
    assert response.json()["checks"]["migrations"] == "unapplied: keyring.0001_initial"
    recorder.record_applied("keyring", "0001_initial")
    assert client.get("/ready").status_code == 200


def test_ready_remembers_that_nothing_was_unapplied(client, books):
    client.get("/ready")
    MigrationRecorder(connections["default"]).record_unapplied("keyring", "0001_initial")
    assert client.get("/ready").status_code == 200


@pytest.mark.parametrize(("alias", "check"), [("default", "database"), ("keyring", "keyring")])
def test_ready_is_red_without_a_database_and_tells_no_secret(client, books, alias, check):
    with out_of_reach(alias):
        response = client.get("/ready")
    assert response.status_code == 503
    assert response.json()["checks"][check] == "failed: OperationalError"
    assert b"hunter2" not in response.content


def test_ready_is_red_while_nothing_is_committed_and_then_asks_no_database(
    client, books, monkeypatch, settings
):
    settings.COMMIT_STALLED_AFTER_S = 3
    queue = CommitQueue(engine=None, size=1)
    monkeypatch.setattr(commit_queue, "_queue", queue)
    monkeypatch.setattr(CommitQueue, "silent_s", 2.9)
    assert client.get("/ready").status_code == 200
    monkeypatch.setattr(CommitQueue, "silent_s", 3.4)
    with out_of_reach("default"), out_of_reach("keyring"):  # It would be waited for.
        response = client.get("/ready")
    assert response.status_code == 503
    checks = response.json()["checks"]
    assert checks["commits"] == "stalled: nothing was committed for 3 s"
    assert checks["database"] == checks["keyring"] == checks["migrations"] == "not checked"


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_it_refuses_to_be_posted_to(client, path):
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_load_balancer_is_not_sent_to_https(client, books, settings, path):
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path).status_code == 200
    assert client.get("/admin/").status_code == 301
