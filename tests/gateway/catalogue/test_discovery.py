import http.server
import time

import pytest

from gateway.catalogue.discovery import ServerSilent, models_of, normal_base_url, slug_of
from tests.support.gateway.small_catalogue import models_answer, server


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (b"<html>", 200, "with JSON"),
        (b"[]", 200, "with a list of models"),
        (b'{"data": null}', 200, "with a list of models"),
        (b'{"data": [{"name": "x"}]}', 200, "with a list of models"),
        (b'{"data": [{"id": 5}]}', 200, "with a list of models"),
        (b'{"data": []}', 401, "answers 401"),
        (b'{"data": []}', 500, "answers 500"),
    ],
)
def test_a_server_that_answers_nonsense_is_silent_to_us(answer, status, told):
    with server(answer, status) as (address, _), pytest.raises(ServerSilent, match=told):
        models_of(f"{address}/v1")


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("gateway.catalogue.discovery.TIMEOUT_S", 0.05)
    with http.server.HTTPServer(("127.0.0.1", 0), None) as listening:  # accepts, never answers
        started = time.monotonic()
        with pytest.raises(ServerSilent, match="can't be reached"):
            models_of(f"http://127.0.0.1:{listening.server_port}/v1")
    assert time.monotonic() - started < 20  # Not for ever.


@pytest.mark.parametrize(
    ("length", "taken"), [(16384, 16384), (0, 8192), (-1, 8192), ("many", 8192), (2**40, 8192)]
)
def test_an_absurd_context_length_is_not_believed(length, taken):
    with server(models_answer({"id": "x", "max_model_len": length})) as (address, _):
        assert models_of(f"{address}/v1")[0].context_length == taken


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        ("https://vllm.example/v1/", "https://vllm.example/v1"),
        ("http://gpu.example/ollama", "http://gpu.example/ollama/v1"),
    ],
)
def test_a_base_url_is_completed(given, normal):
    assert normal_base_url(given) == normal


@pytest.mark.parametrize(
    ("upstream_model", "slug"),
    [
        ("llama3.2:latest", "llama3.2-latest"),
        ("Qwen/Qwen3-8B-AWQ", "qwen-qwen3-8b-awq"),
        ("/models/my model", "models-my-model"),
        ("模型", ""),
    ],
)
def test_the_slug_of_a_discovered_model(upstream_model, slug):
    assert slug_of(upstream_model) == slug
