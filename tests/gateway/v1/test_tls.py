"""/v1 in production: over TLS alone."""

import asyncio

import orjson
import pytest

from gateway.v1.handler import gateway_application

PATH = "/v1/limits/tiers"


@pytest.fixture(autouse=True)
def production(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 600


def ask(**headers) -> tuple[int, dict, dict]:
    """Status, headers and body of the answer."""
    sent = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(gateway_application(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), orjson.loads(body)


def test_without_tls_nothing_is_answered_and_nobody_redirected():
    status, headers, body = ask()
    assert (status, body["error"]["code"]) == (403, "https_required")
    assert b"location" not in headers


def test_behind_a_proxy_that_ended_tls_it_answers_and_says_to_come_back_so():
    status, headers, _ = ask(**{"x-forwarded-proto": "https"})
    assert status == 200
    assert headers[b"strict-transport-security"] == b"max-age=600; includeSubDomains; preload"


def test_on_one_machine_neither_counts(settings):
    settings.SECURE_SSL_REDIRECT = False
    settings.SECURE_HSTS_SECONDS = 0
    status, headers, _ = ask()
    assert status == 200
    assert b"strict-transport-security" not in headers
