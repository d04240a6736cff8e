import asyncio

import pytest

from kyma import asgi


async def nothing():
    return {"type": "http.request", "body": b""}


@pytest.fixture
def served_by(monkeypatch):
    """Gives the name of what serves a path."""
    served = []

    def stand_in(name):
        async def application(scope, receive, send):
            served.append(name)

        return application

    monkeypatch.setattr(asgi, "gateway_application", stand_in("gateway"))
    monkeypatch.setattr(asgi, "django_application", stand_in("django"))

    def ask(path, method="GET"):
        scope = {"type": "http", "path": path, "method": method}
        asyncio.run(asgi.application(scope, nothing, None))
        return served.pop()

    return ask


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/chat/completions", "/v1/models/a/b"])
def test_the_gateway_serves_v1(served_by, path):
    assert served_by(path) == "gateway"


@pytest.mark.parametrize("path", ["/", "/v10", "/v1beta/models", "/admin/", "/ready", "/a/v1/"])
def test_django_serves_the_rest(served_by, path):
    assert served_by(path) == "django"


def test_health_needs_no_thread_of_django(served_by, client):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(asgi.application({"type": "http", "path": "/health", "method": "GET"}, None, send))
    start, end = sent
    assert (start["status"], end["body"]) == (200, client.get("/health").content)
    assert served_by("/health", "POST") == "django"


def test_the_gateway_tells_who_forgot_its_v1(served_by):
    assert served_by("/chat/completions", "POST") == "gateway"
    assert served_by("/chat/completions") == "django"
    assert served_by("/chat", "POST") == "django"


def test_the_gateway_is_started_and_closed_before_that_is_confirmed(monkeypatch):
    events = []

    async def start():
        events.append("started")

    async def close():
        events.append("closed")

    async def live():
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            return {"type": next(messages)}

        async def send(message):
            events.append(message["type"])

        await asgi.application({"type": "lifespan"}, receive, send)

    monkeypatch.setattr(asgi, "start", start)
    monkeypatch.setattr(asgi, "close", close)
    asyncio.run(live())
    assert events == [
        "started",
        "lifespan.startup.complete",
        "closed",
        "lifespan.shutdown.complete",
    ]
