"""Every URL is public by this list, or refuses strangers."""

import asyncio
import re

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from gateway import urls as gateway_urls
from gateway.asgi import GatewayHandler

PUBLIC = {
    "health",
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
}
PUBLIC_IN_THE_GATEWAY = {
    "v1/credits/pricing",
    "v1/limits/tiers",
    "v1/receipts/keys",
    "v1/providers",
    "v1/openapi.json",
}
SAMPLES = {"int": "1", "uuid": "00000000-0000-7000-8000-000000000000"}


def paths(resolver, prefix: str = ""):
    """A path that matches each pattern below `resolver`."""
    for pattern in resolver.url_patterns:
        path = prefix + _sample(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from paths(pattern, path)
        else:
            assert isinstance(pattern, URLPattern)
            yield path


def _sample(pattern) -> str:
    if isinstance(pattern, RoutePattern):
        return re.sub(r"<(?:(\w+):)?\w+>", lambda match: SAMPLES.get(match[1], "x"), str(pattern))
    text = str(pattern).removeprefix("^").removesuffix("$").replace("\\", "")
    return re.sub(r"\(\?P<\w+>([^)]*)\)", lambda match: _first_choice(match[1]), text)


def _first_choice(group: str) -> str:
    return group.split("|")[0] if re.fullmatch(r"[\w|]+", group) else "x"


PRIVATE = sorted(set(paths(get_resolver(settings.ROOT_URLCONF))) - PUBLIC)


def test_what_is_public_exists():
    assert set(paths(get_resolver(settings.ROOT_URLCONF))) >= PUBLIC


@pytest.mark.parametrize("path", PRIVATE)
def test_a_page_refuses_strangers(path, books):
    response = Client().get(f"/{path}")
    if response.status_code == 405:
        response = Client().post(f"/{path}")
    if response.status_code == 302:
        assert "login" in response.url
    else:
        assert response.status_code in (401, 403, 404)


GATEWAY_PATHS = set(paths(get_resolver(gateway_urls.__name__)))


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
