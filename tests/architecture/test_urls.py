"""Every URL is public by this list, or refuses strangers."""

import asyncio

import pytest
from django.conf import settings
from django.test import Client

from gateway.v1 import urls as gateway_urls
from gateway.v1.handler import GatewayHandler
from tests.support.routes import routes

PUBLIC = {
    "health",
    "health/detail",  # wants METRICS_TOKEN
    "ready",
    "admin/login/",
    "admin/logout/",
    "",
    "docs",
    "terms",
    "contact",
    "privacy",
    "models",
    "models.json",
    "models/x",
    "providers",
    "status",
    "status.json",
    "accounts/login/",
    "accounts/signup/",
    "accounts/logout/",
    "api/schema",
    "api/docs",
    "api/models",
    "api/models/x",
    "api/prices",
    "accounts/inactive/",
    "accounts/confirm-email/",
    "accounts/password/reset/",
    "accounts/password/reset/done/",
    "accounts/password/reset/key/done/",
    "accounts/password/reset/key/x-x/",
    "accounts/login/code/confirm/",
    "accounts/2fa/authenticate/",
    "accounts/2fa/webauthn/login/",
    "mailbox",
}
PUBLIC_IN_THE_GATEWAY = {
    "v1/credits/pricing",
    "v1/limits/tiers",
    "v1/receipts/keys",
    "v1/providers",
    "v1/openapi.json",
}


def paths(urlconf: str) -> set[str]:
    return {route.sample_path() for route in routes(urlconf)}


PATHS = paths(settings.ROOT_URLCONF)
PRIVATE = sorted(PATHS - PUBLIC)


def test_what_is_public_exists():
    assert PATHS >= PUBLIC


@pytest.mark.parametrize("path", PRIVATE)
def test_a_page_refuses_strangers(path, books):
    response = Client().get(f"/{path}")
    if response.status_code == 405:
        response = Client().post(f"/{path}")
    if response.status_code == 302:
        assert "login" in response.url
    else:
        assert response.status_code in (401, 403, 404)


GATEWAY_PATHS = paths(gateway_urls.__name__)


def test_what_is_public_in_the_gateway_exists():
    assert GATEWAY_PATHS >= PUBLIC_IN_THE_GATEWAY


@pytest.mark.parametrize("path", sorted(GATEWAY_PATHS - PUBLIC_IN_THE_GATEWAY))
def test_the_gateway_refuses_who_has_no_key(path):
    status = ask_gateway("GET", path)
    assert (ask_gateway("POST", path) if status == 405 else status) == 401


def ask_gateway(method: str, path: str) -> int:
    """The status of the answer to a request without a key."""
    messages = []
    scope = {
        "type": "http",
        "method": method,
        "path": f"/{path}",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        messages.append(message)

    asyncio.run(GatewayHandler()(scope, receive, send))
    return messages[0]["status"]
