"""What clients that were made for OpenRouter find: its names of models, and its base URL."""

import pytest
from django.conf import settings

from gateway.models import Model
from tests.gateway.conftest import live_route
from tests.support.gateway.http_client import HELLO, error_of, send
from tests.support.gateway.wire_client import CHAT
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import answer

MESSAGES = {**HELLO, "max_tokens": 5}
BODIES = {
    CHAT: HELLO,
    "/v1/completions": {"prompt": "Hello"},
    "/v1/embeddings": {"input": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
}


@pytest.fixture
def moved(gateway, fake) -> Customer:
    """Somebody who used models at OpenRouter that are here too."""
    live_route("deepseek-v3.2", fake.base_url)
    live_route("bge-m3", fake.base_url)
    Model.objects.filter(slug="bge-m3").update(capabilities=["embedding"])
    return Customer(gateway)


# --- Names


@pytest.mark.parametrize(
    "name", ["deepseek/deepseek-v3.2", "DeepSeek/DeepSeek-V3.2:nitro", "deepseek-ai/DeepSeek-V3.2"]
)
def test_a_model_answers_to_openrouters_names_under_its_own(moved, fake, name):
    if name.startswith("deepseek-ai"):
        Model.objects.filter(slug="deepseek-v3.2").update(hugging_face_id=name)
    response = eventually(
        lambda: moved.ask(fake.script(answer("Hi")), model=name), lambda got: got.status_code == 200
    )
    assert response.json()["model"] == response.headers["x-kyma-model"] == "deepseek-v3.2"
    assert "x-kyma-alias" not in response.headers
    assert moved.get(f"/v1/models/{name.partition(':')[0]}").json()["id"] == "deepseek-v3.2"


@pytest.mark.parametrize("path", BODIES)
def test_each_dialect_names_what_is_most_like_an_unknown_model(moved, path):
    unknown, nearest = "deepseek/deepseek-v3.2:free", "deepseek-v3.2"
    if path == "/v1/embeddings":
        unknown, nearest = "baai/bge-m4", "bge-m3"
    response = moved.post({**BODIES[path], "model": unknown}, path=path)
    assert response.status_code == 404
    if path.startswith("/v1/messages"):
        assert response.json()["type"] == "error"
        error = response.json()["error"]
        assert error["type"] == "not_found_error"
        details = error["details"]
        assert details["error_code"] == "model_not_found"
    else:
        error = error_of(response)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        details = error["metadata"]
    assert error["message"].startswith(f'There is no model "{unknown}". ')
    assert nearest in error["message"]
    assert details["nearest"][0] == nearest
    assert len(details["nearest"]) <= 3


@pytest.mark.parametrize(
    ("path", "like_another"), [(CHAT, "baai/bge-m4"), ("/v1/embeddings", "deepseek-v3.3")]
)
def test_what_does_something_else_is_not_named(moved, path, like_another):
    refusal = error_of(moved.post({**BODIES[path], "model": like_another}, path=path))
    assert not {"bge-m3", "deepseek-v3.2"} & {*refusal["metadata"]["nearest"]}


def test_reading_one_model_does_too(moved):
    response = moved.get("/v1/models/deepseek/deepseek-v3.2:exacto")
    assert response.status_code == 404
    error = error_of(response)
    assert (error["code"], error["metadata"]["nearest"][0]) == ("model_not_found", "deepseek-v3.2")


def test_only_what_the_key_may_use_is_named(moved, fake):
    limited = Customer(moved.gateway)
    limited.user.api_keys.update(allowed_models=["scripted"])
    refusal = error_of(limited.ask("Hi", model="deepseek-v3.2:free"))
    assert refusal["metadata"]["nearest"] == []
    assert refusal["message"].endswith("GET /v1/models lists those that can be used.")


# --- The base URL


def test_api_v1_is_v1(moved, fake):
    answered = moved.post({**HELLO, "model": "scripted"}, path=f"/api{CHAT}")
    assert answered.status_code == 200
    assert answered.json()["usage"]["cost"] > 0
    listed = moved.get("/api/v1/models").json()
    assert listed["data"] == moved.get("/v1/models").json()["data"]
    assert moved.get("/api/account").status_code == 403  # The developers' API: it needs a scope.


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1", 404), ("/api/v1/nothing", 404), (f"/api{CHAT}", 400), ("/api/v1/models/x/y", 404)],
)
def test_there_the_code_of_an_error_is_its_status(moved, path, status):
    method = "POST" if path.endswith(CHAT) else "GET"
    response = send(moved.gateway, method, path, headers=moved.headers, json={})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert error["code"] == status
    assert error["metadata"]["error_type"]
    if status == 404 and "models" not in path:
        assert f"There is nothing at {path}. " in error["message"]
        assert f"OpenRouter's {moved.gateway.url}/api/v1, " in error["message"]


def test_messages_there_speak_anthropics_dialect(moved):
    response = moved.post({**MESSAGES, "model": "none"}, path="/api/v1/messages")
    assert (response.status_code, response.json()["type"]) == (404, "error")
    assert response.headers["request-id"] == response.headers["x-request-id"]


# --- The list without a key


def test_the_list_needs_no_key(moved, fake):
    live_route("kept-for-long", fake.base_url, self_hosted=False)  # It states no retention.
    found = eventually(
        lambda: send(moved.gateway, "GET", "/v1/models?sort=newest"),
        lambda got: "kept-for-long" not in got.text and got.ok,
    )
    assert {"scripted", "deepseek-v3.2"} <= {one["id"] for one in found.json()["data"]}
    assert found.json()["data"] == moved.get("/v1/models?sort=newest").json()["data"]
    most = settings.API_REQUESTS_PER_MINUTE["address"]
    assert found.headers["x-ratelimit-limit-requests"] == str(most)
