import json
from types import SimpleNamespace

import pytest

from billing.pricing import Price
from gateway.catalogue.entries import read_catalogue
from gateway.v1.model_objects import model_object, pricing, supported_parameters
from tests.support.factories import make_model, make_price, make_provider, make_route


def candidate(**fields):
    return SimpleNamespace(
        **{
            "provider": "groq",
            "provider_name": "Groq",
            "privacy_policy_url": "https://groq.com/privacy-policy/",
            "retention": "abuse_30d",
            "needed_choice": "abuse_30d",
            "quantization": "",
            "price": Price(input=150_000_000, cached_input=15_000_000, output=600_000_000),
            "price_verified": True,
            "context_length": 131072,
            "unsupported": frozenset(),
            **fields,
        }
    )


def entry(**fields):
    return SimpleNamespace(
        **{
            "slug": "gpt-oss-120b",
            "name": "gpt-oss 120B",
            "maker": "OpenAI",
            "description": "A reasoning model.",
            "hugging_face_id": "openai/gpt-oss-120b",
            "created": 1_754_352_000,
            "context_length": 131072,
            "max_output_tokens": 65536,
            "capabilities": ("tools", "json", "reasoning"),
            "candidates": (candidate(),),
            **fields,
        }
    )


PROVIDER = {
    "name": "Groq",
    "slug": "groq",
    "privacy_policy_url": "https://groq.com/privacy-policy/",
    "retention": "abuse_30d",
    "needed_choice": "abuse_30d",
    "quantization": None,
}
FOR_ANTHROPIC = {
    "type": "model",
    "display_name": "gpt-oss 120B",
    "created_at": "2025-08-05T00:00:00Z",
    "lifecycle": "active",
    "max_input_tokens": 131072,
    "max_tokens": 65536,
}


def test_a_model_looks_as_clients_expect_it():
    assert model_object(entry()) == {
        "id": "gpt-oss-120b",
        "object": "model",
        "created": 1_754_352_000,
        "owned_by": "OpenAI",
        "canonical_slug": "gpt-oss-120b",
        "hugging_face_id": "openai/gpt-oss-120b",
        "name": "gpt-oss 120B",
        "description": "A reasoning model.",
        "context_length": 131072,
        "knowledge_cutoff": None,
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {
            "prompt": "0.00000015",
            "completion": "0.0000006",
            "request": "0",
            "image": "0",
            "input_cache_read": "0.000000015",
        },
        "top_provider": {
            "context_length": 131072,
            "max_completion_tokens": 65536,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": [
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "stop",
            "seed",
            "frequency_penalty",
            "presence_penalty",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "structured_outputs",
            "reasoning",
            "reasoning_effort",
        ],
        "providers": [PROVIDER],
        "verified_price": True,
        **FOR_ANTHROPIC,
    }


@pytest.mark.parametrize(
    ("nano_per_million", "usd_per_token"),
    [
        (0, "0"),
        (1, "0.000000000000001"),
        (10, "0.00000000000001"),
        (30_000_000, "0.00000003"),
        (1_000_000_000, "0.000001"),
        (10**15, "1"),
        (25 * 10**15, "25"),
        (10**15 + 1, "1.000000000000001"),
        (123_456_789_012_345_678, "123.456789012345678"),
    ],
)
def test_prices_are_exact_decimal_strings(nano_per_million, usd_per_token):
    price = Price(input=nano_per_million, cached_input=0, output=0)
    assert pricing(price)["prompt"] == usd_per_token


def test_a_price_per_request_and_per_image_is_in_dollars():
    price = Price(input=0, cached_input=0, output=0, request=1_000_000, image=2)
    assert pricing(price)["request"] == "0.001"
    assert pricing(price)["image"] == "0.000000002"


def test_a_model_that_sees_takes_images():
    architecture = model_object(entry(capabilities=("vision",)))["architecture"]
    assert architecture["modality"] == "text+image->text"
    assert architecture["input_modalities"] == ["text", "image"]


@pytest.mark.parametrize(
    ("capabilities", "modality"),
    [(("embedding",), "text->embeddings"), (("json", "embedding"), "text->text+embeddings")],
)
def test_a_model_that_embeds_says_so(capabilities, modality):
    shown = model_object(entry(capabilities=capabilities))
    architecture = shown["architecture"]
    assert architecture["modality"] == modality
    assert architecture["output_modalities"] == modality.removeprefix("text->").split("+")
    assert ("max_tokens" in shown["supported_parameters"]) == ("text" in modality[6:])
    assert ("encoding_format" in shown["supported_parameters"]) == ("text" not in modality[6:])


def test_price_context_and_mark_are_those_of_the_cheapest_route():
    cheap = candidate(
        provider="own",
        provider_name="Own",
        price=Price(1, 1, 1),
        price_verified=False,
        context_length=4096,
        quantization="fp8",
    )
    shown = model_object(entry(candidates=(cheap, candidate())))
    assert shown["pricing"]["prompt"] == "0.000000000000001"
    assert shown["verified_price"] is False
    assert shown["top_provider"]["context_length"] == 4096
    assert shown["context_length"] == 131072
    assert [one["slug"] for one in shown["providers"]] == ["own", "groq"]
    assert shown["providers"][0]["quantization"] == "fp8"


def test_parameters_follow_the_capabilities():
    assert "tools" not in supported_parameters(entry(capabilities=()))
    assert "response_format" not in supported_parameters(entry(capabilities=("tools",)))


def test_a_parameter_is_named_if_one_route_accepts_it():
    strict = candidate(unsupported=frozenset({"seed", "stop", "max_completion_tokens"}))
    lax = candidate(unsupported=frozenset({"seed"}))
    assert "seed" not in supported_parameters(entry(candidates=(strict, lax)))
    assert "stop" in supported_parameters(entry(candidates=(strict, lax)))
    # Kyma sends the token limit under the name that the provider wants.
    assert "max_completion_tokens" in supported_parameters(entry(candidates=(strict,)))


def test_it_shows_what_the_catalogue_in_the_database_holds(books):
    provider = make_provider("own-of-tests", name="Own", privacy_policy_url="https://own.example/")
    make_model("llama-of-tests", capabilities=["vision"], max_output_tokens=None)
    make_route("llama-of-tests", provider=provider, price=make_price(verified=True))
    shown = model_object(read_catalogue()["llama-of-tests"])
    assert json.loads(json.dumps(shown)) == shown
    assert shown["pricing"]["completion"] == "0.0000004"
    assert shown["verified_price"] is True
    assert shown["providers"][0]["privacy_policy_url"] == "https://own.example/"
    assert shown["top_provider"]["max_completion_tokens"] is None
