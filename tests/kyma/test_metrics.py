"""/metrics is for whoever has its token, and costs no database."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kyma import asgi

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(autouse=True)
def _token(settings):
    settings.METRICS_TOKEN = TOKEN


def ask(authorization: bytes | None = None, method: str = "GET") -> tuple[int, dict, bytes]:
    """Status, headers and body of what the ASGI application answers at /metrics."""
    sent = []
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope = {"type": "http", "method": method, "path": "/metrics", "headers": headers}

    async def send(message):
        sent.append(message)

    asyncio.run(asgi.application(scope, None, send))
    start, body = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], told, body["body"]


def test_who_has_the_token_reads_what_prometheus_can_parse():
    status, headers, body = ask(f"Bearer {TOKEN}".encode())
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert headers["cache-control"] == "no-store"
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert {"kyma_requests", "kyma_commit_queue_depth", "kyma_breaker_open"} <= names


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer wrong",
        TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN[:-1].encode(),
        b"Bearer \xff\xfe",
    ],
)
def test_a_stranger_is_refused(authorization):
    status, headers, body = ask(authorization)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert b"kyma_" not in body


@pytest.mark.parametrize("authorization", [None, b"Bearer ", b"Bearer x"])
def test_without_a_token_in_the_settings_there_is_no_such_page(settings, authorization):
    settings.METRICS_TOKEN = ""
    status, _, body = ask(authorization)
    assert status == 404
    assert b"kyma_" not in body


def test_it_is_only_read():
    status, headers, _ = ask(f"Bearer {TOKEN}".encode(), "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    status, headers, body = ask(f"Bearer {TOKEN}".encode(), "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_a_stranger_may_not_find_out_which_methods_there_are():
    assert ask(None, "POST")[0] == 401
