"""Plain HTTP requests to a gateway, with or without a key, and the errors that come back."""

import requests

from tests.support.gateway.wire_client import CHAT
from tests.support.live import DEADLINE_S, Customer, Gateway, eventually

HELLO = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
GET_PATHS = [
    "/v1/models",
    "/v1/models/scripted",
    "/v1/credits/balance",
    "/v1/credits",
    "/v1/key",
    "/v1/auth/limits",
    "/v1/generation?id=chatcmpl-0198c0de000070008000000000000000",
]


def send(gateway: Gateway, method: str, path: str, **options) -> requests.Response:
    url = gateway.url + path
    return requests.request(method, url, timeout=DEADLINE_S, allow_redirects=False, **options)


def use(gateway: Gateway, path: str, headers: dict) -> requests.Response:
    """What `path` is there for: a chat completion, or a read."""
    if path == CHAT:
        return send(gateway, "POST", path, headers=headers, json=HELLO)
    return send(gateway, "GET", path, headers=headers)


def wait_for_log(gateway: Gateway) -> None:
    """Once a later request is in the log, all before it are, those that should not be included."""
    later = Customer(gateway, balance_nano=0)
    later.get("/v1/credits/balance")
    eventually(later.requests)


def error_of(response: requests.Response) -> dict:
    """The error, once its shape was checked: OpenAI's and OpenRouter's, with the request's id."""
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"error", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code", "metadata"}
    assert all(type(error[name]) is str for name in ("message", "type", "code"))
    assert type(error["metadata"]["error_type"]) is str
    return error
